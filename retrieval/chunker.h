/*
 * chunker: a document's blocks -> chunks, the passages that are searched and
 * cited.
 *
 *   # Warfarin          heading "Warfarin"            (context, not text)
 *   ## Dose             heading "Warfarin > Dose"
 *   Start with 5 mg. …  ┐ chunk 1: whole sentences, about 120-180 tokens
 *   - elderly: 2 mg     ┘ (an intro that ends in ':' stays with its list)
 *   ## Review           a heading of the same or a higher level ends it
 *
 * A chunk is one slice of document.text, so nothing is copied. Sizes are in
 * tokens of the encoder that will read it: `count` says how many a text has.
 * Short subsections join the chunk above them, and a short rest joins the chunk
 * before it, up to `hard`. A row of a table is never torn. Sentences end by the
 * rules of the document's language (language.h).
 *
 * A chunk that begins within a paragraph begins with the last whole sentences
 * of the one before, up to `overlap` tokens; what is new in it begins at
 * own_first. Paragraphs and headings are borders of thought, which need none.
 * (2,500 questions on 32 articles of SQuAD dev 1.1, words and vectors fused. A
 * passage with the answer comes first, or among five, for 71.2 and 92.5 % of
 * them without overlap, 73.1 and 93.6 % with 30 tokens, where articles have no
 * paragraphs; 9 % more passages. Where they have, 73.9 and 93.2 % become 74.1
 * and 93.4 %; an overlap across paragraphs gave 73.6 and 93.1 %. More than 30
 * tokens bring no more.)
 * A heading with nothing below it is text, so that it can be found.
 */
#ifndef TACIT_RETRIEVAL_CHUNKER_H
#define TACIT_RETRIEVAL_CHUNKER_H

#include "retrieval/document.h"
#include "retrieval/language.h"

enum {
    /* Raised when a document's passages would come out otherwise, by this file
     * or by a reader: what an earlier one made is then made again. */
    CHUNKER_VERSION = 2,
    CHUNK_BYTES_MAX = 6000, /* of one chunk's text */
    CHUNK_SENTENCES_MAX = 64,
    CHUNK_OVERLAP_SENTENCES = 8,
    CHUNK_HEADING_MAX = 256, /* bytes of the joined headings with the NUL */
    CHUNK_LEVELS = 6
};

/* All in tokens; merge <= target <= max <= hard, overlap < target. */
struct chunk_sizes {
    size_t target;  /* ends at the next paragraph */
    size_t max;     /* ends at the next sentence */
    size_t hard;    /* with a short rest of the section */
    size_t merge;   /* under this, a subsection may join */
    size_t overlap; /* of the chunk before; 0 = none */
    /* Tokens of text[n]; NULL = words as the built-in encoder counts them. */
    size_t (*count)(void *ctx, const char *text, size_t n);
    void *ctx;
};
extern const struct chunk_sizes chunk_sizes_default;

/* Between the headings of a path: no text holds it. Shown as " > ". */
#define CHUNK_HEADING_MARK '\x1f'

struct chunk_sentence {
    uint32_t text_first, text_end; /* of the chunk's text */
    struct place place;
};

struct chunk {
    size_t text_first, text_end; /* slice of document.text */
    size_t own_first;            /* behind the overlap; = text_first without */
    char heading[CHUNK_HEADING_MAX];
    struct place place;
    size_t n_tokens, n_sentences;
    struct chunk_sentence sentence[CHUNK_SENTENCES_MAX];
};

/* Where the next unit of text begins. */
struct chunk_cursor {
    size_t block, at; /* at: offset into document.text */
};

struct chunker {
    const struct document *d; /* borrowed */
    struct chunk_sizes sizes;
    enum language language;
    struct chunk_cursor next;
    /* The last sentences of the chunk before, as text [first, end). */
    struct {
        size_t first, end;
    } tail[CHUNK_OVERLAP_SENTENCES];
    size_t n_tail;
    size_t heading[CHUNK_LEVELS + 1]; /* block per level, SIZE_MAX = none */
    unsigned level;                   /* of the innermost one, 0 = none */
};

void chunker_init(struct chunker *k, const struct document *d,
                  const struct chunk_sizes *sizes);
/* The next chunk into *out: 1, or 0 at the end. Cannot fail. */
int chunker_next(struct chunker *k, struct chunk *out);

#endif
