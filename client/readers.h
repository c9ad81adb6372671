/*
 * readers: who reads this device's passages for the words that answer.
 *
 *   tacit model use NAME ──> row in tacit.db, a network with a head for spans
 *   adopted, task reader ──> the built-in reader as a federation has learnt it,
 *                            or an adapter of a network that is here
 *   neither              ──> the built-in one, as it came with the program
 *
 * Without a choice the newest adopted one that can be used here reads. What was
 * adopted and is not used is set aside, and says why: its base is not here, it
 * was learnt over the words of another built-in encoder, or a network was
 * chosen that it is not for.
 *
 * Thread rule: as the device.
 */
#ifndef TACIT_CLIENT_READERS_H
#define TACIT_CLIENT_READERS_H

#include "client/networks.h"
#include "common/model/net_reader.h"
#include "retrieval/passage_reader.h"

enum {
    READERS_N_MIGRATIONS = 1,
    READERS_NAME_MAX = 160,
    READERS_ASIDE_MAX = 256
};
/* Given to `tacit model use`, takes the choice back. */
#define READERS_BUILT_IN "built-in-reader"
extern const char *const readers_migrations[READERS_N_MIGRATIONS];

struct readers {
    char name[READERS_NAME_MAX];   /* of who reads */
    char aside[READERS_ASIDE_MAX]; /* what does not, and why; "" */
    struct passage_reader use;
    const struct passage_reader *reader; /* for a query; NULL: built-in */
    struct span_reader *own;             /* owned, or NULL */
    struct net_reader *net;              /* owned, or NULL */
};

/* out stays where it is: it points into itself. Errors of the chosen file. */
TACIT_CHECKED enum tacit_err readers_open(struct device *d,
                                          struct readers *out);
void readers_close(struct readers *r);
/* The name of the chosen network, or "". */
TACIT_CHECKED enum tacit_err readers_chosen(struct device *d,
                                            char out[NETWORK_NAME_MAX]);
/* 1 when the network has a head for spans. */
TACIT_CHECKED enum tacit_err readers_fit(struct device *d,
                                         const struct network_row *m, int *out);
/* Choose it, durably, once it has read a passage; NULL: none. */
TACIT_CHECKED enum tacit_err readers_use(struct device *d,
                                         const struct network_row *m);
/* STATE when m is chosen: it can't be removed. */
TACIT_CHECKED enum tacit_err readers_check_unused(struct device *d,
                                                  const struct network_row *m);

#endif
