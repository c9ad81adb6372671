#include "common/model/encoder.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/digest.h"
#include "common/model/built_in.h"
#include "common/model/encoder_net.h"
#include "common/model/tokenizer.h"
#include "common/model/word_table.h"

struct encoder {
    struct gguf *file; /* of the built-in one, in memory; owned */
    struct word_table *table;
    struct encoder_net *net; /* owned; NULL: the built-in one */
};

static enum tacit_err open_built_in(struct encoder *e)
{
    TRY(gguf_open_bytes(built_in_encoder(), built_in_encoder_bytes(),
                        &e->file));
    TRY(word_table_open(e->file, &e->table));
    return word_table_dim(e->table) == ENCODER_DIM
               ? TACIT_OK
               : fail(TACIT_INTERNAL, "the built-in encoder has %zu numbers",
                      word_table_dim(e->table));
}

enum tacit_err encoder_new(struct encoder **out)
{
    struct encoder *e = calloc(1, sizeof *e);
    if (!e) return fail(TACIT_NOMEM, "no memory for the text encoder");
    enum tacit_err err = open_built_in(e);
    if (err) {
        encoder_free(e);
        return err;
    }
    *out = e;
    return TACIT_OK;
}

enum tacit_err encoder_open(const struct encoder_model *m, struct encoder **out)
{
    struct encoder *e = calloc(1, sizeof *e);
    if (!e) return fail(TACIT_NOMEM, "no memory for the text encoder");
    enum tacit_err err = encoder_net_new(m, &e->net);
    if (err) {
        encoder_free(e);
        return err;
    }
    *out = e;
    return TACIT_OK;
}

enum tacit_err encoder_ready(const struct encoder *e)
{
    return e->net ? encoder_net_ready(e->net) : TACIT_OK;
}

int encoder_is_built_in(const struct encoder *e)
{
    return e->net == NULL;
}

int encoder_is_table(const struct encoder *e)
{
    return !e->net || encoder_net_kind(e->net) == ENCODER_TABLE;
}

size_t encoder_dim(const struct encoder *e)
{
    return e->net ? encoder_net_dim(e->net) : ENCODER_DIM;
}

size_t encoder_context(const struct encoder *e)
{
    return e->net ? encoder_net_context(e->net) : SIZE_MAX;
}

size_t encoder_count(const struct encoder *e, const char *text, size_t n)
{
    return e->net ? encoder_net_count(e->net, text, n)
                  : tokenizer_count(text, n);
}

void encoder_free(struct encoder *e)
{
    if (!e) return;
    encoder_net_free(e->net);
    word_table_free(e->table);
    gguf_close(e->file);
    free(e);
}

static void version_of(const struct gguf *file, char out[ENCODER_VERSION_MAX])
{
    char print[11];
    gguf_text_or_empty(file, WORD_TABLE_PRINT, print, sizeof print);
    snprintf(out, ENCODER_VERSION_MAX, "static-%d-%s", FEATURES_VERSION, print);
}

enum tacit_err encoder_built_in_version(char out[ENCODER_VERSION_MAX])
{
    struct gguf *g = NULL;
    TRY(gguf_open_bytes(built_in_encoder(), built_in_encoder_bytes(), &g));
    version_of(g, out);
    gguf_close(g);
    return TACIT_OK;
}

void encoder_version(const struct encoder *e, char out[ENCODER_VERSION_MAX])
{
    if (e->net)
        encoder_net_version(e->net, out);
    else
        version_of(e->file, out);
}

enum tacit_err encoder_embed(const struct encoder *e, struct arena *scratch,
                             const char *text, size_t n, float *out)
{
    const struct text one = {text, n};
    return e->net ? encoder_net_embed(e->net, ENCODER_QUESTIONS, &one, 1, out)
                  : word_table_embed(e->table, scratch, text, n, out);
}

enum tacit_err encoder_embed_all(const struct encoder *e, struct arena *scratch,
                                 const struct text *texts, size_t n, float *out)
{
    if (e->net)
        return encoder_net_embed(e->net, ENCODER_PASSAGES, texts, n, out);
    for (size_t i = 0; i < n; i++)
        TRY(word_table_embed(e->table, scratch, texts[i].s, texts[i].n,
                             out + i * ENCODER_DIM));
    return TACIT_OK;
}

/* ---- adapters ---- */

enum tacit_err encoder_tokens(const struct encoder *e, const char *text,
                              size_t n, struct vocab_ids *out)
{
    if (e->net) return encoder_net_tokens(e->net, text, n, out);
    return fail(TACIT_UNSUPPORTED, "the built-in encoder has no tokens");
}

enum tacit_err encoder_adapt(struct encoder *e, const struct model_base *base,
                             const float *w, size_t n)
{
    if (e->net) return encoder_net_adapt(e->net, base, w, n);
    return fail(TACIT_UNSUPPORTED, "an adapter for the built-in encoder");
}
