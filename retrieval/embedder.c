#include "retrieval/embedder.h"

#include <string.h>

enum tacit_err embedder_passage(const struct encoder *e, struct arena *scratch,
                                const char *title, const char *heading,
                                struct text text, float *out)
{
    char *joined;
    size_t n_title = strlen(title), n_heading = strlen(heading);
    size_t n = n_title + n_heading + text.n + 2;
    arena_reset(scratch);
    TRY(arena_alloc(scratch, n, 1, &joined));
    memcpy(joined, title, n_title);
    joined[n_title] = '\n';
    memcpy(joined + n_title + 1, heading, n_heading);
    joined[n_title + 1 + n_heading] = '\n';
    if (text.n) memcpy(joined + n_title + n_heading + 2, text.s, text.n);
    return encoder_embed(e, scratch, joined, n, out);
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
