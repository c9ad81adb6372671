/*
 * blocks: a document's blocks as text, for tests of its readers.
 */
#ifndef TACIT_TESTS_RETRIEVAL_BLOCKS_H
#define TACIT_TESTS_RETRIEVAL_BLOCKS_H

#include <stdio.h>
#include <string.h>

#include "retrieval/document.h"

/* All blocks, one per line: "H1 text", "P text", "I1 text", "R text",
 * "C text". Valid until the next call. */
static inline const char *blocks_of(const struct document *d)
{
    static char out[16384];
    static const char marks[] = "HPIRC";
    size_t k = 0;
    out[0] = '\0';
    for (size_t i = 0; i < d->n_blocks && k < sizeof out - 1; i++) {
        const struct block *b = &d->blocks[i];
        char level[12] = "";
        if (b->level) snprintf(level, sizeof level, "%u", b->level);
        k += (size_t)snprintf(out + k, sizeof out - k, "%c%s %.*s\n",
                              marks[b->kind], level,
                              (int)(b->text_end - b->text_first),
                              (const char *)d->text.data + b->text_first);
    }
    return out;
}

/* The source bytes of block i. */
static inline const char *source_of(const struct document *d, size_t i)
{
    static char out[4096];
    const struct block *b = &d->blocks[i];
    struct place p = document_place(d, b->text_first, b->text_end);
    snprintf(out, sizeof out, "%.*s", (int)(p.byte_end - p.byte_first),
             (const char *)d->source.data + p.byte_first);
    return out;
}

static inline struct place place_of(const struct document *d, size_t i)
{
    return document_place(d, d->blocks[i].text_first, d->blocks[i].text_end);
}

#endif
