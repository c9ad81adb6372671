/*
 * words_cursor: a segment of the word index while it is read: leaf after leaf,
 * on a leaf term after term, of a term row after row (words_format.h).
 *
 *   leaf  [head] rows of a term before │ term rows │ term rows │ [footer]
 *                        at ────> end ┘   ^ next_term
 *
 * Questions go to a term's leaf and follow its rows (postings.h); merges go
 * through all leaves in order (words_merge.h).
 *
 * Nothing that is read is trusted: each length, place and order is checked
 * here, and what does not fit is E_STORE_DAMAGED with is_damaged set. Thread
 * rule: that of the connection.
 */
#ifndef TACIT_RETRIEVAL_WORDS_CURSOR_H
#define TACIT_RETRIEVAL_WORDS_CURSOR_H

#include "retrieval/words_record.h"

struct words_cursor {
    struct words_rows *rows; /* borrowed */
    struct words_span in;
    struct buf leaf;    /* owned; that of `page` */
    uint32_t page;      /* 0: none yet */
    uint32_t n;         /* bytes of the leaf before its footer */
    uint32_t foot;      /* where the footer goes on */
    uint32_t next_term; /* 0: the leaf has no other */
    uint32_t at, end;   /* what is left of the term's rows on this leaf */
    uint32_t first_row; /* where a row stands whole; n_leaf or more: nowhere */
    int is_first;       /* the next term is the leaf's first */
    int is_damaged;
    int is_done; /* the term has no more rows */
    int64_t row; /* the last that was read */
    uint64_t
        size; /* what stands before its places: their bytes << 1 | deleted */
    uint64_t left; /* of these */
};

/* Behind a term, so that its rows can be read again. */
struct words_place {
    uint32_t page, at, end, next_term, foot;
};

/* Before the first leaf; nothing is read yet. Released by the caller. */
void words_cursor_init(struct words_cursor *c, struct words_rows *rows,
                       const struct words_span *in);
void words_cursor_release(struct words_cursor *c);
/* To the beginning of a leaf: what goes on of the rows of the term before. */
TACIT_CHECKED enum tacit_err words_cursor_load(struct words_cursor *c,
                                               uint32_t page);
/* To the leaf behind; damage when there is none. */
TACIT_CHECKED enum tacit_err words_cursor_next(struct words_cursor *c);
/* To the next term on this leaf, before its first row. term: the one before it
 * on the leaf becomes this one. *is_there 0: the leaf has no other. */
TACIT_CHECKED enum tacit_err words_cursor_term(struct words_cursor *c,
                                               struct buf *term, int *is_there);
struct words_place words_cursor_place(const struct words_cursor *c);
TACIT_CHECKED enum tacit_err words_cursor_go(struct words_cursor *c,
                                             struct words_place to);
/* E_STORE_DAMAGED, and the cursor is. */
TACIT_CHECKED enum tacit_err words_cursor_damaged(struct words_cursor *c,
                                                  const char *what);
/* The same of what is no cursor's. */
TACIT_CHECKED enum tacit_err words_damaged(const char *what);

/* A varint in bytes [*at, end); most have one byte or two. 0: it is cut. */
static inline int words_take(const uint8_t *bytes, uint32_t *at, uint32_t end,
                             uint64_t *out)
{
    const uint8_t *p = bytes + *at;
    if (*at < end && p[0] < 0x80) {
        *out = p[0];
        *at += 1;
        return 1;
    }
    if (end - *at >= 2 && p[1] < 0x80) {
        *out = (uint64_t)(p[0] & 0x7f) << 7 | p[1];
        *at += 2;
        return 1;
    }
    struct reader r;
    reader_init(&r, p, end - *at);
    *out = words_get(&r);
    *at = end - (uint32_t)r.left;
    return r.err == TACIT_OK;
}

/* The term's next row, the places of the last being read; is_done: there is
 * none. */
TACIT_CHECKED static inline enum tacit_err words_cursor_row(
    struct words_cursor *c)
{
    uint64_t row;
    while (c->at == c->end) {
        c->is_done = c->next_term || c->page == c->in.leaf_last;
        if (c->is_done) return TACIT_OK;
        TRY(words_cursor_next(c));
    }
    int is_whole = c->at == c->first_row;
    if (c->at < c->first_row ||
        !words_take(c->leaf.data, &c->at, c->end, &row) ||
        !words_take(c->leaf.data, &c->at, c->end, &c->size))
        return words_cursor_damaged(c, "a row");
    if (!is_whole) row += (uint64_t)c->row;
    if ((int64_t)row <= c->row)
        return words_cursor_damaged(c, "the order of rows");
    c->row = (int64_t)row;
    c->left = c->size >> 1;
    return TACIT_OK;
}

/* The row's next places, *bytes [*n], borrowed until the next leaf; they go on
 * while c->left is not 0. */
TACIT_CHECKED static inline enum tacit_err words_cursor_places(
    struct words_cursor *c, const uint8_t **bytes, uint32_t *n)
{
    if (c->left && c->at == c->end) {
        if (c->next_term) return words_cursor_damaged(c, "a row's places");
        TRY(words_cursor_next(c));
    }
    *bytes = c->leaf.data + c->at;
    *n = c->end - c->at;
    if (*n > c->left) *n = (uint32_t)c->left;
    if (c->first_row >= c->at && c->first_row < c->at + *n)
        return words_cursor_damaged(c, "a row's places");
    c->at += *n;
    c->left -= *n;
    return TACIT_OK;
}

#endif
