#include "retrieval/postings.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "retrieval/words_ahead.h"

enum {
    SEGMENTS_MAX = 1000, /* FTS5 merges long before */
    LEVELS_MAX = 64,
    CURSORS_MAX = 1024,
    TOKEN_MAX = 512,
    LEAF_MAX = 128 << 10 /* FTS5's pages have 64 KiB at most */
};

struct segment {
    int64_t rows; /* of its leaves: this and the page's number */
    uint32_t id, first, last;
};

/* Where a token's list begins in a segment. */
struct place {
    uint32_t page, at, end; /* bytes of the leaf; end: of the list there */
    int is_last;            /* another term follows on this leaf */
};

/* A token's list in one segment, while it is read. */
struct cursor {
    const struct segment *in;
    size_t token;
    struct place start;
    uint8_t *bytes; /* [cap] the leaf; arena */
    size_t cap;
    uint32_t page; /* 0: none yet */
    uint32_t n;    /* bytes before the terms' places; then to n_all these */
    uint32_t n_all;
    uint32_t at, end;
    int is_last, is_fresh; /* no row was read on this leaf */
    int is_done;
    int64_t row;
    uint64_t left; /* bytes of its places */
};

struct postings {
    struct db *db; /* borrowed */
    const uint32_t *weight;
    struct arena a;
    /* Owned. `form` keeps its row, so that all reads see one state. */
    sqlite3_stmt *form, *data, *find, *length;
    struct segment *segments; /* oldest first */
    size_t n_segments;
    struct cursor *cursors; /* [CURSORS_MAX] oldest segment of a token first */
    size_t n_cursors, n_tokens;
    enum postings_depth depth;
    struct postings_window window;
};

static enum tacit_err damaged(const char *what)
{
    return fail_as(E_STORE_DAMAGED, "the word index is damaged (%s)", what);
}

/* ---- numbers --------------------------------------------------------------
 */

/* A varint in bytes [*at, end); most have one byte or two. */
static int take(const uint8_t *bytes, uint32_t *at, uint32_t end, uint64_t *out)
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

static uint32_t be16(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

/* ---- opening --------------------------------------------------------------
 */

/* A record of the index, borrowed until the next; n 0: there is none. */
static enum tacit_err read_record(struct postings *p, int64_t id,
                                  const uint8_t **bytes, size_t *n)
{
    int has_row = 0;
    sqlite3_reset(p->data);
    sqlite3_bind_int64(p->data, 1, id);
    TRY(db_step(p->db, p->data, &has_row));
    *bytes = has_row ? sqlite3_column_blob(p->data, 0) : NULL;
    *n = *bytes ? (size_t)sqlite3_column_bytes(p->data, 0) : 0;
    return TACIT_OK;
}

static enum tacit_err read_level(struct postings *p, struct reader *r,
                                 size_t room, size_t *n)
{
    uint64_t merging = words_get(r), count = words_get(r);
    if (r->err || merging > count || count > room)
        return damaged("a level of segments");
    for (*n = 0; *n < count; ++*n) {
        uint64_t id = words_get(r), first = words_get(r), last = words_get(r);
        if (r->err || id < 1 || id > INT16_MAX || last < first ||
            last > INT32_MAX)
            return damaged("a segment");
        p->segments[*n] =
            (struct segment){.rows = (int64_t)(id << WORDS_SEGMENT_BITS),
                             .id = (uint32_t)id,
                             .first = (uint32_t)first,
                             .last = (uint32_t)last};
    }
    return TACIT_OK;
}

/* The newest segment is the last of the lowest level: levels are read into the
 * list from its end. */
static enum tacit_err read_segments(struct postings *p)
{
    struct reader r;
    const uint8_t *bytes;
    size_t n_bytes, n = 0;
    TRY(read_record(p, WORDS_SEGMENTS, &bytes, &n_bytes));
    reader_init(&r, bytes, n_bytes);
    (void)reader_take(&r, 4);
    uint64_t n_levels = words_get(&r), n_all = words_get(&r);
    (void)words_get(&r);
    if (r.err || n_levels > LEVELS_MAX || n_all > SEGMENTS_MAX)
        return damaged("its segments");
    struct segment *list = NULL;
    TRY(arena_alloc(&p->a, n_all + 1, sizeof *list, &list));
    TRY(arena_alloc(&p->a, n_all + 1, sizeof *list, &p->segments));
    size_t left = n_all;
    for (uint64_t i = 0; i < n_levels; i++) {
        TRY(read_level(p, &r, left, &n));
        left -= n;
        memcpy(list + left, p->segments, n * sizeof *list);
    }
    if (r.left || left) return damaged("its segments");
    p->segments = list;
    p->n_segments = n_all;
    return TACIT_OK;
}

/* Whether the table is of our making and of FTS5's form 4. */
static enum tacit_err look_at_form(struct postings *p, int *is_known)
{
    int has_row = 0;
    TRY(db_query(p->db, &p->form,
                 "SELECT v = 4 AND (SELECT sql = ?1 FROM sqlite_schema"
                 " WHERE name = 'chunk_fts')"
                 " FROM chunk_fts_config WHERE k = 'version'",
                 "s", WORDS_TABLE));
    TRY(db_step(p->db, p->form, &has_row));
    *is_known = has_row && sqlite3_column_int(p->form, 0) &&
                sqlite3_txn_state(p->db->sql, "main") != SQLITE_TXN_WRITE;
    return TACIT_OK;
}

static enum tacit_err open(struct postings *p, int *is_known)
{
    TRY(look_at_form(p, is_known));
    if (!*is_known) return TACIT_OK;
    TRY(db_query(p->db, &p->data,
                 "SELECT block FROM chunk_fts_data WHERE id = ?", ""));
    TRY(db_query(p->db, &p->find,
                 "SELECT pgno FROM chunk_fts_idx WHERE segid = ? AND term <= ?"
                 " ORDER BY term DESC LIMIT 1",
                 ""));
    TRY(db_query(p->db, &p->length,
                 "SELECT sz FROM chunk_fts_docsize WHERE id = ?", ""));
    TRY(read_segments(p));
    return arena_alloc_raw(&p->a, CURSORS_MAX, sizeof *p->cursors, &p->cursors);
}

enum tacit_err postings_open(struct db *db, const uint32_t *weight,
                             struct postings **out)
{
    int is_known = 0;
    struct postings *p = calloc(1, sizeof *p);
    if (!p) return fail(TACIT_NOMEM, "out of memory");
    p->db = db;
    p->weight = weight;
    arena_init(&p->a, 0);
    enum tacit_err err = open(p, &is_known);
    if (!err && is_known) {
        *out = p;
        return TACIT_OK;
    }
    postings_close(p);
    *out = NULL;
    return err;
}

void postings_close(struct postings *p)
{
    if (!p) return;
    db_finish(p->form);
    db_finish(p->data);
    db_finish(p->find);
    db_finish(p->length);
    arena_release(&p->a);
    free(p);
}

/* ---- leaves ---------------------------------------------------------------
 */

/* The leaf of a cursor becomes `page`. */
static enum tacit_err load(struct postings *p, struct cursor *c, uint32_t page)
{
    const uint8_t *bytes;
    size_t n;
    TRY(read_record(p, c->in->rows + (int64_t)page, &bytes, &n));
    if (n < WORDS_LEAF_HEAD || n > LEAF_MAX) return damaged("a leaf's length");
    if (n > c->cap) {
        TRY(arena_alloc_raw(&p->a, n, 1, &c->bytes));
        c->cap = n;
    }
    memcpy(c->bytes, bytes, n);
    c->page = page;
    c->n_all = (uint32_t)n;
    c->n = be16(bytes + 2);
    if (c->n < WORDS_LEAF_HEAD || c->n > n) return damaged("a leaf's head");
    return TACIT_OK;
}

/* The next leaf: what is left of the list stands before its first term. */
static enum tacit_err load_next(struct postings *p, struct cursor *c)
{
    uint64_t term;
    uint32_t at;
    if (c->page >= c->in->last) return damaged("a list's end");
    TRY(load(p, c, c->page + 1));
    at = c->n;
    c->is_last = at < c->n_all;
    c->end = c->n;
    if (c->is_last) {
        if (!take(c->bytes, &at, c->n_all, &term) || term < WORDS_LEAF_HEAD ||
            term > c->n)
            return damaged("a leaf's terms");
        c->end = (uint32_t)term;
    }
    c->at = WORDS_LEAF_HEAD;
    c->is_fresh = 1;
    return TACIT_OK;
}

/* A term while those of a leaf are read: its first bytes, and its length. */
struct term {
    uint8_t bytes[TOKEN_MAX];
    uint64_t n;
};

/* The term at *at, which agrees with the one before it in some bytes. */
static int read_term(const struct cursor *c, uint32_t *at, int is_first,
                     struct term *t)
{
    uint64_t same = 0, more;
    if (!is_first && !take(c->bytes, at, c->n, &same)) return 0;
    if (!take(c->bytes, at, c->n, &more) || same > t->n || more > c->n - *at)
        return 0;
    t->n = same + more;
    for (uint64_t i = 0; i < more && same + i < TOKEN_MAX; i++)
        t->bytes[same + i] = c->bytes[*at + i];
    *at += (uint32_t)more;
    return 1;
}

/* Where the rows of a term [n] begin on the leaf; *is_there 0: it has not. */
static enum tacit_err find_on_leaf(struct cursor *c, const uint8_t *term,
                                   size_t n, int *is_there)
{
    struct term t = {.n = 0};
    uint32_t places = c->n, at = 0;
    uint64_t more = 0;
    *is_there = 0;
    while (!*is_there && places < c->n_all) {
        int is_first = at == 0;
        uint32_t was = at;
        if (!take(c->bytes, &places, c->n_all, &more) || more > c->n - at)
            return damaged("a leaf's terms");
        at += (uint32_t)more;
        if (at <= was || at < WORDS_LEAF_HEAD) return damaged("a term's place");
        uint32_t behind = at;
        if (!read_term(c, &behind, is_first, &t)) return damaged("a term");
        *is_there = t.n == n && memcmp(t.bytes, term, n) == 0;
        c->start = (struct place){c->page, behind, c->n, 0};
    }
    if (!*is_there || places == c->n_all) return TACIT_OK;
    if (!take(c->bytes, &places, c->n_all, &more) || more > c->n - at ||
        at + more < c->start.at)
        return damaged("a term's end");
    c->start.end = at + (uint32_t)more;
    c->start.is_last = 1;
    return TACIT_OK;
}

/* The leaf that a term may stand on. */
static enum tacit_err find_page(struct postings *p, const struct segment *in,
                                const uint8_t *term, size_t n, uint32_t *page)
{
    int has_row = 0;
    int64_t found = 0;
    sqlite3_reset(p->find);
    sqlite3_bind_int64(p->find, 1, in->id);
    sqlite3_bind_blob(p->find, 2, term, (int)n, SQLITE_STATIC);
    TRY(db_step(p->db, p->find, &has_row));
    if (has_row) found = sqlite3_column_int64(p->find, 0) >> 1;
    sqlite3_reset(p->find);
    if (found < in->first) found = in->first; /* the rest was merged */
    if (found > in->last) return damaged("a term's leaf");
    *page = (uint32_t)found;
    return TACIT_OK;
}

enum tacit_err postings_add(struct postings *p, const char *token, size_t n)
{
    uint8_t term[TOKEN_MAX];
    int is_there;
    if (n >= TOKEN_MAX || p->n_tokens == POSTINGS_TOKENS_MAX ||
        p->n_segments > CURSORS_MAX - p->n_cursors)
        return fail(TACIT_LIMIT, "too many words");
    term[0] = WORDS_MAIN;
    memcpy(term + 1, token, n);
    for (size_t i = 0; i < p->n_segments; i++) {
        uint32_t page = 0;
        struct cursor *c = &p->cursors[p->n_cursors];
        if (p->segments[i].last == 0) continue; /* it was merged */
        *c = (struct cursor){.in = &p->segments[i], .token = p->n_tokens};
        TRY(find_page(p, c->in, term, n + 1, &page));
        TRY(load(p, c, page));
        TRY(find_on_leaf(c, term, n + 1, &is_there));
        p->n_cursors += (size_t)is_there;
    }
    p->n_tokens++;
    return TACIT_OK;
}

/* ---- rows -----------------------------------------------------------------
 */

/* The row at c->at: how much more than the last, or itself. */
enum row_form { ROW_MORE, ROW_WHOLE };

static enum tacit_err read_row(struct cursor *c, enum row_form form)
{
    uint64_t row, size;
    if (!take(c->bytes, &c->at, c->end, &row) ||
        !take(c->bytes, &c->at, c->end, &size))
        return damaged("a row");
    if (form == ROW_MORE) row += (uint64_t)c->row;
    if ((int64_t)row <= c->row) return damaged("the order of rows");
    c->row = (int64_t)row;
    c->left = size >> 1; /* the lowest bit: an older one was deleted */
    c->is_fresh = 0;
    return TACIT_OK;
}

/* The next row of the list, whose places begin at c->at. */
static enum tacit_err next_row(struct postings *p, struct cursor *c)
{
    while (c->is_fresh || c->at == c->end) {
        uint32_t first = c->is_fresh ? be16(c->bytes) : 0;
        if (first) {
            if (first != c->at || first >= c->end) return damaged("a row");
            return read_row(c, ROW_WHOLE);
        }
        if (c->is_fresh && c->at != c->end) return damaged("a list");
        if (c->is_last || c->page == c->in->last) {
            c->is_done = 1;
            return TACIT_OK;
        }
        TRY(load_next(p, c));
    }
    return read_row(c, ROW_MORE);
}

/* Places while they are read. */
struct places {
    enum { PLACE, WITHIN, COLUMN } next; /* what the next byte is */
    uint32_t weight;                     /* of the column */
    uint32_t value, at;                  /* the number, the place */
    struct posting sum;
};

static void end_column(struct places *k)
{
    k->sum.reach += k->at + 1;
    k->at = 0;
}

static int read_places(const uint32_t *weight, struct places *k,
                       const uint8_t *bytes, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint8_t b = bytes[i];
        if (k->next == COLUMN) {
            if (b >= WORDS_COLUMNS) return 0;
            if (k->sum.held) end_column(k);
            k->weight = weight[b];
            k->next = PLACE;
            continue;
        }
        k->value = k->value << 7 | (b & 0x7f);
        if (b & 0x80) {
            k->next = WITHIN;
            continue;
        }
        if (k->next == PLACE && b == WORDS_COLUMN) {
            k->next = COLUMN;
        } else {
            k->sum.held += k->weight;
            k->at += k->value - WORDS_PLACE;
            k->next = PLACE;
        }
        k->value = 0;
    }
    return 1;
}

/* A row's places, which may go on in further leaves; or that it has some. */
static enum tacit_err take_places(struct postings *p, struct cursor *c,
                                  struct posting *out)
{
    struct places k = {PLACE, p->weight[0], 0, 0, {0, 0}};
    *out = (struct posting){c->left > 0, 0};
    for (;;) {
        uint32_t n = c->end - c->at;
        if (n > c->left) n = (uint32_t)c->left;
        if (p->depth == POSTINGS_PLACES &&
            !read_places(p->weight, &k, c->bytes + c->at, n))
            return damaged("a column");
        c->at += n;
        c->left -= n;
        if (c->left == 0) break;
        if (c->is_last) return damaged("a row's places");
        TRY(load_next(p, c));
    }
    if (p->depth == POSTINGS_ROWS) return TACIT_OK;
    if (k.sum.held) end_column(&k);
    *out = k.sum;
    return k.next == PLACE ? TACIT_OK : damaged("a place");
}

/* ---- windows --------------------------------------------------------------
 */

enum tacit_err postings_begin(struct postings *p, enum postings_depth depth)
{
    if (!p->window.list)
        TRY(arena_alloc(&p->a, p->n_tokens + 1, sizeof *p->window.list,
                        &p->window.list));
    p->depth = depth;
    for (size_t i = 0; i < p->n_cursors; i++) {
        struct cursor *c = &p->cursors[i];
        if (c->page != c->start.page) TRY(load(p, c, c->start.page));
        c->at = c->start.at;
        c->end = c->start.end;
        c->is_last = c->start.is_last;
        c->is_fresh = c->is_done = 0;
        c->row = INT64_MIN;
        if (c->at < c->end)
            TRY(read_row(c, ROW_WHOLE));
        else
            TRY(next_row(p, c));
        if (c->is_done) return damaged("a list without rows");
    }
    return TACIT_OK;
}

/* What a cursor has in the window. */
static enum tacit_err fill(struct postings *p, struct cursor *c)
{
    struct postings_window *w = &p->window;
    uint64_t at;
    while (!c->is_done &&
           (at = (uint64_t)c->row - (uint64_t)w->first) < POSTINGS_WINDOW) {
        TRY(take_places(p, c, &w->list[c->token][at]));
        w->there[at / 64] |= (uint64_t)1 << at % 64;
        TRY(next_row(p, c));
    }
    return TACIT_OK;
}

enum tacit_err postings_next(struct postings *p, struct postings_window **out)
{
    struct postings_window *w = &p->window;
    const struct cursor *least = NULL;
    *out = NULL;
    for (size_t i = 0; i < p->n_cursors; i++) {
        const struct cursor *c = &p->cursors[i];
        if (!c->is_done && (!least || c->row < least->row)) least = c;
    }
    if (!least) return TACIT_OK;
    w->first = least->row;
    memset(w->there, 0, sizeof w->there);
    for (size_t i = 0; i < p->n_cursors; i++) TRY(fill(p, &p->cursors[i]));
    *out = w;
    return TACIT_OK;
}

/* ---- sizes ----------------------------------------------------------------
 */

/* Numbers [n] of a record, which has no others. */
static int read_sums(const void *bytes, size_t n_bytes, uint64_t *first,
                     uint64_t *rest)
{
    struct reader r;
    reader_init(&r, bytes, n_bytes);
    if (first) *first = words_get(&r);
    *rest = 0;
    for (int i = 0; i < WORDS_COLUMNS; i++) *rest += words_get(&r);
    return r.err == TACIT_OK && r.left == 0;
}

enum tacit_err postings_totals(struct postings *p, uint64_t *n_rows,
                               uint64_t *n_words)
{
    const uint8_t *bytes;
    size_t n;
    TRY(read_record(p, WORDS_AVERAGES, &bytes, &n));
    *n_rows = *n_words = 0;
    if (n == 0) return TACIT_OK; /* there were no rows yet */
    return read_sums(bytes, n, n_rows, n_words) ? TACIT_OK
                                                : damaged("its averages");
}

enum tacit_err postings_length(struct postings *p, int64_t row,
                               uint64_t *n_words)
{
    int has_row = 0;
    sqlite3_reset(p->length);
    sqlite3_bind_int64(p->length, 1, row);
    TRY(db_step(p->db, p->length, &has_row));
    if (!has_row ||
        !read_sums(sqlite3_column_blob(p->length, 0),
                   (size_t)sqlite3_column_bytes(p->length, 0), NULL, n_words))
        return damaged("the length of a row");
    return TACIT_OK;
}
