/* net: how its numbers come in from a file: frozen, packed, trained, or drawn.
 * See net.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/model/net_parts.h"
#include "common/tensor/quant.h"

#define CLASSES_WEIGHT "cls.output.weight"

struct loader {
    struct net *net;
    const struct gguf *file;         /* metadata, and */
    const struct model_files *files; /* tensors; NULL: the file's */
    const struct net_options *options;
};

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
    for (size_t i = 0, cols = (size_t)g->dims[0]; i < (size_t)g->dims[1]; i++)
        quant_decode((enum quant_type)g->type, gguf_row(g, i), to + i * cols,
                     cols);
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

/* Its rows as they count, of a type that products take. */
static enum tacit_err bring_rows(const struct gguf_tensor *g,
                                 enum quant_type type, uint8_t *rows)
{
    size_t cols = (size_t)g->dims[0], bytes = quant_bytes(type, cols);
    float *row = malloc(cols * sizeof *row);
    enum tacit_err err = TACIT_OK;
    if (!row) return fail(TACIT_NOMEM, "out of memory");
    for (size_t i = 0; !err && i < (size_t)g->dims[1]; i++) {
        const uint8_t *from = gguf_row(g, i);
        if (type == (enum quant_type)g->type) {
            memcpy(rows + i * bytes, from, bytes);
            continue;
        }
        quant_decode((enum quant_type)g->type, from, row, cols);
        err = quant_encode(type, row, rows + i * bytes, cols);
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
    if (type != (enum quant_type)g->type || g->halves) {
        rows = own = malloc(quant_bytes(type, out->rows * out->cols));
        enum tacit_err err =
            own ? bring_rows(g, type, own)
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

/* The bits of enum net_target stand in the order of net_parts[]. */
static int is_target(const struct loader *l, size_t part)
{
    unsigned targets = l->options->targets;
    return !targets || targets >> part & 1;
}

/* ---- layers ---- */

static size_t size_of(const struct net_shape *s, enum net_part_size which)
{
    switch (which) {
    case OF_QUERY: return s->heads * s->head_width;
    case OF_KEY: return s->kv_heads * s->head_width;
    case OF_FEED: return s->feed;
    case OF_WIDTH: break;
    }
    return s->width;
}

static enum tacit_err take_layer(struct loader *l, size_t i)
{
    const struct net_shape *s = &l->net->shape;
    struct net_layer *layer = &l->net->layers[i];
    int before = l->net->family->place == NORM_BEFORE;
    char name[PARAMS_NAME_MAX - 16];
    for (size_t k = 0; k < NET_N_PARTS; k++) {
        const struct net_part *p = &net_parts[k];
        if (!net_has_part(l->net, p)) continue;
        snprintf(name, sizeof name, "blk.%zu.%s", i, p->name);
        struct net_matrix *m = net_part_of(layer, p);
        TRY(take_matrix(l, name, size_of(s, p->rows), size_of(s, p->cols), m));
        if (has_pairs(l) && is_target(l, k))
            TRY(add_pair(l, name, i * NET_N_PARTS + k, m));
    }
    snprintf(name, sizeof name, "blk.%zu.%s", i,
             before ? "attn_norm" : "attn_output_norm");
    TRY(take_norm(l, name, &layer->first));
    snprintf(name, sizeof name, "blk.%zu.%s", i,
             before ? "ffn_norm" : "layer_output_norm");
    return take_norm(l, name, &layer->second);
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
        for (size_t k = 0; k < NET_N_PARTS; k++) {
            if (!net_has_part(l->net, &net_parts[k]) || !is_target(l, k))
                continue;
            const struct net_tensor *down =
                &net_part_of(&l->net->layers[i], &net_parts[k])->down;
            draw_down(l, i * NET_N_PARTS + k, down->cols, down->rows,
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
    TRY(net_shape_read(n, l->file));
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
