/* gguf: metadata: the kinds of values, and what stands under a key. See gguf.h.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "common/model/gguf_parts.h"

size_t gguf_kind_bytes(enum gguf_kind kind)
{
    switch (kind) {
    case GGUF_U8:
    case GGUF_I8:
    case GGUF_BOOL: return 1;
    case GGUF_U16:
    case GGUF_I16: return 2;
    case GGUF_U32:
    case GGUF_I32:
    case GGUF_F32: return 4;
    case GGUF_U64:
    case GGUF_I64:
    case GGUF_F64: return 8;
    default: return 0;
    }
}

int gguf_kind_is_int(enum gguf_kind kind)
{
    return kind != GGUF_F32 && kind != GGUF_F64 && gguf_kind_bytes(kind) > 0;
}

size_t gguf_n_pairs(const struct gguf *g)
{
    return g->n_pairs;
}

const char *gguf_key_at(const struct gguf *g, size_t i)
{
    return i < g->n_pairs ? g->order[i].key : NULL;
}

static const struct gguf_pair *find_pair(const struct gguf *g, const char *key)
{
    size_t lo = 0, hi = g->n_pairs;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = strcmp(g->pairs[mid].key, key);
        if (c == 0) return &g->pairs[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

int gguf_has(const struct gguf *g, const char *key)
{
    return find_pair(g, key) != NULL;
}

static enum tacit_err need(const struct gguf *g, const char *key,
                           const struct gguf_pair **out)
{
    *out = find_pair(g, key);
    if (*out) return TACIT_OK;
    return fail(TACIT_NOTFOUND, "the model lacks the key %s", key);
}

static enum tacit_err wrong_kind(const char *key, const char *want)
{
    return fail(TACIT_FORMAT, "the model's %s is no %s", key, want);
}

/* A value of 64 bits without a sign is at most 2^63 - 1 here. */
static int64_t load_int(enum gguf_kind kind, const uint8_t *at)
{
    uint64_t v = 0;
    size_t n = gguf_kind_bytes(kind);
    memcpy(&v, at, n);
    switch (kind) {
    case GGUF_I8: return (int8_t)v;
    case GGUF_I16: return (int16_t)v;
    case GGUF_I32: return (int32_t)v;
    case GGUF_BOOL: return v != 0;
    case GGUF_U64: return v > INT64_MAX ? INT64_MAX : (int64_t)v;
    default: return (int64_t)v;
    }
}

static double load_real(enum gguf_kind kind, const uint8_t *at)
{
    float f;
    double d;
    if (kind == GGUF_F32) {
        memcpy(&f, at, sizeof f);
        return (double)f;
    }
    if (kind == GGUF_F64) {
        memcpy(&d, at, sizeof d);
        return d;
    }
    return (double)load_int(kind, at);
}

enum tacit_err gguf_int(const struct gguf *g, const char *key, int64_t min,
                        int64_t max, int64_t *out)
{
    const struct gguf_pair *p;
    TRY(need(g, key, &p));
    if (!gguf_kind_is_int(p->kind)) return wrong_kind(key, "whole number");
    int64_t v = load_int(p->kind, p->at);
    if (v < min || v > max)
        return fail(TACIT_LIMIT,
                    "the model's %s is %" PRId64 "; %" PRId64 " to %" PRId64
                    " may be",
                    key, v, min, max);
    *out = v;
    return TACIT_OK;
}

enum tacit_err gguf_real(const struct gguf *g, const char *key, double *out)
{
    const struct gguf_pair *p;
    TRY(need(g, key, &p));
    if (gguf_kind_bytes(p->kind) == 0) return wrong_kind(key, "number");
    double v = load_real(p->kind, p->at);
    if (!isfinite(v)) return wrong_kind(key, "finite number");
    *out = v;
    return TACIT_OK;
}

static const char *load_text(int wide, const uint8_t *at, size_t *out_n)
{
    *out_n = (size_t)(wide ? le64_load(at) : le32_load(at));
    return (const char *)at + (wide ? 8 : 4);
}

enum tacit_err gguf_text(const struct gguf *g, const char *key,
                         const char **out, size_t *out_n)
{
    const struct gguf_pair *p;
    TRY(need(g, key, &p));
    if (p->kind != GGUF_TEXT) return wrong_kind(key, "text");
    *out = load_text(g->wide, p->at, out_n);
    return TACIT_OK;
}

void gguf_text_or_empty(const struct gguf *g, const char *key, char *out,
                        size_t cap)
{
    const struct gguf_pair *p = find_pair(g, key);
    size_t n = 0;
    const char *s = "";
    if (p && p->kind == GGUF_TEXT) s = load_text(g->wide, p->at, &n);
    if (n >= cap) n = cap - 1;
    memcpy(out, s, n);
    out[n] = '\0';
}

static void load_array(int wide, const uint8_t *at, struct gguf_array *out)
{
    out->kind = (enum gguf_kind)le32_load(at);
    out->n = wide ? le64_load(at + 4) : le32_load(at + 4);
    out->at = at + 4 + (wide ? 8 : 4);
    out->wide = wide;
}

enum tacit_err gguf_array(const struct gguf *g, const char *key,
                          struct gguf_array *out)
{
    const struct gguf_pair *p;
    TRY(need(g, key, &p));
    if (p->kind != GGUF_ARRAY) return wrong_kind(key, "list");
    load_array(g->wide, p->at, out);
    return TACIT_OK;
}

const char *gguf_next_text(struct gguf_array *a, size_t *out_n)
{
    const char *s = load_text(a->wide, a->at, out_n);
    a->at = (const uint8_t *)s + *out_n;
    a->n--;
    return s;
}

int64_t gguf_next_int(struct gguf_array *a)
{
    int64_t v = load_int(a->kind, a->at);
    a->at += gguf_kind_bytes(a->kind);
    a->n--;
    return v;
}

double gguf_next_real(struct gguf_array *a)
{
    double v = load_real(a->kind, a->at);
    a->at += gguf_kind_bytes(a->kind);
    a->n--;
    return v;
}

/* ---- copying a pair ----------------------------------------------------- */

static void put_text64(struct buf *b, const char *s, size_t n)
{
    buf_put_u64(b, n);
    buf_put(b, s, n);
}

void gguf_put_pair(struct gguf_writer *w, const struct gguf *from, size_t i)
{
    const struct gguf_pair *p = &from->order[i];
    struct gguf_array a;
    size_t n = 0;
    put_text64(&w->pairs, p->key, strlen(p->key));
    buf_put_u32(&w->pairs, (uint32_t)p->kind);
    w->n_pairs++;
    if (p->kind == GGUF_TEXT) {
        const char *s = load_text(from->wide, p->at, &n);
        put_text64(&w->pairs, s, n);
        return;
    }
    if (p->kind != GGUF_ARRAY) {
        buf_put(&w->pairs, p->at, gguf_kind_bytes(p->kind));
        return;
    }
    load_array(from->wide, p->at, &a);
    buf_put_u32(&w->pairs, (uint32_t)a.kind);
    buf_put_u64(&w->pairs, a.n);
    if (a.kind != GGUF_TEXT) {
        buf_put(&w->pairs, a.at, (size_t)a.n * gguf_kind_bytes(a.kind));
        return;
    }
    while (a.n > 0) {
        const char *s = gguf_next_text(&a, &n);
        put_text64(&w->pairs, s, n);
    }
}
