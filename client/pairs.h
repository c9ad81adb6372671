/*
 * pairs: examples of a retriever plan: question–passage pairs from a CSV file
 * and from good feedback, as frozen vectors over the site's own passages.
 *
 *   question ─encoder─> x [n, dim]       passage that answers ─> p [n, dim]
 *            └─ with a base: its tokens, and the passages of the pool that are
 *               nearest to it and answer something else (hard negatives)
 *   all passages of the site ─> pool [n_pool, dim], grouped by section
 *
 * CSV columns: question, and either document (the end of an indexed path) with
 * or without heading, or passage (its text). A pair with an empty cell (or
 * ?), or whose document is not indexed here, is left out and counted; one that
 * could mean two documents is an error. Feedback names whole paths.
 * Under privacy groups are documents, whatever rows say.
 * Of a section's passages the one nearest to the question is the positive; in
 * measuring, any of them counts.
 */
#ifndef TACIT_CLIENT_PAIRS_H
#define TACIT_CLIENT_PAIRS_H

#include "client/examples.h"
#include "common/base/db.h"
#include "common/model/encoder.h"
#include "retrieval/corpus.h"

enum { PAIRS_MAX = 100000 };

/* csv_path may be NULL: feedback only. E_CSV_… name file, line and column;
 * E_NO_EXAMPLES when no pair is left to train on; LIMIT; UNSUPPORTED when the
 * plan's vectors have another length. */
TACIT_CHECKED enum tacit_err pairs_load(const struct plan *plan,
                                        const char *csv_path, struct db *db,
                                        struct corpus *corpus,
                                        const struct encoder *encoder,
                                        struct dataset *out);

#endif
