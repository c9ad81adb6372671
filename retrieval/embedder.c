#include "retrieval/embedder.h"

#include <string.h>

#include "common/tensor/kernels.h"

#define HEADING_WEIGHT 0.5f
#define TITLE_WEIGHT   0.3f

static enum tacit_err add(const struct encoder *e, struct arena *scratch,
                          struct text text, float weight, float *out)
{
    float v[ENCODER_DIM];
    arena_reset(scratch);
    TRY(encoder_embed(e, scratch, text.s, text.n, v));
    kernel_axpy(out, weight, v, ENCODER_DIM);
    return TACIT_OK;
}

enum tacit_err embedder_passage(const struct encoder *e, struct arena *scratch,
                                const char *title, const char *heading,
                                struct text text, float *out)
{
    float v[ENCODER_DIM] = {0};
    struct text h = {heading, strlen(heading)}, t = {title, strlen(title)};
    TRY(add(e, scratch, text, 1, v));
    TRY(add(e, scratch, h, HEADING_WEIGHT, v));
    TRY(add(e, scratch, t, TITLE_WEIGHT, v));
    kernel_normalise(v, ENCODER_DIM);
    memcpy(out, v, sizeof v);
    return TACIT_OK;
}

enum tacit_err embedder_question(const struct encoder *e, struct arena *scratch,
                                 const char *question, const float *w,
                                 float *out)
{
    float plain[ENCODER_DIM];
    arena_reset(scratch);
    TRY(encoder_embed(e, scratch, question, strlen(question), plain));
    adapter_apply(w, plain, ENCODER_DIM, out);
    return TACIT_OK;
}
