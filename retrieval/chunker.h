/*
 * chunker: a document's blocks -> chunks, the passages that are searched and
 * cited.
 *
 *   # Warfarin          heading "Warfarin"            (context, not text)
 *   ## Dose             heading "Warfarin > Dose"
 *   Start with 5 mg. …  ┐ chunk 1: whole sentences, about 120-180 words
 *   - elderly: 2 mg     ┘ (an intro that ends in ':' stays with its list)
 *   ## Review           a heading of the same or a higher level ends it
 *
 * A chunk is one slice of document.text, so nothing is copied. Short
 * subsections join the chunk above them, and a short rest joins the chunk
 * before it, up to CHUNK_WORDS_HARD. Chunks do not overlap: each carries its
 * headings and whole sentences, which is what an overlap would bring, and a
 * repeated sentence would count twice in every statistic of the words.
 * A heading with nothing below it is text, so that it can be found.
 */
#ifndef TACIT_RETRIEVAL_CHUNKER_H
#define TACIT_RETRIEVAL_CHUNKER_H

#include "retrieval/document.h"

enum {
    CHUNK_WORDS_TARGET = 120, /* ends at the next paragraph */
    CHUNK_WORDS_MAX = 180,    /* ends at the next sentence */
    CHUNK_WORDS_HARD = 220,   /* with a short rest of the section */
    CHUNK_WORDS_MERGE = 60,   /* under this, a subsection may join */
    CHUNK_BYTES_MAX = 6000,   /* of one chunk's text */
    CHUNK_SENTENCES_MAX = 64,
    CHUNK_HEADING_MAX = 256, /* bytes of the joined headings with the NUL */
    CHUNK_LEVELS = 6
};

/* Between the headings of a path: no text holds it. Shown as " > ". */
#define CHUNK_HEADING_MARK '\x1f'

struct chunk_sentence {
    uint32_t text_first, text_end; /* of the chunk's text */
    struct place place;
};

struct chunk {
    size_t text_first, text_end; /* slice of document.text */
    char heading[CHUNK_HEADING_MAX];
    struct place place;
    size_t n_words, n_sentences;
    struct chunk_sentence sentence[CHUNK_SENTENCES_MAX];
};

/* Where the next unit of text begins. */
struct chunk_cursor {
    size_t block, at; /* at: offset into document.text */
};

struct chunker {
    const struct document *d; /* borrowed */
    struct chunk_cursor next;
    size_t heading[CHUNK_LEVELS + 1]; /* block per level, SIZE_MAX = none */
    unsigned level;                   /* of the innermost one, 0 = none */
};

void chunker_init(struct chunker *k, const struct document *d);
/* The next chunk into *out: 1, or 0 at the end. Cannot fail. */
int chunker_next(struct chunker *k, struct chunk *out);

#endif
