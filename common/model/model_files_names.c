/*
 * The names that Hugging Face's modules give to tensors, as GGUF's.
 *
 *   model.layers.7.self_attn.q_proj.weight  ->  blk.7.attn_q.weight
 *
 * One table for all families, in both directions; '#' is the number of a block.
 * What does not count for us (heads of pre-training, a pooler without a head of
 * classes, positions that are only 0, 1, 2 …) is listed, too: any other name is
 * refused, as a network without it would be another one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/model/model_files_parts.h"

struct row {
    const char *from, *to; /* to NULL: left out */
};

static const struct row rows[] = {
    /* llama, mistral, qwen2 */
    {"model.embed_tokens.weight", "token_embd.weight"},
    {"model.norm.weight", "output_norm.weight"},
    {"lm_head.weight", "output.weight"},
    {"model.layers.#.input_layernorm.weight", "blk.#.attn_norm.weight"},
    {"model.layers.#.post_attention_layernorm.weight", "blk.#.ffn_norm.weight"},
    {"model.layers.#.self_attn.q_proj.", "blk.#.attn_q."},
    {"model.layers.#.self_attn.k_proj.", "blk.#.attn_k."},
    {"model.layers.#.self_attn.v_proj.", "blk.#.attn_v."},
    {"model.layers.#.self_attn.o_proj.", "blk.#.attn_output."},
    {"model.layers.#.mlp.gate_proj.", "blk.#.ffn_gate."},
    {"model.layers.#.mlp.up_proj.", "blk.#.ffn_up."},
    {"model.layers.#.mlp.down_proj.", "blk.#.ffn_down."},
    {"model.layers.#.self_attn.rotary_emb.inv_freq", NULL},
    {"model.rotary_emb.inv_freq", NULL},
    /* bert */
    {"embeddings.word_embeddings.weight", "token_embd.weight"},
    {"embeddings.position_embeddings.weight", "position_embd.weight"},
    {"embeddings.token_type_embeddings.weight", "token_types.weight"},
    {"embeddings.LayerNorm.", "token_embd_norm."},
    {"embeddings.position_ids", NULL},
    {"encoder.layer.#.attention.self.query.", "blk.#.attn_q."},
    {"encoder.layer.#.attention.self.key.", "blk.#.attn_k."},
    {"encoder.layer.#.attention.self.value.", "blk.#.attn_v."},
    {"encoder.layer.#.attention.output.dense.", "blk.#.attn_output."},
    {"encoder.layer.#.attention.output.LayerNorm.", "blk.#.attn_output_norm."},
    {"encoder.layer.#.intermediate.dense.", "blk.#.ffn_up."},
    {"encoder.layer.#.output.dense.", "blk.#.ffn_down."},
    {"encoder.layer.#.output.LayerNorm.", "blk.#.layer_output_norm."},
    {"pooler.dense.", NULL},
    {"qa_outputs.", "head."},
    {"cls.", NULL},
};

/* Of a network that was trained to classify, before the rows above. */
static const struct row head_rows[] = {
    {"classifier.", "cls.output."},
    {"pooler.dense.", "cls."},
};

static const char *take_number(const char *s, char out[8])
{
    size_t n = strspn(s, "0123456789");
    if (n == 0 || n > 6) return NULL;
    memcpy(out, s, n);
    out[n] = '\0';
    return s + n;
}

/* Match a pattern; what follows it in *rest, the block's number in number. */
static int matches(const char *pattern, const char *name, char number[8],
                   const char **rest)
{
    const char *hash = strchr(pattern, '#');
    size_t n = hash ? (size_t)(hash - pattern) : strlen(pattern);
    number[0] = '\0';
    if (strncmp(name, pattern, n) != 0) return 0;
    name += n;
    if (hash) {
        name = take_number(name, number);
        if (!name || strncmp(name, hash + 1, strlen(hash + 1)) != 0) return 0;
        name += strlen(hash + 1);
    }
    *rest = name;
    size_t end = strlen(pattern);
    return pattern[end - 1] == '.' || *name == '\0';
}

static const char *tail(const char *rest)
{
    if (strcmp(rest, "gamma") == 0) return "weight";
    if (strcmp(rest, "beta") == 0) return "bias";
    return rest;
}

static const struct row *find_row(const struct row *list, size_t n,
                                  const char *name, char number[8],
                                  const char **rest)
{
    for (size_t i = 0; i < n; i++)
        if (matches(list[i].from, name, number, rest)) return &list[i];
    return NULL;
}

/* 1: out has the new name; 0: the tensor is left out. */
static enum tacit_err rename_one(const char *name, int has_head,
                                 char out[GGUF_KEY_MAX + 1], int *keeps)
{
    char number[8];
    const char *rest = "", *bare = name;
    const struct row *row = NULL;
    if (strncmp(bare, "bert.", 5) == 0) bare += 5;
    if (has_head)
        row = find_row(head_rows, sizeof head_rows / sizeof *head_rows, bare,
                       number, &rest);
    if (!row)
        row = find_row(rows, sizeof rows / sizeof *rows, bare, number, &rest);
    if (!row)
        return fail_as(E_MODEL_UNSUPPORTED,
                       "tensor %s belongs to no network that is known here",
                       name);
    *keeps = row->to != NULL;
    if (!*keeps) return TACIT_OK;
    const char *hash = strchr(row->to, '#');
    int before = hash ? (int)(hash - row->to) : 0;
    int n = hash ? snprintf(out, GGUF_KEY_MAX + 1, "%.*s%s%s%s", before,
                            row->to, number, hash + 1, tail(rest))
                 : snprintf(out, GGUF_KEY_MAX + 1, "%s%s", row->to, tail(rest));
    if (n < 0 || n > GGUF_KEY_MAX)
        return fail(TACIT_LIMIT, "the tensor's name %s is too long", name);
    return TACIT_OK;
}

/* The row whose new name this is. */
static const struct row *row_of(const char *name, int is_decoder,
                                char number[8], const char **rest)
{
    for (size_t i = 0; i < sizeof head_rows / sizeof *head_rows; i++)
        if (!is_decoder && matches(head_rows[i].to, name, number, rest))
            return &head_rows[i];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *from = rows[i].from;
        int of_decoder = strncmp(from, "model.", 6) == 0 || from[0] == 'l';
        if (rows[i].to && of_decoder == is_decoder &&
            matches(rows[i].to, name, number, rest))
            return &rows[i];
    }
    return NULL;
}

enum tacit_err model_files_their_name(const char *name, int is_decoder,
                                      char out[GGUF_KEY_MAX + 1])
{
    char number[8];
    const char *rest = "";
    const struct row *row = row_of(name, is_decoder, number, &rest);
    if (!row)
        return fail_as(E_MODEL_UNSUPPORTED,
                       "tensor %s has no name in a Hugging Face folder", name);
    const char *hash = strchr(row->from, '#');
    int before = hash ? (int)(hash - row->from) : (int)strlen(row->from);
    int n = snprintf(out, GGUF_KEY_MAX + 1, "%.*s%s%s%s", before, row->from,
                     number, hash ? hash + 1 : "", rest);
    if (n < 0 || n > GGUF_KEY_MAX)
        return fail(TACIT_LIMIT, "the tensor's name %s is too long", name);
    return TACIT_OK;
}

/* Rows of a head stand as halves and count in turns: row 2 j + t of a head is
 * row t w / 2 + j of the file. The numbers of a bias are put so, the rows of a
 * matrix stay where they are. */
static enum tacit_err interleave(struct model_files *c, struct gguf_tensor *t,
                                 uint64_t heads, uint64_t width)
{
    uint8_t *copy;
    uint64_t n = t->n_dims == 1 ? t->dims[0] : t->dims[1];
    if (heads == 0 || width == 0 || width % 2 || n != heads * width ||
        t->n_dims > 2)
        return fail(TACIT_SHAPE, "tensor %s does not fit %d heads of %d",
                    t->name, (int)heads, (int)width);
    if (t->n_dims == 2) {
        t->halves = width;
        return TACIT_OK;
    }
    size_t each = (size_t)(t->bytes / n);
    TRY(arena_alloc_raw(&c->arena, (size_t)t->bytes, 1, &copy));
    for (uint64_t h = 0; h < heads; h++)
        for (uint64_t j = 0; j < width; j++) {
            uint64_t from = h * width + (j % 2) * (width / 2) + j / 2;
            memcpy(copy + (h * width + j) * each, t->data + from * each, each);
        }
    t->data = copy;
    return TACIT_OK;
}

static int ends(const char *name, const char *with)
{
    size_t n = strlen(name), k = strlen(with);
    return n >= k && strcmp(name + n - k, with) == 0;
}

static enum tacit_err take_one(struct model_files *c,
                               const struct model_files_shape *s,
                               const struct gguf_tensor *from)
{
    struct gguf_tensor *t = &c->tensors[c->n_tensors];
    int keeps = 0;
    *t = *from;
    TRY(rename_one(from->name, s->has_head, t->name, &keeps));
    if (!keeps || (s->tied && strcmp(t->name, "output.weight") == 0))
        return TACIT_OK;
    if (model_files_find(c, t->name))
        return fail(TACIT_FORMAT, "the tensor %s stands twice", from->name);
    c->n_tensors++;
    if (!s->pairs) return TACIT_OK;
    if (ends(t->name, "attn_q.weight") || ends(t->name, "attn_q.bias"))
        return interleave(c, t, (uint64_t)s->heads, (uint64_t)s->head_width);
    if (ends(t->name, "attn_k.weight") || ends(t->name, "attn_k.bias"))
        return interleave(c, t, (uint64_t)s->kv_heads, (uint64_t)s->head_width);
    return TACIT_OK;
}

enum tacit_err model_files_rename(struct model_files *c,
                                  const struct model_files_shape *s,
                                  const float *factors, size_t n_factors)
{
    size_t n = 1;
    for (size_t i = 0; i < c->n_files; i++)
        n += safetensors_n_tensors(c->files[i]);
    if (n > GGUF_TENSORS_MAX)
        return fail(TACIT_LIMIT, "%zu tensors, %d at most", n,
                    GGUF_TENSORS_MAX);
    c->tensors = calloc(n + 1, sizeof *c->tensors);
    if (!c->tensors) return fail(TACIT_NOMEM, "no memory for %zu tensors", n);
    for (size_t i = 0; i < c->n_files; i++)
        for (size_t k = 0; k < safetensors_n_tensors(c->files[i]); k++)
            TRY(take_one(c, s, safetensors_tensor_at(c->files[i], k)));
    if (n_factors == 0) return TACIT_OK;
    float *copy;
    TRY(arena_alloc_raw(&c->arena, n_factors, sizeof *copy, &copy));
    memcpy(copy, factors, n_factors * sizeof *copy);
    c->tensors[c->n_tensors++] =
        (struct gguf_tensor){.name = "rope_freqs.weight",
                             .n_dims = 1,
                             .dims = {n_factors, 1, 1, 1},
                             .bytes = n_factors * sizeof *copy,
                             .data = (const uint8_t *)copy};
    return TACIT_OK;
}
