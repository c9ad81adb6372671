#include "common/model/safetensors_file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/json.h"
#include "common/model/mapped.h"

enum { PREFIX = 8 };

struct safetensors_file {
    const uint8_t *bytes;
    size_t n;
    int mapped;
    struct gguf_tensor *tensors; /* owned */
    size_t n_tensors;
};

static const struct {
    const char *name;
    uint32_t type; /* GGUF's number */
} types[] = {{"F32", 0}, {"F16", 1},   {"BF16", 30}, {"F64", 28}, {"I8", 24},
             {"U8", 24}, {"BOOL", 24}, {"I16", 25},  {"I32", 26}, {"I64", 27}};

static enum tacit_err take_type(const char *name, const char *dtype,
                                uint32_t *out)
{
    for (size_t i = 0; dtype && i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, dtype) == 0) {
            *out = types[i].type;
            return TACIT_OK;
        }
    return fail_as(E_MODEL_UNSUPPORTED, "tensor %s is of type %s", name,
                   dtype ? dtype : "none");
}

static enum tacit_err damaged(const char *name)
{
    return fail(TACIT_FORMAT, "the entry of tensor %s is damaged", name);
}

static enum tacit_err take_shape(const json_t *shape, struct gguf_tensor *t)
{
    size_t n = json_array_size(shape);
    if (!json_is_array(shape)) return damaged(t->name);
    if (n > GGUF_DIMS_MAX)
        return fail_as(E_MODEL_UNSUPPORTED,
                       "tensor %s has %zu dimensions, %d at most", t->name, n,
                       GGUF_DIMS_MAX);
    for (size_t i = 0; i < GGUF_DIMS_MAX; i++) t->dims[i] = 1;
    for (size_t i = 0; i < n; i++) {
        json_int_t dim = json_integer_value(json_array_get(shape, i));
        if (!json_is_integer(json_array_get(shape, i)) || dim <= 0)
            return damaged(t->name);
        t->dims[n - 1 - i] = (uint64_t)dim;
    }
    t->n_dims = n ? (unsigned)n : 1;
    return TACIT_OK;
}

static enum tacit_err take_tensor(const char *name, const json_t *entry,
                                  uint64_t n_data, struct gguf_tensor *t)
{
    const json_t *at = json_object_get(entry, "data_offsets");
    const json_t *from = json_array_get(at, 0), *to = json_array_get(at, 1);
    size_t n = strlen(name);
    if (n == 0 || n > GGUF_KEY_MAX)
        return fail(TACIT_FORMAT, "a tensor's name has %zu bytes, %d at most",
                    n, GGUF_KEY_MAX);
    memcpy(t->name, name, n + 1);
    TRY(take_type(name, json_string_value(json_object_get(entry, "dtype")),
                  &t->type));
    TRY(take_shape(json_object_get(entry, "shape"), t));
    t->bytes = gguf_type_bytes(t->type, t->dims);
    json_int_t a = json_integer_value(from), b = json_integer_value(to);
    if (json_array_size(at) != 2 || !json_is_integer(from) ||
        !json_is_integer(to) || t->bytes == 0 || a < 0 || b < a ||
        (uint64_t)(b - a) != t->bytes)
        return damaged(name);
    if ((uint64_t)b > n_data)
        return fail(TACIT_FORMAT,
                    "tensor %s lies past the end of the file: a copy was cut "
                    "off; fetch it again",
                    name);
    t->offset = (uint64_t)a;
    return TACIT_OK;
}

static int by_offset(const void *a, const void *b)
{
    const struct gguf_tensor *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static enum tacit_err take_all(struct safetensors_file *f, json_t *root,
                               size_t start)
{
    const char *name;
    json_t *entry;
    if (!json_is_object(root))
        return fail(TACIT_FORMAT, "the file's header is no JSON object");
    size_t n = json_object_size(root);
    if (n > GGUF_TENSORS_MAX)
        return fail(TACIT_LIMIT, "%zu tensors, %d at most", n,
                    GGUF_TENSORS_MAX);
    f->tensors = calloc(n + 1, sizeof *f->tensors);
    if (!f->tensors) return fail(TACIT_NOMEM, "no memory for %zu tensors", n);
    json_object_foreach(root, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0) continue;
        TRY(take_tensor(name, entry, f->n - start,
                        &f->tensors[f->n_tensors++]));
    }
    qsort(f->tensors, f->n_tensors, sizeof *f->tensors, by_offset);
    for (size_t i = 0; i < f->n_tensors; i++) {
        struct gguf_tensor *t = &f->tensors[i];
        if (i && t->offset < t[-1].offset + t[-1].bytes)
            return fail(TACIT_FORMAT, "the tensors %s and %s overlap",
                        t[-1].name, t->name);
        t->data = f->bytes + start + t->offset;
    }
    return TACIT_OK;
}

static enum tacit_err read_all(struct safetensors_file *f)
{
    json_t *root = NULL;
    uint64_t n = f->n < PREFIX ? 0 : le64_load(f->bytes);
    if (f->n < PREFIX || n == 0 || n > f->n - PREFIX)
        return fail(TACIT_FORMAT, "not a safetensors file, or one cut off");
    if (n > SAFETENSORS_FILE_HEADER_MAX)
        return fail(TACIT_LIMIT, "a header of %" PRIu64 " bytes", n);
    TRY(json_parse((const char *)f->bytes + PREFIX, (size_t)n, &root));
    enum tacit_err err = take_all(f, root, PREFIX + (size_t)n);
    json_decref(root);
    return err;
}

enum tacit_err safetensors_open_bytes(const uint8_t *bytes, size_t n,
                                      struct safetensors_file **out)
{
    struct safetensors_file *f = calloc(1, sizeof *f);
    if (!f) return fail(TACIT_NOMEM, "no memory for a model's header");
    f->bytes = bytes;
    f->n = n;
    enum tacit_err err = read_all(f);
    if (!err)
        *out = f;
    else
        safetensors_close(f);
    return err;
}

enum tacit_err safetensors_open(const char *path, struct safetensors_file **out)
{
    const uint8_t *bytes = NULL;
    size_t n = 0;
    struct safetensors_file *f = NULL;
    TRY(mapped_open(path, &bytes, &n));
    enum tacit_err err = safetensors_open_bytes(bytes, n, &f);
    if (err) {
        mapped_close(bytes, n);
        return err_context(err, "%s", path);
    }
    f->mapped = 1;
    *out = f;
    return TACIT_OK;
}

void safetensors_close(struct safetensors_file *f)
{
    if (!f) return;
    if (f->mapped) mapped_close(f->bytes, f->n);
    free(f->tensors);
    free(f);
}

void safetensors_forget(const struct safetensors_file *f,
                        const struct gguf_tensor *t)
{
    if (f->mapped && t->data >= f->bytes && t->data < f->bytes + f->n)
        mapped_forget(t->data, (size_t)t->bytes);
}

const uint8_t *safetensors_bytes_of(const struct safetensors_file *f,
                                    size_t *out_n)
{
    *out_n = f->n;
    return f->bytes;
}

size_t safetensors_n_tensors(const struct safetensors_file *f)
{
    return f->n_tensors;
}

const struct gguf_tensor *safetensors_tensor_at(
    const struct safetensors_file *f, size_t i)
{
    return i < f->n_tensors ? &f->tensors[i] : NULL;
}
