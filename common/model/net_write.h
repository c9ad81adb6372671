/*
 * net_write: a network that has learnt, as the tensors of a GGUF file.
 *
 *   tensor of its files ─┬─ trained ────────> its numbers now
 *                        ├─ with a pair ────> W + scale up down
 *                        └─ neither ────────> as it is
 *
 * Thread rule: one writer; nobody changes the network meanwhile.
 */
#ifndef TACIT_MODEL_NET_WRITE_H
#define TACIT_MODEL_NET_WRITE_H

#include "common/model/model_files.h"
#include "common/model/net.h"

struct net_write {
    int type; /* of matrices: enum quant_type, or REPACK_KEEP as in the files */
    /* With each piece's bytes; an error of it ends the work. NULL: none. */
    enum tacit_err (*step)(void *ctx, uint64_t bytes);
    void *ctx;
    /* Written as they are: in place of the files' tensors of their names, or
     * behind all. Borrowed. */
    const struct gguf_tensor *other; /* [n_other] */
    size_t n_other;
};

/* All tensors of the files that the network was opened from, announced and
 * written; keys before and gguf_writer_end() after are the caller's. A trained
 * head is left out unless it is among `other`. NOMEM; UNSUPPORTED as
 * repack_plan(). */
TACIT_CHECKED enum tacit_err net_write(const struct model_files *f,
                                       struct net *net,
                                       const struct net_write *how,
                                       struct gguf_writer *w);

#endif
