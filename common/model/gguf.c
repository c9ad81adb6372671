#include "common/model/gguf.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/model/gguf_parts.h"
#include "common/model/mapped.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "tensors are used as they lie in the file");

enum {
    VERSION_MAX = 3,
    ALIGNMENT_MAX = 1 << 16,
    PAIR_BYTES_MIN = 4 + 1 + 4 + 1,
    TENSOR_BYTES_MIN = 4 + 1 + 4 + 4 + 4 + 8
};

/* ---- reading ------------------------------------------------------------ */

struct cursor {
    struct reader r;
    const uint8_t *start;
    int wide;
};

static uint64_t take_count(struct cursor *c)
{
    return c->wide ? reader_u64(&c->r) : reader_u32(&c->r);
}

static enum tacit_err cut(const struct cursor *c, const char *what)
{
    return fail(TACIT_FORMAT,
                "the file ends within %s, near byte %zu: a copy was cut off",
                what, (size_t)(c->r.p - c->start));
}

static const uint8_t *take_text(struct cursor *c, uint64_t *out_n)
{
    uint64_t n = take_count(c);
    *out_n = n;
    if (n > c->r.left) {
        c->r.err = TACIT_FORMAT;
        return NULL;
    }
    return reader_take(&c->r, (size_t)n);
}

/* A key or name: shown to people, compared, so it is short plain text. */
static enum tacit_err take_name(struct cursor *c, const char *what,
                                char out[GGUF_KEY_MAX + 1])
{
    uint64_t n = 0;
    size_t at = (size_t)(c->r.p - c->start);
    const uint8_t *s = take_text(c, &n);
    if (!s || c->r.err) return cut(c, what);
    if (n == 0 || n > GGUF_KEY_MAX)
        return fail(TACIT_FORMAT,
                    "the name of %s at byte %zu has %" PRIu64
                    " bytes; 1 to %d may be",
                    what, at, n, GGUF_KEY_MAX);
    for (uint64_t i = 0; i < n; i++)
        if (s[i] < 0x21 || s[i] > 0x7e)
            return fail(TACIT_FORMAT,
                        "the name of %s at byte %zu holds byte 0x%02x", what,
                        at, s[i]);
    memcpy(out, s, (size_t)n);
    out[n] = '\0';
    return TACIT_OK;
}

static enum tacit_err skip_array(struct cursor *c, const char *key)
{
    uint32_t kind = reader_u32(&c->r);
    uint64_t n = take_count(c);
    if (c->r.err) return cut(c, key);
    size_t each = gguf_kind_bytes((enum gguf_kind)kind);
    if (kind == GGUF_ARRAY)
        return fail(TACIT_UNSUPPORTED, "%s is an array of arrays", key);
    if (each == 0 && kind != GGUF_TEXT)
        return fail(TACIT_FORMAT, "%s holds values of unknown kind %" PRIu32,
                    key, kind);
    if (n > GGUF_ARRAY_MAX)
        return fail(TACIT_LIMIT, "%s has %" PRIu64 " values, %d at most", key,
                    n, GGUF_ARRAY_MAX);
    if (kind == GGUF_TEXT)
        for (uint64_t i = 0; i < n && !c->r.err; i++) {
            uint64_t bytes = 0;
            (void)take_text(c, &bytes);
        }
    else
        (void)reader_take(&c->r, (size_t)n * each);
    return c->r.err ? cut(c, key) : TACIT_OK;
}

static enum tacit_err read_pair(struct gguf *g, struct cursor *c,
                                struct gguf_pair *p)
{
    char key[GGUF_KEY_MAX + 1];
    TRY(take_name(c, "a key", key));
    TRY(arena_strdup(&g->arena, key, strlen(key), &p->key));
    uint32_t kind = reader_u32(&c->r);
    p->kind = (enum gguf_kind)kind;
    p->at = c->r.p;
    uint64_t n = 0;
    if (kind == GGUF_ARRAY) return skip_array(c, key);
    if (kind == GGUF_TEXT)
        (void)take_text(c, &n);
    else if (gguf_kind_bytes((enum gguf_kind)kind))
        (void)reader_take(&c->r, gguf_kind_bytes((enum gguf_kind)kind));
    else if (!c->r.err)
        return fail(TACIT_FORMAT, "%s is of unknown kind %" PRIu32, key, kind);
    return c->r.err ? cut(c, key) : TACIT_OK;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct gguf_pair *)a)->key,
                  ((const struct gguf_pair *)b)->key);
}

static enum tacit_err read_pairs(struct gguf *g, struct cursor *c, uint64_t n)
{
    TRY(arena_alloc(&g->arena, n + 1, sizeof *g->pairs, &g->pairs));
    TRY(arena_alloc(&g->arena, n + 1, sizeof *g->order, &g->order));
    for (uint64_t i = 0; i < n; i++) TRY(read_pair(g, c, &g->order[i]));
    g->n_pairs = (size_t)n;
    memcpy(g->pairs, g->order, (size_t)n * sizeof *g->pairs);
    qsort(g->pairs, g->n_pairs, sizeof *g->pairs, by_key);
    for (size_t i = 1; i < g->n_pairs; i++)
        if (strcmp(g->pairs[i - 1].key, g->pairs[i].key) == 0)
            return fail(TACIT_FORMAT, "the key %s stands twice",
                        g->pairs[i].key);
    return TACIT_OK;
}

static enum tacit_err read_tensor(struct cursor *c, uint64_t alignment,
                                  struct gguf_tensor *t)
{
    TRY(take_name(c, "a tensor", t->name));
    uint32_t n_dims = reader_u32(&c->r);
    if (!c->r.err && (n_dims == 0 || n_dims > GGUF_DIMS_MAX))
        return fail(TACIT_FORMAT,
                    "tensor %s has %" PRIu32 " dimensions; 1 to %d may be",
                    t->name, n_dims, GGUF_DIMS_MAX);
    t->n_dims = n_dims;
    for (unsigned i = 0; i < GGUF_DIMS_MAX; i++)
        t->dims[i] = i < n_dims && !c->r.err ? take_count(c) : 1;
    t->type = reader_u32(&c->r);
    t->offset = reader_u64(&c->r);
    if (c->r.err) return cut(c, t->name);
    const char *name = gguf_type_name(t->type);
    if (!name)
        return fail_as(E_MODEL_UNSUPPORTED,
                       "tensor %s has the unknown type %" PRIu32, t->name,
                       t->type);
    t->bytes = gguf_type_bytes(t->type, t->dims);
    if (t->bytes == 0)
        return fail(TACIT_FORMAT,
                    "tensor %s of %" PRIu64 " x %" PRIu64 " x %" PRIu64
                    " x %" PRIu64 " cannot be of type %s",
                    t->name, t->dims[0], t->dims[1], t->dims[2], t->dims[3],
                    name);
    if (t->offset % alignment)
        return fail(TACIT_FORMAT,
                    "tensor %s begins at %" PRIu64
                    ", which is no multiple of %" PRIu64,
                    t->name, t->offset, alignment);
    return TACIT_OK;
}

struct named {
    const struct gguf_tensor *t;
    uint32_t i;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct named *)a)->t->name,
                  ((const struct named *)b)->t->name);
}

static int by_offset(const void *a, const void *b)
{
    const struct gguf_tensor *x = ((const struct named *)a)->t;
    const struct gguf_tensor *y = ((const struct named *)b)->t;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

/* Names differ, and no byte belongs to two tensors. */
static enum tacit_err check_tensors(struct gguf *g, uint64_t data_bytes)
{
    struct named *list = NULL;
    TRY(arena_alloc(&g->arena, g->n_tensors + 1, sizeof *list, &list));
    for (size_t i = 0; i < g->n_tensors; i++)
        list[i] = (struct named){&g->tensors[i], (uint32_t)i};
    qsort(list, g->n_tensors, sizeof *list, by_offset);
    uint64_t end = 0;
    for (size_t i = 0; i < g->n_tensors; i++) {
        const struct gguf_tensor *t = list[i].t;
        if (t->offset < end)
            return fail(TACIT_FORMAT, "the tensors %s and %s overlap",
                        list[i - 1].t->name, t->name);
        if (t->offset > data_bytes || t->bytes > data_bytes - t->offset)
            return fail(TACIT_FORMAT,
                        "tensor %s lies past the end of the file: a copy was "
                        "cut off; fetch it again",
                        t->name);
        end = t->offset + t->bytes;
    }
    qsort(list, g->n_tensors, sizeof *list, by_name);
    for (size_t i = 0; i < g->n_tensors; i++) {
        g->by_name[i] = list[i].i;
        if (i && strcmp(list[i - 1].t->name, list[i].t->name) == 0)
            return fail(TACIT_FORMAT, "the tensor %s stands twice",
                        list[i].t->name);
    }
    return TACIT_OK;
}

static enum tacit_err read_tensors(struct gguf *g, struct cursor *c, uint64_t n)
{
    TRY(arena_alloc(&g->arena, n + 1, sizeof *g->tensors, &g->tensors));
    TRY(arena_alloc(&g->arena, n + 1, sizeof *g->by_name, &g->by_name));
    for (uint64_t i = 0; i < n; i++)
        TRY(read_tensor(c, g->alignment, &g->tensors[i]));
    g->n_tensors = (size_t)n;
    uint64_t start = (uint64_t)(c->r.p - g->bytes);
    start = (start + g->alignment - 1) / g->alignment * g->alignment;
    TRY(check_tensors(g, start > g->n ? 0 : g->n - start));
    for (size_t i = 0; i < g->n_tensors; i++)
        g->tensors[i].data = g->bytes + start + g->tensors[i].offset;
    return TACIT_OK;
}

static enum tacit_err read_alignment(struct gguf *g)
{
    int64_t v = GGUF_ALIGNMENT;
    if (gguf_has(g, "general.alignment"))
        TRY(gguf_int(g, "general.alignment", 1, ALIGNMENT_MAX, &v));
    if (v & (v - 1))
        return fail(TACIT_FORMAT,
                    "general.alignment is %" PRId64 ", no power of two", v);
    g->alignment = (uint64_t)v;
    return TACIT_OK;
}

static enum tacit_err read_all(struct gguf *g)
{
    struct cursor c = {.start = g->bytes};
    reader_init(&c.r, g->bytes, g->n);
    (void)reader_u32(&c.r);
    uint32_t version = reader_u32(&c.r);
    if (g->n < 4 || memcmp(g->bytes, "GGUF", 4) != 0)
        return fail(TACIT_FORMAT, "not a GGUF file");
    if (c.r.err) return cut(&c, "the header");
    if (version && (version & 0xffff) == 0)
        return fail_as(E_MODEL_UNSUPPORTED,
                       "a big-endian GGUF file; convert it for this machine");
    if (version == 0 || version > VERSION_MAX)
        return fail_as(E_MODEL_UNSUPPORTED,
                       "GGUF version %" PRIu32 "; 1 to %d are read", version,
                       VERSION_MAX);
    g->wide = c.wide = version > 1;
    uint64_t n_tensors = take_count(&c), n_pairs = take_count(&c);
    if (c.r.err) return cut(&c, "the header");
    if (n_tensors > GGUF_TENSORS_MAX || n_pairs > GGUF_PAIRS_MAX)
        return fail(TACIT_LIMIT,
                    "%" PRIu64 " tensors and %" PRIu64
                    " pairs; %d and %d at most",
                    n_tensors, n_pairs, GGUF_TENSORS_MAX, GGUF_PAIRS_MAX);
    if (n_pairs > c.r.left / PAIR_BYTES_MIN ||
        n_tensors > c.r.left / TENSOR_BYTES_MIN)
        return cut(&c, "its list of tensors");
    TRY(read_pairs(g, &c, n_pairs));
    TRY(read_alignment(g));
    return read_tensors(g, &c, n_tensors);
}

/* ---- opening ------------------------------------------------------------ */

enum tacit_err gguf_open_bytes(const uint8_t *bytes, size_t n,
                               struct gguf **out)
{
    struct gguf *g = calloc(1, sizeof *g);
    if (!g) return fail(TACIT_NOMEM, "no memory for a model's header");
    arena_init(&g->arena, 0);
    g->bytes = bytes;
    g->n = n;
    enum tacit_err err = read_all(g);
    if (!err)
        *out = g;
    else
        gguf_close(g);
    return err;
}

enum tacit_err gguf_open(const char *path, struct gguf **out)
{
    const uint8_t *bytes = NULL;
    size_t n = 0;
    struct gguf *g = NULL;
    TRY(mapped_open(path, &bytes, &n));
    enum tacit_err err = gguf_open_bytes(bytes, n, &g);
    if (err) {
        mapped_close(bytes, n);
        return err_context(err, "%s", path);
    }
    g->mapped = 1;
    *out = g;
    return TACIT_OK;
}

void gguf_close(struct gguf *g)
{
    if (!g) return;
    if (g->mapped) mapped_close(g->bytes, g->n);
    arena_release(&g->arena);
    free(g);
}

void gguf_forget(const struct gguf *g, const struct gguf_tensor *t)
{
    if (g->mapped) mapped_forget(t->data, (size_t)t->bytes);
}

const uint8_t *gguf_row(const struct gguf_tensor *t, uint64_t i)
{
    uint64_t in = t->halves ? i % t->halves : 0;
    uint64_t at = in ? i - in + in % 2 * (t->halves / 2) + in / 2 : i;
    return t->data + at * (t->bytes / t->dims[1]);
}

void gguf_expect_all(const struct gguf *g)
{
    if (g->mapped) mapped_expect_all(g->bytes, g->n);
}

/* ---- looking up --------------------------------------------------------- */

size_t gguf_n_tensors(const struct gguf *g)
{
    return g->n_tensors;
}

const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, size_t i)
{
    return i < g->n_tensors ? &g->tensors[i] : NULL;
}

const struct gguf_tensor *gguf_find(const struct gguf *g, const char *name)
{
    size_t lo = 0, hi = g->n_tensors;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const struct gguf_tensor *t = &g->tensors[g->by_name[mid]];
        int c = strcmp(t->name, name);
        if (c == 0) return t;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

const uint8_t *gguf_bytes(const struct gguf *g)
{
    return g->bytes;
}

uint64_t gguf_file_bytes(const struct gguf *g)
{
    return g->n;
}
