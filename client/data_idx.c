#include "client/data_idx.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/plural.h"

enum { PATH_BYTES = 4096, DIMS_MAX = 4, TYPE_BYTE = 0x08 };

/* A file of bytes with its sizes. */
struct idx {
    const char *name;
    unsigned n_dims;
    size_t dim[DIMS_MAX];
    size_t each; /* values of one row */
    const uint8_t *values;
};

int idx_is(const struct buf *b)
{
    return b->len >= 4 && b->data[0] == 0 && b->data[1] == 0 &&
           b->data[2] >= 0x08 && b->data[2] <= 0x0e && b->data[3] >= 1 &&
           b->data[3] <= 8;
}

static uint32_t be32_load(const uint8_t in[4])
{
    return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 |
           (uint32_t)in[2] << 8 | (uint32_t)in[3];
}

static enum tacit_err parse(const char *name, const struct buf *b,
                            struct idx *out)
{
    struct idx x = {.name = name, .each = 1};
    if (b->len && b->data[0] == 0x1f)
        return fail_as(E_DATA_KIND, "%s: gzip; unpack it first (gunzip -k)",
                       name);
    if (!idx_is(b) || b->data[2] != TYPE_BYTE || b->data[3] > DIMS_MAX)
        return fail_as(E_DATA_KIND,
                       "%s: not an IDX file of bytes (it begins 00 00 08 and "
                       "the number of sizes, 1 to %d)",
                       name, DIMS_MAX);
    x.n_dims = b->data[3];
    size_t at = 4 + 4 * (size_t)x.n_dims, left = b->len;
    if (left < at)
        return fail_as(E_DATA_ENDS,
                       "%s: the file ends early, after %zu byte%s, inside its "
                       "header",
                       name, b->len, plural_s(b->len));
    left -= at;
    for (unsigned i = 0; i < x.n_dims; i++)
        x.dim[i] = be32_load(b->data + 4 + 4 * (size_t)i);
    /* Each factor is bounded before it counts. */
    for (unsigned i = 1; i < x.n_dims; i++) {
        if (x.dim[i] == 0 || x.each > POOLED_VALUES_MAX / x.dim[i])
            return fail_as(E_DATA_SHAPE, "%s: a row of %zu x %zu values", name,
                           x.each, x.dim[i]);
        x.each *= x.dim[i];
    }
    if (x.dim[0] > left / x.each)
        return fail_as(E_DATA_ENDS,
                       "%s: the file ends early, in row %zu of the %zu that "
                       "its header names",
                       name, left / x.each, x.dim[0]);
    if (x.dim[0] * x.each != left)
        return fail_as(E_DATA_KIND, "%s: %zu byte%s behind the last row", name,
                       left - x.dim[0] * x.each,
                       plural_s(left - x.dim[0] * x.each));
    x.values = b->data + at;
    *out = x;
    return TACIT_OK;
}

static enum tacit_err check_shape(const struct plan *p, const struct idx *x)
{
    if (x->n_dims < 3)
        return fail_as(E_DATA_KIND,
                       "%s: labels or a list, not images; name the file of the "
                       "images",
                       x->name);
    size_t channels = x->n_dims == 4 ? x->dim[1] : 1;
    size_t height = x->dim[x->n_dims - 2], width = x->dim[x->n_dims - 1];
    if (p->format == PLAN_VECTORS) {
        if (x->each == p->n_features) return TACIT_OK;
        return fail_as(E_DATA_SHAPE,
                       "%s: %zu value%s a row; the plan has data.width %u",
                       x->name, x->each, plural_s(x->each), p->width);
    }
    if (channels == p->channels && height == p->height && width == p->width)
        return TACIT_OK;
    return fail_as(E_DATA_SHAPE,
                   "%s: images of %zu x %zu x %zu (channels, height, width); "
                   "the plan says %u x %u x %u",
                   x->name, channels, height, width, p->channels, p->height,
                   p->width);
}

static enum tacit_err check_labels(const struct plan *p, const struct idx *x,
                                   const struct idx *y)
{
    if (y->n_dims != 1)
        return fail_as(E_DATA_KIND, "%s: not a list of labels (IDX type 0801)",
                       y->name);
    if (y->dim[0] < x->dim[0])
        return fail_as(
            E_DATA_ENDS,
            "%s: the file ends early: %zu label%s for the %zu image%s "
            "of %s",
            y->name, y->dim[0], plural_s(y->dim[0]), x->dim[0],
            plural_s(x->dim[0]), x->name);
    if (y->dim[0] > x->dim[0])
        return fail_as(E_DATA_ENDS, "%s: %zu label%s, but %s has %zu image%s",
                       y->name, y->dim[0], plural_s(y->dim[0]), x->name,
                       x->dim[0], plural_s(x->dim[0]));
    for (size_t i = 0; i < y->dim[0] && !p->privacy.record; i++)
        if (!pooled_label_ok(p, y->values[i]))
            return fail_as(E_DATA_VALUE,
                           "%s: row %zu has label %u; the model's classes are "
                           "0 to %u",
                           y->name, i, y->values[i],
                           p->classes > 1 ? p->classes - 1 : 1);
    return TACIT_OK;
}

/* Under privacy a label that is no class has no gradient, and is not seen
 * (examples.h). */
static void fill(const struct plan *p, const struct idx *x, const struct idx *y,
                 size_t first, struct pooled *out)
{
    float *to = out->x + first * x->each;
    size_t n = x->dim[0] * x->each;
    for (size_t i = 0; i < n; i++) to[i] = (float)x->values[i] / 255;
    for (size_t i = 0; i < x->dim[0]; i++)
        out->y[first + i] =
            pooled_label_ok(p, y->values[i]) ? y->values[i] : NAN;
}

/* Images and labels, checked, of one pair of files. */
struct pair {
    struct idx x, y;
};

static enum tacit_err parse_pair(const struct plan *p, const char *image_name,
                                 const struct buf *images,
                                 const char *label_name,
                                 const struct buf *labels, struct pair *out)
{
    TRY(parse(image_name, images, &out->x));
    TRY(check_shape(p, &out->x));
    TRY(parse(label_name, labels, &out->y));
    return check_labels(p, &out->x, &out->y);
}

enum tacit_err idx_parse(const struct plan *plan, const char *image_name,
                         const struct buf *images, const char *label_name,
                         const struct buf *labels, struct pooled *out)
{
    struct pair a;
    TRY(parse_pair(plan, image_name, images, label_name, labels, &a));
    TRY(pooled_new(image_name, a.x.dim[0], a.x.each, 1, out));
    fill(plan, &a.x, &a.y, 0, out);
    return TACIT_OK;
}

/* ---- files -------------------------------------------------------------- */

/* path with the last `from` in its last part replaced; 0 when there is none or
 * it does not fit. */
static int rename_part(const char *path, const char *from, const char *to,
                       char *out, size_t cap)
{
    const char *slash = strrchr(path, '/');
    const char *at = NULL, *p = slash ? slash + 1 : path;
    while ((p = strstr(p, from))) at = p++;
    if (!at) return 0;
    int n = snprintf(out, cap, "%.*s%s%s", (int)(at - path), path, to,
                     at + strlen(from));
    return n > 0 && (size_t)n < cap;
}

enum tacit_err idx_label_path(const char *path, char *out, size_t cap)
{
    char part[PATH_BYTES];
    if (!rename_part(path, "images", "labels", part, sizeof part))
        return fail_as(E_DATA_KIND,
                       "%s: the file's name holds no \"images\", so that its "
                       "labels cannot be found beside it (as in "
                       "train-images-idx3-ubyte, train-labels-idx1-ubyte)",
                       path);
    if (rename_part(part, "idx3", "idx1", out, cap) ||
        rename_part(part, "idx4", "idx1", out, cap))
        return TACIT_OK;
    int n = snprintf(out, cap, "%s", part);
    return n > 0 && (size_t)n < cap
               ? TACIT_OK
               : fail(TACIT_LIMIT, "%s: the path is too long", path);
}

static enum tacit_err read_labels(const char *path, char name[PATH_BYTES],
                                  struct buf *out)
{
    TRY(idx_label_path(path, name, PATH_BYTES));
    TRY(file_read(name, POOLED_BYTES_MAX, out));
    return buf_end(out);
}

int idx_test_path(const char *path, char *out, size_t cap)
{
    const char *slash = strrchr(path, '/');
    return strncmp(slash ? slash + 1 : path, "train", 5) == 0 &&
           rename_part(path, "train", "t10k", out, cap);
}

/* The t10k pair that lies beside a train pair; *there = 0 when none does. */
static enum tacit_err read_test(const char *path, char names[2][PATH_BYTES],
                                struct buf bytes[2], int *there)
{
    *there = idx_test_path(path, names[0], PATH_BYTES) && file_exists(names[0]);
    if (!*there) return TACIT_OK;
    TRY(file_read(names[0], POOLED_BYTES_MAX, &bytes[0]));
    TRY(buf_end(&bytes[0]));
    return read_labels(names[0], names[1], &bytes[1]);
}

/* Train rows, then test rows. */
static enum tacit_err join(const struct plan *plan, const struct pair *train,
                           const struct pair *test, struct pooled *out)
{
    struct pooled p;
    size_t n = train->x.dim[0];
    TRY(pooled_new(train->x.name, n + test->x.dim[0], train->x.each, 1, &p));
    enum tacit_err err =
        arena_alloc(&p.arena, p.n_rows + 1, sizeof *p.is_test, &p.is_test);
    if (err) {
        pooled_release(&p);
        return err;
    }
    fill(plan, &train->x, &train->y, 0, &p);
    fill(plan, &test->x, &test->y, n, &p);
    memset(p.is_test + n, 1, p.n_rows - n);
    *out = p;
    return TACIT_OK;
}

enum tacit_err idx_load(const struct plan *plan, const char *path,
                        const struct buf *bytes, struct pooled *out)
{
    char label_name[PATH_BYTES], names[2][PATH_BYTES];
    struct buf labels, beside[2];
    struct pair train, test;
    int has_test = 0;
    buf_init(&labels, 0);
    buf_init(&beside[0], 0);
    buf_init(&beside[1], 0);
    enum tacit_err err = read_labels(path, label_name, &labels);
    if (!err) err = parse_pair(plan, path, bytes, label_name, &labels, &train);
    if (!err) err = read_test(path, names, beside, &has_test);
    if (!err && has_test)
        err =
            parse_pair(plan, names[0], &beside[0], names[1], &beside[1], &test);
    if (!err)
        err = has_test ? join(plan, &train, &test, out)
                       : idx_parse(plan, path, bytes, label_name, &labels, out);
    buf_release(&labels);
    buf_release(&beside[0]);
    buf_release(&beside[1]);
    return err;
}
