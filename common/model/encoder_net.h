/*
 * encoder_net: the model file behind encoder.h, for encoder.c alone: a network,
 * or a table of words (word_table.h), which needs no batches.
 *
 *   texts ─vocab─> tokens ─cut to batches─> lanes ─net.h─> vectors
 *
 *   batch   whole texts, at most ENCODER_BATCH_TOKENS of them together (or one
 *           longer text): rows packed one behind another, never padded
 *   lane    a tape for each thread of the pool, so the memory of an embedding
 *           is that of one layer of one batch, times the threads
 *
 * A text longer than the network's context loses its end. Files are mapped, so
 * that processes share the weights.
 */
#ifndef TACIT_MODEL_ENCODER_NET_H
#define TACIT_MODEL_ENCODER_NET_H

#include "common/model/encoder.h"

/* Tokens: what net.c takes through its layers together; larger batches leave
 * threads without one at the end. */
enum { ENCODER_BATCH_TOKENS = 256, ENCODER_TEXTS_MAX = 1 << 16 };
enum encoder_side { ENCODER_QUESTIONS, ENCODER_PASSAGES };

struct encoder_net; /* owned */

TACIT_CHECKED enum tacit_err encoder_net_new(const struct encoder_model *m,
                                             struct encoder_net **out);
void encoder_net_free(struct encoder_net *e);
TACIT_CHECKED enum tacit_err encoder_net_ready(struct encoder_net *e);
enum encoder_kind encoder_net_kind(const struct encoder_net *e);
size_t encoder_net_dim(const struct encoder_net *e);
/* 0 before encoder_net_ready(). */
size_t encoder_net_context(const struct encoder_net *e);
size_t encoder_net_count(struct encoder_net *e, const char *text, size_t n);
void encoder_net_version(const struct encoder_net *e,
                         char out[ENCODER_VERSION_MAX]);
/* Vectors [n, dim] of n texts. */
TACIT_CHECKED enum tacit_err encoder_net_embed(struct encoder_net *e,
                                               enum encoder_side side,
                                               const struct text *texts,
                                               size_t n, float *out);

/* As in encoder.h. */
struct vocab_ids;
struct model_base;
TACIT_CHECKED enum tacit_err encoder_net_tokens(struct encoder_net *e,
                                                const char *text, size_t n,
                                                struct vocab_ids *out);
TACIT_CHECKED enum tacit_err encoder_net_adapt(struct encoder_net *e,
                                               const struct model_base *base,
                                               const float *w, size_t n);

#endif
