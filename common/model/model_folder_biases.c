/*
 * Biases in config.json. Transformers makes those alone that the class of a
 * decoder has, and passes over any other tensor without an error: a network
 * that computes something else.
 *
 *              q, k, v    output          gate, up, down
 *   llama      both or neither of them: attention_bias    mlp_bias
 *   mistral    none       none            none
 *   qwen2      all        none            none
 */
#include <stdio.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/model/model_folder_parts.h"

enum there { NONE, ALL, SOME };

/* In which blocks a matrix has a bias. */
static enum there biases_of(const struct model_files *f, int64_t n_blocks,
                            const char *matrix)
{
    char name[64];
    int64_t n = 0;
    for (int64_t i = 0; i < n_blocks; i++) {
        snprintf(name, sizeof name, "blk.%lld.%s.bias", (long long)i, matrix);
        n += model_files_find(f, name) != NULL;
    }
    return n == 0 ? NONE : n == n_blocks ? ALL : SOME;
}

static enum there both(enum there a, enum there b)
{
    return a == b ? a : SOME;
}

enum tacit_err model_folder_biases(const struct model_files *f,
                                   const char *type, json_t *config)
{
    int is_llama = strcmp(type, "llama") == 0;
    int is_qwen = strcmp(type, "qwen2") == 0;
    int64_t n = 0;
    TRY(model_files_int(f, "block_count", 1, 1 << 16, &n));
    enum there in =
        both(biases_of(f, n, "attn_q"),
             both(biases_of(f, n, "attn_k"), biases_of(f, n, "attn_v")));
    enum there out = biases_of(f, n, "attn_output");
    enum there feed =
        both(biases_of(f, n, "ffn_gate"),
             both(biases_of(f, n, "ffn_up"), biases_of(f, n, "ffn_down")));
    int fits =
        is_llama ? in != SOME && in == out && feed != SOME
                 : in == (is_qwen ? ALL : NONE) && out == NONE && feed == NONE;
    if (!fits)
        return fail_as(E_MODEL_UNSUPPORTED,
                       "its biases are not those of a %s, so config.json has "
                       "no place for them; a GGUF file has",
                       type);
    if (!is_llama) return TACIT_OK;
    json_object_set_new(config, "attention_bias", json_boolean(in == ALL));
    json_object_set_new(config, "mlp_bias", json_boolean(feed == ALL));
    return TACIT_OK;
}
