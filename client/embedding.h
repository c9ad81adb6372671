/*
 * embedding: which encoder reads this device's documents and questions: the
 * built-in one, or a network that was imported.
 *
 *   tacit model use NAME ──> row in tacit.db ──embedding_open──> encoder.h
 *                            name, hash, numbers, prefixes
 *
 * Another choice makes the vectors of all documents stale: searching leaves
 * them out until `tacit reindex` has read the documents again. Questions and
 * passages get the prefixes that the network was trained with: what the person
 * says, else what its files say, else what models of that name want (E5, BGE).
 *
 * A retriever plan trains an adapter for the vectors of the built-in encoder,
 * which are the same everywhere, or, with a base, pairs of low rank inside an
 * imported one; then the questions go through them (adapters.h). With another
 * encoder what was adopted is set aside, and no such plan is trained; so is
 * what was adopted for the built-in encoder of an earlier program.
 *
 * Thread rule: as the device.
 */
#ifndef TACIT_CLIENT_EMBEDDING_H
#define TACIT_CLIENT_EMBEDDING_H

#include "client/networks.h"
#include "common/model/encoder.h"

enum { EMBEDDING_N_MIGRATIONS = 2, EMBEDDING_PREFIX_MAX = 256 };
#define EMBEDDING_BUILT_IN "built-in"
extern const char *const embedding_migrations[EMBEDDING_N_MIGRATIONS];

struct embedding_choice {
    char name[NETWORK_NAME_MAX]; /* EMBEDDING_BUILT_IN, or the network's */
    struct digest hash;          /* of its file in blobs/ */
    enum encoder_kind kind;
    size_t dim;
    char question[EMBEDDING_PREFIX_MAX], passage[EMBEDDING_PREFIX_MAX];
};

/* What is chosen now. */
TACIT_CHECKED enum tacit_err embedding_chosen(struct device *d,
                                              struct embedding_choice *out);
/* Its encoder, owned by the caller: encoder_free(). A network's file is opened
 * by the first text. */
TACIT_CHECKED enum tacit_err embedding_open(struct device *d,
                                            struct encoder **out);
/* An encoder by name, which need not be chosen; prefixes NULL: its own.
 * NOTFOUND; UNSUPPORTED: no encoder; its file's errors. */
TACIT_CHECKED enum tacit_err embedding_read(struct device *d, const char *name,
                                            const char *question,
                                            const char *passage,
                                            struct embedding_choice *out);
TACIT_CHECKED enum tacit_err embedding_make(struct device *d,
                                            const struct embedding_choice *c,
                                            struct encoder **out);
/* Choose it, durably, once it has shown that it can be used. *n_stale: the
 * documents to be read again. */
TACIT_CHECKED enum tacit_err embedding_use(struct device *d,
                                           const struct embedding_choice *c,
                                           size_t *n_stale);
/* STATE when m is chosen: it can't be removed. */
TACIT_CHECKED enum tacit_err embedding_check_unused(
    struct device *d, const struct network_row *m);
/* The adapter of the newest adopted retriever model, if it is for this encoder:
 * [dim, dim], owned by the caller (free), else NULL. */
TACIT_CHECKED enum tacit_err embedding_adapter(struct device *d,
                                               const struct encoder *e,
                                               float **out);
/* Whether an adapter was adopted that the chosen encoder can't use. */
TACIT_CHECKED enum tacit_err embedding_sets_aside(struct device *d, int *out);

#endif
