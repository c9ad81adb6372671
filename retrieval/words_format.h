/*
 * words_format: what FTS5 keeps of the word index, as SQLite 3.20 and newer
 * writes it for tables without contentless_delete (the head of its
 * fts5_index.c).
 *
 *   chunk_fts_data     id 1   averages: rows, words of each column
 *                      id 10  segments: cookie [4], levels, segments, leaves
 *                             ever written to level 0; then for each level
 *                             how many are being merged, how many there are,
 *                             and each: id, first and last leaf
 *                      segment << 37 | list << 36 | height << 31 | page
 *                             leaves (list 0), and the first rows of the leaves
 *                             of a long list (list 1; page: where its term is)
 *   chunk_fts_idx      segment, term: page that it may stand in << 1 | whether
 *                      its last term has a list of leaves
 *   chunk_fts_docsize  row: words of each column
 *
 *   leaf   [u16 where its first row is before the first term; 0: nowhere]
 *          [u16 where its terms' places begin] terms and rows
 *          [where each term is, less where the one before it is]
 *   term   [bytes of the one before, not for a leaf's first] [more] bytes
 *          {[row or how much more] [bytes of its places << 1 | deleted] places}
 *   places [column's first + 2] [next, less the one before + 2]
 *          {1 [column] the same}; of a list that goes on in another leaf the
 *          first row there is whole
 *
 * A list's leaf: 0, or 1 when others lie over it; page, its first row, then for
 * each page 0 or how much more its first row is. The others: the same of those
 * below. All numbers but u16, which are big-endian, are SQLite's varints: seven
 * bits a byte from the top, the ninth byte has eight.
 */
#ifndef TACIT_RETRIEVAL_WORDS_FORMAT_H
#define TACIT_RETRIEVAL_WORDS_FORMAT_H

#include "common/base/buf.h"

enum {
    WORDS_COLUMNS = 3,  /* title, heading, text */
    WORDS_AVERAGES = 1, /* numbers of rows */
    WORDS_SEGMENTS = 10,
    WORDS_SEGMENT_BITS = 37, /* where a row's number has its parts */
    WORDS_LIST_BIT = 36,
    WORDS_HEIGHT_BITS = 31,
    WORDS_PAGE_BYTES = 4050, /* after which a leaf ends, unless configured */
    WORDS_LEAF_HEAD = 4,
    WORDS_MAIN = '0',       /* first byte of every term */
    WORDS_COLUMN = 1,       /* a column follows, among places */
    WORDS_PLACE = 2,        /* what is added to a place */
    WORDS_LISTED = 4,       /* leaves without terms that have a list */
    WORDS_TERM_MAX = 32768, /* what FTS5 takes of a word */
    WORDS_VARINT_MAX = 9
};

/* v as a varint at out; its bytes. */
static inline size_t words_varint(uint8_t out[WORDS_VARINT_MAX], uint64_t v)
{
    size_t n = 1;
    if (v < 0x80) {
        out[0] = (uint8_t)v;
        return 1;
    }
    if (v >> 56) {
        out[8] = (uint8_t)v;
        for (size_t i = 8; i-- > 0;)
            out[i] = (uint8_t)(v >> (8 + 7 * (7 - i)) | 0x80);
        return WORDS_VARINT_MAX;
    }
    while (v >> 7 * n) n++;
    for (size_t i = 0; i < n; i++)
        out[n - 1 - i] = (uint8_t)((v >> 7 * i & 0x7f) | (i ? 0x80 : 0));
    return n;
}

static inline void words_put(struct buf *b, uint64_t v)
{
    uint8_t bytes[WORDS_VARINT_MAX];
    buf_put(b, bytes, words_varint(bytes, v));
}

/* 0 after the reader's end. */
static inline uint64_t words_get(struct reader *r)
{
    uint64_t v = 0;
    if (r->left && *r->p < 0x80) { /* as most are */
        r->left--;
        return *r->p++;
    }
    for (int i = 0; i < WORDS_VARINT_MAX - 1; i++) {
        uint8_t byte = reader_u8(r);
        v = v << 7 | (byte & 0x7f);
        if (!(byte & 0x80)) return v;
    }
    return v << 8 | reader_u8(r);
}

#endif
