/*
 * reranker: the cross-encoder that reads this device's best hits again, where
 * one was chosen.
 *
 *   tacit model use NAME [--rerank N] ──> row in tacit.db ──reranker_open──>
 *                                         name, hash, N       struct reread
 *
 * N is how many hits are read, unless --rerank says it for one question.
 *
 * Thread rule: as the device.
 */
#ifndef TACIT_CLIENT_RERANKER_H
#define TACIT_CLIENT_RERANKER_H

#include "client/networks.h"
#include "retrieval/reread.h"

enum { RERANKER_N_MIGRATIONS = 1 };
#define RERANKER_NONE "none"
extern const char *const reranker_migrations[RERANKER_N_MIGRATIONS];

struct reranker_choice {
    char name[NETWORK_NAME_MAX]; /* RERANKER_NONE, or the network's */
    struct digest hash;          /* of its file in blobs/ */
    size_t n;                    /* hits that it reads */
};

/* What is chosen now. */
TACIT_CHECKED enum tacit_err reranker_chosen(struct device *d,
                                             struct reranker_choice *out);
/* Outputs of its head: 1 scores pairs of texts, more are classes; 0: it has no
 * head. Its file's errors. */
TACIT_CHECKED enum tacit_err reranker_outputs(struct device *d,
                                              const struct network_row *m,
                                              uint64_t *out);
/* Choose it, durably, once it has scored a pair; NULL: none. */
TACIT_CHECKED enum tacit_err reranker_use(struct device *d,
                                          const struct network_row *m,
                                          size_t n);
/* STATE when m is chosen: it can't be removed. */
TACIT_CHECKED enum tacit_err reranker_check_unused(struct device *d,
                                                   const struct network_row *m);

/* Ready to read; stays where it is. */
struct reranker {
    struct reranker_choice choice;
    struct reread how;
};

/* The chosen one; `asked` hits (0: as chosen). E_NO_RERANKER when there is
 * none; as cross_open(). */
TACIT_CHECKED enum tacit_err reranker_open(struct device *d, size_t asked,
                                           struct reranker *out);
/* One that need not be chosen. */
TACIT_CHECKED enum tacit_err reranker_open_row(struct device *d,
                                               const struct network_row *m,
                                               size_t n, struct reranker *out);
void reranker_close(struct reranker *r);

#endif
