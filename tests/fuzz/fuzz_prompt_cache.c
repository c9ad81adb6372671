/* prompt_cache_decode: any bytes give an error, or finite numbers of this very
 * prompt. Files that are not sealed are made whole again first, so that what
 * lies behind their hash is reached. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/crypto/seal.h"
#include "common/model/prompt_cache.h"

enum { HEAD = 52, EXTRA = 40, BODY = HEAD + EXTRA, TOKENS = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_numbers(const struct kv *kv)
{
    float k[8 * 32], v[8 * 32];
    for (size_t l = 0; l < 2; l++) {
        struct attend_past past = kv_past(kv, l);
        if (past.n != TOKENS) abort();
        past.fetch(past.ctx, 0, 0, TOKENS, k, v);
        for (size_t i = 0; i < (size_t)TOKENS * 32; i++)
            if (!isfinite(k[i]) || !isfinite(v[i])) abort();
    }
}

static void try_bytes(const struct prompt_cache *c, enum quant_type type,
                      const uint8_t *data, size_t size)
{
    static const uint32_t token[TOKENS] = {1, 2, 3}, edge[] = {3};
    static const struct digest model = {{1}};
    const struct prompt_prefix p = {&model, token, TOKENS, edge, 1};
    const struct kv_shape shape = {2, 1, 32, 8, type, 0};
    struct kv *kv = NULL;
    uint8_t *copy = malloc(size + 1);
    if (!copy || kv_new(&shape, &kv)) abort();
    if (size) memcpy(copy, data, size);
    if (prompt_cache_decode(c, &p, copy, size, kv) == TACIT_OK)
        check_numbers(kv);
    else if (kv_n(kv) != 0)
        abort();
    err_clear();
    kv_free(kv);
    free(copy);
}

/* The head of the file that is wanted, around this body. */
static void try_body(const struct prompt_cache *c, enum quant_type type,
                     const uint8_t *body, size_t n)
{
    static const uint32_t token[TOKENS] = {1, 2, 3}, edge[] = {3};
    static const struct digest model = {{1}};
    const struct prompt_prefix p = {&model, token, TOKENS, edge, 1};
    const struct kv_shape shape = {2, 1, 32, 8, type, 0};
    struct kv *kv = NULL;
    struct digest name, hash;
    if (kv_new(&shape, &kv)) abort();
    size_t values = kv_packed_bytes(kv, TOKENS);
    prompt_cache_name(&p, &shape, &name);
    uint8_t *file = calloc(1, BODY + 4 * TOKENS + values);
    if (!file) abort();
    memcpy(file, "TACITKV1", 8);
    memcpy(file + 8, name.b, DIGEST_BYTES);
    le32_store(file + 40, TOKENS);
    le64_store(file + 44, values);
    for (size_t i = 0; i < TOKENS; i++)
        le32_store(file + BODY + 4 * i, token[i]);
    memcpy(file + BODY + 4 * TOKENS, body, n < values ? n : values);
    digest_of(&hash, file + BODY, 4 * TOKENS + values);
    memcpy(file + HEAD, hash.b, DIGEST_BYTES);
    try_bytes(c, type, file, BODY + 4 * TOKENS + values);
    free(file);
    kv_free(kv);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t key[SEAL_KEY] = {7};
    static const enum quant_type types[] = {QUANT_F32, QUANT_F16, QUANT_Q8_0};
    const struct prompt_cache plain = {"", NULL, 0}, sealed = {"", key, 0};
    if (size < 1) return 0;
    enum quant_type type = types[data[0] % 3];
    try_bytes(&plain, type, data + 1, size - 1);
    try_bytes(&sealed, type, data + 1, size - 1);
    try_body(&plain, type, data + 1, size - 1);
    return 0;
}
