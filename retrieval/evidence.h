/*
 * evidence: which of a question's terms stand where in a passage, by the same
 * stemming as the word index: a function `question_marks(chunk_fts)` that FTS5
 * calls for each row it finds.
 *
 *   "contributors"  ~>  "… each Contributor hereby grants …"  [first, end)
 */
#ifndef TACIT_RETRIEVAL_EVIDENCE_H
#define TACIT_RETRIEVAL_EVIDENCE_H

#include "common/base/db.h"
#include "retrieval/question.h"

enum { EVIDENCE_MARKS_MAX = 512 };

/* Columns of chunk_fts. */
enum evidence_column { COLUMN_TITLE, COLUMN_HEADING, COLUMN_TEXT };

struct evidence_mark {
    uint32_t term;       /* index into question.term */
    uint32_t column;     /* enum evidence_column */
    uint32_t first, end; /* bytes of that column */
};

/* Make question_marks() known to a connection. UNSUPPORTED when its SQLite has
 * no FTS5. */
TACIT_CHECKED enum tacit_err evidence_register(struct db *db);
/* All marks of a passage, in order of column and place; none when it holds no
 * term. */
TACIT_CHECKED enum tacit_err evidence_find(struct db *db,
                                           const struct question *q,
                                           int64_t chunk_id,
                                           struct evidence_mark *out,
                                           size_t *n);
/* weight[i] of term i: ln((n + 1) / (n_i + 0.5)), at least 0, where n_i of all
 * n passages hold it; counting stops at EVIDENCE_COUNT_MAX. */
enum { EVIDENCE_COUNT_MAX = 20000 };
TACIT_CHECKED enum tacit_err evidence_weights(struct db *db, struct arena *a,
                                              const struct question *q,
                                              double *weight);

#endif
