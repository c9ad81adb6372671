/*
 * feedback: answers that were given here, and what people said of them. Good
 * ones become question–passage pairs for a retriever plan. Nothing of this ever
 * leaves the device; the last FEEDBACK_ANSWERS_KEPT answers are kept.
 */
#ifndef TACIT_CLIENT_FEEDBACK_H
#define TACIT_CLIENT_FEEDBACK_H

#include <stdint.h>

#include "common/base/db.h"
#include "common/base/err.h"

enum { FEEDBACK_N_MIGRATIONS = 1, FEEDBACK_ANSWERS_KEPT = 1000 };
extern const char *const feedback_migrations[FEEDBACK_N_MIGRATIONS];
/* What came later stands behind everything else in a device's store. */
enum { FEEDBACK_N_LATER = 1 };
extern const char *const feedback_later[FEEDBACK_N_LATER];

struct feedback_source {
    const char *path, *heading;
    uint32_t page; /* 1-based; 0 = no pages */
    uint32_t line; /* 1-based, where the cited text begins */
};

/* Remember an answer with its citations (number i + 1 is sources[i]); *out_id
 * names it in `tacit feedback`. */
TACIT_CHECKED enum tacit_err feedback_answer(struct db *db, int64_t now_s,
                                             const char *question,
                                             const struct feedback_source *s,
                                             size_t n, int64_t *out_id);
/* Citation `number` of the last answer: its path into path[cap], page and line
 * into *out (path and heading there are NULL). E_NO_CITATION. */
TACIT_CHECKED enum tacit_err feedback_last(struct db *db, int number,
                                           char *path, size_t cap,
                                           struct feedback_source *out);
enum feedback_verdict { FEEDBACK_BAD = 0, FEEDBACK_GOOD = 1 };
/* What a person says of citation `number` of an answer; a later word replaces
 * an earlier one. NOTFOUND when there is no such answer or citation. */
TACIT_CHECKED enum tacit_err feedback_give(struct db *db, int64_t now_s,
                                           int64_t answer, int number,
                                           enum feedback_verdict v);
struct feedback_pair {
    int64_t answer;
    const char *question, *path, *heading; /* borrowed during the visit */
    enum feedback_verdict verdict;
};
TACIT_CHECKED enum tacit_err feedback_pairs(
    struct db *db,
    enum tacit_err (*visit)(const struct feedback_pair *p, void *ctx),
    void *ctx);

#endif
