#include "retrieval/postings.h"

#include <stdlib.h>
#include <string.h>

#include "retrieval/words_ahead.h"
#include "retrieval/words_cursor.h"

enum { LISTS_MAX = 1024, TOKEN_MAX = 512 };

/* A token's list in one segment, while it is read. */
struct list {
    struct words_cursor c; /* owned */
    size_t token;
    struct words_place start;
};

struct postings {
    struct db *db; /* borrowed */
    const uint32_t *weight;
    struct arena a;
    /* Owned. `form` keeps its row, so that all reads see one state. */
    sqlite3_stmt *form, *find, *length;
    struct words_rows rows;     /* owned */
    struct words_record record; /* owned */
    struct list *lists; /* [LISTS_MAX] oldest segment of a token first; arena */
    struct buf term;    /* owned; that a cursor is at */
    size_t n_lists, n_tokens;
    enum postings_depth depth;
    struct postings_window window;
};

/* ---- opening --------------------------------------------------------------
 */

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
    const char *wrong;
    TRY(look_at_form(p, is_known));
    if (!*is_known) return TACIT_OK;
    TRY(words_rows_open(p->db, &p->rows));
    TRY(db_query(p->db, &p->find,
                 "SELECT pgno FROM chunk_fts_idx WHERE segid = ? AND term <= ?"
                 " ORDER BY term DESC LIMIT 1",
                 ""));
    TRY(db_query(p->db, &p->length,
                 "SELECT sz FROM chunk_fts_docsize WHERE id = ?", ""));
    TRY(words_record_read(&p->rows, &p->record, &wrong));
    if (wrong) return words_damaged(wrong);
    return arena_alloc_raw(&p->a, LISTS_MAX, sizeof *p->lists, &p->lists);
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
    for (size_t i = 0; i < p->n_lists; i++)
        words_cursor_release(&p->lists[i].c);
    db_finish(p->form);
    db_finish(p->find);
    db_finish(p->length);
    words_rows_close(&p->rows);
    words_record_release(&p->record);
    buf_release(&p->term);
    arena_release(&p->a);
    free(p);
}

/* ---- tokens ---------------------------------------------------------------
 */

/* The leaf that a term may stand on. */
static enum tacit_err find_page(struct postings *p, const struct words_span *in,
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
    if (found < in->leaf_first)
        found = in->leaf_first; /* the rest was merged */
    if (found > in->leaf_last) return words_damaged("a term's leaf");
    *page = (uint32_t)found;
    return TACIT_OK;
}

/* A term's [n] list in its segment; *is_there 0: it has none. */
static enum tacit_err find_list(struct postings *p, struct list *l,
                                const uint8_t *term, size_t n, int *is_there)
{
    uint32_t page = 0;
    TRY(find_page(p, &l->c.in, term, n, &page));
    TRY(words_cursor_load(&l->c, page));
    buf_clear(&p->term);
    do TRY(words_cursor_term(&l->c, &p->term, is_there));
    while (*is_there &&
           (p->term.len != n || memcmp(p->term.data, term, n) != 0));
    l->start = words_cursor_place(&l->c);
    return TACIT_OK;
}

enum tacit_err postings_add(struct postings *p, const char *token, size_t n)
{
    uint8_t term[TOKEN_MAX];
    int is_there;
    if (n >= TOKEN_MAX || p->n_tokens == POSTINGS_TOKENS_MAX ||
        p->record.n_segments > LISTS_MAX - p->n_lists)
        return fail(TACIT_LIMIT, "too many words");
    term[0] = WORDS_MAIN;
    memcpy(term + 1, token, n);
    for (uint64_t i = 0; i < p->record.n_segments; i++) {
        const struct words_span *in = &p->record.segment[i];
        if (in->leaf_last == 0) continue; /* it was merged */
        struct list *l = &p->lists[p->n_lists++];
        l->token = p->n_tokens;
        words_cursor_init(&l->c, &p->rows, in);
        TRY(find_list(p, l, term, n + 1, &is_there));
        if (is_there) continue;
        words_cursor_release(&l->c);
        p->n_lists--;
    }
    p->n_tokens++;
    return TACIT_OK;
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

/* A row's places; or that it has some. */
static enum tacit_err take_places(struct postings *p, struct words_cursor *c,
                                  struct posting *out)
{
    struct places k = {PLACE, p->weight[0], 0, 0, {0, 0}};
    *out = (struct posting){c->left > 0, 0};
    do {
        const uint8_t *bytes = NULL;
        uint32_t n = 0;
        TRY(words_cursor_places(c, &bytes, &n));
        if (p->depth == POSTINGS_PLACES &&
            !read_places(p->weight, &k, bytes, n))
            return words_cursor_damaged(c, "a column");
    } while (c->left);
    if (p->depth == POSTINGS_ROWS) return TACIT_OK;
    if (k.sum.held) end_column(&k);
    *out = k.sum;
    return k.next == PLACE ? TACIT_OK : words_cursor_damaged(c, "a place");
}

/* ---- windows --------------------------------------------------------------
 */

enum tacit_err postings_begin(struct postings *p, enum postings_depth depth)
{
    if (!p->window.list)
        TRY(arena_alloc(&p->a, p->n_tokens + 1, sizeof *p->window.list,
                        &p->window.list));
    p->depth = depth;
    for (size_t i = 0; i < p->n_lists; i++) {
        struct words_cursor *c = &p->lists[i].c;
        TRY(words_cursor_go(c, p->lists[i].start));
        TRY(words_cursor_row(c));
        if (c->is_done) return words_cursor_damaged(c, "a list without rows");
    }
    return TACIT_OK;
}

/* What a list has in the window. */
static enum tacit_err fill(struct postings *p, struct list *l)
{
    struct postings_window *w = &p->window;
    struct words_cursor *c = &l->c;
    uint64_t at;
    while (!c->is_done &&
           (at = (uint64_t)c->row - (uint64_t)w->first) < POSTINGS_WINDOW) {
        TRY(take_places(p, c, &w->list[l->token][at]));
        w->there[at / 64] |= (uint64_t)1 << at % 64;
        TRY(words_cursor_row(c));
    }
    return TACIT_OK;
}

enum tacit_err postings_next(struct postings *p, struct postings_window **out)
{
    struct postings_window *w = &p->window;
    const struct words_cursor *least = NULL;
    *out = NULL;
    for (size_t i = 0; i < p->n_lists; i++) {
        const struct words_cursor *c = &p->lists[i].c;
        if (!c->is_done && (!least || c->row < least->row)) least = c;
    }
    if (!least) return TACIT_OK;
    w->first = least->row;
    memset(w->there, 0, sizeof w->there);
    for (size_t i = 0; i < p->n_lists; i++) TRY(fill(p, &p->lists[i]));
    *out = w;
    return TACIT_OK;
}

/* ---- sizes ----------------------------------------------------------------
 */

static uint64_t sum(const uint64_t *n_words)
{
    uint64_t all = 0;
    for (int i = 0; i < WORDS_COLUMNS; i++) all += n_words[i];
    return all;
}

enum tacit_err postings_totals(struct postings *p, uint64_t *n_rows,
                               uint64_t *n_words)
{
    uint64_t sums[WORDS_SUMS];
    int is_known;
    TRY(words_sums_read(&p->rows, sums, &is_known));
    if (!is_known) return words_damaged("its averages");
    *n_rows = sums[0];
    *n_words = sum(sums + 1);
    return TACIT_OK;
}

enum tacit_err postings_length(struct postings *p, int64_t row,
                               uint64_t *n_words)
{
    uint64_t of[WORDS_COLUMNS];
    int has_row = 0;
    sqlite3_reset(p->length);
    sqlite3_bind_int64(p->length, 1, row);
    TRY(db_step(p->db, p->length, &has_row));
    if (!has_row || !words_numbers(sqlite3_column_blob(p->length, 0),
                                   (size_t)sqlite3_column_bytes(p->length, 0),
                                   of, WORDS_COLUMNS))
        return words_damaged("the length of a row");
    *n_words = sum(of);
    return TACIT_OK;
}
