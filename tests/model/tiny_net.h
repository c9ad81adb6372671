/*
 * tiny_net: networks of a few thousand numbers, drawn as
 * tests/golden/net_golden.py draws them, as GGUF files in memory.
 */
#ifndef TACIT_TESTS_MODEL_TINY_NET_H
#define TACIT_TESTS_MODEL_TINY_NET_H

#include "tests/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/model/gguf.h"
#include "common/model/net.h"
#include "common/model/vocab.h"
#include "common/tensor/quant.h"
#include "common/tensor/weights.h"
#include "tests/golden/net_golden_bert.h"
#include "tests/golden/net_golden_cross.h"
#include "tests/golden/net_golden_llama.h"
#include "tests/golden/net_golden_mistral.h"
#include "tests/golden/net_golden_qwen2.h"

enum { TINY_ROWS = 33, TINY_FIRST = 24 };

struct tiny_family {
    const char *name, *family;
    const struct golden_tensor *tensors;
    size_t n_tensors;
    const struct golden_pair *pairs;
    size_t n_pairs;
    const float *rows, *losses;
    const char *words; /* of a vocabulary, a line each; NULL: none */
};

#define TINY_COUNT(list) (sizeof(list) / sizeof *(list))
#define TINY_FAMILY(name, family)                                              \
 {                                                                             \
#  name, family, name##_tensors, TINY_COUNT(name##_tensors), name##_pairs,     \
      TINY_COUNT(name##_pairs), name##_rows, name##_losses, NULL               \
 }
static const struct tiny_family tiny_families[] = {
    TINY_FAMILY(llama, "llama"),
    TINY_FAMILY(mistral, "llama"),
    TINY_FAMILY(qwen2, "qwen2"),
    TINY_FAMILY(bert, "bert"),
};
enum { TINY_FAMILIES = TINY_COUNT(tiny_families) };

/* A cross-encoder, with a vocabulary of a few words. */
static const struct tiny_family tiny_cross = {
    "cross",       "bert",
    cross_tensors, TINY_COUNT(cross_tensors),
    cross_pairs,   TINY_COUNT(cross_pairs),
    cross_rows,    cross_losses,
    cross_words};

/* Number after number of SplitMix64, seeded by FNV-1a of name and more. */
static inline void tiny_draw(const char *name, const char *more, float *v,
                             size_t n)
{
    uint64_t seed = 0xcbf29ce484222325u;
    for (const char *p = name; *p; p++)
        seed = (seed ^ (uint8_t)*p) * 0x100000001b3u;
    for (const char *p = more; *p; p++)
        seed = (seed ^ (uint8_t)*p) * 0x100000001b3u;
    for (size_t i = 0; i < n; i++) {
        uint64_t z = seed + (i + 1) * 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        z = z ^ (z >> 31);
        v[i] = (float)(z >> 40) * 0x1p-23f - 1;
    }
}

static inline void tiny_values(const struct golden_tensor *t, float *v)
{
    tiny_draw(t->name, "", v, t->rows * t->cols);
    for (size_t i = 0; i < t->rows * t->cols; i++)
        v[i] = (float)t->base + (float)t->scale * v[i];
}

/* rows x cols in `type`, or packed when it is GGUF_PACKED + one. */
static inline void tiny_put(struct gguf_writer *w, const float *v, size_t rows,
                            size_t cols, uint32_t type)
{
    static uint8_t bytes[1 << 16], packed[1 << 16];
    enum quant_type plain =
        (enum quant_type)(type >= GGUF_PACKED ? type - GGUF_PACKED : type);
    size_t n = quant_bytes(plain, rows * cols);
    check(n <= sizeof bytes);
    check_ok(quant_encode(plain, v, bytes, rows * cols));
    if (type >= GGUF_PACKED) {
        n = weight_bytes(plain, rows, cols);
        check(n <= sizeof packed);
        weight_pack(plain, rows, cols, bytes, packed);
    }
    check_ok(gguf_put_data(w, type >= GGUF_PACKED ? packed : bytes, n));
    check_ok(gguf_end_tensor(w));
}

/* Matrices of the blocks in `type`, the rest in f32. */
static inline uint32_t tiny_type(const struct golden_tensor *t, uint32_t type)
{
    return strstr(t->name, "blk.") && t->rows > 1 ? type : QUANT_F32;
}

static inline int tiny_is_head(const struct golden_tensor *t)
{
    return strncmp(t->name, "head.", 5) == 0;
}

/* The whole file; gguf_writer_release() when it is closed. */
static inline void tiny_file(const struct tiny_family *f, uint32_t type,
                             struct gguf_writer *w)
{
    static float v[1 << 14];
    check_ok(gguf_writer_init(w, NULL, GGUF_ALIGNMENT));
    gguf_put_text(w, "general.architecture", f->family, strlen(f->family));
    for (size_t i = 0; i < f->n_pairs; i++)
        if (f->pairs[i].is_real)
            gguf_put_f32(w, f->pairs[i].key, (float)f->pairs[i].value);
        else
            gguf_put_u32(w, f->pairs[i].key, (uint32_t)f->pairs[i].value);
    if (f->words) {
        struct vocab *vocab = NULL;
        check_ok(vocab_from_lines(f->words, strlen(f->words), VOCAB_CASE_FOLDED,
                                  &vocab));
        check_ok(vocab_to_gguf(vocab, w));
        vocab_free(vocab);
    }
    int factors = strcmp(f->name, "llama") == 0;
    for (size_t i = 0; i < f->n_tensors; i++) {
        const struct golden_tensor *t = &f->tensors[i];
        const uint64_t dims[] = {t->cols, t->rows};
        if (!tiny_is_head(t))
            gguf_put_tensor(w, t->name, tiny_type(t, type), t->rows > 1 ? 2 : 1,
                            dims);
    }
    const uint64_t n_factors = TINY_COUNT(llama_factors);
    if (factors)
        gguf_put_tensor(w, "rope_freqs.weight", QUANT_F32, 1, &n_factors);
    for (size_t i = 0; i < f->n_tensors; i++) {
        const struct golden_tensor *t = &f->tensors[i];
        if (tiny_is_head(t)) continue;
        tiny_values(t, v);
        tiny_put(w, v, t->rows, t->cols, tiny_type(t, type));
    }
    if (factors) tiny_put(w, llama_factors, 1, n_factors, QUANT_F32);
    check_ok(gguf_writer_end(w, NULL));
}

struct tiny_net {
    struct gguf_writer file;
    struct gguf *gguf;
    struct net *net;
};

static inline void tiny_open(struct tiny_net *n, const struct tiny_family *f,
                             uint32_t type, const struct net_options *options)
{
    tiny_file(f, type, &n->file);
    check_ok(gguf_open_bytes(n->file.out.data, n->file.out.len, &n->gguf));
    check_ok(net_open_gguf(n->gguf, options, &n->net));
    for (size_t i = 0; i < f->n_tensors; i++) {
        const struct param *p =
            params_find(net_params(n->net), f->tensors[i].name);
        if (p && tiny_is_head(&f->tensors[i]))
            tiny_values(&f->tensors[i], params_data(net_params(n->net), p));
    }
}

static inline void tiny_close(struct tiny_net *n)
{
    net_close(n->net);
    gguf_close(n->gguf);
    gguf_writer_release(&n->file);
}

/* The two sequences of the golden numbers, packed; token types of the second
 * half of each are 1. */
struct tiny_batch {
    uint32_t token[TINY_ROWS], type[TINY_ROWS], start[3];
};

static inline void tiny_tokens(struct tiny_batch *b)
{
    b->start[0] = 0;
    b->start[1] = TINY_FIRST;
    b->start[2] = TINY_ROWS;
    for (uint32_t i = 0; i < TINY_ROWS; i++) {
        uint32_t k = i < TINY_FIRST ? i : i - TINY_FIRST;
        uint32_t n = i < TINY_FIRST ? TINY_FIRST : TINY_ROWS - TINY_FIRST;
        b->token[i] = (7 * k * k + 3 * k + (i < TINY_FIRST ? 5 : 11)) % 64;
        b->type[i] = k >= n / 2;
    }
}

static inline struct net_batch tiny_packed(const struct tiny_batch *b)
{
    return (struct net_batch){.token = b->token,
                              .type = b->type,
                              .n = TINY_ROWS,
                              .segments = {b->start, 2}};
}

#endif
