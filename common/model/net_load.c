#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/rng.h"
#include "common/model/net_parts.h"
#include "common/tensor/quant.h"

/* ---- the families ---- */

static const struct net_family families[] = {
    {"bert", NORM_LAYER, NORM_AFTER, GATE_GELU, PLACES_LEARNED, ATTEND_ALL},
    {"llama", NORM_RMS, NORM_BEFORE, GATE_SWIGLU, PLACES_PAIRS, ATTEND_CAUSAL},
    {"qwen2", NORM_RMS, NORM_BEFORE, GATE_SWIGLU, PLACES_HALVES, ATTEND_CAUSAL},
};

enum part_size { OF_WIDTH, OF_QUERY, OF_KEY, OF_FEED };
#define AT(member) offsetof(struct net_layer, member)
static const struct part {
    const char *name;
    size_t at; /* of the net_matrix in a net_layer */
    enum part_size rows, cols;
    int gated; /* only where the gate is a product */
} parts[] = {
    {"attn_q", AT(q), OF_QUERY, OF_WIDTH, 0},
    {"attn_k", AT(k), OF_KEY, OF_WIDTH, 0},
    {"attn_v", AT(v), OF_KEY, OF_WIDTH, 0},
    {"attn_output", AT(mix), OF_WIDTH, OF_QUERY, 0},
    {"ffn_gate", AT(gate), OF_FEED, OF_WIDTH, 1},
    {"ffn_up", AT(widen), OF_FEED, OF_WIDTH, 0},
    {"ffn_down", AT(narrow), OF_WIDTH, OF_FEED, 0},
};
enum { N_PARTS = sizeof parts / sizeof *parts };

#define CLASSES_WEIGHT "cls.output.weight"

struct loader {
    struct net *net;
    const struct gguf *file;         /* metadata, and */
    const struct model_files *files; /* tensors; NULL: the file's */
    const struct net_options *options;
};

/* ---- hyper-parameters ---- */

enum { KEY_MAX = 96, FAMILY_MAX = 32 };
/* Values of the key pooling_type, as llama.cpp counts them. */
enum { POOLING_MEAN = 1, POOLING_LAST = 3, POOLING_HEAD };

static void full_key(const struct loader *l, const char *key, char out[KEY_MAX])
{
    snprintf(out, KEY_MAX, "%s.%s", l->net->family->name, key);
}

static int has(const struct loader *l, const char *key)
{
    char full[KEY_MAX];
    full_key(l, key, full);
    return gguf_has(l->file, full);
}

static enum tacit_err whole(const struct loader *l, const char *key,
                            int64_t min, int64_t max, size_t *out)
{
    char full[KEY_MAX];
    int64_t v;
    full_key(l, key, full);
    TRY(gguf_int(l->file, full, min, max, &v));
    *out = (size_t)v;
    return TACIT_OK;
}

/* Keeps what is in *out when the file has no such key. */
static enum tacit_err whole_if(const struct loader *l, const char *key,
                               int64_t min, int64_t max, size_t *out)
{
    return has(l, key) ? whole(l, key, min, max, out) : TACIT_OK;
}

static enum tacit_err real_if(const struct loader *l, const char *key,
                              double *out)
{
    char full[KEY_MAX];
    full_key(l, key, full);
    return gguf_has(l->file, full) ? gguf_real(l->file, full, out) : TACIT_OK;
}

static const struct net_family *family_named(const char *name)
{
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (strcmp(families[i].name, name) == 0) return &families[i];
    return NULL;
}

enum tacit_err net_knows(const char *family)
{
    if (family_named(family)) return TACIT_OK;
    return fail_as(E_MODEL_UNSUPPORTED,
                   "a model of the family \"%s\"; bert, llama (also Mistral "
                   "and SmolLM2) and qwen2 are read",
                   family);
}

static enum tacit_err find_family(struct loader *l)
{
    char name[FAMILY_MAX];
    gguf_text_or_empty(l->file, "general.architecture", name, sizeof name);
    l->net->family = family_named(name);
    TRY(net_knows(name));
    assert(l->net->family);
    return TACIT_OK;
}

static enum tacit_err read_rope(struct loader *l, struct net_shape *s)
{
    char kind[FAMILY_MAX], full[KEY_MAX];
    double factor = 1;
    if (l->net->family->places == PLACES_LEARNED) return TACIT_OK;
    s->rope = (struct op_rope){.layout = l->net->family->places == PLACES_PAIRS
                                             ? ROPE_PAIRS
                                             : ROPE_HALVES,
                               .dims = s->head_width,
                               .base = 10000};
    TRY(whole_if(l, "rope.dimension_count", 2, (int64_t)s->head_width,
                 &s->rope.dims));
    TRY(real_if(l, "rope.freq_base", &s->rope.base));
    TRY(real_if(l, "rope.scale_linear", &factor));
    TRY(real_if(l, "rope.scaling.factor", &factor));
    full_key(l, "rope.scaling.type", full);
    gguf_text_or_empty(l->file, full, kind, sizeof kind);
    if (kind[0] && strcmp(kind, "linear") != 0 && strcmp(kind, "none") != 0)
        return fail_as(E_MODEL_UNSUPPORTED,
                       "rotary positions scaled by \"%s\"; none and linear "
                       "are read, and Llama 3's factors",
                       kind);
    if (strcmp(kind, "none") == 0) factor = 1;
    if (s->rope.dims % 2 || !(s->rope.base > 1) || !(factor > 0))
        return fail(TACIT_FORMAT, "rotary positions of %zu numbers, base %g",
                    s->rope.dims, s->rope.base);
    s->rope.scale = 1 / factor;
    return TACIT_OK;
}

static enum tacit_err read_heads(struct loader *l, struct net_shape *s)
{
    TRY(whole(l, "attention.head_count", 1, 1024, &s->heads));
    s->kv_heads = s->heads;
    TRY(whole_if(l, "attention.head_count_kv", 1, 1024, &s->kv_heads));
    s->head_width = s->width / s->heads;
    if (!has(l, "attention.key_length") && s->width % s->heads)
        return fail(TACIT_SHAPE, "%zu heads of a width of %zu", s->heads,
                    s->width);
    TRY(whole_if(l, "attention.key_length", 1, ATTEND_WIDTH_MAX,
                 &s->head_width));
    size_t value = s->head_width;
    TRY(whole_if(l, "attention.value_length", 1, ATTEND_WIDTH_MAX, &value));
    if (s->heads % s->kv_heads || !s->head_width ||
        s->head_width > ATTEND_WIDTH_MAX || value != s->head_width)
        return fail_as(E_MODEL_UNSUPPORTED,
                       "%zu heads over %zu, of %zu and %zu numbers (at most "
                       "%d)",
                       s->heads, s->kv_heads, s->head_width, value,
                       ATTEND_WIDTH_MAX);
    return TACIT_OK;
}

static enum tacit_err read_shape(struct loader *l)
{
    struct net_shape *s = &l->net->shape;
    const struct net_family *f = l->net->family;
    size_t pooling = POOLING_MEAN;
    TRY(whole(l, "block_count", 1, NET_LAYERS_MAX, &s->layers));
    TRY(whole(l, "embedding_length", 1, NET_WIDTH_MAX, &s->width));
    TRY(whole(l, "feed_forward_length", 1, NET_WIDTH_MAX, &s->feed));
    TRY(read_heads(l, s));
    TRY(whole_if(l, "context_length", 1, INT32_MAX, &s->context));
    if (f->mask == ATTEND_CAUSAL)
        TRY(whole_if(l, "attention.sliding_window", 0, INT32_MAX, &s->window));
    TRY(whole_if(l, "pooling_type", 1, POOLING_HEAD, &pooling));
    if (pooling == POOLING_LAST)
        return fail_as(E_MODEL_UNSUPPORTED, "rows pooled by their last token");
    s->pooling = pooling == POOLING_MEAN ? POOL_MEAN : POOL_FIRST;
    s->mask = f->mask;
    s->epsilon = f->norm == NORM_RMS ? 1e-5 : 1e-12;
    TRY(real_if(l,
                f->norm == NORM_RMS ? "attention.layer_norm_rms_epsilon"
                                    : "attention.layer_norm_epsilon",
                &s->epsilon));
    if (!(s->epsilon > 0 && s->epsilon < 1))
        return fail(TACIT_FORMAT, "a norm's epsilon of %g", s->epsilon);
    return read_rope(l, s);
}

/* ---- tensors ---- */

static const struct gguf_tensor *find(const struct loader *l, const char *name)
{
    return l->files ? model_files_find(l->files, name)
                    : gguf_find(l->file, name);
}

/* Its numbers are here now; the file's pages need not be. */
static void forget(const struct loader *l, const struct gguf_tensor *g)
{
    if (l->files)
        model_files_forget(l->files, g);
    else
        gguf_forget(l->file, g);
}

/* Our own files have matrices in the tiles of weights.h. */
static int packed_type(const struct gguf_tensor *g)
{
    return g->type >= GGUF_PACKED && quant_info(g->type - GGUF_PACKED);
}

static struct weight packed_of(const struct gguf_tensor *g, size_t rows,
                               size_t cols)
{
    return (struct weight){(enum quant_type)(g->type - GGUF_PACKED), rows, cols,
                           g->data};
}

/* *out is NULL when the file has none of that name. */
static enum tacit_err look_up(const struct loader *l, const char *name,
                              size_t rows, size_t cols,
                              const struct gguf_tensor **out)
{
    const struct gguf_tensor *g = *out = find(l, name);
    if (!g) return TACIT_OK;
    if (g->n_dims > 2 || g->dims[0] != cols || g->dims[1] != rows)
        return fail(TACIT_SHAPE,
                    "tensor %s has %u dimensions, %llu x %llu; %zu x %zu "
                    "expected",
                    name, g->n_dims, (unsigned long long)g->dims[1],
                    (unsigned long long)g->dims[0], rows, cols);
    if (!quant_info(g->type) && !packed_type(g))
        return fail(TACIT_UNSUPPORTED, "tensor %s has numbers of type %s", name,
                    gguf_type_name(g->type) ? gguf_type_name(g->type) : "?");
    return TACIT_OK;
}

static void decode(const struct gguf_tensor *g, float *to)
{
    if (packed_type(g)) {
        struct weight w = packed_of(g, (size_t)g->dims[1], (size_t)g->dims[0]);
        weight_rows(&w, 0, w.n_out, to);
        return;
    }
    quant_decode((enum quant_type)g->type, g->data, to,
                 (size_t)(g->dims[0] * g->dims[1]));
}

static enum tacit_err missing(const char *name)
{
    return fail(TACIT_SHAPE, "the model has no tensor %s", name);
}

static enum tacit_err add_trained(struct net *n, const char *name, size_t rows,
                                  size_t cols, struct net_tensor *out)
{
    const size_t dims[] = {rows, cols};
    out->trained = 1;
    out->rows = rows;
    out->cols = cols;
    out->offset = n->params.n_flat;
    return rows == 1 ? params_add(&n->params, name, &cols, 1)
                     : params_add(&n->params, name, dims, 2);
}

/* Types that products do not take become Q8_0: those of fewer bits lose little
 * by it, and their rows are whole blocks of it. */
static enum quant_type type_to_pack(const struct gguf_tensor *g)
{
    return weight_bytes((enum quant_type)g->type, 1, (size_t)g->dims[0])
               ? (enum quant_type)g->type
               : QUANT_Q8_0;
}

/* Rows of another type, as rows of Q8_0. */
static enum tacit_err requantise(const struct gguf_tensor *g, uint8_t *rows)
{
    size_t cols = (size_t)g->dims[0];
    size_t from = quant_bytes((enum quant_type)g->type, cols);
    size_t to = quant_bytes(QUANT_Q8_0, cols);
    float *row = malloc(cols * sizeof *row);
    enum tacit_err err = TACIT_OK;
    if (!row) return fail(TACIT_NOMEM, "out of memory");
    for (size_t i = 0; !err && i < (size_t)g->dims[1]; i++) {
        quant_decode((enum quant_type)g->type, g->data + i * from, row, cols);
        err = quant_encode(QUANT_Q8_0, row, rows + i * to, cols);
    }
    free(row);
    return err;
}

/* A frozen matrix of few bits stays so: packed here, or as it lies. */
static enum tacit_err pack(struct loader *l, const struct gguf_tensor *g,
                           struct net_tensor *out)
{
    if (packed_type(g)) {
        out->packed = packed_of(g, out->rows, out->cols);
        l->net->frozen_bytes += (size_t)g->bytes;
        return TACIT_OK;
    }
    enum quant_type type = type_to_pack(g);
    size_t bytes = weight_bytes(type, out->rows, out->cols);
    l->net->frozen_bytes += bytes;
    const uint8_t *rows = g->data;
    uint8_t *own = NULL, *data;
    if (!bytes)
        return fail(TACIT_UNSUPPORTED, "tensor %s: rows of %zu numbers of %s",
                    g->name, out->cols, gguf_type_name(g->type));
    TRY(arena_alloc_raw(&l->net->arena, bytes, 1, &data));
    if (type != (enum quant_type)g->type) {
        rows = own = malloc(quant_bytes(type, out->rows * out->cols));
        enum tacit_err err =
            own ? requantise(g, own)
                : fail(TACIT_NOMEM, "out of memory for tensor %s", g->name);
        if (err) {
            free(own);
            return err;
        }
    }
    weight_pack(type, out->rows, out->cols, rows, data);
    free(own);
    forget(l, g);
    out->packed = (struct weight){type, out->rows, out->cols, data};
    return TACIT_OK;
}

/* A tensor that may be missing: out->rows is 0 then. Trained ones get their
 * numbers in fill(). */
static enum tacit_err take(struct loader *l, const char *name, size_t rows,
                           size_t cols, struct net_tensor *out)
{
    const struct gguf_tensor *g;
    TRY(look_up(l, name, rows, cols, &g));
    if (!g) return TACIT_OK;
    if (l->options->train == NET_FULL)
        return add_trained(l->net, name, rows, cols, out);
    out->rows = rows;
    out->cols = cols;
    if (rows > 1 && g->type != QUANT_F32) return pack(l, g, out);
    TRY(arena_alloc_raw(&l->net->arena, rows * cols, sizeof *out->v, &out->v));
    decode(g, out->v);
    l->net->frozen_bytes += rows * cols * sizeof *out->v;
    forget(l, g);
    return TACIT_OK;
}

/* "NAME.weight" and, where the file has one, "NAME.bias". */
static enum tacit_err take_matrix(struct loader *l, const char *name,
                                  size_t rows, size_t cols,
                                  struct net_matrix *out)
{
    char full[PARAMS_NAME_MAX];
    snprintf(full, sizeof full, "%s.weight", name);
    TRY(take(l, full, rows, cols, &out->w));
    if (!out->w.rows) return missing(full);
    snprintf(full, sizeof full, "%s.bias", name);
    return take(l, full, 1, rows, &out->bias);
}

static enum tacit_err take_norm(struct loader *l, const char *name,
                                struct net_norm *out)
{
    char full[PARAMS_NAME_MAX];
    size_t width = l->net->shape.width;
    snprintf(full, sizeof full, "%s.weight", name);
    TRY(take(l, full, 1, width, &out->gain));
    if (!out->gain.rows) return missing(full);
    if (l->net->family->norm == NORM_RMS) return TACIT_OK;
    snprintf(full, sizeof full, "%s.bias", name);
    TRY(take(l, full, 1, width, &out->bias));
    return out->bias.rows ? TACIT_OK : missing(full);
}

/* ---- pairs ---- */

/* The inner matrix, from its own stream: U(-b, b), b = 1 / sqrt(inputs). */
static void draw_down(const struct loader *l, uint64_t index, size_t cols,
                      size_t rank, float *to)
{
    struct rng r;
    float bound = 1 / sqrtf((float)cols);
    rng_init(&r, l->options->seed, index, 0);
    for (size_t i = 0; i < rank * cols; i++)
        to[i] = (2 * rng_f32(&r) - 1) * bound;
}

static enum tacit_err add_pair(struct loader *l, const char *name,
                               uint64_t index, struct net_matrix *m)
{
    char full[PARAMS_NAME_MAX];
    size_t rank = l->options->rank, cols = m->w.cols;
    snprintf(full, sizeof full, "%s.weight.lora_a", name);
    if (l->options->train == NET_PAIRS) {
        TRY(add_trained(l->net, full, rank, cols, &m->down));
    } else {
        float *v;
        TRY(arena_alloc_raw(&l->net->arena, rank * cols, sizeof *v, &v));
        draw_down(l, index, cols, rank, v);
        m->down = (struct net_tensor){.rows = rank, .cols = cols, .v = v};
    }
    snprintf(full, sizeof full, "%s.weight.lora_b", name);
    return add_trained(l->net, full, m->w.rows, rank, &m->up);
}

static int has_pairs(const struct loader *l)
{
    return l->options->train == NET_PAIRS || l->options->train == NET_PAIRS_UP;
}

/* The bits of enum net_target stand in the order of parts[]. */
static int is_target(const struct loader *l, size_t part)
{
    unsigned targets = l->options->targets;
    return !targets || targets >> part & 1;
}

/* ---- layers ---- */

static size_t size_of(const struct net_shape *s, enum part_size which)
{
    switch (which) {
    case OF_QUERY: return s->heads * s->head_width;
    case OF_KEY: return s->kv_heads * s->head_width;
    case OF_FEED: return s->feed;
    case OF_WIDTH: break;
    }
    return s->width;
}

static struct net_matrix *part_of(struct net_layer *layer,
                                  const struct part *part)
{
    return (struct net_matrix *)(void *)((char *)layer + part->at);
}

static int is_there(const struct loader *l, const struct part *part)
{
    return !part->gated || l->net->family->gate == GATE_SWIGLU;
}

static enum tacit_err take_layer(struct loader *l, size_t i)
{
    const struct net_shape *s = &l->net->shape;
    struct net_layer *layer = &l->net->layers[i];
    int before = l->net->family->place == NORM_BEFORE;
    char name[PARAMS_NAME_MAX - 16];
    for (size_t k = 0; k < N_PARTS; k++) {
        const struct part *p = &parts[k];
        if (!is_there(l, p)) continue;
        snprintf(name, sizeof name, "blk.%zu.%s", i, p->name);
        struct net_matrix *m = part_of(layer, p);
        TRY(take_matrix(l, name, size_of(s, p->rows), size_of(s, p->cols), m));
        if (has_pairs(l) && is_target(l, k))
            TRY(add_pair(l, name, i * N_PARTS + k, m));
    }
    snprintf(name, sizeof name, "blk.%zu.%s", i,
             before ? "attn_norm" : "attn_output_norm");
    TRY(take_norm(l, name, &layer->first));
    snprintf(name, sizeof name, "blk.%zu.%s", i,
             before ? "ffn_norm" : "layer_output_norm");
    return take_norm(l, name, &layer->second);
}

/* ---- names ---- */

const char *net_family_name(const struct net *n)
{
    return n->family->name;
}

/* "STEM.weight" or "STEM.bias". */
static int is_of(const char *name, const char *stem)
{
    size_t n = strlen(stem);
    return strncmp(name, stem, n) == 0 &&
           (strcmp(name + n, ".weight") == 0 || strcmp(name + n, ".bias") == 0);
}

static int reads_in_block(const struct net *n, const char *name)
{
    int before = n->family->place == NORM_BEFORE;
    for (size_t i = 0; i < N_PARTS; i++)
        if (is_of(name, parts[i].name))
            return !parts[i].gated || n->family->gate == GATE_SWIGLU;
    return is_of(name, before ? "attn_norm" : "attn_output_norm") ||
           is_of(name, before ? "ffn_norm" : "layer_output_norm");
}

int net_reads(const struct net *n, const char *tensor)
{
    static const char *const ends[][5] = {{"token_embd", "output_norm",
                                           "output", "rope_freqs", NULL},
                                          {"token_embd", "position_embd",
                                           "token_types", "token_embd_norm",
                                           "cls"}};
    int encoder = n->family->mask != ATTEND_CAUSAL;
    char *rest;
    if (strncmp(tensor, "blk.", 4) == 0) {
        unsigned long i = strtoul(tensor + 4, &rest, 10);
        return i < n->shape.layers && *rest == '.' &&
               reads_in_block(n, rest + 1);
    }
    for (size_t i = 0; i < sizeof *ends / sizeof **ends; i++)
        if (ends[encoder][i] && is_of(tensor, ends[encoder][i])) return 1;
    return is_of(tensor, "head") || (encoder && is_of(tensor, "cls.output"));
}

/* ---- what stands around them ---- */

/* Files may hold a tied output twice; it is one matrix here too. */
static int same_numbers(const struct gguf_tensor *a,
                        const struct gguf_tensor *b)
{
    return a->type == b->type && a->bytes == b->bytes &&
           memcmp(a->data, b->data, a->bytes) == 0;
}

static enum tacit_err take_output(struct loader *l)
{
    struct net *n = l->net;
    const struct gguf_tensor *out = find(l, "output.weight");
    const struct gguf_tensor *in = find(l, "token_embd.weight");
    int tied = !out || same_numbers(in, out);
    n->output = n->tokens;
    if (out && in->type < GGUF_PACKED) forget(l, in);
    if (out && tied) forget(l, out);
    if (tied) return TACIT_OK;
    return take_matrix(l, "output", n->shape.vocab, n->shape.width, &n->output);
}

static enum tacit_err take_ends(struct loader *l)
{
    struct net *n = l->net;
    struct net_shape *s = &n->shape;
    const struct gguf_tensor *g = find(l, "token_embd.weight");
    if (!g) return missing("token_embd.weight");
    if (g->dims[1] > NET_VOCAB_MAX)
        return fail(TACIT_LIMIT, "a vocabulary of %llu; at most %d",
                    (unsigned long long)g->dims[1], NET_VOCAB_MAX);
    s->vocab = (size_t)g->dims[1];
    TRY(take_matrix(l, "token_embd", s->vocab, s->width, &n->tokens));
    if (n->family->mask == ATTEND_CAUSAL) {
        TRY(take_norm(l, "output_norm", &n->last));
        return take_output(l);
    }
    g = find(l, "position_embd.weight");
    if (!g) return missing("position_embd.weight");
    if (g->dims[1] > NET_VOCAB_MAX)
        return fail(TACIT_LIMIT, "%llu positions",
                    (unsigned long long)g->dims[1]);
    s->context = (size_t)g->dims[1];
    TRY(take_matrix(l, "position_embd", s->context, s->width, &n->places));
    g = find(l, "token_types.weight");
    if (g && g->dims[1] <= 16)
        TRY(take_matrix(l, "token_types", (size_t)g->dims[1], s->width,
                        &n->types));
    return take_norm(l, "token_embd_norm", &n->before);
}

/* Llama 3's factors of the rotary speeds; never trained. */
static enum tacit_err take_factors(struct loader *l)
{
    struct op_rope *rope = &l->net->shape.rope;
    const struct gguf_tensor *g;
    float *v;
    if (!rope->dims) return TACIT_OK;
    TRY(look_up(l, "rope_freqs.weight", 1, rope->dims / 2, &g));
    if (!g) return TACIT_OK;
    TRY(arena_alloc_raw(&l->net->arena, rope->dims / 2, sizeof *v, &v));
    decode(g, v);
    for (size_t i = 0; i < rope->dims / 2; i++)
        if (!(v[i] > 0 && isfinite(v[i])))
            return fail(TACIT_FORMAT, "a rotary factor of %g", (double)v[i]);
    rope->factors = v;
    return TACIT_OK;
}

/* The file's own head, under llama.cpp's names: "cls" is BERT's pooler,
 * "cls.output" what follows it. */
static enum tacit_err take_classes(struct loader *l)
{
    struct net *n = l->net;
    struct net_shape *s = &n->shape;
    const struct gguf_tensor *g = find(l, CLASSES_WEIGHT);
    if (!g || n->family->mask == ATTEND_CAUSAL) return TACIT_OK;
    if (g->dims[1] > NET_WIDTH_MAX)
        return fail(TACIT_LIMIT, "a head of %llu outputs; at most %d",
                    (unsigned long long)g->dims[1], NET_WIDTH_MAX);
    if (find(l, "cls.weight"))
        TRY(take_matrix(l, "cls", s->width, s->width, &n->pooler));
    /* A trained head stands in its place. */
    if (l->options->outputs) return TACIT_OK;
    s->outputs = (size_t)g->dims[1];
    return take_matrix(l, "cls.output", s->outputs, s->width, &n->classes);
}

static enum tacit_err take_head(struct loader *l)
{
    struct net *n = l->net;
    size_t outputs = l->options->outputs;
    TRY(take_classes(l));
    if (!outputs) return TACIT_OK;
    if (outputs > NET_WIDTH_MAX)
        return fail(TACIT_LIMIT, "a head of %zu outputs; at most %d", outputs,
                    NET_WIDTH_MAX);
    /* A head that the file brings must be one of this shape. */
    const struct gguf_tensor *g;
    TRY(look_up(l, "head.weight", outputs, n->shape.width, &g));
    TRY(look_up(l, "head.bias", 1, outputs, &g));
    /* A matrix, of one output too: a layer is known by it. */
    const size_t dims[] = {outputs, n->shape.width};
    n->head.w = (struct net_tensor){.trained = 1,
                                    .rows = outputs,
                                    .cols = n->shape.width,
                                    .offset = n->params.n_flat};
    TRY(params_add(&n->params, "head.weight", dims, 2));
    return add_trained(n, "head.bias", 1, outputs, &n->head.bias);
}

/* A trained head goes on from the file's, where that has as many outputs. */
static void fill_head(struct loader *l)
{
    const struct net *n = l->net;
    const struct gguf_tensor *w = find(l, CLASSES_WEIGHT);
    const struct gguf_tensor *b = find(l, "cls.output.bias");
    size_t outputs = l->options->outputs, width = n->shape.width;
    if (!outputs || l->options->head != NET_HEAD_CLASSES || !w ||
        w->dims[0] != width || w->dims[1] != outputs ||
        (!quant_info(w->type) && !packed_type(w)))
        return;
    decode(w, n->params.flat + n->head.w.offset);
    if (b && b->type == QUANT_F32 && b->dims[0] * b->dims[1] == outputs)
        decode(b, n->params.flat + n->head.bias.offset);
}

/* The trained numbers: the file's; pairs begin as nothing, and so does a head
 * that the file does not have. */
static void fill(struct loader *l)
{
    struct params *p = &l->net->params;
    fill_head(l);
    for (size_t i = 0; i < p->n_params; i++) {
        const struct gguf_tensor *g = find(l, p->list[i].name);
        if (!g) continue;
        decode(g, p->flat + p->list[i].offset);
        forget(l, g);
    }
    for (size_t i = 0;
         l->options->train == NET_PAIRS && i < l->net->shape.layers; i++)
        for (size_t k = 0; k < N_PARTS; k++) {
            if (!is_there(l, &parts[k]) || !is_target(l, k)) continue;
            const struct net_tensor *down =
                &part_of(&l->net->layers[i], &parts[k])->down;
            draw_down(l, i * N_PARTS + k, down->cols, down->rows,
                      p->flat + down->offset);
        }
}

static enum tacit_err load(struct loader *l)
{
    struct net *n = l->net;
    const struct net_options *o = l->options;
    if (has_pairs(l) && (o->rank < 1 || o->rank > NET_RANK_MAX))
        return fail(TACIT_LIMIT, "pairs of rank %zu; 1 to %d", o->rank,
                    NET_RANK_MAX);
    TRY(find_family(l));
    TRY(read_shape(l));
    TRY(arena_alloc(&n->arena, n->shape.layers, sizeof *n->layers, &n->layers));
    if (has_pairs(l))
        n->pair_scale = (float)((o->alpha > 0 ? o->alpha : (double)o->rank) /
                                (double)o->rank);
    n->trains_blocks = o->train != NET_FROZEN;
    TRY(take_ends(l));
    TRY(take_factors(l));
    for (size_t i = 0; i < n->shape.layers; i++) TRY(take_layer(l, i));
    TRY(take_head(l));
    TRY(params_alloc(&n->params));
    fill(l);
    return TACIT_OK;
}

static enum tacit_err open_with(struct loader *l, struct net **out)
{
    static const struct net_options frozen;
    struct net *n = l->net = calloc(1, sizeof *n);
    if (!n) return fail(TACIT_NOMEM, "out of memory for a network");
    if (!l->options) l->options = &frozen;
    params_init(&n->params);
    arena_init(&n->arena, 0);
    gguf_expect_all(l->file);
    enum tacit_err err = load(l);
    if (err)
        net_close(n);
    else
        *out = n;
    return err;
}

enum tacit_err net_open(const struct model_files *c,
                        const struct net_options *options, struct net **out)
{
    struct loader l = {.file = model_files_metadata(c),
                       .files = c,
                       .options = options};
    return open_with(&l, out);
}

enum tacit_err net_open_gguf(const struct gguf *file,
                             const struct net_options *options,
                             struct net **out)
{
    struct loader l = {.file = file, .options = options};
    return open_with(&l, out);
}

void net_close(struct net *n)
{
    if (!n) return;
    params_release(&n->params);
    arena_release(&n->arena);
    free(n);
}

/* ---- the pairs, for whoever merges or exports them ---- */

static const float *numbers(const struct net *n, const struct net_tensor *t)
{
    return t->trained ? n->params.flat + t->offset : t->v;
}

/* Pair number i, or how many there are in all when i is past them. */
static size_t walk_pairs(const struct net *n, size_t i, struct net_pair *out)
{
    size_t count = 0;
    for (size_t l = 0; l < n->shape.layers; l++)
        for (size_t k = 0; k < N_PARTS; k++) {
            const struct net_matrix *m = part_of(&n->layers[l], &parts[k]);
            if (!m->up.rows || count++ != i || !out) continue;
            *out = (struct net_pair){.rows = m->w.rows,
                                     .cols = m->w.cols,
                                     .rank = m->down.rows,
                                     .down = numbers(n, &m->down),
                                     .up = numbers(n, &m->up),
                                     .scale = n->pair_scale};
            snprintf(out->name, sizeof out->name, "blk.%zu.%s.weight", l,
                     parts[k].name);
        }
    return count;
}

size_t net_n_pairs(const struct net *n)
{
    return walk_pairs(n, SIZE_MAX, NULL);
}

void net_pair_at(const struct net *n, size_t i, struct net_pair *out)
{
    (void)walk_pairs(n, i, out);
}
