/*
 * encoder: text -> unit vector. The encoder of both walks: passages are
 * embedded when they are added, questions when they are asked. It is the
 * built-in one, or what was imported: a network (net.h: MiniLM, BGE, E5), or a
 * table like the built-in one.
 *
 * The built-in one is a table of words (word_table.h) that was distilled from
 * all-MiniLM-L6-v2 and is part of the program (built_in.h; models/README.md
 * says how it was made and what it is worth): a text's vector is the sum of its
 * words' rows, normalised. A federated retriever round trains only the
 * query-side adapter (adapter.h), so that passage vectors stay valid.
 *
 * A network (encoder_net.h) is mapped when the first text is embedded. Texts
 * that are given together are packed into batches, which run on all cores; but
 * for rounding a vector does not depend on the texts beside it.
 *
 * Thread rule: all that takes a const encoder may be called from many threads
 * at once, each with its own arena, while nothing trains; a network serves them
 * one after the other.
 */
#ifndef TACIT_MODEL_ENCODER_H
#define TACIT_MODEL_ENCODER_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/digest.h"
#include "common/base/err.h"

enum {
    ENCODER_DIM = 256, /* of the built-in one */
    ENCODER_DIM_MAX = 1024,
    ENCODER_VERSION_MAX = 24
};

struct encoder; /* owned */

/* The built-in encoder. NOMEM. */
TACIT_CHECKED enum tacit_err encoder_new(struct encoder **out);
/* A network of a file that is known, and what it wants before a text: all is
 * copied. Nothing is opened yet. LIMIT, NOMEM. */
enum encoder_kind { ENCODER_NETWORK, ENCODER_TABLE };
struct encoder_model {
    enum encoder_kind kind;
    const char *name;               /* for messages */
    const char *path;               /* GGUF file or folder */
    struct digest hash;             /* of its content */
    size_t dim;                     /* of its vectors */
    const char *question, *passage; /* prefixes; "" for none */
};
TACIT_CHECKED enum tacit_err encoder_open(const struct encoder_model *m,
                                          struct encoder **out);
void encoder_free(struct encoder *e);
/* Open the network, if there is one: what follows then finds it open. IO,
 * FORMAT, SHAPE, UNSUPPORTED: its file, with the ways out. */
TACIT_CHECKED enum tacit_err encoder_ready(const struct encoder *e);
int encoder_is_built_in(const struct encoder *e);
/* Whether it is a table of words, the built-in one or an imported one: a sum of
 * rows knows no order, and costs next to nothing. */
int encoder_is_table(const struct encoder *e);
/* Numbers of a vector, at most ENCODER_DIM_MAX. */
size_t encoder_dim(const struct encoder *e);
/* Tokens that it reads of a text; more are left out. SIZE_MAX: all. */
size_t encoder_context(const struct encoder *e);
/* Tokens of text[n] as this encoder counts them, marks aside. */
size_t encoder_count(const struct encoder *e, const char *text, size_t n);
/* Names all that a vector depends on; rows of another version must be embedded
 * again. */
void encoder_version(const struct encoder *e, char out[ENCODER_VERSION_MAX]);
/* That of the built-in one. */
TACIT_CHECKED enum tacit_err encoder_built_in_version(
    char out[ENCODER_VERSION_MAX]);

struct text {
    const char *s;
    size_t n;
};
/* Unit vector of a question into out [dim]; zeros for a text without words. The
 * arena is scratch: the caller resets it. */
TACIT_CHECKED enum tacit_err encoder_embed(const struct encoder *e,
                                           struct arena *scratch,
                                           const char *text, size_t n,
                                           float *out);
/* The same of n passages, into out [n, dim]. Errors as encoder_ready(). */
TACIT_CHECKED enum tacit_err encoder_embed_all(const struct encoder *e,
                                               struct arena *scratch,
                                               const struct text *texts,
                                               size_t n, float *out);

/* The tokens of a question as the network reads it; none of a text without
 * words. UNSUPPORTED for the built-in one. */
struct vocab_ids;
TACIT_CHECKED enum tacit_err encoder_tokens(const struct encoder *e,
                                            const char *text, size_t n,
                                            struct vocab_ids *out);
/* From here on questions go through the network with the adapter of `base`,
 * weights w [n] of its parameters (tuned.h); passages as before. SHAPE when the
 * weights are of another adapter. */
struct model_base;
TACIT_CHECKED enum tacit_err encoder_adapt(struct encoder *e,
                                           const struct model_base *base,
                                           const float *w, size_t n);

#endif
