#include "common/model/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/model/checkpoint_parts.h"

enum { KEY_BYTES = 128 };

void checkpoint_close(struct checkpoint *c)
{
    if (!c) return;
    gguf_close(c->meta);
    for (size_t i = 0; i < c->n_files; i++) safetensors_close(c->files[i]);
    free(c->files);
    free(c->tensors);
    buf_release(&c->written);
    arena_release(&c->arena);
    free(c);
}

static enum tacit_err open_gguf(struct checkpoint *c, const char *path)
{
    TRY(gguf_open(path, &c->meta));
    gguf_text_or_empty(c->meta, "general.architecture", c->family,
                       sizeof c->family);
    return TACIT_OK;
}

enum tacit_err checkpoint_open(const char *path, struct checkpoint **out)
{
    struct stat st;
    struct checkpoint *c = calloc(1, sizeof *c);
    if (!c) return fail(TACIT_NOMEM, "no memory for a model's header");
    arena_init(&c->arena, 0);
    buf_init(&c->written, 0);
    int is_folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    enum tacit_err err =
        is_folder ? checkpoint_open_folder(c, path) : open_gguf(c, path);
    if (!err)
        *out = c;
    else
        checkpoint_close(c);
    return err;
}

const char *checkpoint_family(const struct checkpoint *c)
{
    return c->family;
}

size_t checkpoint_n_tensors(const struct checkpoint *c)
{
    return c->tensors ? c->n_tensors : gguf_n_tensors(c->meta);
}

const struct gguf_tensor *checkpoint_tensor_at(const struct checkpoint *c,
                                               size_t i)
{
    if (!c->tensors) return gguf_tensor_at(c->meta, i);
    return i < c->n_tensors ? &c->tensors[i] : NULL;
}

const struct gguf_tensor *checkpoint_find(const struct checkpoint *c,
                                          const char *name)
{
    if (!c->tensors) return gguf_find(c->meta, name);
    for (size_t i = 0; i < c->n_tensors; i++)
        if (strcmp(c->tensors[i].name, name) == 0) return &c->tensors[i];
    return NULL;
}

const struct gguf *checkpoint_metadata(const struct checkpoint *c)
{
    return c->meta;
}

/* The key as it is, else with the family before it. */
static const char *full_key(const struct checkpoint *c, const char *key,
                            char out[KEY_BYTES])
{
    snprintf(out, KEY_BYTES, "%s.%s", c->family, key);
    return gguf_has(c->meta, out) || !gguf_has(c->meta, key) ? out : key;
}

enum tacit_err checkpoint_int(const struct checkpoint *c, const char *key,
                              int64_t min, int64_t max, int64_t *out)
{
    char full[KEY_BYTES];
    return gguf_int(c->meta, full_key(c, key, full), min, max, out);
}

enum tacit_err checkpoint_real(const struct checkpoint *c, const char *key,
                               double *out)
{
    char full[KEY_BYTES];
    return gguf_real(c->meta, full_key(c, key, full), out);
}

int checkpoint_has(const struct checkpoint *c, const char *key)
{
    char full[KEY_BYTES];
    return gguf_has(c->meta, full_key(c, key, full));
}

void checkpoint_hash(const struct checkpoint *c, struct digest *out,
                     uint64_t *bytes)
{
    struct digest_state s;
    digest_begin(&s);
    *bytes = 0;
    for (size_t i = 0; i < c->n_files; i++) {
        size_t n;
        const uint8_t *p = safetensors_bytes_of(c->files[i], &n);
        digest_add(&s, p, n);
        *bytes += n;
    }
    if (c->n_files == 0) {
        *bytes = gguf_file_bytes(c->meta);
        digest_add(&s, gguf_bytes(c->meta), (size_t)*bytes);
    }
    digest_end(&s, out);
}

enum tacit_err checkpoint_vocab(const struct checkpoint *c, struct vocab **out)
{
    return vocab_from_gguf(c->meta, out);
}
