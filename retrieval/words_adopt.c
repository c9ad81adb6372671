/*
 * Leaves do not name their segment: a segment is taken over by giving its rows
 * a free number. It is the newest of level 0, where FTS5 itself puts one.
 */
#include <string.h>

#include "common/base/buf.h"
#include "retrieval/words_ahead.h"
#include "retrieval/words_format.h"

enum {
    SEGMENT_IDS = 2000,  /* that FTS5 gives, from 1 on */
    SEGMENTS_MAX = 1000, /* FTS5 merges long before */
    RECORD_BYTES_MAX = 64 << 10,
    LEVELS_MAX = 64,
    N_COUNTS = 4,   /* rows, and the words of three columns */
    WORK_UNIT = 64, /* leaves, after which FTS5 merges as many per level */
    CROWDED = 16,   /* segments of a level: FTS5 would merge all of them */
    CROWD_LEAVES = 1 << 20
};

struct segment {
    uint32_t id, leaf_first, leaf_last;
};

/* The record of segments. */
struct record {
    struct buf bytes; /* owned */
    uint64_t n_levels, n_segments, n_leaves;
    uint64_t n_merging, n_first;      /* of level 0 */
    size_t first_end;                 /* where its segments end in bytes */
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

static int read_segment(struct reader *r, struct record *out)
{
    uint64_t id = words_get(r), first = words_get(r), last = words_get(r);
    if (r->err || id < 1 || id > SEGMENT_IDS || out->is_used[id] || first < 1 ||
        last < first || last > INT32_MAX)
        return 0;
    out->is_used[id] = 1;
    return 1;
}

/* Whether it has the form that is known here. */
static int parse(struct record *out)
{
    struct reader r;
    uint64_t n_left;
    reader_init(&r, out->bytes.data, out->bytes.len);
    if (!reader_take(&r, 4)) return 0;
    out->n_levels = words_get(&r);
    out->n_segments = n_left = words_get(&r);
    out->n_leaves = words_get(&r);
    out->first_end = out->bytes.len - r.left;
    if (out->n_levels > LEVELS_MAX || n_left > SEGMENTS_MAX ||
        out->n_leaves >> 55)
        return 0;
    for (uint64_t level = 0; level < out->n_levels; level++) {
        uint64_t merging = words_get(&r), n = words_get(&r);
        if (r.err || merging > n || n > n_left) return 0;
        for (uint64_t i = 0; i < n; i++)
            if (!read_segment(&r, out)) return 0;
        n_left -= n;
        if (level) continue;
        out->n_merging = merging;
        out->n_first = n;
        out->first_end = out->bytes.len - r.left;
    }
    return !r.err && r.left == 0 && n_left == 0;
}

static enum tacit_err read_record(struct db *db, struct record *out,
                                  int *is_known)
{
    buf_init(&out->bytes, RECORD_BYTES_MAX);
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

/* The record of `was` with a segment at the end of level 0. */
static enum tacit_err write_record(struct db *db, const struct record *was,
                                   const struct segment *add)
{
    struct buf b;
    struct reader r;
    buf_init(&b, RECORD_BYTES_MAX);
    reader_init(&r, was->bytes.data, was->bytes.len);
    buf_put(&b, reader_take(&r, 4), 4);
    for (int i = 0; i < 3; i++) (void)words_get(&r);
    words_put(&b, was->n_levels ? was->n_levels : 1);
    words_put(&b, was->n_segments + 1);
    words_put(&b, was->n_leaves + add->leaf_last);
    words_put(&b, was->n_merging);
    words_put(&b, was->n_first + 1);
    if (was->n_levels)
        for (int i = 0; i < 2; i++) (void)words_get(&r);
    size_t n_kept = was->first_end - (was->bytes.len - r.left);
    if (n_kept) buf_put(&b, reader_take(&r, n_kept), n_kept);
    words_put(&b, add->id);
    words_put(&b, add->leaf_first);
    words_put(&b, add->leaf_last);
    if (r.left) buf_put(&b, was->bytes.data + was->first_end, r.left);
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

static enum tacit_err write_sizes(struct db *db, const struct words_row *row,
                                  size_t n)
{
    sqlite3_stmt *st;
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
        err = insert(db, st);
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
static enum tacit_err merge(struct db *db, const struct record *was,
                            uint64_t n_leaves)
{
    uint64_t units =
        (was->n_leaves + n_leaves) / WORK_UNIT - was->n_leaves / WORK_UNIT;
    uint64_t n = units * WORK_UNIT * (was->n_levels ? was->n_levels : 1);
    if (was->n_first + 1 >= CROWDED || n > CROWD_LEAVES) n = CROWD_LEAVES;
    if (!n) return TACIT_OK;
    return db_run(db,
                  "INSERT INTO chunk_fts(chunk_fts, rank) VALUES('merge', ?)",
                  "i", (int64_t)n);
}

static enum tacit_err take_segment(struct db *db, const struct record *index,
                                   const struct words_segment *made)
{
    struct segment add = {.leaf_first = 1, .leaf_last = made->n_leaves};
    if (!made->n_leaves) return TACIT_OK;
    /* There are more numbers than can be used. */
    for (add.id = 1; index->is_used[add.id];) add.id++;
    TRY(write_pages(db, made, add.id));
    TRY(write_splits(db, made, add.id));
    TRY(write_record(db, index, &add));
    return merge(db, index, made->n_leaves);
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
