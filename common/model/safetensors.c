#include "common/model/safetensors.h"

#include <math.h>
#include <string.h>

#include "common/base/json.h"

enum { PREFIX = 8 };

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "weights are copied as they lie in memory");

static json_t *describe(const struct param *t)
{
    json_t *shape = json_array();
    int bad = !shape;
    for (size_t i = 0; i < t->n_dims; i++)
        bad |=
            json_array_append_new(shape, json_integer((json_int_t)t->dims[i]));
    if (bad) {
        json_decref(shape);
        return NULL;
    }
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", "F32", "shape", shape,
                     "data_offsets", (json_int_t)(t->offset * sizeof(float)),
                     (json_int_t)((t->offset + t->len) * sizeof(float)));
}

static json_t *describe_metadata(const char *const *metadata)
{
    json_t *meta = json_object();
    int bad = !meta;
    for (; metadata[0]; metadata += 2)
        bad |= json_object_set_new(meta, metadata[0], json_string(metadata[1]));
    if (!bad) return meta;
    json_decref(meta);
    return NULL;
}

/* All of it, or NULL: a header that lacks a tensor would pass for a model. */
static json_t *header(const struct params *p, const char *const *metadata)
{
    json_t *root = json_object();
    int bad = !root;
    if (metadata && metadata[0])
        bad |= json_object_set_new(root, "__metadata__",
                                   describe_metadata(metadata));
    for (size_t i = 0; i < p->n_params; i++)
        bad |=
            json_object_set_new(root, p->list[i].name, describe(&p->list[i]));
    if (!bad) return root;
    json_decref(root);
    return NULL;
}

static int put_text(const char *text, size_t n, void *out)
{
    buf_put(out, text, n);
    return 0;
}

/* The padded header; text is released by the caller. */
static enum tacit_err put_header(const struct params *p,
                                 const char *const *metadata, struct buf *text)
{
    json_t *root = header(p, metadata);
    int bad = !root || json_dump_callback(root, put_text, text,
                                          JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(root);
    for (size_t n = text->len; n % PREFIX; n++) buf_put_u8(text, ' ');
    TRY(buf_end(text));
    return bad ? fail(TACIT_NOMEM, "no memory for a model header") : TACIT_OK;
}

enum tacit_err safetensors_bytes(const struct params *p,
                                 const char *const *metadata, uint64_t *out)
{
    struct buf text;
    buf_init(&text, SAFETENSORS_HEADER_MAX);
    enum tacit_err err = put_header(p, metadata, &text);
    if (!err) *out = PREFIX + text.len + p->n_flat * sizeof *p->flat;
    buf_release(&text);
    return err;
}

enum tacit_err safetensors_encode(const struct params *p,
                                  const char *const *metadata, struct buf *out)
{
    struct buf text;
    buf_init(&text, SAFETENSORS_HEADER_MAX);
    enum tacit_err err = put_header(p, metadata, &text);
    if (!err) {
        buf_put_u64(out, text.len);
        buf_put(out, text.data, text.len);
        buf_put(out, p->flat, p->n_flat * sizeof *p->flat);
        err = buf_end(out);
    }
    buf_release(&text);
    return err;
}

/* Is this entry the tensor t, at t's place? */
static int is_tensor(const json_t *entry, const struct param *t)
{
    const json_t *shape = json_object_get(entry, "shape");
    const json_t *at = json_object_get(entry, "data_offsets");
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    if (!dtype || strcmp(dtype, "F32") != 0) return 0;
    if (json_array_size(shape) != t->n_dims || json_array_size(at) != 2)
        return 0;
    for (size_t i = 0; i < t->n_dims; i++) {
        const json_t *dim = json_array_get(shape, i);
        if (!json_is_integer(dim) ||
            json_integer_value(dim) != (json_int_t)t->dims[i])
            return 0;
    }
    const json_t *from = json_array_get(at, 0), *to = json_array_get(at, 1);
    return json_is_integer(from) && json_is_integer(to) &&
           json_integer_value(from) ==
               (json_int_t)(t->offset * sizeof(float)) &&
           json_integer_value(to) ==
               (json_int_t)((t->offset + t->len) * sizeof(float));
}

static enum tacit_err check_header(const json_t *root, const struct params *p)
{
    size_t n = json_object_size(root);
    n -= json_object_get(root, "__metadata__") != NULL;
    if (!json_is_object(root))
        return fail(TACIT_FORMAT, "the model's header is not a JSON object");
    if (n != p->n_params)
        return fail(TACIT_SHAPE, "the file holds %zu tensors, the model %zu", n,
                    p->n_params);
    for (size_t i = 0; i < p->n_params; i++)
        if (!is_tensor(json_object_get(root, p->list[i].name), &p->list[i]))
            return fail(TACIT_SHAPE,
                        "tensor %s is missing or of another shape: this is "
                        "another model's file",
                        p->list[i].name);
    return TACIT_OK;
}

static enum tacit_err check_weights(const uint8_t *data, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float v;
        memcpy(&v, data + i * sizeof v, sizeof v);
        if (!isfinite(v))
            return fail(TACIT_FORMAT, "weight %zu is not a finite number", i);
    }
    return TACIT_OK;
}

enum tacit_err safetensors_decode(const uint8_t *bytes, size_t n,
                                  struct params *p)
{
    json_t *root = NULL;
    uint64_t len = n < PREFIX ? 0 : le64_load(bytes);
    if (n < PREFIX || len > SAFETENSORS_HEADER_MAX || len > n - PREFIX)
        return fail(TACIT_FORMAT,
                    "not a safetensors file: no header within %zu bytes", n);
    const uint8_t *data = bytes + PREFIX + len;
    size_t n_data = n - PREFIX - (size_t)len;
    TRY(json_parse((const char *)bytes + PREFIX, (size_t)len, &root));
    enum tacit_err err = check_header(root, p);
    json_decref(root);
    if (err) return err;
    if (n_data != p->n_flat * sizeof *p->flat)
        return fail(TACIT_FORMAT,
                    "the file holds %zu bytes of weights, want "
                    "%zu",
                    n_data, p->n_flat * sizeof *p->flat);
    TRY(check_weights(data, p->n_flat));
    memcpy(p->flat, data, n_data);
    return TACIT_OK;
}
