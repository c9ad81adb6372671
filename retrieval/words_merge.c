#include "retrieval/words_merge.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    STORE_BYTES = 1 << 20, /* of leaves, that are written together */
    TERM_MAX = 1 + WORDS_TERM_MAX,
    ONLY_DELETED = 1 /* the size of a row's places */
};

/* Where a segment is read. */
struct cursor {
    sqlite3_stmt *leaves; /* owned; the leaf is the row it is on */
    int64_t next_id;      /* of the leaf behind it */
    int64_t last_id;
    const uint8_t *leaf;     /* [n_leaf] borrowed until the next */
    size_t n_leaf, body_end; /* before the footer */
    size_t at, end;          /* what is left of the term's rows in it */
    size_t first_row;        /* where a row stands whole; 0: nowhere */
    size_t foot, next_term;  /* 0: the leaf has no other */
    int is_bad;              /* another form than is known here */
    int is_first;            /* the next term is the leaf's first */
    int has_term, has_row;
    struct buf term, places; /* owned; of the row, with their size */
    uint64_t row;
};

struct merging {
    struct db *db;                          /* borrowed */
    struct cursor cursor[WORDS_MERGED_MAX]; /* oldest first */
    size_t n;
    int is_oldest, is_bad;
    struct words_segment made; /* owned */
    struct buf rows;           /* of the term */
    int64_t id;                /* of the segment that is made */
};

/* ---- leaves ---------------------------------------------------------------
 */

static void give_up(struct cursor *c)
{
    c->is_bad = 1;
    c->has_term = c->has_row = 0;
    c->at = c->end = c->next_term = 0;
    c->next_id = c->last_id + 1;
}

/* A number in [*at, end) of the leaf; 0 and is_bad when it is cut. */
static uint64_t number(struct cursor *c, size_t *at, size_t end)
{
    struct reader r;
    if (*at < end && !(c->leaf[*at] & 0x80)) return c->leaf[(*at)++];
    reader_init(&r, c->leaf + *at, end - *at);
    uint64_t v = words_get(&r);
    if (r.err) {
        give_up(c);
        return 0;
    }
    *at = end - r.left;
    return v;
}

/* Where the next term of the leaf stands, by its footer. */
static void find_term(struct cursor *c, size_t last)
{
    size_t foot = c->foot;
    c->next_term = 0;
    if (foot >= c->n_leaf) return;
    uint64_t more = number(c, &foot, c->n_leaf);
    if (c->is_bad) return;
    if (more == 0 || more >= c->body_end - last) {
        give_up(c);
        return;
    }
    c->foot = foot;
    c->next_term = last + (size_t)more;
}

static size_t be16(const uint8_t *p)
{
    return (size_t)p[0] << 8 | p[1];
}

/* The next leaf, of which there is one: what goes on from the one before. */
static enum tacit_err next_leaf(struct db *db, struct cursor *c)
{
    int has_row;
    TRY(db_step(db, c->leaves, &has_row));
    int is_next = has_row && sqlite3_column_int64(c->leaves, 0) == c->next_id;
    c->leaf = is_next ? sqlite3_column_blob(c->leaves, 1) : NULL;
    c->n_leaf = is_next ? (size_t)sqlite3_column_bytes(c->leaves, 1) : 0;
    if (!c->leaf || c->n_leaf < WORDS_LEAF_HEAD ||
        be16(c->leaf + 2) < WORDS_LEAF_HEAD || be16(c->leaf + 2) > c->n_leaf) {
        give_up(c);
        return TACIT_OK;
    }
    c->next_id++;
    c->is_first = 1;
    c->first_row = be16(c->leaf);
    c->foot = c->body_end = be16(c->leaf + 2);
    c->at = WORDS_LEAF_HEAD;
    find_term(c, 0);
    if (!c->is_bad) c->end = c->next_term ? c->next_term : c->body_end;
    if (c->end < c->at) give_up(c);
    return TACIT_OK;
}

/* Go on in the next leaf where this one's part of the term's rows is read. */
static enum tacit_err go_on(struct db *db, struct cursor *c)
{
    while (c->at == c->end && !c->next_term && c->next_id <= c->last_id)
        TRY(next_leaf(db, c));
    return TACIT_OK;
}

/* ---- rows and terms -------------------------------------------------------
 */

/* The places of a row, n bytes, behind their size. */
static enum tacit_err read_places(struct db *db, struct cursor *c, uint64_t n)
{
    while (n && !c->is_bad) {
        TRY(go_on(db, c));
        size_t left = c->end - c->at, take = n < left ? (size_t)n : left;
        if (!take) {
            give_up(c);
            break;
        }
        buf_put(&c->places, c->leaf + c->at, take);
        c->at += take;
        n -= take;
    }
    return buf_end(&c->places);
}

static enum tacit_err next_row(struct db *db, struct cursor *c)
{
    TRY(go_on(db, c));
    c->has_row = c->at < c->end;
    if (!c->has_row) return TACIT_OK;
    uint64_t was = c->at == c->first_row ? 0 : c->row, last = c->row;
    c->row = was + number(c, &c->at, c->end);
    if (c->row > INT64_MAX || (last && c->row <= last)) give_up(c);
    if (!c->is_bad) TRY(go_on(db, c));
    uint64_t size = c->is_bad ? 0 : number(c, &c->at, c->end);
    buf_clear(&c->places);
    words_put(&c->places, size);
    return read_places(db, c, size >> 1);
}

/* The next term, all rows of the one before being read, and its first row. */
static enum tacit_err next_term(struct db *db, struct cursor *c)
{
    c->has_row = 0;
    c->has_term = c->next_term != 0;
    if (!c->has_term) return TACIT_OK;
    c->at = c->next_term;
    find_term(c, c->at);
    if (!c->is_bad) c->end = c->next_term ? c->next_term : c->body_end;
    uint64_t same = c->is_first || c->is_bad ? 0 : number(c, &c->at, c->end);
    uint64_t n = c->is_bad ? 0 : number(c, &c->at, c->end);
    if (n == 0 || n > c->end - c->at || same > c->term.len ||
        same + n > TERM_MAX) {
        give_up(c);
        return TACIT_OK;
    }
    c->is_first = 0;
    c->term.len = (size_t)same;
    buf_put(&c->term, c->leaf + c->at, (size_t)n);
    TRY(buf_end(&c->term));
    c->at += (size_t)n;
    c->row = 0;
    return next_row(db, c);
}

static enum tacit_err open_cursor(struct db *db, struct cursor *c,
                                  const struct words_span *s)
{
    int64_t base = (int64_t)s->id << WORDS_SEGMENT_BITS;
    c->next_id = base + s->leaf_first;
    c->last_id = base + s->leaf_last;
    TRY(db_query(db, &c->leaves,
                 "SELECT id, block FROM chunk_fts_data"
                 " WHERE id BETWEEN ? AND ? ORDER BY id",
                 "ii", c->next_id, c->last_id));
    TRY(next_leaf(db, c));
    if (c->next_term != c->at) give_up(c);
    return next_term(db, c);
}

static void close_cursor(struct cursor *c)
{
    db_finish(c->leaves);
    buf_release(&c->term);
    buf_release(&c->places);
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
static const struct buf *first_term(struct merging *m, struct cursor **having,
                                    size_t *n)
{
    const struct buf *first = NULL;
    *n = 0;
    for (size_t i = 0; i < m->n; i++) {
        struct cursor *c = &m->cursor[i];
        m->is_bad |= c->is_bad;
        if (!c->has_term) continue;
        int d = first ? compare(&c->term, first) : -1;
        if (d > 0) continue;
        if (d < 0) *n = 0;
        first = &c->term;
        having[(*n)++] = c;
    }
    return first;
}

/* The rows behind the one that c is on, below `limit`, as far as they stand in
 * its leaf just as they will stand: c is on the last of them. */
static void copy_rows(struct merging *m, struct cursor *c, uint64_t limit)
{
    const size_t from = c->at;
    for (size_t at = from; at < c->end && at != c->first_row; c->at = at) {
        uint64_t row = c->row + number(c, &at, c->end);
        if (row <= c->row || row >= limit || at >= c->end) break;
        uint64_t size = number(c, &at, c->end);
        if (size >> 1 > c->end - at || size == ONLY_DELETED) break;
        at += size >> 1;
        c->row = row;
    }
    if (!c->is_bad) buf_put(&m->rows, c->leaf + from, c->at - from);
}

/* The next row of a term, and those behind it that nobody else comes before;
 * *last is what was written last. */
static enum tacit_err merge_next(struct merging *m, struct cursor **having,
                                 size_t n, struct cursor *best, uint64_t *last)
{
    const uint64_t row = best->row;
    uint64_t limit = INT64_MAX;
    int is_kept = !m->is_oldest || best->places.len != 1 ||
                  best->places.data[0] != ONLY_DELETED;
    for (size_t i = 0; i < n; i++) {
        struct cursor *c = having[i];
        if (c == best || !c->has_row) continue;
        if (c->row == row) TRY(next_row(m->db, c));
        if (c->has_row && c->row < limit) limit = c->row;
    }
    if (is_kept) {
        words_put(&m->rows, row - *last);
        buf_put(&m->rows, best->places.data, best->places.len);
        copy_rows(m, best, limit);
        *last = best->row;
    }
    return best->is_bad ? TACIT_OK : next_row(m->db, best);
}

/* The rows of a term, from who has it, oldest first. */
static enum tacit_err merge_rows(struct merging *m, struct cursor **having,
                                 size_t n)
{
    uint64_t last = 0;
    buf_clear(&m->rows);
    for (;;) {
        struct cursor *best = NULL;
        for (size_t i = 0; i < n; i++)
            if (having[i]->has_row && (!best || having[i]->row <= best->row))
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
    struct cursor *having[WORDS_MERGED_MAX];
    const struct buf *term;
    size_t n;
    while ((term = first_term(m, having, &n)) && !m->is_bad) {
        TRY(merge_rows(m, having, n));
        if (compare(term, &m->made.term) <= 0) m->is_bad = 1;
        if (m->rows.len && !m->is_bad)
            words_segment_put(&m->made, term->data, term->len, m->rows.data,
                              m->rows.len);
        for (size_t i = 0; i < n; i++) TRY(next_term(m->db, having[i]));
        if (m->made.bytes.len >= STORE_BYTES) TRY(store(m));
    }
    TRY(words_segment_end(&m->made));
    return m->is_bad ? TACIT_OK : store(m);
}

static enum tacit_err remove_segment(struct db *db, const struct words_span *s)
{
    int64_t first = (int64_t)s->id << WORDS_SEGMENT_BITS;
    TRY(db_run(db, "DELETE FROM chunk_fts_data WHERE id BETWEEN ? AND ?", "ii",
               first, first + ((int64_t)1 << WORDS_SEGMENT_BITS) - 1));
    return db_run(db, "DELETE FROM chunk_fts_idx WHERE segid = ?", "i",
                  (int64_t)s->id);
}

enum tacit_err words_merge(struct db *db, const struct words_span *from,
                           size_t n, int is_oldest, struct words_span *out,
                           int *is_done)
{
    assert(n <= WORDS_MERGED_MAX);
    struct merging *m = calloc(1, sizeof *m);
    *is_done = 0;
    if (!m) return fail(TACIT_NOMEM, "out of memory");
    m->db = db;
    m->n = n;
    m->is_oldest = is_oldest;
    m->id = out->id;
    enum tacit_err err = words_segment_init(&m->made, WORDS_PAGE_BYTES);
    for (size_t i = 0; i < n && !err; i++)
        err = open_cursor(db, &m->cursor[i], &from[i]);
    if (!err) err = merge_terms(m);
    for (size_t i = 0; i < n; i++) close_cursor(&m->cursor[i]);
    for (size_t i = 0; i < n && !err && !m->is_bad; i++)
        err = remove_segment(db, &from[i]);
    out->leaf_first = 1;
    out->leaf_last = m->made.n_leaves;
    *is_done = !err && !m->is_bad;
    words_segment_release(&m->made);
    buf_release(&m->rows);
    free(m);
    return err;
}
