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
    MADE_MAX = 32,       /* that are taken over together */
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
    struct segment first[MADE_MAX];   /* the first of them */
    uint8_t is_used[SEGMENT_IDS + 1]; /* numbers of segments */
};

/* The bytes of a row of a table of segments into out; none when it is not
 * there. */
static enum tacit_err read_bytes(struct db *db, const char *sql,
                                 struct buf *out)
{
    sqlite3_stmt *st;
    int has_row = 0;
    TRY(db_query(db, &st, sql, ""));
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

static int read_segment(struct reader *r, struct record *out, uint64_t place)
{
    uint64_t id = words_get(r), first = words_get(r), last = words_get(r);
    if (r->err || id < 1 || id > SEGMENT_IDS || out->is_used[id] || first < 1 ||
        last < first || last > INT32_MAX)
        return 0;
    out->is_used[id] = 1;
    if (place < MADE_MAX)
        out->first[place] =
            (struct segment){(uint32_t)id, (uint32_t)first, (uint32_t)last};
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
            if (!read_segment(&r, out, level ? MADE_MAX : i)) return 0;
        n_left -= n;
        if (level) continue;
        out->n_merging = merging;
        out->n_first = n;
        out->first_end = out->bytes.len - r.left;
    }
    return !r.err && r.left == 0 && n_left == 0;
}

static enum tacit_err read_record(struct db *db, const char *sql,
                                  struct record *out, int *is_known)
{
    buf_init(&out->bytes, RECORD_BYTES_MAX);
    TRY(read_bytes(db, sql, &out->bytes));
    *is_known = parse(out);
    return TACIT_OK;
}

static void put_segment(struct buf *b, const struct segment *s)
{
    words_put(b, s->id);
    words_put(b, s->leaf_first);
    words_put(b, s->leaf_last);
}

/* The record of `was` with segments at the end of level 0. */
static enum tacit_err write_record(struct db *db, const struct record *was,
                                   const struct segment *add, uint64_t n,
                                   uint64_t n_leaves)
{
    struct buf b;
    struct reader r;
    buf_init(&b, RECORD_BYTES_MAX);
    reader_init(&r, was->bytes.data, was->bytes.len);
    buf_put(&b, reader_take(&r, 4), 4);
    for (int i = 0; i < 3; i++) (void)words_get(&r);
    words_put(&b, was->n_levels ? was->n_levels : 1);
    words_put(&b, was->n_segments + n);
    words_put(&b, was->n_leaves + n_leaves);
    words_put(&b, was->n_merging);
    words_put(&b, was->n_first + n);
    if (was->n_levels)
        for (int i = 0; i < 2; i++) (void)words_get(&r);
    size_t n_kept = was->first_end - (was->bytes.len - r.left);
    if (n_kept) buf_put(&b, reader_take(&r, n_kept), n_kept);
    for (uint64_t i = 0; i < n; i++) put_segment(&b, &add[i]);
    if (r.left) buf_put(&b, was->bytes.data + was->first_end, r.left);
    enum tacit_err err = buf_end(&b);
    if (!err)
        err = db_run(db, "REPLACE INTO chunk_fts_data(id, block) VALUES(10, ?)",
                     "b", b.data, b.len);
    buf_release(&b);
    return err;
}

/* ---- averages -------------------------------------------------------------
 */

static enum tacit_err read_counts(struct db *db, const char *sql,
                                  uint64_t counts[N_COUNTS], int *is_known)
{
    struct buf bytes;
    struct reader r;
    buf_init(&bytes, RECORD_BYTES_MAX);
    enum tacit_err err = read_bytes(db, sql, &bytes);
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

static enum tacit_err write_counts(struct db *db, const uint64_t was[N_COUNTS],
                                   const uint64_t add[N_COUNTS])
{
    struct buf b;
    buf_init(&b, RECORD_BYTES_MAX);
    for (int i = 0; i < N_COUNTS; i++) words_put(&b, was[i] + add[i]);
    enum tacit_err err = buf_end(&b);
    if (!err)
        err = db_run(db, "REPLACE INTO chunk_fts_data(id, block) VALUES(1, ?)",
                     "b", b.data, b.len);
    buf_release(&b);
    return err;
}

/* ---- rows -----------------------------------------------------------------
 */

/* The rows of a query of `from` go into `to`, each value added to the first
 * being that of the segment's new number. */
static enum tacit_err copy_all(sqlite3_stmt *from, struct db *from_db,
                               sqlite3_stmt *to, struct db *to_db, int64_t add)
{
    int has_row, done;
    enum tacit_err err = db_step(from_db, from, &has_row);
    while (!err && has_row) {
        sqlite3_bind_int64(to, 1, sqlite3_column_int64(from, 0) + add);
        for (int i = 1; i < sqlite3_column_count(from); i++)
            sqlite3_bind_value(to, i + 1, sqlite3_column_value(from, i));
        err = db_step(to_db, to, &done);
        sqlite3_reset(to);
        if (!err) err = db_step(from_db, from, &has_row);
    }
    return err;
}

/* A number between ?1 and ?2 is the first column of what is copied. */
struct copying {
    const char *from, *to;
};

static enum tacit_err copy(struct db *db, struct db *made,
                           const struct copying *what, int64_t first,
                           int64_t last, int64_t add)
{
    sqlite3_stmt *from, *to;
    TRY(db_query(made, &from, what->from, "ii", first, last));
    enum tacit_err err = db_query(db, &to, what->to, "");
    if (err) {
        db_finish(from);
        return err;
    }
    err = copy_all(from, made, to, db, add);
    db_finish(to);
    db_finish(from);
    return err;
}

static enum tacit_err copy_segment(struct db *db, struct db *made,
                                   uint32_t from, uint32_t to)
{
    static const struct copying leaves = {
        "SELECT id, block FROM w_data WHERE id BETWEEN ? AND ? ORDER BY id",
        "INSERT INTO chunk_fts_data(id, block) VALUES(?, ?)"};
    static const struct copying terms = {
        "SELECT segid, term, pgno FROM w_idx WHERE segid BETWEEN ? AND ?"
        " ORDER BY segid, term",
        "INSERT INTO chunk_fts_idx(segid, term, pgno) VALUES(?, ?, ?)"};
    int64_t add = (int64_t)to - (int64_t)from;
    int64_t first = (int64_t)from << WORDS_SEGMENT_BITS;
    int64_t last = first + ((int64_t)1 << WORDS_SEGMENT_BITS) - 1;
    TRY(copy(db, made, &leaves, first, last, add * (last - first + 1)));
    return copy(db, made, &terms, from, from, add);
}

/* ---- all of it ------------------------------------------------------------
 */

struct adoption {
    struct record index, made;
    uint64_t n_rows[N_COUNTS], n_made[N_COUNTS];
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

static enum tacit_err look(struct db *db, struct db *made, struct adoption *a,
                           int *is_known)
{
    int is_index_known = 0, is_made_known = 0;
    TRY(is_our_form(db, is_known));
    if (!*is_known) return TACIT_OK;
    TRY(read_record(db, "SELECT block FROM chunk_fts_data WHERE id = 10",
                    &a->index, &is_index_known));
    TRY(read_record(made, "SELECT block FROM w_data WHERE id = 10", &a->made,
                    &is_made_known));
    TRY(read_counts(db, "SELECT block FROM chunk_fts_data WHERE id = 1",
                    a->n_rows, is_known));
    TRY(read_counts(made, "SELECT block FROM w_data WHERE id = 1", a->n_made,
                    is_known));
    const struct record *m = &a->made;
    if (!is_index_known || !is_made_known || m->n_levels != 1 || m->n_merging ||
        m->n_first < 1 || m->n_first > MADE_MAX ||
        a->index.n_segments + m->n_first > SEGMENTS_MAX)
        *is_known = 0;
    return TACIT_OK;
}

/* FTS5 merges by what is written: as it does for a segment of its own. */
static enum tacit_err merge(struct db *db, const struct record *was,
                            uint64_t n_added, uint64_t n_leaves)
{
    uint64_t units =
        (was->n_leaves + n_leaves) / WORK_UNIT - was->n_leaves / WORK_UNIT;
    uint64_t n = units * WORK_UNIT * (was->n_levels ? was->n_levels : 1);
    if (was->n_first + n_added >= CROWDED || n > CROWD_LEAVES) n = CROWD_LEAVES;
    if (!n) return TACIT_OK;
    return db_run(db,
                  "INSERT INTO chunk_fts(chunk_fts, rank) VALUES('merge', ?)",
                  "i", (int64_t)n);
}

static enum tacit_err take_over(struct db *db, struct db *made,
                                struct adoption *a)
{
    static const struct copying sizes = {
        "SELECT id, sz FROM w_docsize WHERE id BETWEEN ? AND ? ORDER BY id",
        "INSERT INTO chunk_fts_docsize(id, sz) VALUES(?, ?)"};
    struct segment add[MADE_MAX];
    uint64_t n = a->made.n_first, n_leaves = 0;
    uint32_t id = 1;
    for (uint64_t i = 0; i < n; i++) {
        while (a->index.is_used[id]) id++; /* there are more than can be used */
        add[i] = a->made.first[i];
        add[i].id = id;
        n_leaves += add[i].leaf_last - add[i].leaf_first + 1;
        TRY(copy_segment(db, made, a->made.first[i].id, id++));
    }
    TRY(copy(db, made, &sizes, INT64_MIN, INT64_MAX, 0));
    TRY(write_counts(db, a->n_rows, a->n_made));
    TRY(write_record(db, &a->index, add, n, n_leaves));
    return merge(db, &a->index, n, n_leaves);
}

/* At a savepoint FTS5 writes out what it has gathered; a merge of nothing then
 * makes it forget the record of segments, which it reads again when it needs
 * it. */
static enum tacit_err adopt(struct db *db, struct db *made, struct adoption *a,
                            int *are_in)
{
    int is_known = 0;
    TRY(db_exec(db, "INSERT INTO chunk_fts(chunk_fts, rank)"
                    " VALUES('merge', 0)"));
    TRY(look(db, made, a, &is_known));
    if (is_known) TRY(take_over(db, made, a));
    *are_in = is_known;
    return TACIT_OK;
}

enum tacit_err words_adopt(struct db *db, struct db *made, int *are_in)
{
    struct adoption a = {.n_rows = {0}};
    *are_in = 0;
    TRY(db_exec(db, "SAVEPOINT words_adopt"));
    enum tacit_err err = adopt(db, made, &a, are_in);
    buf_release(&a.index.bytes);
    buf_release(&a.made.bytes);
    if (!err) err = db_exec(db, "RELEASE words_adopt");
    if (!err) return TACIT_OK;
    *are_in = 0;
    (void)sqlite3_exec(db->sql, "ROLLBACK TO words_adopt; RELEASE words_adopt",
                       NULL, NULL, NULL);
    return err;
}
