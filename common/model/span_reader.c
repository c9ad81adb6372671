#include "common/model/span_reader.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/model/arch.h"
#include "common/model/metrics.h"
#include "common/model/model.h"

enum { TAPE_BYTES_MAX = 64 << 20 };

struct span_reader {
    struct model_spec spec;
    const struct arch *arch;
    struct params p;
    struct tape tape;
};

static enum tacit_err set_up(struct span_reader *r, const float *w, size_t n)
{
    struct rng rng;
    r->spec = (struct model_spec){.kind = "reader", .task = MODEL_READER};
    TRY(arch_find(r->spec.kind, &r->arch));
    TRY(r->arch->layout(&r->spec, &r->p));
    TRY(params_alloc(&r->p));
    if (w && n != r->p.n_flat)
        return fail(TACIT_SHAPE, "a reader of %zu weights, not %zu",
                    r->p.n_flat, n);
    rng_init(&rng, 0, 0, 0);
    if (w)
        memcpy(r->p.flat, w, n * sizeof *w);
    else
        r->arch->init(&r->spec, &r->p, &rng);
    return TACIT_OK;
}

enum tacit_err span_reader_new(const float *w, size_t n,
                               struct span_reader **out)
{
    struct span_reader *r = calloc(1, sizeof *r);
    if (!r) return fail(TACIT_NOMEM, "no memory for a reader");
    params_init(&r->p);
    tape_init(&r->tape, TAPE_BYTES_MAX);
    enum tacit_err err = set_up(r, w, n);
    if (err)
        span_reader_free(r);
    else
        *out = r;
    return err;
}

void span_reader_free(struct span_reader *r)
{
    if (!r) return;
    tape_release(&r->tape);
    params_release(&r->p);
    free(r);
}

static enum tacit_err score(struct span_reader *r, const struct batch *b,
                            struct var **out)
{
    struct var *v[PARAMS_MAX];
    for (size_t i = 0; i < r->p.n_params; i++) {
        const struct param *p = &r->p.list[i];
        size_t rows = p->n_dims > 1 ? p->dims[0] : 1;
        v[i] =
            tape_constant(&r->tape, params_data(&r->p, p), rows, p->len / rows);
    }
    *out = r->arch->forward(&r->spec, &r->tape, v, b);
    return *out ? TACIT_OK : r->tape.err;
}

/* The pair as a row of examples, in the tape's memory. */
static enum tacit_err take_pair(struct span_reader *r,
                                const struct reader_pair *p,
                                struct reader_row *row)
{
    char *question = tape_raw(&r->tape, p->question_bytes + 1, 1);
    char *passage = tape_raw(&r->tape, p->passage_bytes + 1, 1);
    if (!question || !passage) return r->tape.err;
    memcpy(question, p->question, p->question_bytes);
    memcpy(passage, p->passage, p->passage_bytes);
    question[p->question_bytes] = passage[p->passage_bytes] = '\0';
    *row = (struct reader_row){question, passage, ""};
    return TACIT_OK;
}

enum tacit_err span_reader_read(struct span_reader *r,
                                const struct reader_pair *p,
                                struct span_found *out)
{
    struct reader_row row;
    const struct examples ex = {.n_rows = 1, .read = &row};
    struct batch b = {.n = 1};
    struct var *z = NULL;
    size_t first = 0, last = 0;
    *out = (struct span_found){.margin = -INFINITY};
    tape_reset(&r->tape);
    TRY(take_pair(r, p, &row));
    TRY(arch_reader_gather(&r->tape, &ex, NULL, 0, 1, &b.texts));
    if (b.texts.rows < 2) return TACIT_OK;
    TRY(score(r, &b, &z));
    metrics_best_span(z->v, z->rows, READER_ANSWER_MAX, &first, &last);
    *out = (struct span_found){.first = b.texts.first[first],
                               .end = b.texts.end[last],
                               .margin = z->v[2 * first] + z->v[2 * last + 1] -
                                         z->v[0] - z->v[1]};
    return TACIT_OK;
}
