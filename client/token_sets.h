/*
 * token_sets: what a reader, a language model or a classifier learns from, as
 * tokens of the plan's base.
 *
 *   question,passage,answer ─> [CLS] question [SEP] passage [SEP], first and
 *                              last token of the answer     (task: reader)
 *   prompt,answer ───────────> <s> prompt answer </s>, learnt from the answer
 *   text ────────────────────> <s> text </s>, learnt whole  (task: lm)
 *   text,label ──────────────> [CLS] text [SEP], its class  (task: classify)
 *   question,passage,label ──> the pair (text_pair.h), its class
 *
 * A CSV file with these columns, and optionally `split` (train, test). An
 * answer is found where it first stands in its passage; an empty one means that
 * the passage has none, and is the first token. A class is a whole number from
 * 0 on, in the column that the plan's data.label names. A row that is longer
 * than the plan's data.length loses its end, a pair that of its passage; of a
 * reader the passage is cut so that the answer stays. A row with an unknown
 * value, or whose answer does not stand in its passage, is left out and
 * counted.
 */
#ifndef TACIT_CLIENT_TOKEN_SETS_H
#define TACIT_CLIENT_TOKEN_SETS_H

#include "client/examples.h"

/* E_CSV_… name file, line and column; E_NO_EXAMPLES; E_BASE_MISSING. */
TACIT_CHECKED enum tacit_err token_sets_load(const struct plan *plan,
                                             const char *path,
                                             struct dataset *out);

#endif
