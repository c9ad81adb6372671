#include "retrieval/embedder.h"

#include <string.h>

#include "common/tensor/kernels.h"

#define HEADING_WEIGHT 0.5f
#define TITLE_WEIGHT   0.3f

/* ---- a table of words ----------------------------------------------------
 */

static enum tacit_err add(const struct encoder *e, struct arena *scratch,
                          struct text text, float weight, float *out)
{
    float v[ENCODER_DIM_MAX];
    if (text.n == 0) return TACIT_OK; /* nor its prefix */
    arena_reset(scratch);
    TRY(encoder_embed_all(e, scratch, &text, 1, v));
    kernel_axpy(out, weight, v, encoder_dim(e));
    return TACIT_OK;
}

static enum tacit_err weigh(const struct encoder *e, struct arena *scratch,
                            const struct embedder_text *p, float *out)
{
    size_t dim = encoder_dim(e);
    float v[ENCODER_DIM_MAX] = {0};
    struct text h = {p->heading, strlen(p->heading)};
    struct text t = {p->title, strlen(p->title)};
    TRY(add(e, scratch, p->text, 1, v));
    TRY(add(e, scratch, h, HEADING_WEIGHT, v));
    TRY(add(e, scratch, t, TITLE_WEIGHT, v));
    kernel_normalise(v, dim);
    memcpy(out, v, dim * sizeof *v);
    return TACIT_OK;
}

/* ---- a network -----------------------------------------------------------
 */

/* Append s[n], its control characters (between headings) as blanks. */
static char *append(char *to, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        *to++ = (unsigned char)s[i] < ' ' ? ' ' : s[i];
    *to++ = ' ';
    return to;
}

static enum tacit_err join(struct arena *a, const struct embedder_text *p,
                           struct text *out)
{
    size_t n_title = strlen(p->title), n_heading = strlen(p->heading);
    char *s = NULL;
    TRY(arena_alloc_raw(a, n_title + n_heading + p->text.n + 3, 1, &s));
    char *end = s;
    if (n_title) end = append(end, p->title, n_title);
    if (n_heading) end = append(end, p->heading, n_heading);
    end = append(end, p->text.s, p->text.n);
    *out = (struct text){s, (size_t)(end - s) - 1};
    return TACIT_OK;
}

static enum tacit_err read_whole(const struct encoder *e, struct arena *scratch,
                                 const struct embedder_text *list, size_t n,
                                 float *out)
{
    struct text *texts = NULL;
    arena_reset(scratch);
    TRY(arena_alloc(scratch, n + 1, sizeof *texts, &texts));
    for (size_t i = 0; i < n; i++) TRY(join(scratch, &list[i], &texts[i]));
    return encoder_embed_all(e, scratch, texts, n, out);
}

enum tacit_err embedder_passages(const struct encoder *e, struct arena *scratch,
                                 const struct embedder_text *list, size_t n,
                                 float *out)
{
    if (!encoder_is_table(e)) return read_whole(e, scratch, list, n, out);
    for (size_t i = 0; i < n; i++)
        TRY(weigh(e, scratch, &list[i], out + i * encoder_dim(e)));
    return TACIT_OK;
}

enum tacit_err embedder_passage(const struct encoder *e, struct arena *scratch,
                                const char *title, const char *heading,
                                struct text text, float *out)
{
    const struct embedder_text one = {title, heading, text};
    return embedder_passages(e, scratch, &one, 1, out);
}

enum tacit_err embedder_question(const struct encoder *e, struct arena *scratch,
                                 const char *question, const float *w,
                                 float *out)
{
    float plain[ENCODER_DIM_MAX];
    arena_reset(scratch);
    TRY(encoder_embed(e, scratch, question, strlen(question), plain));
    adapter_apply(w, plain, encoder_dim(e), out);
    return TACIT_OK;
}

/* ---- sizes ---------------------------------------------------------------
 */

static size_t count(void *ctx, const char *text, size_t n)
{
    const struct encoder *e = ctx;
    return encoder_count(e, text, n);
}

enum tacit_err embedder_sizes(const struct encoder *e, struct chunk_sizes *out)
{
    struct chunk_sizes s = chunk_sizes_default;
    TRY(encoder_ready(e));
    *out = s;
    if (encoder_is_table(e)) return TACIT_OK;
    s.count = count;
    s.ctx = (void *)(uintptr_t)e; /* it is read alone */
    size_t room = encoder_context(e), want = s.hard + EMBEDDER_CONTEXT_TOKENS;
    if (room < want) {
        s.target = s.target * room / want + 1;
        s.max = s.max * room / want + 1;
        s.hard = s.hard * room / want + 1;
        s.merge = s.merge * room / want;
        s.overlap = s.overlap * room / want;
    }
    *out = s;
    return TACIT_OK;
}
