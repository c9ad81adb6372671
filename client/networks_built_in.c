/* networks: what came with the program, described as an imported one is. */
#include <stdio.h>
#include <string.h>

#include "client/embedding.h"
#include "client/networks.h"
#include "client/readers.h"
#include "common/model/built_in.h"
#include "common/model/safetensors_file.h"

#define HERE    "part of this program"
#define LICENCE "Apache-2.0"

static void describe(const uint8_t *bytes, size_t n, const char *type,
                     struct network_row *m)
{
    digest_of(&m->hash, bytes, n);
    m->bytes = m->source_bytes = n;
    m->source_hash = m->hash;
    snprintf(m->type, sizeof m->type, "%s", type);
    snprintf(m->licence, sizeof m->licence, LICENCE);
    snprintf(m->source, sizeof m->source, HERE);
}

static uint64_t numbers_of(const struct gguf_tensor *t)
{
    return t->dims[0] * t->dims[1];
}

static enum tacit_err encoder(struct network_row *m, struct gguf **file)
{
    TRY(gguf_open_bytes(built_in_encoder(), built_in_encoder_bytes(), file));
    const struct gguf_tensor *t = gguf_tensor_at(*file, 0);
    describe(built_in_encoder(), built_in_encoder_bytes(),
             gguf_type_name(t->type), m);
    gguf_text_or_empty(*file, "general.architecture", m->family,
                       sizeof m->family);
    m->parameters = numbers_of(t);
    return TACIT_OK;
}

static enum tacit_err reader(struct network_row *m)
{
    struct safetensors_file *f = NULL;
    TRY(safetensors_open_bytes(built_in_reader(), built_in_reader_bytes(), &f));
    for (size_t i = 0; i < safetensors_n_tensors(f); i++)
        m->parameters += numbers_of(safetensors_tensor_at(f, i));
    safetensors_close(f);
    describe(built_in_reader(), built_in_reader_bytes(), "F32", m);
    snprintf(m->family, sizeof m->family, "reader");
    return TACIT_OK;
}

enum tacit_err networks_built_in(const char *name, struct network_row *out,
                                 struct gguf **file)
{
    struct network_row m = {0};
    struct gguf *g = NULL;
    enum tacit_err err = TACIT_OK;
    snprintf(m.name, sizeof m.name, "%s", name);
    if (strcmp(name, EMBEDDING_BUILT_IN) == 0)
        err = encoder(&m, &g);
    else if (strcmp(name, READERS_BUILT_IN) == 0)
        err = reader(&m);
    else
        return fail(TACIT_NOTFOUND, "nothing that is called %s is built in",
                    name);
    if (err) return err;
    *out = m;
    *file = g;
    return TACIT_OK;
}
