/*
 * word_table: a text's vector is the sum of its words' rows. The network of the
 * built-in encoder and of what `tacit model distill` makes (family words).
 *
 *   text ──features.h──> rows and weights ──sum_i w_i table[i]──> normalise
 *
 *   words.embedding_length     numbers of a vector
 *   words.feature_version      FEATURES_VERSION
 *   words.bucket_count         rows of n-grams, behind those of the words
 *   words.list                 the words
 *   words.print                hex: BLAKE2b-256 of all that a vector depends on
 *   table.weight [dim, rows]   any type of quant.h
 *
 * (Static embeddings: Arora et al. 2017, "A simple but tough-to-beat baseline
 * for sentence embeddings"; rows learnt from a network's vectors: distill.h.)
 *
 * Thread rule: an open table may be used by many threads, each with its arena.
 */
#ifndef TACIT_MODEL_WORD_TABLE_H
#define TACIT_MODEL_WORD_TABLE_H

#include "common/model/features.h"
#include "common/model/gguf.h"

#define WORD_TABLE_FAMILY "words"
#define WORD_TABLE_PRINT  WORD_TABLE_FAMILY ".print"
enum { WORD_TABLE_DIM_MAX = 1024 };

struct word_table; /* owned */

/* Over an open file, borrowed until word_table_free(). FORMAT, UNSUPPORTED,
 * LIMIT: it is no such table. */
TACIT_CHECKED enum tacit_err word_table_open(const struct gguf *g,
                                             struct word_table **out);
void word_table_free(struct word_table *t);
size_t word_table_dim(const struct word_table *t);
const struct lexicon *word_table_lexicon(const struct word_table *t);
/* Unit vector of a text into out [dim]; zeros for a text without words. FORMAT:
 * its rows are no numbers. */
TACIT_CHECKED enum tacit_err word_table_embed(const struct word_table *t,
                                              struct arena *scratch,
                                              const char *text, size_t n,
                                              float *out);

#endif
