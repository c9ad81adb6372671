/*
 * distill_parts: what distill.c has made, distill_settle.c finishes and
 * distill_file.c writes. Private to them.
 */
#ifndef TACIT_MODEL_DISTILL_PARTS_H
#define TACIT_MODEL_DISTILL_PARTS_H

#include "common/model/distill.h"

struct distilled {
    struct distill_config c;
    struct lexicon *lexicon;
    size_t n_rows;
    float *table; /* [n_rows, dim] */
    uint64_t n_texts;
    struct distill_report report;
};

/* Rows and weights of texts, one text behind another. */
struct distill_bags {
    const uint32_t *id;
    const float *weight;
    const uint64_t *start; /* [n + 1] */
    size_t n;
};

/* Make frequent words quieter, and take out of all rows [n_rows, dim] the mean
 * of the texts' vectors and the directions that these vary along most (Mu and
 * Viswanath 2018, "All-but-the-top"): what tells one kind of text from another
 * and says little about two of the same kind. */
TACIT_CHECKED enum tacit_err distill_settle(float *table, size_t n_rows,
                                            size_t dim,
                                            const struct distill_words *words,
                                            const struct distill_bags *texts);

#endif
