/*
 * vocab_state: what the files of vocab share and nobody else sees.
 *
 *   text ──marks cut out──> fragment ──by kind──> tokens
 *            (trie)           vocab_bpe, vocab_spm, vocab_unigram,
 *                             vocab_wordpiece
 *
 * Spellings: a byte-level token is kept as the bytes that it stands for (in the
 * file they are letters of GPT-2's alphabet); a WordPiece token as GGUF has it,
 * U+2581 before the start of a word and nothing before a continuation.
 */
#ifndef TACIT_MODEL_VOCAB_STATE_H
#define TACIT_MODEL_VOCAB_STATE_H

#include <stdatomic.h>

#include "common/base/arena.h"
#include "common/model/vocab.h"

#define VOCAB_SPACE "\xe2\x96\x81" /* U+2581, three bytes */

/* GPT-2's pattern: contractions, words, numbers, the rest, blanks. */
#define VOCAB_GPT2                                                             \
 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|"          \
 "\\s+(?!\\S)|\\s+"

enum {
    VOCAB_STEPS_MAX = 8,    /* patterns of a byte-level tokenizer */
    VOCAB_WORD_CHARS = 100, /* WordPiece: longer words are unknown */
    VOCAB_NONE = -1
};

struct vocab_entry {
    const char *text; /* arena; not NUL-terminated */
    uint32_t n;
    uint8_t class;  /* enum vocab_class */
    uint8_t strips; /* 1: eats blanks before it, 2: behind it */
    float score;
    uint32_t rank; /* SPM: 0 for the best score */
};

/* text -> token, open addressing; -1 = free. */
struct vocab_table {
    int32_t *slot; /* [mask + 1], arena */
    uint32_t mask;
};

/* (node, byte) -> node, and the token that ends in a node, or -1. */
struct vocab_trie {
    uint64_t *key;  /* [mask + 1]: node << 8 | byte, + 1; 0 = free; owned */
    uint32_t *next; /* [mask + 1], owned */
    uint32_t mask;
    int32_t *end; /* [n_nodes], owned */
    uint32_t n_nodes, cap_nodes;
};

/* (left, right) -> the pair's rank and the token they make. */
struct vocab_merge {
    int32_t left, right, made;
    uint32_t rank;
};

struct vocab_splitter;

struct vocab {
    struct arena arena;
    enum vocab_kind kind;
    struct vocab_entry *token; /* [n_all]: behind n, parts that are no token */
    int32_t n, n_all, cap;
    struct vocab_table words; /* what a text's parts may become */
    struct vocab_trie user, all;
    struct vocab_marks marks;
    uint8_t add_bos, add_eos; /* with VOCAB_ADD_SPECIAL */
    int32_t byte[256];        /* the token of one byte, or -1 */
    /* byte-level */
    struct vocab_splitter *splitter;
    char pre[64];               /* its name in GGUF */
    struct vocab_merge *merges; /* [n_merges], by rank, arena */
    uint32_t *merge_slot;       /* [merge_mask + 1]: index + 1, arena */
    uint32_t n_merges, merge_mask;
    uint8_t ignore_merges, nfc;
    /* byte-level and SPM: does merging its letters make this token? 0: not
     * known yet, 1: yes, 2: no */
    _Atomic uint8_t *whole; /* [n], arena */
    /* SPM and unigram */
    uint8_t space_prefix, prefix_once, squeeze, crosses, byte_fallback;
    const uint32_t *charsmap; /* [n_charsmap] units; arena */
    uint32_t n_charsmap, n_replacements;
    const char *replacements; /* NUL-separated */
    float unknown_score, best_score;
    /* WordPiece */
    uint8_t fold, accents_kept;
    /* WordPiece and unigram: the longest token along a text */
    struct vocab_trie pieces;
};

/* vocab_table.c: hash table and trie. */
TACIT_CHECKED enum tacit_err vocab_table_make(struct vocab *v,
                                              struct vocab_table *t, size_t n);
/* The first of two equal texts stays. */
void vocab_table_put(const struct vocab *v, struct vocab_table *t, int32_t id);
int32_t vocab_table_find(const struct vocab *v, const struct vocab_table *t,
                         const char *text, size_t n);
TACIT_CHECKED enum tacit_err vocab_trie_put(struct vocab_trie *t,
                                            const char *text, size_t n,
                                            int32_t id);
/* The node behind one more byte, or 0 (the root) when there is none. */
static inline uint32_t vocab_trie_step(const struct vocab_trie *t,
                                       uint32_t node, uint8_t byte)
{
    if (!t->key) return 0;
    uint64_t key = ((uint64_t)node << 8 | byte) + 1;
    for (uint32_t i = (uint32_t)(key * 0x9e3779b97f4a7c15u >> 32) & t->mask;
         t->key[i]; i = (i + 1) & t->mask)
        if (t->key[i] == key) return t->next[i];
    return 0;
}
/* Longest token at text[n]; VOCAB_NONE when there is none. */
int32_t vocab_trie_longest(const struct vocab_trie *t, const char *text,
                           size_t n, size_t *out_len);
void vocab_trie_release(struct vocab_trie *t);

/* vocab_merge.c: join neighbours, best pair first, leftmost of equals. */
struct vocab_symbol {
    const char *text; /* borrowed; neighbours lie one behind the other */
    uint32_t n;
    int32_t id;
    uint32_t prev, next;
};
typedef int vocab_joins(const struct vocab *v, const struct vocab_symbol *l,
                        const struct vocab_symbol *r, uint32_t *rank,
                        int32_t *id);
/* s[n], rewritten to *n symbols. */
TACIT_CHECKED enum tacit_err vocab_merge_all(const struct vocab *v,
                                             vocab_joins *joins,
                                             struct vocab_symbol *s, size_t *n);

/* One file per kind: a fragment without marks. first, last: of the text. */
struct vocab_fragment {
    const char *text;
    size_t n;
    int first, last;
};
TACIT_CHECKED enum tacit_err vocab_encode_bytes(const struct vocab *v,
                                                const struct vocab_fragment *f,
                                                struct vocab_ids *out);
TACIT_CHECKED enum tacit_err vocab_encode_spm(const struct vocab *v,
                                              const struct vocab_fragment *f,
                                              struct vocab_ids *out);
TACIT_CHECKED enum tacit_err vocab_encode_unigram(
    const struct vocab *v, const struct vocab_fragment *f,
    struct vocab_ids *out);
TACIT_CHECKED enum tacit_err vocab_encode_words(const struct vocab *v,
                                                const struct vocab_fragment *f,
                                                struct vocab_ids *out);
/* vocab_normal.c: SentencePiece's normaliser, appended to out. */
void vocab_normalise(const struct vocab *v, const struct vocab_fragment *f,
                     struct buf *out);
/* vocab_wordpiece.c, the door to utf8proc: NFC. */
TACIT_CHECKED enum tacit_err vocab_compose(const char *text, size_t n,
                                           struct buf *out);

/* vocab_bpe.c, the door to PCRE2. */
TACIT_CHECKED enum tacit_err vocab_splitter_named(const char *name,
                                                  struct vocab_splitter **out);
TACIT_CHECKED enum tacit_err vocab_splitter_new(const char *const *patterns,
                                                size_t n,
                                                struct vocab_splitter **out);
/* GGUF's name for this list of patterns, or NULL. */
const char *vocab_splitter_name(const char *const *patterns, size_t n);
/* The patterns of one that GGUF names; their number, 0 for an unknown name. */
size_t vocab_splitter_patterns(const char *name, const char *const **out);
void vocab_splitter_free(struct vocab_splitter *s);

/* vocab_lines.c: a WordPiece token in BERT's spelling as GGUF has it: a word
 * begins with U+2581, ## goes. */
TACIT_CHECKED enum tacit_err vocab_add_word(struct vocab *v, const char *s,
                                            size_t n, unsigned class);
/* The control token of the first of these names (up to NULL) that is there, or
 * VOCAB_NONE. */
int32_t vocab_find_mark(const struct vocab *v, const char *const *names);
/* Marks by the names that families give them. */
void vocab_name_marks(struct vocab *v);

/* vocab.c */
TACIT_CHECKED enum tacit_err vocab_new(enum vocab_kind kind, size_t n,
                                       struct vocab **out);
/* Add the next token; the text is copied. */
TACIT_CHECKED enum tacit_err vocab_add(struct vocab *v, const char *text,
                                       size_t n, unsigned class, double score);
/* A byte-level token spelt in GPT-2's alphabet: its bytes to out[n]; their
 * number, or 0 when it is not spelt so. */
size_t vocab_bytes_of(const char *text, size_t n, char *out);
void vocab_letters_of(const char *bytes, size_t n, struct buf *out);
/* Byte-level: token spelt left joins token spelt right, in rank order. */
TACIT_CHECKED enum tacit_err vocab_add_merge(struct vocab *v, const char *left,
                                             size_t n_left, const char *right,
                                             size_t n_right);
/* When all tokens (and their classes) are there, before the merges: tables. */
TACIT_CHECKED enum tacit_err vocab_index(struct vocab *v, size_t n_merges);
/* The replacements of SentencePiece's normaliser; copied. */
TACIT_CHECKED enum tacit_err vocab_set_charsmap(struct vocab *v,
                                                const uint8_t *bytes, size_t n);
/* At the end: tries, marks by name, checks. */
TACIT_CHECKED enum tacit_err vocab_finish(struct vocab *v);

#endif
