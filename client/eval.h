/*
 * eval: what `tacit eval` shares: a collection in a temporary store, or this
 * device's own documents.
 *
 *   corpus.jsonl ─shelve.h─> $TMPDIR/tacit-eval-XXXXXX/tacit.db, removed at the
 *                            end
 */
#ifndef TACIT_CLIENT_EVAL_H
#define TACIT_CLIENT_EVAL_H

#include "client/cli.h"
#include "client/networks.h"
#include "client/readers.h"
#include "client/reranker.h"
#include "common/base/arena.h"
#include "retrieval/answerer.h"
#include "retrieval/judged.h"
#include "retrieval/search.h"

enum { EVAL_PATH_MAX = 1024 };

/* Documents to be asked. Zeroed before eval_open_…(). */
struct eval_store {
    struct encoder *encoder;
    struct corpus *corpus;
    struct db db;         /* of a collection */
    char folder[64];      /* of a collection; "" = the device's own */
    struct device device; /* when it is the device's own */
    int has_device;
    float *adapter;
    struct readers readers;   /* of the device's own */
    struct reranker reranker; /* how.n 0: none reads */
    struct arena a;
};

/* An empty store for a collection's texts, with the encoder that --model names.
 * Ctrl-C is caught before its folder is made: whoever goes on for long asks
 * cli_interrupted(), so that eval_store_close() is reached. */
TACIT_CHECKED enum tacit_err eval_store_new(struct eval_store *s,
                                            const struct options *o);
/* Put a corpus.jsonl into it, with progress on stderr. E_INTERRUPTED. */
TACIT_CHECKED enum tacit_err eval_store_fill(struct eval_store *s,
                                             const struct options *o,
                                             const char *corpus_path);
/* This device's documents and search model. */
TACIT_CHECKED enum tacit_err eval_store_home(struct eval_store *s,
                                             const struct options *o);
/* Who reads hits again: the one that --reranker names; of the device's own
 * documents, else the chosen one; --rerank hits, none of them with 0.
 * E_NO_RERANKER. */
TACIT_CHECKED enum tacit_err eval_store_reranker(struct eval_store *s,
                                                 const struct options *o);
/* "reranker": {name, passages}, where one reads. */
void eval_store_tell(const struct eval_store *s, json_t *data);
void eval_store_close(struct eval_store *s);

/* Questions for the decoder of this home (eval_generate.c). */
struct eval_asking {
    const struct options *o;
    struct eval_store *store;
    size_t n;
    void *ctx;
    /* What is searched for question i; *f is empty and stays with it. */
    enum tacit_err (*query)(void *ctx, size_t i, struct filter *f,
                            struct search_query *out);
    /* What was written as if it had been quoted, its span the whole text; NULL:
     * there is no answer. In whichever order they end. */
    enum tacit_err (*judge)(void *ctx, size_t i, const struct answer *a);
};
/* name: of the network that wrote. E_NO_GENERATOR; as generate_all(). */
TACIT_CHECKED enum tacit_err eval_generate(const struct eval_asking *a,
                                           char name[NETWORK_NAME_MAX]);

#endif
