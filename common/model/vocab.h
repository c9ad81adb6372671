/*
 * vocab: text <-> token numbers, as a model's own tokenizer has them.
 *
 *   WordPiece    "unaffable" -> un ##aff ##able          BERT, MiniLM, BGE
 *   bytes BPE    pattern cuts words, merges join bytes   GPT-2, Llama 3, Qwen
 *   SPM BPE      scores join characters, bytes for       Llama 2, Mistral,
 *                what is unknown                         Phi-3
 *   unigram      the likeliest cut (Viterbi)             T5, E5
 *
 * Read from the tokenizer.ggml.* keys of a GGUF file, a tokenizer.json, a
 * SentencePiece .model or a vocab.txt. Equal to the reference libraries
 * (llama.cpp for GGUF, tokenizers, sentencepiece), token by token.
 *
 * A text of n bytes takes O(n log n): merges come from a heap. Bytes that are
 * not UTF-8 count as U+FFFD, as in the references.
 *
 * Special tokens in a text are text, unless VOCAB_PARSE_SPECIAL: what a
 * person or a document says cannot act as a mark of the model.
 *
 * Thread rule: an open vocabulary may be used by many threads, each with its
 * own struct vocab_ids.
 */
#ifndef TACIT_MODEL_VOCAB_H
#define TACIT_MODEL_VOCAB_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/model/gguf.h"

enum {
    VOCAB_TOKENS_MAX = 1 << 20,
    VOCAB_TOKEN_BYTES_MAX = 1 << 12,
    VOCAB_TEXT_MAX = 1 << 26 /* bytes that are encoded at once */
};

enum vocab_kind { VOCAB_WORDPIECE, VOCAB_BYTES, VOCAB_SPM, VOCAB_UNIGRAM };

/* What a token is, with GGUF's numbers. */
enum vocab_class {
    VOCAB_NORMAL = 1,
    VOCAB_UNKNOWN = 2,
    VOCAB_CONTROL = 3,
    VOCAB_USER = 4,
    VOCAB_UNUSED = 5,
    VOCAB_BYTE = 6
};

enum vocab_flags {
    VOCAB_PLAIN = 0,
    VOCAB_ADD_SPECIAL = 1,  /* [CLS] … [SEP], <s>: what the model wants */
    VOCAB_PARSE_SPECIAL = 2 /* marks in the text stand for their tokens */
};

/* Token numbers; zero-initialise, release with vocab_ids_release(). */
struct vocab_ids {
    int32_t *id; /* owned */
    size_t n, cap;
};
void vocab_ids_release(struct vocab_ids *ids);
TACIT_CHECKED enum tacit_err vocab_ids_put(struct vocab_ids *ids, int32_t id);

struct vocab;

/* FORMAT: damaged; UNSUPPORTED: a tokenizer of another kind, by name. */
TACIT_CHECKED enum tacit_err vocab_from_gguf(const struct gguf *g,
                                             struct vocab **out);
/* Content of a tokenizer.json (tokenizers' format). */
TACIT_CHECKED enum tacit_err vocab_from_json(const char *text, size_t n,
                                             struct vocab **out);
/* Content of a SentencePiece .model (a protocol buffer). */
TACIT_CHECKED enum tacit_err vocab_from_spm(const uint8_t *bytes, size_t n,
                                            struct vocab **out);
/* Content of BERT's vocab.txt; lower: fold case and strip accents. */
enum vocab_case { VOCAB_CASE_KEPT, VOCAB_CASE_FOLDED };
TACIT_CHECKED enum tacit_err vocab_from_lines(const char *text, size_t n,
                                              enum vocab_case fold,
                                              struct vocab **out);
void vocab_free(struct vocab *v);
/* The tokenizer.ggml.* keys of this vocabulary. UNSUPPORTED when its patterns
 * have no name in GGUF. */
TACIT_CHECKED enum tacit_err vocab_to_gguf(const struct vocab *v,
                                           struct gguf_writer *w);
/* The same as other programs' files, appended to out: a tokenizer.json of
 * WordPiece and byte-level ones, a SentencePiece .model of the others.
 * UNSUPPORTED for the other kind, and where the format has no place for it. */
TACIT_CHECKED enum tacit_err vocab_to_json(const struct vocab *v,
                                           struct buf *out);
TACIT_CHECKED enum tacit_err vocab_to_spm(const struct vocab *v,
                                          struct buf *out);
/* What a model's configuration says about its marks; -1 leaves one as it is. */
TACIT_CHECKED enum tacit_err vocab_set_marks(struct vocab *v, int64_t bos,
                                             int64_t eos, int64_t pad);

/* Append the tokens of text[n]. flags: enum vocab_flags, or'ed. LIMIT over
 * VOCAB_TEXT_MAX. */
TACIT_CHECKED enum tacit_err vocab_encode(const struct vocab *v,
                                          const char *text, size_t n,
                                          unsigned flags,
                                          struct vocab_ids *out);

size_t vocab_size(const struct vocab *v);
enum vocab_kind vocab_kind_of(const struct vocab *v);
/* 1 when WordPiece reads capitals as small letters. */
int vocab_folds(const struct vocab *v);
/* Borrowed spelling of a token, n bytes: of a byte-level one its bytes, of the
 * others as GGUF has it (U+2581 for a blank). NULL for a number that is no
 * token. */
const char *vocab_token(const struct vocab *v, int32_t id, size_t *out_n);
enum vocab_class vocab_class_of(const struct vocab *v, int32_t id);
/* -1 when no token is spelt so. */
int32_t vocab_find(const struct vocab *v, const char *token, size_t n);
/* Append the bytes that one token adds to a running text: what a stream
 * prints. Nothing for control tokens and numbers that are no token. Where
 * encoding puts a blank before the first word, the text begins with it. */
void vocab_piece(const struct vocab *v, int32_t id, struct buf *out);

/* Numbers of the marks, -1 where the model has none. */
struct vocab_marks {
    int32_t bos, eos, unk, sep, pad, cls, mask, eot;
};
struct vocab_marks vocab_marks_of(const struct vocab *v);
/* 1 for the tokens that end a turn: eos, eot, <|im_end|>, <|eot_id|>, … */
int vocab_ends(const struct vocab *v, int32_t id);

#endif
