/*
 * words_record: the rows of chunk_fts_data by number, and the two of them that
 * say what else there is (words_format.h): the segments, and the sums over all
 * rows.
 *
 * What is read is not trusted: another form than is known here is said, and
 * whoever reads decides whether that is damage or somebody else's to read.
 * Thread rule: that of the connection.
 */
#ifndef TACIT_RETRIEVAL_WORDS_RECORD_H
#define TACIT_RETRIEVAL_WORDS_RECORD_H

#include "common/base/db.h"
#include "retrieval/words_format.h"

enum {
    WORDS_SEGMENTS_MAX = 1000, /* FTS5 merges long before */
    WORDS_SEGMENT_IDS = 2000,  /* that FTS5 gives, from 1 on */
    WORDS_SUMS = 1 + WORDS_COLUMNS
};

/* ---- rows -----------------------------------------------------------------
 */

struct words_rows {
    struct db *db;      /* borrowed */
    sqlite3_stmt *read; /* owned */
};

TACIT_CHECKED enum tacit_err words_rows_open(struct db *db,
                                             struct words_rows *out);
/* A row's bytes, at most out->max of them, take the place of those in out;
 * none: it is not there. */
TACIT_CHECKED enum tacit_err words_rows_read(struct words_rows *r, int64_t id,
                                             struct buf *out);
void words_rows_close(struct words_rows *r);

/* ---- segments -------------------------------------------------------------
 */

/* A segment; its leaves are numbered from 1 on. Both 0: a merge that is not at
 * its end has nothing left of it. */
struct words_span {
    uint32_t id, leaf_first, leaf_last;
};

struct words_level {
    uint64_t n_merging, n;
    size_t at, end; /* of its segments, in bytes of the record */
};

/* Zeroed before the first read. */
struct words_record {
    struct buf bytes; /* owned */
    uint64_t n_levels, n_segments, n_leaves;
    struct words_level level[2];                   /* the first two */
    size_t rest;                                   /* of bytes, behind those */
    struct words_span segment[WORDS_SEGMENTS_MAX]; /* oldest first */
    uint8_t is_used[WORDS_SEGMENT_IDS + 1];        /* numbers of segments */
};

/* *wrong: what has another form, NULL when nothing has. */
TACIT_CHECKED enum tacit_err words_record_read(struct words_rows *rows,
                                               struct words_record *out,
                                               const char **wrong);
/* Write the record with one more segment, the newest of level `to`, 0 or 1; the
 * segments of the level below it, which became that one, are gone. Of level 0
 * it is one whose leaves were never counted. */
TACIT_CHECKED enum tacit_err words_record_add(struct db *db,
                                              const struct words_record *was,
                                              unsigned to,
                                              const struct words_span *add);
/* A number that no segment has: there are more than can be used. */
uint32_t words_record_free_id(const struct words_record *r);
void words_record_release(struct words_record *r);

/* ---- sums -----------------------------------------------------------------
 */

/* Whether there are just n numbers in bytes [n_bytes]. */
int words_numbers(const void *bytes, size_t n_bytes, uint64_t *out, size_t n);
/* How many rows there are, and words in each column; *is_known 0: another
 * form. */
TACIT_CHECKED enum tacit_err words_sums_read(struct words_rows *rows,
                                             uint64_t out[WORDS_SUMS],
                                             int *is_known);
TACIT_CHECKED enum tacit_err words_sums_write(struct db *db,
                                              const uint64_t sums[WORDS_SUMS]);

#endif
