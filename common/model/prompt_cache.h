/*
 * prompt_cache: keys and values of prompts on disk, so that the beginning of a
 * prompt that was read once is not read again.
 *
 *   <folder>/<hash>.kv   hash = BLAKE2b-256(model, cache type, edges, tokens)
 *
 *   "TACITKV1" ‖ name [32] ‖ n tokens ‖ n bytes ‖ nonce, tag [40] ‖ body
 *   body: tokens [n] u32 ‖ keys and values of each layer (kv_pack)
 *
 * Whoever knows the keys and values knows the text: with a key the body is
 * sealed (crypto/seal.h); without one, `nonce, tag` holds its hash. A file is
 * written whole or not at all, 0600, and checked before it is used: name,
 * sizes, tokens, seal or hash, and that every number is one. What does not fit
 * is removed and counts as not there. The folder is bounded: the files that
 * were not used for the longest time go first.
 *
 * Thread rule: const; several processes may share a folder.
 */
#ifndef TACIT_MODEL_PROMPT_CACHE_H
#define TACIT_MODEL_PROMPT_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/model/kv.h"

enum { PROMPT_CACHE_BYTES = 256 << 20, PROMPT_CACHE_FILES_MAX = 4096 };

struct prompt_cache {
    const char *folder; /* borrowed; made by the first write */
    const uint8_t *key; /* [SEAL_KEY], borrowed; NULL: not sealed */
    uint64_t bytes_max; /* of all files; 0: nothing is written */
};

/* A prefix and how it came about. */
struct prompt_prefix {
    const struct digest *model;
    const uint32_t *token; /* [n] */
    size_t n;
    const uint32_t *edge; /* [n_edges] where its pieces ended */
    size_t n_edges;
};

/* Fill kv with the prefix. *found 0, and kv as it was or empty, when it is not
 * there. Only NOMEM is an error. */
TACIT_CHECKED enum tacit_err prompt_cache_read(const struct prompt_cache *c,
                                               const struct prompt_prefix *p,
                                               struct kv *kv, int *found);
/* Keep the first p->n tokens of kv, unless they are there, or the ring of a
 * window holds them no more. */
TACIT_CHECKED enum tacit_err prompt_cache_write(const struct prompt_cache *c,
                                                const struct prompt_prefix *p,
                                                const struct kv *kv);
/* A file's content, checked, into kv: FORMAT, AUTH, SHAPE. For tests. */
TACIT_CHECKED enum tacit_err prompt_cache_decode(const struct prompt_cache *c,
                                                 const struct prompt_prefix *p,
                                                 uint8_t *bytes, size_t n,
                                                 struct kv *kv);
/* The name of a prefix's file, for a cache of this shape. */
void prompt_cache_name(const struct prompt_prefix *p, const struct kv_shape *s,
                       struct digest *out);
/* Remove every file of a folder that may not be there. */
void prompt_cache_clear(const char *folder);

#endif
