#include "retrieval/words_merge.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "retrieval/words_cursor.h"

enum {
    STORE_BYTES = 1 << 20, /* of leaves, that are written together */
    ONLY_DELETED = 1       /* the size of a row's places */
};

/* A segment, at a row of a term. */
struct source {
    struct words_cursor c; /* owned */
    int has_term, has_row;
    struct buf term, places; /* owned; of the row, with their size */
};

struct merging {
    struct db *db;                          /* borrowed */
    struct source source[WORDS_MERGED_MAX]; /* oldest first */
    size_t n;
    int is_oldest;
    struct words_segment made; /* owned */
    struct buf rows;           /* of the term */
    int64_t id;                /* of the segment that is made */
};

/* ---- one segment ----------------------------------------------------------
 */

static enum tacit_err next_row(struct source *s)
{
    struct words_cursor *c = &s->c;
    TRY(words_cursor_row(c));
    s->has_row = !c->is_done;
    if (c->is_done) return TACIT_OK;
    if (c->row < 0) return words_cursor_damaged(c, "a row's number");
    buf_clear(&s->places);
    words_put(&s->places, c->size);
    do {
        const uint8_t *bytes = NULL;
        uint32_t n = 0;
        TRY(words_cursor_places(c, &bytes, &n));
        buf_put(&s->places, bytes, n);
    } while (c->left);
    return buf_end(&s->places);
}

/* The next term, all rows of the one before being read, and its first row. */
static enum tacit_err next_term(struct source *s)
{
    TRY(words_cursor_term(&s->c, &s->term, &s->has_term));
    return s->has_term ? next_row(s) : TACIT_OK;
}

static enum tacit_err open_source(struct words_rows *rows, struct source *s,
                                  const struct words_span *in)
{
    words_cursor_init(&s->c, rows, in);
    TRY(words_cursor_load(&s->c, in->leaf_first));
    if (s->c.next_term != s->c.at)
        return words_cursor_damaged(&s->c, "a segment's first term");
    return next_term(s);
}

static void close_source(struct source *s)
{
    words_cursor_release(&s->c);
    buf_release(&s->term);
    buf_release(&s->places);
}

/* ---- the segments together ------------------------------------------------
 */

static int compare(const struct buf *a, const struct buf *b)
{
    size_t n = a->len < b->len ? a->len : b->len;
    int d = n ? memcmp(a->data, b->data, n) : 0;
    return d ? d : (a->len > b->len) - (a->len < b->len);
}

/* The first term of all that are at hand, and who has it; NULL: no more. */
static const struct buf *first_term(struct merging *m, struct source **having,
                                    size_t *n)
{
    const struct buf *first = NULL;
    *n = 0;
    for (size_t i = 0; i < m->n; i++) {
        struct source *s = &m->source[i];
        if (!s->has_term) continue;
        int d = first ? compare(&s->term, first) : -1;
        if (d > 0) continue;
        if (d < 0) *n = 0;
        first = &s->term;
        having[(*n)++] = s;
    }
    return first;
}

/* The rows behind the one that c is on, below `limit`, as far as they stand in
 * its leaf just as they will stand: c is on the last of them. */
static enum tacit_err copy_rows(struct merging *m, struct words_cursor *c,
                                uint64_t limit)
{
    const uint8_t *leaf = c->leaf.data;
    const uint32_t from = c->at;
    uint64_t more, size;
    if (from <= c->first_row) return TACIT_OK; /* the next stands whole */
    for (uint32_t at = from; at < c->end; c->at = at) {
        if (!words_take(leaf, &at, c->end, &more) ||
            !words_take(leaf, &at, c->end, &size))
            return words_cursor_damaged(c, "a row");
        uint64_t row = (uint64_t)c->row + more;
        if (more == 0 || row < more || row >= limit ||
            size >> 1 > c->end - at || size == ONLY_DELETED)
            break;
        at += (uint32_t)(size >> 1);
        c->row = (int64_t)row;
    }
    buf_put(&m->rows, leaf + from, c->at - from);
    return TACIT_OK;
}

/* The next row of a term, and those behind it that nobody else comes before;
 * *last is what was written last. */
static enum tacit_err merge_next(struct merging *m, struct source **having,
                                 size_t n, struct source *best, uint64_t *last)
{
    const int64_t row = best->c.row;
    int64_t limit = INT64_MAX;
    int is_kept = !m->is_oldest || best->places.len != 1 ||
                  best->places.data[0] != ONLY_DELETED;
    for (size_t i = 0; i < n; i++) {
        struct source *s = having[i];
        if (s == best || !s->has_row) continue;
        if (s->c.row == row) TRY(next_row(s));
        if (s->has_row && s->c.row < limit) limit = s->c.row;
    }
    if (is_kept) {
        words_put(&m->rows, (uint64_t)row - *last);
        buf_put(&m->rows, best->places.data, best->places.len);
        TRY(copy_rows(m, &best->c, (uint64_t)limit));
        *last = (uint64_t)best->c.row;
    }
    return next_row(best);
}

/* The rows of a term, from who has it, oldest first. */
static enum tacit_err merge_rows(struct merging *m, struct source **having,
                                 size_t n)
{
    uint64_t last = 0;
    buf_clear(&m->rows);
    for (;;) {
        struct source *best = NULL;
        for (size_t i = 0; i < n; i++)
            if (having[i]->has_row &&
                (!best || having[i]->c.row <= best->c.row))
                best = having[i];
        if (!best) return buf_end(&m->rows);
        TRY(merge_next(m, having, n, best, &last));
    }
}

/* What is made so far goes into the table. */
static enum tacit_err store(struct merging *m)
{
    TRY(words_segment_store(m->db, &m->made, m->id));
    buf_clear(&m->made.bytes);
    buf_clear(&m->made.pages);
    buf_clear(&m->made.splits);
    return TACIT_OK;
}

static enum tacit_err merge_terms(struct merging *m)
{
    struct source *having[WORDS_MERGED_MAX];
    const struct buf *term;
    size_t n;
    while ((term = first_term(m, having, &n))) {
        TRY(merge_rows(m, having, n));
        if (compare(term, &m->made.term) <= 0)
            return words_cursor_damaged(&having[0]->c, "the order of terms");
        if (m->rows.len)
            words_segment_put(&m->made, term->data, term->len, m->rows.data,
                              m->rows.len);
        for (size_t i = 0; i < n; i++) TRY(next_term(having[i]));
        if (m->made.bytes.len >= STORE_BYTES) TRY(store(m));
    }
    TRY(words_segment_end(&m->made));
    return store(m);
}

static enum tacit_err remove_segment(struct db *db, const struct words_span *s)
{
    int64_t first = (int64_t)s->id << WORDS_SEGMENT_BITS;
    TRY(db_run(db, "DELETE FROM chunk_fts_data WHERE id BETWEEN ? AND ?", "ii",
               first, first + ((int64_t)1 << WORDS_SEGMENT_BITS) - 1));
    return db_run(db, "DELETE FROM chunk_fts_idx WHERE segid = ?", "i",
                  (int64_t)s->id);
}

/* From opened sources into the table, in whose place they stand then. */
static enum tacit_err merge(struct merging *m, struct words_rows *rows,
                            const struct words_span *from)
{
    TRY(words_segment_init(&m->made, WORDS_PAGE_BYTES));
    for (size_t i = 0; i < m->n; i++)
        TRY(open_source(rows, &m->source[i], &from[i]));
    TRY(merge_terms(m));
    for (size_t i = 0; i < m->n; i++) TRY(remove_segment(m->db, &from[i]));
    return TACIT_OK;
}

/* Closes them; whether the form of one is not known here. */
static int close_sources(struct merging *m)
{
    int is_damaged = 0;
    for (size_t i = 0; i < m->n; i++) {
        is_damaged |= m->source[i].c.is_damaged;
        close_source(&m->source[i]);
    }
    return is_damaged;
}

enum tacit_err words_merge(struct words_rows *rows,
                           const struct words_span *from, size_t n,
                           int is_oldest, struct words_span *out, int *is_done)
{
    assert(n <= WORDS_MERGED_MAX);
    struct merging *m = calloc(1, sizeof *m);
    *is_done = 0;
    if (!m) return fail(TACIT_NOMEM, "out of memory");
    m->db = rows->db;
    m->n = n;
    m->is_oldest = is_oldest;
    m->id = out->id;
    enum tacit_err err = merge(m, rows, from);
    out->leaf_first = 1;
    out->leaf_last = m->made.n_leaves;
    *is_done = !err;
    if (close_sources(m)) {
        err_clear();
        err = TACIT_OK;
    }
    words_segment_release(&m->made);
    buf_release(&m->rows);
    free(m);
    return err;
}
