/* net: what a file's metadata says of a network: its family, and how wide and
 * deep it is. See net.h and net_parts.h. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/model/gguf.h"
#include "common/model/net_parts.h"

static const struct net_family families[] = {
    {"bert", NORM_LAYER, NORM_AFTER, GATE_GELU, PLACES_LEARNED, ATTEND_ALL},
    {"llama", NORM_RMS, NORM_BEFORE, GATE_SWIGLU, PLACES_PAIRS, ATTEND_CAUSAL},
    {"qwen2", NORM_RMS, NORM_BEFORE, GATE_SWIGLU, PLACES_HALVES, ATTEND_CAUSAL},
};

/* The header of a file, being read for a network. */
struct header {
    struct net *net;
    const struct gguf *file;
};

enum { KEY_MAX = 96, FAMILY_MAX = 32 };
/* Values of the key pooling_type, as llama.cpp counts them. */
enum { POOLING_MEAN = 1, POOLING_LAST = 3, POOLING_HEAD };

static void full_key(const struct header *h, const char *key, char out[KEY_MAX])
{
    snprintf(out, KEY_MAX, "%s.%s", h->net->family->name, key);
}

static int has(const struct header *h, const char *key)
{
    char full[KEY_MAX];
    full_key(h, key, full);
    return gguf_has(h->file, full);
}

static enum tacit_err whole(const struct header *h, const char *key,
                            int64_t min, int64_t max, size_t *out)
{
    char full[KEY_MAX];
    int64_t v;
    full_key(h, key, full);
    TRY(gguf_int(h->file, full, min, max, &v));
    *out = (size_t)v;
    return TACIT_OK;
}

/* Keeps what is in *out when the file has no such key. */
static enum tacit_err whole_if(const struct header *h, const char *key,
                               int64_t min, int64_t max, size_t *out)
{
    return has(h, key) ? whole(h, key, min, max, out) : TACIT_OK;
}

static enum tacit_err real_if(const struct header *h, const char *key,
                              double *out)
{
    char full[KEY_MAX];
    full_key(h, key, full);
    return gguf_has(h->file, full) ? gguf_real(h->file, full, out) : TACIT_OK;
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

static enum tacit_err find_family(struct header *h)
{
    char name[FAMILY_MAX];
    gguf_text_or_empty(h->file, "general.architecture", name, sizeof name);
    h->net->family = family_named(name);
    TRY(net_knows(name));
    assert(h->net->family);
    return TACIT_OK;
}

static enum tacit_err read_rope(struct header *h, struct net_shape *s)
{
    char kind[FAMILY_MAX], full[KEY_MAX];
    double factor = 1;
    if (h->net->family->places == PLACES_LEARNED) return TACIT_OK;
    s->rope = (struct op_rope){.layout = h->net->family->places == PLACES_PAIRS
                                             ? ROPE_PAIRS
                                             : ROPE_HALVES,
                               .dims = s->head_width,
                               .base = 10000};
    TRY(whole_if(h, "rope.dimension_count", 2, (int64_t)s->head_width,
                 &s->rope.dims));
    TRY(real_if(h, "rope.freq_base", &s->rope.base));
    TRY(real_if(h, "rope.scale_linear", &factor));
    TRY(real_if(h, "rope.scaling.factor", &factor));
    full_key(h, "rope.scaling.type", full);
    gguf_text_or_empty(h->file, full, kind, sizeof kind);
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

static enum tacit_err read_heads(struct header *h, struct net_shape *s)
{
    TRY(whole(h, "attention.head_count", 1, 1024, &s->heads));
    s->kv_heads = s->heads;
    TRY(whole_if(h, "attention.head_count_kv", 1, 1024, &s->kv_heads));
    s->head_width = s->width / s->heads;
    if (!has(h, "attention.key_length") && s->width % s->heads)
        return fail(TACIT_SHAPE, "%zu heads of a width of %zu", s->heads,
                    s->width);
    TRY(whole_if(h, "attention.key_length", 1, ATTEND_WIDTH_MAX,
                 &s->head_width));
    size_t value = s->head_width;
    TRY(whole_if(h, "attention.value_length", 1, ATTEND_WIDTH_MAX, &value));
    if (s->heads % s->kv_heads || !s->head_width ||
        s->head_width > ATTEND_WIDTH_MAX || value != s->head_width)
        return fail_as(E_MODEL_UNSUPPORTED,
                       "%zu heads over %zu, of %zu and %zu numbers (at most "
                       "%d)",
                       s->heads, s->kv_heads, s->head_width, value,
                       ATTEND_WIDTH_MAX);
    return TACIT_OK;
}

static enum tacit_err read_shape(struct header *h)
{
    struct net_shape *s = &h->net->shape;
    const struct net_family *f = h->net->family;
    size_t pooling = POOLING_MEAN;
    TRY(whole(h, "block_count", 1, NET_LAYERS_MAX, &s->layers));
    TRY(whole(h, "embedding_length", 1, NET_WIDTH_MAX, &s->width));
    TRY(whole(h, "feed_forward_length", 1, NET_WIDTH_MAX, &s->feed));
    TRY(read_heads(h, s));
    TRY(whole_if(h, "context_length", 1, INT32_MAX, &s->context));
    if (f->mask == ATTEND_CAUSAL)
        TRY(whole_if(h, "attention.sliding_window", 0, INT32_MAX, &s->window));
    TRY(whole_if(h, "pooling_type", 1, POOLING_HEAD, &pooling));
    if (pooling == POOLING_LAST)
        return fail_as(E_MODEL_UNSUPPORTED, "rows pooled by their last token");
    s->pooling = pooling == POOLING_MEAN ? POOL_MEAN : POOL_FIRST;
    s->mask = f->mask;
    s->epsilon = f->norm == NORM_RMS ? 1e-5 : 1e-12;
    TRY(real_if(h,
                f->norm == NORM_RMS ? "attention.layer_norm_rms_epsilon"
                                    : "attention.layer_norm_epsilon",
                &s->epsilon));
    if (!(s->epsilon > 0 && s->epsilon < 1))
        return fail(TACIT_FORMAT, "a norm's epsilon of %g", s->epsilon);
    return read_rope(h, s);
}

enum tacit_err net_shape_read(struct net *n, const struct gguf *file)
{
    struct header h = {n, file};
    TRY(find_family(&h));
    return read_shape(&h);
}
