#include "retrieval/words_cursor.h"

#include "common/base/codes.h"

enum {
    LEAF_MAX = 128 << 10, /* FTS5's pages have 64 KiB at most */
    TERM_MAX = 1 + WORDS_TERM_MAX
};

enum tacit_err words_damaged(const char *what)
{
    return fail_as(E_STORE_DAMAGED, "the word index is damaged (%s)", what);
}

enum tacit_err words_cursor_damaged(struct words_cursor *c, const char *what)
{
    c->is_damaged = 1;
    return words_damaged(what);
}

void words_cursor_init(struct words_cursor *c, struct words_rows *rows,
                       const struct words_span *in)
{
    *c = (struct words_cursor){.rows = rows, .in = *in};
    buf_init(&c->leaf, LEAF_MAX + 1);
}

void words_cursor_release(struct words_cursor *c)
{
    buf_release(&c->leaf);
}

static uint32_t be16(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

/* The footer says where the next term is, which is where the rows end that are
 * being read. */
static enum tacit_err find_term(struct words_cursor *c)
{
    const uint32_t last = c->next_term, n_all = (uint32_t)c->leaf.len;
    uint64_t more;
    c->next_term = 0;
    c->end = c->n;
    if (c->foot == n_all) return TACIT_OK;
    if (!words_take(c->leaf.data, &c->foot, n_all, &more) || more == 0 ||
        more >= c->n - last)
        return words_cursor_damaged(c, "a leaf's terms");
    c->next_term = c->end = last + (uint32_t)more;
    return TACIT_OK;
}

enum tacit_err words_cursor_load(struct words_cursor *c, uint32_t page)
{
    const int64_t segment = (int64_t)c->in.id << WORDS_SEGMENT_BITS;
    TRY(words_rows_read(c->rows, segment + (int64_t)page, &c->leaf));
    const size_t n_all = c->leaf.len;
    if (n_all < WORDS_LEAF_HEAD || n_all > LEAF_MAX)
        return words_cursor_damaged(c, "a leaf's length");
    c->page = page;
    c->n = c->foot = be16(c->leaf.data + 2);
    if (c->n < WORDS_LEAF_HEAD || c->n > n_all)
        return words_cursor_damaged(c, "a leaf's head");
    c->next_term = 0;
    TRY(find_term(c));
    c->is_first = 1;
    c->at = WORDS_LEAF_HEAD;
    if (c->end < c->at) return words_cursor_damaged(c, "a term's place");
    c->first_row = be16(c->leaf.data);
    if (c->first_row == 0)
        c->first_row = UINT32_MAX;
    else if (c->first_row < c->at || c->first_row >= c->end)
        return words_cursor_damaged(c, "a leaf's first row");
    return TACIT_OK;
}

enum tacit_err words_cursor_next(struct words_cursor *c)
{
    if (c->page >= c->in.leaf_last)
        return words_cursor_damaged(c, "a list's end");
    return words_cursor_load(c, c->page + 1);
}

/* Before the first row, which stands whole, wherever that is. */
static void begin_rows(struct words_cursor *c, uint32_t at)
{
    c->at = c->first_row = at;
    c->is_done = 0;
    c->row = INT64_MIN;
    c->left = 0;
}

enum tacit_err words_cursor_term(struct words_cursor *c, struct buf *term,
                                 int *is_there)
{
    uint32_t at = c->next_term;
    uint64_t same = 0, n;
    *is_there = at != 0;
    if (!*is_there) return TACIT_OK;
    TRY(find_term(c));
    if ((!c->is_first && !words_take(c->leaf.data, &at, c->end, &same)) ||
        !words_take(c->leaf.data, &at, c->end, &n) || n == 0 ||
        n > c->end - at || same > term->len || same + n > TERM_MAX)
        return words_cursor_damaged(c, "a term");
    c->is_first = 0;
    term->len = (size_t)same;
    buf_put(term, c->leaf.data + at, (size_t)n);
    begin_rows(c, at + (uint32_t)n);
    return buf_end(term);
}

struct words_place words_cursor_place(const struct words_cursor *c)
{
    return (struct words_place){c->page, c->at, c->end, c->next_term, c->foot};
}

enum tacit_err words_cursor_go(struct words_cursor *c, struct words_place to)
{
    if (c->page != to.page) TRY(words_cursor_load(c, to.page));
    if (to.end > c->n) return words_cursor_damaged(c, "a leaf's length");
    c->end = to.end;
    c->next_term = to.next_term;
    c->foot = to.foot;
    c->is_first = 0;
    begin_rows(c, to.at);
    return TACIT_OK;
}
