#include "common/model/model_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/codes.h"
#include "common/model/mapped.h"
#include "common/model/model_files_parts.h"

enum { KEY_BYTES = 128 };

void model_files_close(struct model_files *c)
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

/* ---- what a file is that is no GGUF ------------------------------------- */

/* How a file begins that is often taken for a model's. */
static const struct {
    const char *begin;
    size_t n;
    const char *what;
} others[] = {
#define PICKLE                                                                 \
 "a file of PyTorch (a pickle): it can run code and is not read; fetch the "   \
 "model as safetensors or GGUF"
#define PAGE "a web page, not a model; fetch the file that the page links to"
#define OLD  "a file of an old format of llama.cpp; fetch the model as GGUF"
    {"PK\3\4", 4, PICKLE},
    {"\x80\2", 2, PICKLE},
    {"\x80\3", 2, PICKLE},
    {"\x80\4", 2, PICKLE},
    {"version https://git-lfs", 23,
     "the pointer that Git LFS keeps in the place of a file; `git lfs pull` "
     "fetches the file"},
    {"<!DOCTYPE", 9, PAGE},
    {"<!doctype", 9, PAGE},
    {"<html", 5, PAGE},
    {"lmgg", 4, OLD},
    {"tjgg", 4, OLD},
    {"fmgg", 4, OLD},
    {"algg", 4, OLD},
    {"\x89HDF", 4,
     "a file of Keras (HDF5); fetch the model as safetensors or GGUF"},
};

/* NULL: nothing that is known. */
static const char *what_is(const uint8_t *bytes, size_t n)
{
    uint64_t head = 0;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (n >= others[i].n &&
            memcmp(bytes, others[i].begin, others[i].n) == 0)
            return others[i].what;
    for (size_t i = 0; n > 8 && i < 8; i++) head |= (uint64_t)bytes[i] << 8 * i;
    if (n > 8 && head < n && bytes[8] == '{')
        return "a file of safetensors; name the folder that holds it, with its "
               "config.json and tokenizer";
    return NULL;
}

enum tacit_err model_files_expect(const char *path, const char *kind)
{
    const uint8_t *bytes;
    size_t n;
    TRY(mapped_open(path, &bytes, &n));
    const char *what = what_is(bytes, n);
    mapped_close(bytes, n);
    if (what && strncmp(what, kind, strlen(kind)) != 0)
        return fail_as(E_MODEL_UNSUPPORTED, "%s: %s", path, what);
    return TACIT_OK;
}

/* One of several files, and what is no model by itself. */
static enum tacit_err check_whole(const struct gguf *g)
{
    int64_t parts = 0, i = 0;
    char type[16];
    gguf_text_or_empty(g, "general.type", type, sizeof type);
    if (strcmp(type, "adapter") == 0)
        return fail_as(E_MODEL_UNSUPPORTED,
                       "an adapter (LoRA) over another model; merge it into "
                       "that one and import the result");
    if (gguf_has(g, "split.count"))
        TRY(gguf_int(g, "split.count", 0, UINT16_MAX, &parts));
    if (gguf_has(g, "split.no"))
        TRY(gguf_int(g, "split.no", 0, UINT16_MAX, &i));
    if (parts > 1)
        return fail_as(E_MODEL_UNSUPPORTED,
                       "part %d of %d of a model; join them (llama-gguf-split "
                       "--merge FIRST WHOLE.gguf) and import the whole",
                       (int)i + 1, (int)parts);
    return TACIT_OK;
}

static enum tacit_err open_gguf(struct model_files *c, const char *path)
{
    TRY(model_files_expect(path, "GGUF"));
    TRY(gguf_open(path, &c->meta));
    enum tacit_err err = check_whole(c->meta);
    if (err) return err_context(err, "%s", path);
    gguf_text_or_empty(c->meta, "general.architecture", c->family,
                       sizeof c->family);
    return TACIT_OK;
}

enum tacit_err model_files_open(const char *path, struct model_files **out)
{
    struct stat st;
    struct model_files *c = calloc(1, sizeof *c);
    if (!c) return fail(TACIT_NOMEM, "no memory for a model's header");
    arena_init(&c->arena, 0);
    buf_init(&c->written, 0);
    int is_folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    enum tacit_err err =
        is_folder ? model_files_open_folder(c, path) : open_gguf(c, path);
    if (!err)
        *out = c;
    else
        model_files_close(c);
    return err;
}

const char *model_files_family(const struct model_files *c)
{
    return c->family;
}

size_t model_files_n_tensors(const struct model_files *c)
{
    return c->tensors ? c->n_tensors : gguf_n_tensors(c->meta);
}

const struct gguf_tensor *model_files_tensor_at(const struct model_files *c,
                                                size_t i)
{
    if (!c->tensors) return gguf_tensor_at(c->meta, i);
    return i < c->n_tensors ? &c->tensors[i] : NULL;
}

const struct gguf_tensor *model_files_find(const struct model_files *c,
                                           const char *name)
{
    if (!c->tensors) return gguf_find(c->meta, name);
    for (size_t i = 0; i < c->n_tensors; i++)
        if (strcmp(c->tensors[i].name, name) == 0) return &c->tensors[i];
    return NULL;
}

void model_files_forget(const struct model_files *c,
                        const struct gguf_tensor *t)
{
    if (!c->tensors) gguf_forget(c->meta, t);
    for (size_t i = 0; i < c->n_files; i++) safetensors_forget(c->files[i], t);
}

const struct gguf *model_files_metadata(const struct model_files *c)
{
    return c->meta;
}

/* The key as it is, else with the family before it. */
static const char *full_key(const struct model_files *c, const char *key,
                            char out[KEY_BYTES])
{
    snprintf(out, KEY_BYTES, "%s.%s", c->family, key);
    return gguf_has(c->meta, out) || !gguf_has(c->meta, key) ? out : key;
}

enum tacit_err model_files_int(const struct model_files *c, const char *key,
                               int64_t min, int64_t max, int64_t *out)
{
    char full[KEY_BYTES];
    return gguf_int(c->meta, full_key(c, key, full), min, max, out);
}

enum tacit_err model_files_real(const struct model_files *c, const char *key,
                                double *out)
{
    char full[KEY_BYTES];
    return gguf_real(c->meta, full_key(c, key, full), out);
}

int model_files_has(const struct model_files *c, const char *key)
{
    char full[KEY_BYTES];
    return gguf_has(c->meta, full_key(c, key, full));
}

void model_files_hash(const struct model_files *c, struct digest *out,
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

enum tacit_err model_files_vocab(const struct model_files *c,
                                 struct vocab **out)
{
    return vocab_from_gguf(c->meta, out);
}
