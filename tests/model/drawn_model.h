/*
 * drawn_model: a llama of random numbers with a vocabulary of bytes, as a file
 * that decoder_open() takes.
 */
#ifndef TACIT_TESTS_MODEL_DRAWN_MODEL_H
#define TACIT_TESTS_MODEL_DRAWN_MODEL_H

#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/rng.h"
#include "common/model/gguf.h"
#include "common/model/vocab.h"
#include "common/tensor/quant.h"
#include "common/tensor/weights.h"

enum {
    DRAWN_WIDTH = 64,
    DRAWN_LAYERS = 2,
    DRAWN_HEADS = 4,
    DRAWN_KV_HEADS = 2,
    DRAWN_FEED = 96,
    DRAWN_VOCAB = 288,
    DRAWN_CONTEXT = 1024
};

struct drawn_shape {
    enum quant_type type;   /* of its matrices, packed */
    size_t heads, kv_heads; /* 0: as above */
    size_t window;          /* 0: none */
};

struct drawn {
    struct gguf_writer w;
    struct rng rng;
    struct drawn_shape shape;
    int data;
};

static inline void drawn_put(struct drawn *d, const char *name, size_t rows,
                             size_t cols, float scale)
{
    static float x[DRAWN_VOCAB * DRAWN_FEED];
    static uint8_t raw[sizeof x], packed[sizeof x + 4096];
    int is_matrix = rows > 1;
    enum quant_type type = is_matrix ? d->shape.type : QUANT_F32;
    const uint64_t dims[] = {cols, rows};
    if (!d->data) {
        gguf_put_tensor(&d->w, name,
                        (uint32_t)type + (is_matrix ? GGUF_PACKED : 0),
                        is_matrix ? 2 : 1, dims);
        return;
    }
    for (size_t i = 0; i < rows * cols; i++)
        x[i] = (is_matrix ? 0 : 1) + scale * rng_normal(&d->rng);
    check_ok(quant_encode(type, x, raw, rows * cols));
    size_t n = quant_bytes(type, rows * cols);
    if (is_matrix) {
        n = weight_bytes(type, rows, cols);
        check(n <= sizeof packed);
        weight_pack(type, rows, cols, raw, packed);
    }
    check_ok(gguf_put_data(&d->w, is_matrix ? packed : raw, n));
    check_ok(gguf_end_tensor(&d->w));
}

static inline void drawn_tensors(struct drawn *d)
{
    char name[64];
    size_t kv = DRAWN_WIDTH / d->shape.heads * d->shape.kv_heads;
    rng_init(&d->rng, 11, 0, 0);
    drawn_put(d, "token_embd.weight", DRAWN_VOCAB, DRAWN_WIDTH, 1);
    drawn_put(d, "output_norm.weight", 1, DRAWN_WIDTH, 0.1f);
    for (int i = 0; i < DRAWN_LAYERS; i++) {
        const struct {
            const char *name;
            size_t rows, cols;
        } parts[] = {{"attn_norm", 1, DRAWN_WIDTH},
                     {"ffn_norm", 1, DRAWN_WIDTH},
                     {"attn_q", DRAWN_WIDTH, DRAWN_WIDTH},
                     {"attn_k", kv, DRAWN_WIDTH},
                     {"attn_v", kv, DRAWN_WIDTH},
                     {"attn_output", DRAWN_WIDTH, DRAWN_WIDTH},
                     {"ffn_gate", DRAWN_FEED, DRAWN_WIDTH},
                     {"ffn_up", DRAWN_FEED, DRAWN_WIDTH},
                     {"ffn_down", DRAWN_WIDTH, DRAWN_FEED}};
        for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
            snprintf(name, sizeof name, "blk.%d.%s.weight", i, parts[k].name);
            drawn_put(d, name, parts[k].rows, parts[k].cols,
                      parts[k].rows > 1 ? 1.5f / sqrtf(DRAWN_WIDTH) : 0.1f);
        }
    }
}

static inline void drawn_u32(struct gguf_writer *w, const char *key, uint32_t v)
{
    char full[96];
    snprintf(full, sizeof full, "llama.%s", key);
    gguf_put_u32(w, full, v);
}

static inline void drawn_vocabulary(struct gguf_writer *w)
{
    static char spelt[DRAWN_VOCAB][16];
    const char *tokens[DRAWN_VOCAB];
    size_t len[DRAWN_VOCAB];
    int32_t classes[DRAWN_VOCAB];
    float scores[DRAWN_VOCAB] = {0};
    for (int i = 0; i < DRAWN_VOCAB; i++) {
        classes[i] = i == 0  ? VOCAB_UNKNOWN
                     : i < 3 ? VOCAB_CONTROL
                             : VOCAB_NORMAL;
        if (i < 3)
            snprintf(spelt[i], 16, "%s",
                     i == 0   ? "<unk>"
                     : i == 1 ? "<s>"
                              : "</s>");
        else if (i < 259)
            snprintf(spelt[i], 16, "<0x%02X>", (unsigned)(i - 3));
        else
            snprintf(spelt[i], 16, "w%d", i);
        if (i >= 3 && i < 259) classes[i] = VOCAB_BYTE;
        tokens[i] = spelt[i];
        len[i] = strlen(spelt[i]);
    }
    gguf_put_text(w, "tokenizer.ggml.model", "llama", 5);
    gguf_put_texts(w, "tokenizer.ggml.tokens", tokens, len, DRAWN_VOCAB);
    gguf_put_array(w, "tokenizer.ggml.scores", GGUF_F32, scores, DRAWN_VOCAB);
    gguf_put_array(w, "tokenizer.ggml.token_type", GGUF_I32, classes,
                   DRAWN_VOCAB);
    gguf_put_u32(w, "tokenizer.ggml.bos_token_id", 1);
    gguf_put_u32(w, "tokenizer.ggml.eos_token_id", 2);
    gguf_put_u32(w, "tokenizer.ggml.unknown_token_id", 0);
}

/* The file at path, written by way of the folder dir. */
static inline void drawn_write(const struct drawn_shape *shape, const char *dir,
                               const char *path)
{
    struct drawn drawn = {.shape = *shape}, *d = &drawn;
    if (!d->shape.heads) d->shape.heads = DRAWN_HEADS;
    if (!d->shape.kv_heads) d->shape.kv_heads = DRAWN_KV_HEADS;
    uint32_t heads = (uint32_t)d->shape.heads;
    check_ok(gguf_writer_init(&d->w, dir, 64));
    gguf_put_text(&d->w, "general.architecture", "llama", 5);
    drawn_u32(&d->w, "context_length", DRAWN_CONTEXT);
    drawn_u32(&d->w, "block_count", DRAWN_LAYERS);
    drawn_u32(&d->w, "embedding_length", DRAWN_WIDTH);
    drawn_u32(&d->w, "feed_forward_length", DRAWN_FEED);
    drawn_u32(&d->w, "attention.head_count", heads);
    drawn_u32(&d->w, "attention.head_count_kv", (uint32_t)d->shape.kv_heads);
    drawn_u32(&d->w, "rope.dimension_count", DRAWN_WIDTH / heads);
    if (d->shape.window)
        drawn_u32(&d->w, "attention.sliding_window", (uint32_t)d->shape.window);
    gguf_put_f32(&d->w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    drawn_vocabulary(&d->w);
    drawn_tensors(d);
    d->data = 1;
    drawn_tensors(d);
    check_ok(gguf_writer_end(&d->w, NULL));
    unlink(path);
    check_ok(gguf_writer_commit(&d->w, path, 0600));
    gguf_writer_release(&d->w);
}

#endif
