/*
 * Leaves do not name their segment: a segment is taken over by giving its rows
 * a free number. It is the newest of level 0, where FTS5 itself puts one.
 */
#include <string.h>

#include "common/base/buf.h"
#include "retrieval/words_ahead.h"
#include "retrieval/words_merge.h"

enum {
    SEGMENT_IDS = 2000,  /* that FTS5 gives, from 1 on */
    SEGMENTS_MAX = 1000, /* FTS5 merges long before */
    RECORD_BYTES_MAX = 64 << 10,
    LEVELS_MAX = 64,
    MERGED_LEAVES = 1 << 14, /* 64 MiB */
    N_COUNTS = 4,            /* rows, and the words of three columns */
    WORK_UNIT = 64, /* leaves, after which FTS5 merges as many per level */
    CROWDED = 16,   /* segments of a level: FTS5 would merge all of them */
    CROWD_LEAVES = 1 << 20
};

/* A level in the record of segments. */
struct level {
    uint64_t n_merging, n;
    size_t at, end; /* of its segments, in bytes */
};

/* The record of segments. */
struct record {
    struct buf bytes; /* owned */
    uint64_t n_levels, n_segments, n_leaves;
    size_t rest;           /* of bytes, behind those two levels */
    struct level level[2]; /* the first two */
    struct words_span
        first[WORDS_MERGED_MAX];      /* of the first of them, the first */
    uint8_t is_used[SEGMENT_IDS + 1]; /* numbers of segments */
};

/* The bytes of a row into out; none when it is not there. */
static enum tacit_err read_bytes(struct db *db, int64_t id, struct buf *out)
{
    sqlite3_stmt *st;
    int has_row = 0;
    TRY(db_query(db, &st, "SELECT block FROM chunk_fts_data WHERE id = ?", "i",
                 id));
    enum tacit_err err = db_step(db, st, &has_row);
    if (!err && has_row) {
        const void *blob = sqlite3_column_blob(st, 0);
        if (blob) buf_put(out, blob, (size_t)sqlite3_column_bytes(st, 0));
        err = buf_end(out);
    }
    db_finish(st);
    return err;
}

/* ---- the record of segments -----------------------------------------------
 */

static int read_segment(struct reader *r, struct record *out,
                        struct words_span *to)
{
    uint64_t id = words_get(r), first = words_get(r), last = words_get(r);
    if (r->err || id < 1 || id > SEGMENT_IDS || out->is_used[id] || first < 1 ||
        last < first || last > INT32_MAX)
        return 0;
    out->is_used[id] = 1;
    if (to)
        *to =
            (struct words_span){(uint32_t)id, (uint32_t)first, (uint32_t)last};
    return 1;
}

/* Whether it has the form that is known here. */
static int parse(struct record *out)
{
    struct reader r;
    uint64_t n_left;
    memset(out->is_used, 0, sizeof out->is_used);
    memset(out->level, 0, sizeof out->level);
    reader_init(&r, out->bytes.data, out->bytes.len);
    if (!reader_take(&r, 4)) return 0;
    out->n_levels = words_get(&r);
    out->n_segments = n_left = words_get(&r);
    out->n_leaves = words_get(&r);
    out->rest = out->bytes.len - r.left;
    if (out->n_levels > LEVELS_MAX || n_left > SEGMENTS_MAX ||
        out->n_leaves >> 55)
        return 0;
    for (uint64_t i = 0; i < out->n_levels; i++) {
        struct level l = {.n_merging = words_get(&r)};
        l.n = words_get(&r);
        l.at = out->bytes.len - r.left;
        if (r.err || l.n_merging > l.n || l.n > n_left) return 0;
        for (uint64_t k = 0; k < l.n; k++)
            if (!read_segment(&r, out,
                              !i && k < WORDS_MERGED_MAX ? &out->first[k]
                                                         : NULL))
                return 0;
        n_left -= l.n;
        l.end = out->bytes.len - r.left;
        if (i > 1) continue;
        out->level[i] = l;
        out->rest = l.end;
    }
    return !r.err && r.left == 0 && n_left == 0;
}

static enum tacit_err read_record(struct db *db, struct record *out,
                                  int *is_known)
{
    out->bytes.max = RECORD_BYTES_MAX;
    buf_clear(&out->bytes);
    TRY(read_bytes(db, WORDS_SEGMENTS, &out->bytes));
    *is_known = parse(out);
    return TACIT_OK;
}

static enum tacit_err write_bytes(struct db *db, int64_t id, struct buf *b)
{
    enum tacit_err err = buf_end(b);
    if (!err)
        err = db_run(db, "REPLACE INTO chunk_fts_data(id, block) VALUES(?, ?)",
                     "ib", id, b->data, b->len);
    buf_release(b);
    return err;
}

/* The record of `was` as `now` has levels and counts, with a segment at the end
 * of level `to`. A level without segments keeps none of those that it had. */
static enum tacit_err write_record(struct db *db, const struct record *was,
                                   struct record now, unsigned to,
                                   const struct words_span *add)
{
    struct buf b;
    buf_init(&b, RECORD_BYTES_MAX);
    if (now.n_levels <= to) now.n_levels = to + 1;
    buf_put(&b, was->bytes.data, 4);
    words_put(&b, now.n_levels);
    words_put(&b, now.n_segments + 1);
    words_put(&b, now.n_leaves);
    for (unsigned i = 0; i < 2 && i < now.n_levels; i++) {
        const struct level *l = &now.level[i];
        words_put(&b, l->n_merging);
        words_put(&b, l->n + (i == to));
        if (l->n) buf_put(&b, was->bytes.data + l->at, l->end - l->at);
        if (i != to) continue;
        words_put(&b, add->id);
        words_put(&b, add->leaf_first);
        words_put(&b, add->leaf_last);
    }
    buf_put(&b, was->bytes.data + was->rest, was->bytes.len - was->rest);
    return write_bytes(db, WORDS_SEGMENTS, &b);
}

/* ---- averages -------------------------------------------------------------
 */

static enum tacit_err read_counts(struct db *db, uint64_t counts[N_COUNTS],
                                  int *is_known)
{
    struct buf bytes;
    struct reader r;
    buf_init(&bytes, RECORD_BYTES_MAX);
    enum tacit_err err = read_bytes(db, WORDS_AVERAGES, &bytes);
    reader_init(&r, bytes.data, bytes.len);
    int is_empty = bytes.len == 0; /* there were no rows yet */
    for (int i = 0; i < N_COUNTS; i++) {
        counts[i] = is_empty ? 0 : words_get(&r);
        if (counts[i] >> 54) *is_known = 0;
    }
    if (r.err || r.left) *is_known = 0;
    buf_release(&bytes);
    return err;
}

static enum tacit_err write_counts(struct db *db,
                                   const uint64_t counts[N_COUNTS])
{
    struct buf b;
    buf_init(&b, RECORD_BYTES_MAX);
    for (int i = 0; i < N_COUNTS; i++) words_put(&b, counts[i]);
    return write_bytes(db, WORDS_AVERAGES, &b);
}

/* ---- rows -----------------------------------------------------------------
 */

static enum tacit_err write_sizes(struct db *db, const struct words_row *row,
                                  size_t n)
{
    sqlite3_stmt *st;
    int has_row;
    TRY(db_query(db, &st, "INSERT INTO chunk_fts_docsize(id, sz) VALUES(?, ?)",
                 ""));
    enum tacit_err err = TACIT_OK;
    for (size_t i = 0; i < n && !err; i++) {
        uint8_t sizes[WORDS_COLUMNS * WORDS_VARINT_MAX];
        size_t len = 0;
        for (int k = 0; k < WORDS_COLUMNS; k++)
            len += words_varint(sizes + len, row[i].n_words[k]);
        sqlite3_bind_int64(st, 1, row[i].id);
        sqlite3_bind_blob64(st, 2, sizes, len, SQLITE_STATIC);
        err = db_step(db, st, &has_row);
        sqlite3_reset(st);
    }
    db_finish(st);
    return err;
}

/* ---- all of it ------------------------------------------------------------
 */

struct adoption {
    struct record index;
    uint64_t n_rows[N_COUNTS];
};

/* Tables of another form, also such as a person has configured otherwise, are
 * not ours to write in; nor may anybody where shadow tables are defended. */
static enum tacit_err is_our_form(struct db *db, int *is_known)
{
    int64_t n = 0;
    int is_defended = 1;
    (void)sqlite3_db_config(db->sql, SQLITE_DBCONFIG_DEFENSIVE, -1,
                            &is_defended);
    *is_known = 0;
    if (is_defended) return TACIT_OK;
    TRY(db_int(db, &n,
               "SELECT (SELECT count(*) FROM sqlite_schema"
               " WHERE name = 'chunk_fts' AND sql = ?)"
               " AND (SELECT sum(k = 'version' AND v = 4) = 1 AND"
               " sum(k NOT IN ('version', 'hashsize', 'usermerge')) = 0"
               " FROM chunk_fts_config)",
               "s", WORDS_TABLE));
    *is_known = n == 1;
    return TACIT_OK;
}

static enum tacit_err look(struct db *db, struct adoption *a, int *is_known)
{
    int is_record_known = 0;
    TRY(is_our_form(db, is_known));
    if (!*is_known) return TACIT_OK;
    TRY(read_record(db, &a->index, &is_record_known));
    TRY(read_counts(db, a->n_rows, is_known));
    if (!is_record_known || a->index.n_segments >= SEGMENTS_MAX) *is_known = 0;
    return TACIT_OK;
}

/* FTS5 merges by what is written: as it does for a segment of its own. */
static enum tacit_err merge(struct db *db, const struct record *r,
                            uint64_t n_leaves)
{
    uint64_t units =
        r->n_leaves / WORK_UNIT - (r->n_leaves - n_leaves) / WORK_UNIT;
    uint64_t n = units * WORK_UNIT * r->n_levels;
    if (r->level[0].n >= CROWDED || n > CROWD_LEAVES) n = CROWD_LEAVES;
    if (!n) return TACIT_OK;
    return db_run(db,
                  "INSERT INTO chunk_fts(chunk_fts, rank) VALUES('merge', ?)",
                  "i", (int64_t)n);
}

/* There are more numbers than can be used. */
static uint32_t free_id(const struct record *r)
{
    uint32_t id = 1;
    while (r->is_used[id]) id++;
    return id;
}

/* The first level's segments become one of the second. */
static enum tacit_err merge_first(struct db *db, struct record *r, int *is_done)
{
    struct record now = *r;
    struct words_span out = {.id = free_id(r)};
    int is_oldest = r->n_segments == r->level[0].n;
    TRY(words_merge(db, r->first, r->level[0].n, is_oldest, &out, is_done));
    if (!*is_done) return TACIT_OK;
    now.n_segments -= now.level[0].n;
    now.level[0].n = 0;
    if (out.leaf_last) return write_record(db, r, now, 1, &out);
    *is_done = 0; /* nothing is left of them: a rare end, which FTS5 can make */
    return TACIT_OK;
}

/* When as many as are merged at once are there, and few enough leaves that a
 * write need not wait for them. */
static int is_merged_here(const struct record *r)
{
    uint64_t n = 0;
    if (r->level[0].n < WORDS_MERGED || r->level[0].n > WORDS_MERGED_MAX ||
        r->level[0].n_merging)
        return 0;
    for (uint64_t i = 0; i < r->level[0].n; i++)
        n += r->first[i].leaf_last - r->first[i].leaf_first + 1;
    return n <= MERGED_LEAVES;
}

static enum tacit_err try_merge(struct db *db, struct record *r)
{
    int is_done = 0;
    if (!is_merged_here(r)) return TACIT_OK;
    TRY(db_exec(db, "SAVEPOINT words_merge"));
    enum tacit_err err = merge_first(db, r, &is_done);
    if (err) return err; /* the adoption's savepoint undoes it */
    if (!is_done) TRY(db_exec(db, "ROLLBACK TO words_merge"));
    return db_exec(db, "RELEASE words_merge");
}

static enum tacit_err take_segment(struct db *db, struct record *r,
                                   const struct words_segment *made)
{
    struct words_span add = {free_id(r), 1, made->n_leaves};
    struct record now = *r;
    int is_known;
    if (!made->n_leaves) return TACIT_OK;
    now.n_leaves += made->n_leaves;
    TRY(words_segment_store(db, made, add.id));
    TRY(write_record(db, r, now, 0, &add));
    TRY(read_record(db, r, &is_known));
    if (!is_known) return fail(TACIT_INTERNAL, "a record of segments");
    TRY(try_merge(db, r));
    return merge(db, r, made->n_leaves);
}

static enum tacit_err take_over(struct db *db, const struct words_gather *made,
                                struct adoption *a)
{
    size_t n;
    const struct words_row *rows = words_gather_rows(made, &n);
    TRY(write_sizes(db, rows, n));
    a->n_rows[0] += n;
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < WORDS_COLUMNS; k++)
            a->n_rows[1 + k] += rows[i].n_words[k];
    TRY(write_counts(db, a->n_rows));
    return take_segment(db, &a->index, words_gather_segment(made));
}

/* At a savepoint FTS5 writes out what it has gathered; a merge of nothing then
 * makes it forget the record of segments, which it reads again when it needs
 * it. */
static enum tacit_err adopt(struct db *db, const struct words_gather *made,
                            struct adoption *a, int *are_in)
{
    int is_known = 0;
    TRY(db_exec(db, "INSERT INTO chunk_fts(chunk_fts, rank)"
                    " VALUES('merge', 0)"));
    TRY(look(db, a, &is_known));
    if (is_known) TRY(take_over(db, made, a));
    *are_in = is_known;
    return TACIT_OK;
}

enum tacit_err words_adopt(struct db *db, const struct words_gather *made,
                           int *are_in)
{
    struct adoption a = {.n_rows = {0}};
    *are_in = 0;
    TRY(db_exec(db, "SAVEPOINT words_adopt"));
    enum tacit_err err = adopt(db, made, &a, are_in);
    buf_release(&a.index.bytes);
    if (!err) err = db_exec(db, "RELEASE words_adopt");
    if (!err) return TACIT_OK;
    *are_in = 0;
    (void)sqlite3_exec(db->sql, "ROLLBACK TO words_adopt; RELEASE words_adopt",
                       NULL, NULL, NULL);
    return err;
}
