/*
 * Leaves do not name their segment: a segment is taken over by giving its rows
 * a free number. It is the newest of level 0, where FTS5 itself puts one.
 */
#include "retrieval/words_ahead.h"
#include "retrieval/words_merge.h"

enum {
    MERGED_LEAVES = 1 << 14, /* 64 MiB */
    WORK_UNIT = 64, /* leaves, after which FTS5 merges as many per level */
    CROWDED = 16,   /* segments of a level: FTS5 would merge all of them */
    CROWD_LEAVES = 1 << 20
};

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
    struct words_rows rows;    /* owned */
    struct words_record index; /* owned */
    uint64_t sums[WORDS_SUMS];
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
    const char *wrong;
    TRY(is_our_form(db, is_known));
    if (!*is_known) return TACIT_OK;
    TRY(words_rows_open(db, &a->rows));
    TRY(words_record_read(&a->rows, &a->index, &wrong));
    TRY(words_sums_read(&a->rows, a->sums, is_known));
    if (wrong || a->index.n_segments >= WORDS_SEGMENTS_MAX) *is_known = 0;
    return TACIT_OK;
}

/* FTS5 merges by what is written: as it does for a segment of its own. */
static enum tacit_err merge(struct db *db, const struct words_record *r,
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

/* The first level's segments, oldest first. */
static const struct words_span *first_level(const struct words_record *r)
{
    return r->segment + (r->n_segments - r->level[0].n);
}

/* They become one of the second. */
static enum tacit_err merge_first(struct adoption *a, int *is_done)
{
    const struct words_record *r = &a->index;
    struct words_span out = {.id = words_record_free_id(r)};
    int is_oldest = r->n_segments == r->level[0].n;
    TRY(words_merge(&a->rows, first_level(r), r->level[0].n, is_oldest, &out,
                    is_done));
    if (!*is_done) return TACIT_OK;
    if (out.leaf_last) return words_record_add(a->rows.db, r, 1, &out);
    *is_done = 0; /* nothing is left of them: a rare end, which FTS5 can make */
    return TACIT_OK;
}

/* When as many as are merged at once are there, and few enough leaves that a
 * write need not wait for them. */
static int is_merged_here(const struct words_record *r)
{
    uint64_t n = 0;
    if (r->level[0].n < WORDS_MERGED || r->level[0].n > WORDS_MERGED_MAX ||
        r->level[0].n_merging)
        return 0;
    for (uint64_t i = 0; i < r->level[0].n; i++)
        n += first_level(r)[i].leaf_last - first_level(r)[i].leaf_first + 1;
    return n <= MERGED_LEAVES;
}

static enum tacit_err try_merge(struct db *db, struct adoption *a)
{
    int is_done = 0;
    if (!is_merged_here(&a->index)) return TACIT_OK;
    TRY(db_exec(db, "SAVEPOINT words_merge"));
    enum tacit_err err = merge_first(a, &is_done);
    if (err) return err; /* the adoption's savepoint undoes it */
    if (!is_done) TRY(db_exec(db, "ROLLBACK TO words_merge"));
    return db_exec(db, "RELEASE words_merge");
}

static enum tacit_err take_segment(struct db *db, struct adoption *a,
                                   const struct words_segment *made)
{
    const struct words_span add = {words_record_free_id(&a->index), 1,
                                   made->n_leaves};
    const char *wrong;
    if (!made->n_leaves) return TACIT_OK;
    TRY(words_segment_store(db, made, add.id));
    TRY(words_record_add(db, &a->index, 0, &add));
    TRY(words_record_read(&a->rows, &a->index, &wrong));
    if (wrong) return fail(TACIT_INTERNAL, "a record of segments");
    TRY(try_merge(db, a));
    return merge(db, &a->index, made->n_leaves);
}

static enum tacit_err take_over(struct db *db, const struct words_gather *made,
                                struct adoption *a)
{
    size_t n;
    const struct words_row *rows = words_gather_rows(made, &n);
    TRY(write_sizes(db, rows, n));
    a->sums[0] += n;
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < WORDS_COLUMNS; k++)
            a->sums[1 + k] += rows[i].n_words[k];
    TRY(words_sums_write(db, a->sums));
    return take_segment(db, a, words_gather_segment(made));
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
    struct adoption a = {.sums = {0}};
    *are_in = 0;
    TRY(db_exec(db, "SAVEPOINT words_adopt"));
    enum tacit_err err = adopt(db, made, &a, are_in);
    words_rows_close(&a.rows);
    words_record_release(&a.index);
    if (!err) err = db_exec(db, "RELEASE words_adopt");
    if (!err) return TACIT_OK;
    *are_in = 0;
    (void)sqlite3_exec(db->sql, "ROLLBACK TO words_adopt; RELEASE words_adopt",
                       NULL, NULL, NULL);
    return err;
}
