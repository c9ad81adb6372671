/*
 * The built-in reader: which words of a passage answer a question.
 *
 *   vector ──────── e [T, E] ─┐
 *   focus ─ f, of its text ───┤ e gated by f
 *   signs [T, S] ─────────────┴─ tanh ─> h [T, H] ─┬─ GRU ──>
 *                                                  ├─ <── GRU
 *                                                  └─ and h, signs
 *        z [T, 2] = what each of them says of a first and of a last word
 *
 * Row 0 of a text stands for no answer: the cell that comes from behind has
 * read all of the passage there. Vectors and signs are fixed (reader_text.h);
 * what stands behind them is trained, some 50,000 numbers.
 *
 * After DrQA's reader (Chen et al. 2017, arXiv 1704.00051) in small; differs:
 * one layer, questions come in through signs and their focus alone.
 */
#include <math.h>
#include <string.h>

#include "common/model/arch.h"
#include "common/model/built_in.h"
#include "common/model/reader_text.h"
#include "common/model/safetensors.h"
#include "common/tensor/ops.h"
#include "common/tensor/ops_block.h"
#include "common/tensor/ops_seq.h"

enum { EMBEDDED = 32, HIDDEN = 48, STATES = 32, N_SIDES = 2 };

/* ---- weights ------------------------------------------------------------ */

static size_t width(const struct model_spec *s, size_t i)
{
    static const size_t usual[] = {EMBEDDED, HIDDEN, STATES};
    return i < s->n_hidden ? s->hidden[i] : usual[i];
}

static enum tacit_err add_cell(struct params *p, size_t h, size_t g, int side)
{
    static const char *const names[N_SIDES][4] = {{"ahead.w", "ahead.u",
                                                   "ahead.b", "ahead.c"},
                                                  {"behind.w", "behind.u",
                                                   "behind.b", "behind.c"}};
    const size_t dims[4][2] = {{h, 3 * g}, {g, 3 * g}, {3 * g}, {3 * g}};
    for (size_t k = 0; k < 4; k++)
        TRY(params_add(p, names[side][k], dims[k], k < 2 ? 2 : 1));
    return TACIT_OK;
}

enum tacit_err arch_reader_layout(const struct model_spec *s, struct params *p)
{
    size_t e = width(s, 0), h = width(s, 1), g = width(s, 2);
    const size_t gate[] = {e, h}, cell[] = {g, 2}, direct[] = {READER_SIGNS, 2};
    TRY(arch_add_linear(p, "word", READER_DIM, e));
    TRY(arch_add_linear(p, "focus", READER_DIM, e));
    TRY(arch_add_linear(p, "signs", READER_SIGNS, h));
    TRY(params_add(p, "mix.word", gate, 2));
    TRY(params_add(p, "mix.gate", gate, 2));
    for (int side = 0; side < N_SIDES; side++) TRY(add_cell(p, h, g, side));
    TRY(params_add(p, "score.ahead", cell, 2));
    TRY(params_add(p, "score.behind", cell, 2));
    TRY(params_add(p, "score.signs", direct, 2));
    return arch_add_linear(p, "score.own", h, 2);
}

void arch_reader_draw(struct params *p, struct rng *r)
{
    memset(p->flat, 0, p->n_flat * sizeof *p->flat);
    for (size_t i = 0; i < p->n_params; i++) {
        const struct param *t = &p->list[i];
        if (t->n_dims > 1 && strncmp(t->name, "score.", 6) != 0)
            arch_uniform(p, t, sqrtf(3 / (float)t->dims[0]), r);
    }
}

/* As it came with the program; drawn where it has other widths. */
void arch_reader_init(const struct model_spec *s, struct params *p,
                      struct rng *r)
{
    (void)s;
    size_t n = built_in_reader_bytes();
    if (n && safetensors_decode(built_in_reader(), n, p) == TACIT_OK) return;
    err_clear();
    arch_reader_draw(p, r);
}

/* ---- rows --------------------------------------------------------------- */

static enum tacit_err copy_text(struct tape *t, const struct reader_text *x,
                                size_t i, struct batch_texts *b)
{
    size_t from = b->start[i];
    memcpy(b->signs + from * READER_SIGNS, x->signs,
           x->n * READER_SIGNS * sizeof *x->signs);
    memcpy(b->vector + from * READER_DIM, x->vector,
           x->n * READER_DIM * sizeof *x->vector);
    memcpy(b->focus + i * READER_DIM, x->focus, READER_DIM * sizeof *x->focus);
    memcpy(b->first + from, x->first, x->n * sizeof *x->first);
    memcpy(b->end + from, x->end, x->n * sizeof *x->end);
    for (size_t k = 0; k < x->n; k++) b->owner[from + k] = (uint32_t)i;
    return t->err;
}

/* The order of the rows for a cell that walks all texts at once. */
static void order_steps(struct batch_texts *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t from = b->start[i], len = b->start[i + 1] - from;
        for (uint32_t s = 0; s < b->steps; s++) {
            size_t at = s * n + i;
            b->ahead[at] = b->behind[at] = from;
            if (s >= len) continue;
            b->ahead[at] = from + s;
            b->behind[at] = from + len - 1 - s;
            b->ahead_at[from + s] = (uint32_t)at;
            b->behind_at[from + len - 1 - s] = (uint32_t)at;
        }
    }
}

static enum tacit_err lay_out(struct tape *t, size_t n, struct batch_texts *b)
{
    b->signs = tape_raw(t, b->rows * READER_SIGNS, sizeof *b->signs);
    b->vector = tape_raw(t, b->rows * READER_DIM, sizeof *b->vector);
    b->focus = tape_raw(t, n * READER_DIM, sizeof *b->focus);
    b->first = tape_raw(t, b->rows, sizeof *b->first);
    b->end = tape_raw(t, b->rows, sizeof *b->end);
    b->owner = tape_raw(t, b->rows, sizeof *b->owner);
    b->ahead = tape_raw(t, b->steps * n, sizeof *b->ahead);
    b->behind = tape_raw(t, b->steps * n, sizeof *b->behind);
    b->ahead_at = tape_raw(t, b->rows, sizeof *b->ahead_at);
    b->behind_at = tape_raw(t, b->rows, sizeof *b->behind_at);
    return t->err;
}

static enum tacit_err read_texts(const struct examples *ex, const uint32_t *idx,
                                 size_t first, size_t n, struct arena *a,
                                 struct reader_text *x, struct batch_texts *b)
{
    const struct word_table *words;
    TRY(built_in_words(&words));
    for (size_t i = 0; i < n; i++) {
        const struct reader_row *r = &ex->read[idx ? idx[i] : first + i];
        const struct reader_pair pair = {r->question, r->passage,
                                         strlen(r->question),
                                         strlen(r->passage)};
        TRY(reader_text_of(words, &pair, a, &x[i]));
        reader_text_find(&x[i], r->passage, r->answer, b->span + 2 * i);
        b->start[i + 1] = b->start[i] + (uint32_t)x[i].n;
        if (x[i].n > b->steps) b->steps = x[i].n;
    }
    b->rows = b->start[n];
    return TACIT_OK;
}

static enum tacit_err gather(struct tape *t, const struct examples *ex,
                             const uint32_t *idx, size_t first, size_t n,
                             struct arena *a, struct batch_texts *b)
{
    struct reader_text *x = NULL;
    b->start = tape_scratch(t, n + 1, sizeof *b->start);
    b->span = tape_scratch(t, 2 * n, sizeof *b->span);
    if (t->err) return t->err;
    TRY(arena_alloc(a, n + 1, sizeof *x, &x));
    TRY(read_texts(ex, idx, first, n, a, x, b));
    TRY(lay_out(t, n, b));
    for (size_t i = 0; i < n; i++) TRY(copy_text(t, &x[i], i, b));
    order_steps(b, n);
    return TACIT_OK;
}

enum tacit_err arch_reader_gather(struct tape *t, const struct examples *ex,
                                  const uint32_t *idx, size_t first, size_t n,
                                  struct batch_texts *out)
{
    struct batch_texts b = {0};
    struct arena a;
    arena_init(&a, 0);
    enum tacit_err err = gather(t, ex, idx, first, n, &a, &b);
    arena_release(&a);
    b.segments = (struct op_segments){b.start, n};
    if (!err) *out = b;
    return err;
}

/* ---- forward ------------------------------------------------------------ */

/* One direction: rows in the order of its steps, the cell, and back. */
static struct var *walk(struct tape *t, struct var *h, struct var *const *v,
                        const struct batch_texts *b, size_t n,
                        const uint32_t *order, const uint32_t *back)
{
    const struct op_cell cell = {v[0], v[1], v[2], v[3]};
    struct var *x = op_embedding(t, h, order, b->steps * n);
    return op_embedding(t, op_gru(t, x, &cell, b->steps), back, b->rows);
}

struct var *arch_reader_forward(const struct model_spec *s, struct tape *t,
                                struct var *const *v, const struct batch *batch)
{
    const struct batch_texts *b = &batch->texts;
    size_t n = batch->n;
    (void)s;
    struct var *signs = tape_constant(t, b->signs, b->rows, READER_SIGNS);
    struct var *e =
        op_linear(t, tape_constant(t, b->vector, b->rows, READER_DIM), v[0],
                  v[1]);
    struct var *f =
        op_linear(t, tape_constant(t, b->focus, n, READER_DIM), v[2], v[3]);
    f = op_embedding(t, f, b->owner, b->rows);
    struct var *h = op_linear(t, signs, v[4], v[5]);
    h = op_add(t, h, op_matmul(t, e, v[6]));
    h = op_tanh(t, op_add(t, h, op_matmul(t, op_swiglu(t, f, e), v[7])));
    struct var *ahead = walk(t, h, v + 8, b, n, b->ahead, b->ahead_at);
    struct var *behind = walk(t, h, v + 12, b, n, b->behind, b->behind_at);
    struct var *z = op_linear(t, h, v[19], v[20]);
    z = op_add(t, z, op_matmul(t, ahead, v[16]));
    z = op_add(t, z, op_matmul(t, behind, v[17]));
    return op_add(t, z, op_matmul(t, signs, v[18]));
}
