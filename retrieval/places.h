/*
 * places: where a passage's sentences stand, as bytes of one column of its row.
 *
 *   per sentence 6 x u32, little-endian: text first and end (of the passage's
 *   text), byte first and end, line first and last (of the source)
 *
 * Where there are pages, PLACES_PAGED comes first (no sentence begins there),
 * and each sentence has a seventh number: first page | last page << 16.
 */
#ifndef TACIT_RETRIEVAL_PLACES_H
#define TACIT_RETRIEVAL_PLACES_H

#include "common/base/buf.h"
#include "retrieval/chunker.h"

enum {
    PLACES_SENTENCE_BYTES = 28, /* at most */
    PLACES_BYTES_MAX = 4 + PLACES_SENTENCE_BYTES * CHUNK_SENTENCES_MAX
};
#define PLACES_PAGED UINT32_MAX

/* Append the places of a chunk's sentences. */
void places_encode(struct buf *out, const struct chunk *c);
/* Read them again: up to CHUNK_SENTENCES_MAX into out, their number into *n.
 * FORMAT when they do not lie in rising order within text_len bytes. */
TACIT_CHECKED enum tacit_err places_decode(const void *bytes, size_t n_bytes,
                                           size_t text_len,
                                           struct chunk_sentence *out,
                                           size_t *n);

#endif
