/*
 * decoder_parts: what decoder.c opens and decoder_run.c writes with. Private to
 * them.
 */
#ifndef TACIT_MODEL_DECODER_PARTS_H
#define TACIT_MODEL_DECODER_PARTS_H

#include "common/base/pool.h"
#include "common/model/decoder.h"
#include "common/model/net.h"

/* Where a sequence is written. What was read there stays until another one
 * needs the place. */
struct decoder_seat {
    struct kv *kv; /* NULL: nothing was read yet */
    /* What is in kv, and where its pieces ended. */
    uint32_t *seen, *edge; /* [context], [context / DECODER_PIECE + cuts] */
    size_t n_seen, n_edges;
    uint64_t used; /* when: the last of all is the largest */
    int is_taken;
};

struct decoder {
    char name[96];
    struct digest hash;
    struct model_files *files;
    struct vocab *vocab;
    struct net *net;
    struct pool *pool;
    struct tape tape;
    enum chat_family chat;
    enum quant_type cache_type;
    size_t context, n_vocab; /* n_vocab: rows of the logits */
    struct decoder_need need;
    uint8_t *silent; /* [n_vocab] never drawn */
    struct decoder_seat *seats;
    size_t n_seats;
    uint64_t uses;
};

/* Of a sequence with room for n_max tokens. */
struct kv_shape decoder_cache_shape(const struct decoder *d, size_t n_max);

#endif
