/*
 * net_reader: an imported network with a head for spans as a reader: BERT's
 * family, as trained on SQuAD's kind of rows (Devlin et al. 2019, section 4.2).
 *
 *   [CLS] question [SEP] passage [SEP] ─net─> scores of each token as the first
 *                                            and the last of the answer;
 *                                            [CLS] for none
 *
 * The head is the file's (head.weight; `qa_outputs` of a Hugging Face folder),
 * or stands behind the pairs of an adapter that was adopted. A passage that is
 * longer than the network's context loses its end.
 *
 * Thread rule: one thread at a time per reader.
 */
#ifndef TACIT_MODEL_NET_READER_H
#define TACIT_MODEL_NET_READER_H

#include "common/model/model.h"
#include "common/model/span_reader.h"

struct net_reader; /* owned */

/* Over the file or folder at path. E_MODEL_UNSUPPORTED: it has no head for
 * spans; errors of net_open(). */
TACIT_CHECKED enum tacit_err net_reader_open(const char *path,
                                             struct net_reader **out);
/* Over an adapter's base (tuned.h), with its weights w [n] and head.
 * E_BASE_MISSING; SHAPE. */
TACIT_CHECKED enum tacit_err net_reader_adapted(const struct model_base *base,
                                                const float *w, size_t n,
                                                struct net_reader **out);
void net_reader_free(struct net_reader *r);
TACIT_CHECKED enum tacit_err net_reader_read(struct net_reader *r,
                                             const struct reader_pair *p,
                                             struct span_found *out);

#endif
