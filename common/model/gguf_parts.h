/*
 * gguf_parts: what gguf.c (opening, checks, tensors) and gguf_pairs.c
 * (metadata) share. Private to them.
 */
#ifndef TACIT_MODEL_GGUF_PARTS_H
#define TACIT_MODEL_GGUF_PARTS_H

#include "common/base/arena.h"
#include "common/model/gguf.h"

struct gguf_pair {
    char *key; /* arena */
    enum gguf_kind kind;
    const uint8_t *at; /* the value */
};

struct gguf {
    struct arena arena;
    const uint8_t *bytes;
    size_t n;
    int mapped;
    int wide; /* lengths of 64 bits */
    uint64_t alignment;
    struct gguf_pair *pairs; /* by key */
    struct gguf_pair *order; /* as they stand in the file */
    size_t n_pairs;
    struct gguf_tensor *tensors; /* as they stand in the file */
    uint32_t *by_name;
    size_t n_tensors;
};

/* Bytes of one value of a kind; 0 for texts and arrays. */
size_t gguf_kind_bytes(enum gguf_kind kind);

#endif
