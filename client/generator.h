/*
 * generator: the decoder that writes this device's answers, where one was
 * chosen.
 *
 *   tacit model use NAME ──> row in tacit.db ──generator_open──> decoder.h
 *                            name, hash          ^      └─> <home>/prompts/
 *                  newest adopted lm of a plan with this base (adapters.h)
 *
 * What it remembers of prompts on disk (prompt_cache.h) holds what documents
 * say: it is sealed, by a key of its own, when the store is, and removed when
 * documents are removed, when another decoder is chosen, and when the store is
 * sealed or unsealed.
 *
 * Thread rule: as the device.
 */
#ifndef TACIT_CLIENT_GENERATOR_H
#define TACIT_CLIENT_GENERATOR_H

#include "client/networks.h"
#include "common/model/decoder.h"
#include "retrieval/cite.h"

enum { GENERATOR_N_MIGRATIONS = 1 };
#define GENERATOR_NONE    "none"
#define GENERATOR_PROMPTS "prompts"
extern const char *const generator_migrations[GENERATOR_N_MIGRATIONS];

struct generator_choice {
    char name[NETWORK_NAME_MAX]; /* GENERATOR_NONE, or the network's */
    struct digest hash;          /* of its file in blobs/ */
};

/* What is chosen now. */
TACIT_CHECKED enum tacit_err generator_chosen(struct device *d,
                                              struct generator_choice *out);
/* 1 when a network of this family writes text. */
int generator_fits(const char *family);
/* Choose it, durably, once it was opened and has read a token; NULL: none. */
TACIT_CHECKED enum tacit_err generator_use(struct device *d,
                                           const struct network_row *m);
/* STATE when m is chosen: it can't be removed. */
TACIT_CHECKED enum tacit_err generator_check_unused(
    struct device *d, const struct network_row *m);

struct generator_how {
    size_t context;   /* tokens; 0: the network's */
    uint64_t memory;  /* bytes that may be taken; 0: what is free */
    size_t sequences; /* at once, at most; 0: 1 */
    int packs_cache;  /* keys and values as Q8_0, in half of F16's memory */
    int keeps_no_prompts;
};

struct generator {
    struct generator_choice choice;
    char plan[PLAN_NAME_MAX]; /* what it has adopted; "": nothing */
    uint32_t version;         /* of that */
    struct decoder *decoder;
    struct cite_guard *guard;
    struct prompt_cache prompts; /* bytes_max 0: nothing is kept */
    char folder[DEVICE_PATH_MAX];
    uint8_t *key; /* guarded; NULL: the store is plain */
};

/* The chosen one, which stays where it is: it points into itself.
 * E_NO_GENERATOR when there is none; as decoder_open(). */
TACIT_CHECKED enum tacit_err generator_open(struct device *d,
                                            const struct generator_how *how,
                                            struct generator *out);
void generator_close(struct generator *g);
/* Forget what is on disk of prompts. */
void generator_forget(const struct device *d);

#endif
