#include "retrieval/words_segment.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* A leaf holds any term, the first bytes behind it and its footer. */
    SPARE = 64,
    TERM_MAX = 1 + WORDS_TERM_MAX,
    LEAF_MAX = 2 * WORDS_PAGE_BYTES_MAX + TERM_MAX + SPARE
};
_Static_assert(WORDS_PAGE_BYTES_MAX + TERM_MAX + SPARE <= UINT16_MAX,
               "places in a leaf have 16 bits");

static void store_be16(uint8_t out[2], size_t v)
{
    out[0] = (uint8_t)(v >> 8);
    out[1] = (uint8_t)v;
}

static size_t used(const struct words_segment *s)
{
    return s->n_leaf + s->n_places;
}

static void append(struct words_segment *s, const uint8_t *bytes, size_t n)
{
    memcpy(s->leaf + s->n_leaf, bytes, n);
    s->n_leaf += n;
}

static void append_number(struct words_segment *s, uint64_t v)
{
    s->n_leaf += words_varint(s->leaf + s->n_leaf, v);
}

static void add_page(struct words_segment *s, int64_t id, const uint8_t *bytes,
                     size_t n)
{
    const struct words_page page = {id, s->bytes.len, n};
    buf_put(&s->bytes, bytes, n);
    buf_put(&s->pages, &page, sizeof page);
}

/* ---- lists of leaves ------------------------------------------------------
 */

static void add_list(struct words_segment *s, size_t height)
{
    const struct words_list *l = &s->list[height];
    const int64_t id = (int64_t)1 << WORDS_LIST_BIT |
                       (int64_t)height << WORDS_HEIGHT_BITS | l->page;
    add_page(s, id, l->bytes.data, l->bytes.len);
}

static void begin_list(struct words_list *l, int is_below, uint32_t page,
                       uint64_t row)
{
    buf_put_u8(&l->bytes, (uint8_t)is_below);
    words_put(&l->bytes, page);
    words_put(&l->bytes, row);
    l->last = row;
}

/* A full list is written, and stands in one over it, which begins with it. */
static void end_list(struct words_segment *s, size_t height)
{
    struct words_list *l = &s->list[height], *over = l + 1;
    struct reader r;
    reader_init(&r, l->bytes.data, l->bytes.len);
    (void)reader_u8(&r);
    (void)words_get(&r);
    uint64_t first = words_get(&r);
    if (l->bytes.len) l->bytes.data[0] = 1;
    add_list(s, height);
    if (s->n_lists < height + 2) s->n_lists = height + 2;
    if (!over->bytes.len) {
        over->page = l->page;
        begin_list(over, 0, l->page, first);
    }
    buf_clear(&l->bytes);
    l->page++;
}

/* The leaf that is being filled begins with `row` of the last term. */
static void list_row(struct words_segment *s, uint64_t row)
{
    for (size_t i = 0, is_full = 1; is_full; i++) {
        assert(i + 1 < WORDS_HEIGHT_MAX); /* there are 2^31 leaves at most */
        struct words_list *l = &s->list[i];
        is_full = l->bytes.len >= s->page_bytes;
        if (is_full) end_list(s, i);
        if (l->bytes.len) {
            words_put(&l->bytes, row - l->last);
            l->last = row;
        } else
            begin_list(l, is_full != 0,
                       i ? s->list[i - 1].page : s->n_leaves + 1, row);
    }
}

/* ---- leaves ---------------------------------------------------------------
 */

static void begin_leaf(struct words_segment *s)
{
    memset(s->leaf, 0, WORDS_LEAF_HEAD);
    s->n_leaf = WORDS_LEAF_HEAD;
    s->n_places = s->last_place = 0;
    s->has_row = 0;
}

static void end_leaf(struct words_segment *s)
{
    store_be16(s->leaf + 2, s->n_leaf);
    if (!s->n_places) {
        if (!s->has_row && s->list[0].bytes.len)
            words_put(&s->list[0].bytes, 0);
        s->n_empty++;
    }
    memcpy(s->leaf + s->n_leaf, s->places, s->n_places);
    add_page(s, ++s->n_leaves, s->leaf, used(s));
    begin_leaf(s);
}

/* All rows of the leaf's last term are written. */
static void end_split(struct words_segment *s)
{
    if (!s->split.page) return;
    int has_list = s->list[0].bytes.len && s->n_empty >= WORDS_LISTED;
    for (size_t i = 0; i < s->n_lists && s->list[i].bytes.len; i++) {
        if (has_list) add_list(s, i);
        buf_clear(&s->list[i].bytes);
    }
    s->n_empty = 0;
    s->split.page = s->split.page << 1 | has_list;
    s->split.at = s->bytes.len;
    s->split.n = s->split_term.len;
    buf_put(&s->bytes, s->split_term.data, s->split_term.len);
    buf_clear(&s->split_term);
    buf_put(&s->splits, &s->split, sizeof s->split);
    s->split.page = 0;
}

/* Another leaf than the first has its first term [n]: what tells it from all
 * before, of which the last shares [same] with it. */
static void begin_split(struct words_segment *s, const uint8_t *term,
                        size_t same)
{
    end_split(s);
    s->split.page = s->n_leaves + 1;
    buf_put(&s->split_term, term, same + 1);
}

/* ---- terms ----------------------------------------------------------------
 */

static size_t shared(const struct buf *last, const uint8_t *term, size_t n)
{
    size_t same = 0;
    while (same < n && same < last->len && last->data[same] == term[same])
        same++;
    return same;
}

static void put_term(struct words_segment *s, const uint8_t *term, size_t n)
{
    assert(n > 0 && n <= TERM_MAX);
    if (used(s) + n + 2 >= s->page_bytes && s->n_leaf > WORDS_LEAF_HEAD)
        end_leaf(s);
    size_t same = shared(&s->term, term, n);
    int is_first = s->n_places == 0;
    s->n_places +=
        words_varint(s->places + s->n_places, s->n_leaf - s->last_place);
    s->last_place = s->n_leaf;
    if (is_first) {
        if (s->n_leaves) begin_split(s, term, same);
        same = 0;
    } else
        append_number(s, same);
    append_number(s, n - same);
    append(s, term + same, n - same);
    buf_clear(&s->term);
    buf_put(&s->term, term, n);
    s->has_row = 1;
    s->list[0].page = s->n_leaves + 1;
}

/* The bytes of the numbers at p[n] that fit into max, but one at least. What is
 * no number may be cut anywhere: it comes from a damaged index. */
static size_t whole_numbers(const uint8_t *p, size_t n, size_t max)
{
    size_t fit = 0;
    for (size_t i = 0; i < n && (i < max || (!fit && i < WORDS_VARINT_MAX));
         i++)
        if (!(p[i] & 0x80)) fit = i + 1;
    if (!fit) fit = n < WORDS_VARINT_MAX ? n : WORDS_VARINT_MAX;
    return fit;
}

/* The size of a row's places, and those. */
static void put_places(struct words_segment *s, const uint8_t *p, size_t n)
{
    if (used(s) + n <= s->page_bytes) {
        append(s, p, n);
        return;
    }
    while (n) {
        size_t room = used(s) < s->page_bytes ? s->page_bytes - used(s) : 0;
        size_t fit = n <= room ? n : whole_numbers(p, n, room);
        append(s, p, fit);
        p += fit;
        n -= fit;
        if (used(s) >= s->page_bytes) end_leaf(s);
    }
}

static void put_row(struct words_segment *s, uint64_t row, uint64_t more)
{
    if (s->has_row) {
        append_number(s, more);
        return;
    }
    store_be16(s->leaf, s->n_leaf);
    append_number(s, row);
    s->has_row = 1;
    list_row(s, row);
}

void words_segment_put(struct words_segment *s, const uint8_t *term, size_t n,
                       const uint8_t *rows, size_t n_rows)
{
    struct reader r;
    uint64_t row = 0;
    put_term(s, term, n);
    if (used(s) + n_rows + 1 <= s->page_bytes) {
        append(s, rows, n_rows);
        return;
    }
    reader_init(&r, rows, n_rows);
    while (r.left) {
        uint64_t more = words_get(&r);
        const uint8_t *places = r.p;
        uint64_t n_places = words_get(&r) >> 1;
        size_t n_size = (size_t)(r.p - places);
        const uint8_t *end = reader_take(&r, n_places);
        assert(end);
        row += more;
        put_row(s, row, more);
        put_places(s, places, n_size + n_places);
    }
}

enum tacit_err words_segment_end(struct words_segment *s)
{
    if (s->n_leaf > WORDS_LEAF_HEAD) end_leaf(s);
    if (s->n_leaves) end_split(s);
    for (size_t i = 0; i < s->n_lists; i++) TRY(buf_end(&s->list[i].bytes));
    TRY(buf_end(&s->term));
    TRY(buf_end(&s->split_term));
    TRY(buf_end(&s->bytes));
    TRY(buf_end(&s->pages));
    return buf_end(&s->splits);
}

/* ---- into the table ---------------------------------------------------------
 */

static enum tacit_err insert(struct db *db, sqlite3_stmt *st)
{
    int has_row;
    enum tacit_err err = db_step(db, st, &has_row);
    sqlite3_reset(st);
    return err;
}

static enum tacit_err write_pages(struct db *db, const struct words_segment *s,
                                  int64_t segment)
{
    const struct words_page *page = (const void *)s->pages.data;
    size_t n = s->pages.len / sizeof *page;
    sqlite3_stmt *st;
    TRY(db_query(db, &st, "INSERT INTO chunk_fts_data(id, block) VALUES(?, ?)",
                 ""));
    enum tacit_err err = TACIT_OK;
    for (size_t i = 0; i < n && !err; i++) {
        sqlite3_bind_int64(st, 1, (segment << WORDS_SEGMENT_BITS) + page[i].id);
        sqlite3_bind_blob64(st, 2, s->bytes.data + page[i].at, page[i].n,
                            SQLITE_STATIC);
        err = insert(db, st);
    }
    db_finish(st);
    return err;
}

static enum tacit_err write_splits(struct db *db, const struct words_segment *s,
                                   int64_t segment)
{
    const struct words_split *split = (const void *)s->splits.data;
    size_t n = s->splits.len / sizeof *split;
    sqlite3_stmt *st;
    TRY(db_query(db, &st,
                 "INSERT INTO chunk_fts_idx(segid, term, pgno) VALUES(?, ?, ?)",
                 "i", segment));
    enum tacit_err err = TACIT_OK;
    for (size_t i = 0; i < n && !err; i++) {
        sqlite3_bind_blob64(st, 2, s->bytes.data + split[i].at, split[i].n,
                            SQLITE_STATIC);
        sqlite3_bind_int64(st, 3, split[i].page);
        err = insert(db, st);
    }
    db_finish(st);
    return err;
}

enum tacit_err words_segment_store(struct db *db, const struct words_segment *s,
                                   int64_t id)
{
    TRY(write_pages(db, s, id));
    return write_splits(db, s, id);
}

/* ---- life -----------------------------------------------------------------
 */

void words_segment_clear(struct words_segment *s)
{
    buf_clear(&s->bytes);
    buf_clear(&s->pages);
    buf_clear(&s->splits);
    buf_clear(&s->term);
    buf_clear(&s->split_term);
    for (size_t i = 0; i < WORDS_HEIGHT_MAX; i++) buf_clear(&s->list[i].bytes);
    s->n_leaves = s->n_empty = 0;
    s->n_lists = 1;
    s->split = (struct words_split){.page = 1};
    begin_leaf(s);
}

enum tacit_err words_segment_init(struct words_segment *s, size_t page_bytes)
{
    assert(page_bytes >= 32 && page_bytes <= WORDS_PAGE_BYTES_MAX);
    *s = (struct words_segment){.page_bytes = page_bytes};
    s->leaf = malloc(LEAF_MAX);
    s->places = malloc(page_bytes + SPARE);
    if (!s->leaf || !s->places) {
        words_segment_release(s);
        return fail(TACIT_NOMEM, "out of memory");
    }
    words_segment_clear(s);
    return TACIT_OK;
}

void words_segment_release(struct words_segment *s)
{
    buf_release(&s->bytes);
    buf_release(&s->pages);
    buf_release(&s->splits);
    buf_release(&s->term);
    buf_release(&s->split_term);
    for (size_t i = 0; i < WORDS_HEIGHT_MAX; i++)
        buf_release(&s->list[i].bytes);
    free(s->leaf);
    free(s->places);
    *s = (struct words_segment){.page_bytes = 0};
}
