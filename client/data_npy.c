#include "client/data_npy.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/plural.h"

enum { PATH_BYTES = 4096, DIMS_MAX = 8, HEADER_MAX = 65536 };
enum npy_type { TYPE_F4, TYPE_F8, TYPE_I8, TYPE_U1 };

struct npy {
    const char *name;
    enum npy_type type;
    unsigned n_dims;
    size_t dim[DIMS_MAX];
    size_t each; /* values of one row */
    const uint8_t *values;
};

static const struct {
    const char *descr;
    size_t bytes;
} types[] = {{"<f4", 4}, {"<f8", 8}, {"<i8", 8}, {"|u1", 1}};
enum { N_TYPES = sizeof types / sizeof *types };

int npy_is(const struct buf *b)
{
    return b->len >= 6 && memcmp(b->data, "\x93NUMPY", 6) == 0;
}

/* ---- the header: a Python dict of three keys ---------------------------- */

struct cursor {
    const char *name;
    const char *p, *end;
};

static enum tacit_err odd(const struct cursor *c)
{
    return fail_as(E_DATA_KIND,
                   "%s: the header of this NumPy array cannot be read; write "
                   "it with numpy.save()",
                   c->name);
}

/* Step over blanks, then over `text` if it is there. */
static int take(struct cursor *c, const char *text)
{
    size_t n = strlen(text);
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\n')) c->p++;
    if ((size_t)(c->end - c->p) < n || memcmp(c->p, text, n) != 0) return 0;
    c->p += n;
    return 1;
}

static enum tacit_err take_type(struct cursor *c, struct npy *out)
{
    char found[16];
    size_t n = 0;
    if (!take(c, "'")) return odd(c);
    while (c->p < c->end && *c->p != '\'' && n < sizeof found - 1)
        found[n++] = *c->p++;
    found[n] = '\0';
    if (!take(c, "'")) return odd(c);
    for (size_t i = 0; i < N_TYPES; i++)
        if (strcmp(found, types[i].descr) == 0) {
            out->type = (enum npy_type)i;
            return TACIT_OK;
        }
    return fail_as(E_DATA_KIND,
                   "%s: values of type %s; it may be <f4, <f8, <i8 or |u1",
                   c->name, found);
}

static enum tacit_err take_shape(struct cursor *c, struct npy *out)
{
    if (!take(c, "(")) return odd(c);
    while (!take(c, ")")) {
        size_t v = 0;
        if (out->n_dims == DIMS_MAX || !take(c, "") || c->p == c->end ||
            *c->p < '0' || *c->p > '9')
            return odd(c);
        while (c->p < c->end && *c->p >= '0' && *c->p <= '9') {
            if (v > SIZE_MAX / 10 - 10) return odd(c);
            v = 10 * v + (size_t)(*c->p++ - '0');
        }
        out->dim[out->n_dims++] = v;
        if (!take(c, ",") && (c->p == c->end || *c->p != ')')) return odd(c);
    }
    return TACIT_OK;
}

static enum tacit_err take_header(struct cursor *c, struct npy *out)
{
    enum { DESCR = 1, ORDER = 2, SHAPE = 4 };
    unsigned seen = 0;
    if (!take(c, "{")) return odd(c);
    while (!take(c, "}")) {
        unsigned key = take(c, "'descr':")           ? DESCR
                       : take(c, "'fortran_order':") ? ORDER
                       : take(c, "'shape':")         ? SHAPE
                                                     : 0;
        if (!key || seen & key) return odd(c);
        seen |= key;
        if (key == DESCR) TRY(take_type(c, out));
        if (key == SHAPE) TRY(take_shape(c, out));
        if (key == ORDER && take(c, "True"))
            return fail_as(E_DATA_KIND,
                           "%s: in Fortran order; save it again with "
                           "numpy.ascontiguousarray()",
                           c->name);
        if (key == ORDER && !take(c, "False")) return odd(c);
        if (!take(c, ",") && (c->p == c->end || *c->p != '}')) return odd(c);
    }
    return seen == (DESCR | ORDER | SHAPE) && take(c, "") && c->p == c->end
               ? TACIT_OK
               : odd(c);
}

/* Rows that the file holds whole, and nothing behind them. */
static enum tacit_err check_size(struct npy *x, size_t left)
{
    x->each = 1;
    if (x->n_dims == 0)
        return fail_as(E_DATA_SHAPE, "%s: one number, no rows", x->name);
    for (unsigned i = 1; i < x->n_dims; i++) {
        if (x->dim[i] == 0 || x->each > POOLED_VALUES_MAX / x->dim[i])
            return fail_as(E_DATA_SHAPE, "%s: a row of %zu x %zu values",
                           x->name, x->each, x->dim[i]);
        x->each *= x->dim[i];
    }
    size_t row = x->each * types[x->type].bytes;
    if (x->dim[0] > left / row)
        return fail_as(E_DATA_ENDS,
                       "%s: the file ends early, in row %zu of the %zu that "
                       "its header names",
                       x->name, left / row, x->dim[0]);
    if (x->dim[0] * row != left)
        return fail_as(E_DATA_KIND, "%s: %zu byte%s behind the last row",
                       x->name, left - x->dim[0] * row,
                       plural_s(left - x->dim[0] * row));
    return TACIT_OK;
}

static enum tacit_err parse(const char *name, const struct buf *b,
                            struct npy *out)
{
    struct npy x = {.name = name};
    if (!npy_is(b))
        return fail_as(E_DATA_KIND, "%s: not a NumPy array (.npy)", name);
    unsigned major = b->len > 6 ? b->data[6] : 1;
    if (major != 1 && major != 2)
        return fail_as(E_DATA_KIND,
                       "%s: .npy version %u; versions 1 and 2 are read", name,
                       major);
    size_t at = major == 1 ? 10 : 12, n = 0;
    for (size_t i = at; b->len >= at && i-- > 8;)
        n = n << 8 | (size_t)b->data[i];
    if (b->len < at || b->len - at < n)
        return fail_as(E_DATA_ENDS,
                       "%s: the file ends early, after %zu byte%s, inside its "
                       "header",
                       name, b->len, plural_s(b->len));
    if (n > HEADER_MAX)
        return fail_as(E_DATA_KIND, "%s: a header of %zu bytes", name, n);
    const char *text = (const char *)b->data + at;
    struct cursor c = {name, text, text + n};
    TRY(take_header(&c, &x));
    TRY(check_size(&x, b->len - at - n));
    x.values = b->data + at + n;
    *out = x;
    return TACIT_OK;
}

/* ---- values ------------------------------------------------------------- */

static double value(const struct npy *x, size_t i)
{
    const uint8_t *p = x->values + i * types[x->type].bytes;
    switch (x->type) {
    case TYPE_U1: return *p;
    case TYPE_I8: return (double)(int64_t)le64_load(p);
    case TYPE_F4: {
        uint32_t bits = le32_load(p);
        float v;
        memcpy(&v, &bits, sizeof v);
        return (double)v;
    }
    case TYPE_F8: {
        uint64_t bits = le64_load(p);
        double v;
        memcpy(&v, &bits, sizeof v);
        return v;
    }
    }
    return NAN;
}

static enum tacit_err fill(const struct plan *p, const struct npy *x,
                           const struct npy *y, struct pooled *out)
{
    int bytes = x->type == TYPE_U1 && p->format == PLAN_IMAGES;
    for (size_t i = 0; i < x->dim[0] * x->each; i++) {
        float v = (float)value(x, i);
        if (!isfinite(v))
            return fail_as(E_DATA_VALUE,
                           "%s: row %zu, value %zu is not a finite 32-bit "
                           "number",
                           x->name, i / x->each, i % x->each);
        out->x[i] = bytes ? v / 255 : v;
    }
    for (size_t i = 0; i < y->dim[0]; i++) {
        double v = value(y, i);
        int is_ok = pooled_label_ok(p, v);
        out->y[i] = is_ok ? (float)v : NAN;
        /* It has no gradient then, and is not seen (examples.h). */
        if (is_ok || p->privacy.record) continue;
        if (p->task == PLAN_REGRESS)
            return fail_as(E_DATA_VALUE,
                           "%s: row %zu is not a finite 32-bit number", y->name,
                           i);
        return fail_as(E_DATA_VALUE,
                       "%s: row %zu has label %g; the model's classes are 0 to "
                       "%u",
                       y->name, i, v, p->classes > 1 ? p->classes - 1 : 1);
    }
    return TACIT_OK;
}

/* Images may come flat, or with their shape, which then must be the plan's. */
static enum tacit_err check_shape(const struct plan *p, const struct npy *x)
{
    unsigned n = x->n_dims;
    size_t each = n < 2 ? 1 : x->each;
    int fits = n >= 2 && x->each == p->n_features;
    if (p->format == PLAN_IMAGES && n >= 3)
        fits = fits && x->dim[n - 1] == p->width && x->dim[n - 2] == p->height;
    if (fits) return TACIT_OK;
    if (p->format == PLAN_IMAGES)
        return fail_as(E_DATA_SHAPE,
                       "%s: %zu value%s a row; the plan's images are %u x %u x "
                       "%u (channels, height, width)",
                       x->name, each, plural_s(each), p->channels, p->height,
                       p->width);
    return fail_as(E_DATA_SHAPE,
                   "%s: %zu value%s a row; the plan has data.width %u", x->name,
                   each, plural_s(each), p->width);
}

enum tacit_err npy_parse(const struct plan *plan, const char *x_name,
                         const struct buf *x_bytes, const char *y_name,
                         const struct buf *y_bytes, struct pooled *out)
{
    struct npy x, y;
    struct pooled p;
    TRY(parse(x_name, x_bytes, &x));
    TRY(check_shape(plan, &x));
    TRY(parse(y_name, y_bytes, &y));
    if (y.each != 1)
        return fail_as(E_DATA_SHAPE, "%s: %zu values a row; a label is one",
                       y_name, y.each);
    if (y.dim[0] != x.dim[0])
        return fail_as(E_DATA_ENDS, "%s: %zu label%s for the %zu row%s of %s",
                       y_name, y.dim[0], plural_s(y.dim[0]), x.dim[0],
                       plural_s(x.dim[0]), x_name);
    TRY(pooled_new(x_name, x.dim[0], x.each, 1, &p));
    enum tacit_err err = fill(plan, &x, &y, &p);
    if (err)
        pooled_release(&p);
    else
        *out = p;
    return err;
}

/* ---- files -------------------------------------------------------------- */

enum tacit_err npy_label_path(const char *path, char *out, size_t cap)
{
    const char *slash = strrchr(path, '/');
    size_t stem = slash ? (size_t)(slash - path) + 1 : 0;
    const char *dot = strrchr(path + stem, '.');
    size_t end = dot ? (size_t)(dot - path) : strlen(path);
    int n = snprintf(out, cap, "%s", path);
    if (n < 0 || (size_t)n >= cap)
        return fail(TACIT_LIMIT, "%s: the path is too long", path);
    size_t last = end > stem ? end - 1 : stem;
    size_t at = path[stem] == 'x' || path[stem] == 'X' ? stem : last;
    if (end == stem || (path[at] != 'x' && path[at] != 'X'))
        return fail_as(E_DATA_KIND,
                       "%s: the file's name neither begins nor ends in x, so "
                       "that its labels cannot be found beside it (as in "
                       "x.npy, y.npy)",
                       path);
    out[at] = path[at] == 'x' ? 'y' : 'Y';
    return TACIT_OK;
}

enum tacit_err npy_load(const struct plan *plan, const char *path,
                        const struct buf *bytes, struct pooled *out)
{
    char name[PATH_BYTES];
    struct buf labels;
    buf_init(&labels, 0);
    enum tacit_err err = npy_label_path(path, name, sizeof name);
    if (!err) err = file_read(name, POOLED_BYTES_MAX, &labels);
    if (!err) err = buf_end(&labels);
    if (!err) err = npy_parse(plan, path, bytes, name, &labels, out);
    buf_release(&labels);
    return err;
}
