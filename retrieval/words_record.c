#include "retrieval/words_record.h"

#include <string.h>

enum {
    COOKIE_BYTES = 4,
    RECORD_BYTES_MAX = 64 << 10,
    LEVELS_MAX = 64,
    LEAVES_BITS = 55,
    SUM_BITS = 54
};

/* ---- rows -----------------------------------------------------------------
 */

enum tacit_err words_rows_open(struct db *db, struct words_rows *out)
{
    out->db = db;
    return db_query(db, &out->read,
                    "SELECT block FROM chunk_fts_data WHERE id = ?", "");
}

enum tacit_err words_rows_read(struct words_rows *r, int64_t id,
                               struct buf *out)
{
    int has_row = 0;
    buf_clear(out);
    sqlite3_bind_int64(r->read, 1, id);
    enum tacit_err err = db_step(r->db, r->read, &has_row);
    const void *blob = has_row ? sqlite3_column_blob(r->read, 0) : NULL;
    size_t n = blob ? (size_t)sqlite3_column_bytes(r->read, 0) : 0;
    buf_put(out, blob, n < out->max ? n : out->max);
    sqlite3_reset(r->read);
    return err ? err : buf_end(out);
}

void words_rows_close(struct words_rows *r)
{
    db_finish(r->read);
    r->read = NULL;
}

static enum tacit_err write_row(struct db *db, int64_t id, struct buf *b)
{
    enum tacit_err err = buf_end(b);
    if (!err)
        err = db_run(db, "REPLACE INTO chunk_fts_data(id, block) VALUES(?, ?)",
                     "ib", id, b->data, b->len);
    buf_release(b);
    return err;
}

/* ---- segments -------------------------------------------------------------
 */

static int parse_segment(struct reader *r, uint8_t *is_used,
                         struct words_span *out)
{
    uint64_t id = words_get(r), first = words_get(r), last = words_get(r);
    if (r->err || id < 1 || id > WORDS_SEGMENT_IDS || is_used[id] ||
        last < first || last > INT32_MAX || (first == 0 && last != 0))
        return 0;
    is_used[id] = 1;
    *out = (struct words_span){(uint32_t)id, (uint32_t)first, (uint32_t)last};
    return 1;
}

/* A level, whose segments are the last of the *n_left that are still to come:
 * lower ones are newer. */
static int parse_level(struct reader *r, struct words_record *out,
                       uint64_t *n_left, struct words_level *l)
{
    l->n_merging = words_get(r);
    l->n = words_get(r);
    l->at = out->bytes.len - r->left;
    if (r->err || l->n_merging > l->n || l->n > *n_left) return 0;
    *n_left -= l->n;
    for (uint64_t i = 0; i < l->n; i++)
        if (!parse_segment(r, out->is_used, &out->segment[*n_left + i]))
            return 0;
    l->end = out->bytes.len - r->left;
    return 1;
}

/* NULL, or what is wrong. */
static const char *parse(struct words_record *out)
{
    struct reader r;
    memset(out->is_used, 0, sizeof out->is_used);
    memset(out->level, 0, sizeof out->level);
    reader_init(&r, out->bytes.data, out->bytes.len);
    (void)reader_take(&r, COOKIE_BYTES);
    out->n_levels = words_get(&r);
    out->n_segments = words_get(&r);
    out->n_leaves = words_get(&r);
    out->rest = out->bytes.len - r.left;
    if (r.err || out->n_levels > LEVELS_MAX ||
        out->n_segments > WORDS_SEGMENTS_MAX || out->n_leaves >> LEAVES_BITS)
        return "its segments";
    uint64_t n_left = out->n_segments;
    for (uint64_t i = 0; i < out->n_levels; i++) {
        struct words_level l;
        if (!parse_level(&r, out, &n_left, &l)) return "a level of segments";
        if (i > 1) continue;
        out->level[i] = l;
        out->rest = l.end;
    }
    return r.left || n_left ? "its segments" : NULL;
}

enum tacit_err words_record_read(struct words_rows *rows,
                                 struct words_record *out, const char **wrong)
{
    out->bytes.max = RECORD_BYTES_MAX;
    TRY(words_rows_read(rows, WORDS_SEGMENTS, &out->bytes));
    *wrong = parse(out);
    return TACIT_OK;
}

enum tacit_err words_record_add(struct db *db, const struct words_record *was,
                                unsigned to, const struct words_span *add)
{
    const uint64_t n_gone = to ? was->level[0].n : 0;
    const uint64_t n_levels = was->n_levels > to ? was->n_levels : to + 1;
    struct buf b;
    buf_init(&b, RECORD_BYTES_MAX);
    buf_put(&b, was->bytes.data, COOKIE_BYTES);
    words_put(&b, n_levels);
    words_put(&b, was->n_segments - n_gone + 1);
    words_put(&b, was->n_leaves + (to ? 0 : add->leaf_last));
    for (unsigned i = 0; i < 2 && i < n_levels; i++) {
        const struct words_level *l = &was->level[i];
        const uint64_t n = i < to ? 0 : l->n;
        words_put(&b, l->n_merging);
        words_put(&b, n + (i == to));
        if (n) buf_put(&b, was->bytes.data + l->at, l->end - l->at);
        if (i != to) continue;
        words_put(&b, add->id);
        words_put(&b, add->leaf_first);
        words_put(&b, add->leaf_last);
    }
    buf_put(&b, was->bytes.data + was->rest, was->bytes.len - was->rest);
    return write_row(db, WORDS_SEGMENTS, &b);
}

uint32_t words_record_free_id(const struct words_record *r)
{
    uint32_t id = 1;
    while (r->is_used[id]) id++;
    return id;
}

void words_record_release(struct words_record *r)
{
    buf_release(&r->bytes);
}

/* ---- sums -----------------------------------------------------------------
 */

int words_numbers(const void *bytes, size_t n_bytes, uint64_t *out, size_t n)
{
    struct reader r;
    reader_init(&r, bytes, n_bytes);
    for (size_t i = 0; i < n; i++) out[i] = words_get(&r);
    return r.err == TACIT_OK && r.left == 0;
}

enum tacit_err words_sums_read(struct words_rows *rows,
                               uint64_t out[WORDS_SUMS], int *is_known)
{
    struct buf b;
    buf_init(&b, RECORD_BYTES_MAX);
    memset(out, 0, WORDS_SUMS * sizeof *out);
    enum tacit_err err = words_rows_read(rows, WORDS_AVERAGES, &b);
    *is_known = 1;
    if (b.len) /* else there were no rows yet */
        *is_known = words_numbers(b.data, b.len, out, WORDS_SUMS);
    for (int i = 0; i < WORDS_SUMS; i++)
        if (out[i] >> SUM_BITS) *is_known = 0;
    buf_release(&b);
    return err;
}

enum tacit_err words_sums_write(struct db *db, const uint64_t sums[WORDS_SUMS])
{
    struct buf b;
    buf_init(&b, RECORD_BYTES_MAX);
    for (int i = 0; i < WORDS_SUMS; i++) words_put(&b, sums[i]);
    return write_row(db, WORDS_AVERAGES, &b);
}
