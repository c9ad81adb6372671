/* Every family against the transformers library: rows, gradients and ten losses
 * of tests/golden/net_golden.py; and what must not matter: how sequences are
 * packed, cut and cached. */
#include "tests/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/pool.h"
#include "common/model/net.h"
#include "common/tensor/ops.h"
#include "common/tensor/ops_linear.h"
#include "common/tensor/optim.h"
#include "tests/model/tiny_net.h"

/* ---- what the golden numbers are of ---- */

/* Logits of a decoder, hidden rows of an encoder. */
static struct var *rows_of(const struct net_run *run, const struct net_batch *b)
{
    struct var *h = net_hidden(run, b);
    return net_is_decoder(run->net) ? net_logits(run, h, NULL, 0) : h;
}

/* Next tokens of a decoder; token % 3 at each row of an encoder. */
static struct var *loss_of(const struct net_run *run,
                           const struct tiny_batch *tiny)
{
    static uint32_t row[TINY_ROWS], label[TINY_ROWS];
    struct net_batch b = tiny_packed(tiny);
    struct var *h = net_hidden(run, &b);
    if (!net_is_decoder(run->net)) {
        for (size_t i = 0; i < TINY_ROWS; i++) label[i] = tiny->token[i] % 3;
        return op_softmax_ce(run->tape, net_outputs(run, h), label);
    }
    size_t n = 0;
    for (uint32_t i = 0; i + 1 < TINY_ROWS; i++) {
        if (i + 1 == TINY_FIRST) continue;
        row[n] = i;
        label[n++] = tiny->token[i + 1];
    }
    return net_lm_loss(run, h, &(struct op_labels){row, label, n});
}

static struct net_options full_of(const struct tiny_family *f)
{
    return (struct net_options){.train = NET_FULL,
                                .outputs =
                                    strcmp(f->family, "bert") == 0 ? 3 : 0};
}

static double largest(const float *v, size_t n)
{
    double top = 0;
    for (size_t i = 0; i < n; i++) top = fmax(top, fabs((double)v[i]));
    return top;
}

static void rows_equal_those_of_transformers(void **state)
{
    (void)state;
    struct tiny_batch tiny;
    tiny_tokens(&tiny);
    for (size_t i = 0; i < TINY_FAMILIES; i++) {
        const struct tiny_family *f = &tiny_families[i];
        struct tiny_net n;
        struct tape t;
        tiny_open(&n, f, QUANT_F32, NULL);
        tape_init(&t, 0);
        const struct net_run run = {.net = n.net, .tape = &t};
        struct net_batch b = tiny_packed(&tiny);
        struct var *rows = rows_of(&run, &b);
        check_ok(t.err);
        size_t all = rows->rows * rows->cols;
        check_tensor(rows->v, f->rows, all, 1e-5 * largest(f->rows, all));
        tape_release(&t);
        tiny_close(&n);
    }
}

static void sentence_vectors_equal_those_of_transformers(void **state)
{
    (void)state;
    const struct tiny_family *f = &tiny_families[TINY_FAMILIES - 1];
    struct tiny_batch tiny;
    struct tiny_net n;
    struct tape t;
    tiny_tokens(&tiny);
    tiny_open(&n, f, QUANT_F32, NULL);
    tape_init(&t, 0);
    const struct net_run run = {.net = n.net, .tape = &t};
    struct net_batch b = tiny_packed(&tiny);
    struct var *v = net_embedding(&run, net_hidden(&run, &b), &b.segments);
    check_ok(t.err);
    check_tensor(v->v, bert_vectors, TINY_COUNT(bert_vectors), 2e-6);
    check(!net_logits(&run, v, NULL, 0));
    check_err(t.err, TACIT_STATE);
    tape_release(&t);
    tiny_close(&n);
}

static void check_gradient(const struct golden_tensor *g,
                           const struct params *p, const float *grad)
{
    static float u[1 << 14];
    const struct param *q = params_find(p, g->name);
    check(q != NULL && q->len == g->rows * g->cols);
    const float *d = grad + q->offset;
    double length = 0, dot[2] = {0};
    for (int k = 0; k < 2; k++) {
        tiny_draw(g->name, k ? "#2" : "#1", u, q->len);
        for (size_t i = 0; i < q->len; i++)
            dot[k] += (double)d[i] * (double)u[i];
    }
    for (size_t i = 0; i < q->len; i++) length += (double)d[i] * (double)d[i];
    /* The key's bias moves all scores of a query alike: no gradient. */
    double allowed = 1e-4 * g->length + 1e-7;
    if (!(fabs(sqrt(length) - g->length) <= allowed &&
          fabs(dot[0] - g->dot1) <= allowed &&
          fabs(dot[1] - g->dot2) <= allowed))
        fail_msg("%s: length %g for %g, products %g %g for %g %g", g->name,
                 sqrt(length), g->length, dot[0], dot[1], g->dot1, g->dot2);
}

static void gradients_equal_those_of_transformers(void **state)
{
    (void)state;
    struct tiny_batch tiny;
    tiny_tokens(&tiny);
    for (size_t i = 0; i < TINY_FAMILIES; i++) {
        const struct tiny_family *f = &tiny_families[i];
        const struct net_options full = full_of(f);
        struct tiny_net n;
        struct tape t;
        tiny_open(&n, f, QUANT_F32, &full);
        tape_init(&t, 0);
        const struct params *p = net_params(n.net);
        float *grad = calloc(p->n_flat, sizeof *grad);
        const struct net_run run = {.net = n.net, .tape = &t, .grad = grad};
        struct var *loss = loss_of(&run, &tiny);
        check_ok(tape_backward(&t, loss));
        check_near(loss->v[0], f->losses[0],
                   2e-6 * (double)f->losses[0] + 1e-7);
        check(p->n_params == f->n_tensors);
        for (size_t k = 0; k < f->n_tensors; k++)
            check_gradient(&f->tensors[k], p, grad);
        free(grad);
        tape_release(&t);
        tiny_close(&n);
    }
}

static void ten_losses_equal_those_of_transformers(void **state)
{
    (void)state;
    struct tiny_batch tiny;
    tiny_tokens(&tiny);
    for (size_t i = 0; i < TINY_FAMILIES; i++) {
        const struct tiny_family *f = &tiny_families[i];
        const struct net_options full = full_of(f);
        const struct optim_config adamw = {"adamw", 3e-3, 0, 0.01};
        struct tiny_net n;
        struct tape t;
        struct optim *o;
        tiny_open(&n, f, QUANT_F32, &full);
        tape_init(&t, 0);
        struct params *p = net_params(n.net);
        float *grad = malloc(p->n_flat * sizeof *grad);
        check_ok(optim_new(&adamw, p->n_flat, &o));
        for (size_t step = 0; step < 10; step++) {
            const struct net_run run = {.net = n.net, .tape = &t, .grad = grad};
            tape_reset(&t);
            memset(grad, 0, p->n_flat * sizeof *grad);
            struct var *loss = loss_of(&run, &tiny);
            check_ok(tape_backward(&t, loss));
            if (fabs((double)loss->v[0] - (double)f->losses[step]) >
                1e-3 * (double)f->losses[step])
                fail_msg("%s, step %zu: %g for %g", f->name, step,
                         (double)loss->v[0], (double)f->losses[step]);
            optim_step(o, p->flat, grad);
        }
        optim_free(o);
        free(grad);
        tape_release(&t);
        tiny_close(&n);
    }
}

/* ---- what must not matter ---- */

/* Blocks that are worked out again give the same bits in less memory. */
static void a_second_tape_changes_no_bit(void **state)
{
    (void)state;
    struct tiny_batch tiny;
    tiny_tokens(&tiny);
    for (size_t i = 0; i < TINY_FAMILIES; i++)
        for (int way = 0; way < 4; way++) {
            int pairs = way % 2;
            struct net_options options = full_of(&tiny_families[i]);
            options.train = pairs ? NET_PAIRS : NET_FULL;
            options.rank = 2;
            struct tiny_net n;
            struct tape t, u, again;
            tiny_open(&n, &tiny_families[i], QUANT_Q8_0, &options);
            tape_init(&t, 0);
            tape_init(&u, 0);
            tape_init(&again, 0);
            struct params *p = net_params(n.net);
            for (size_t k = 0; pairs && k < p->n_flat; k++)
                p->flat[k] = 0.01f * (float)(k % 7);
            float *grad = calloc(2 * p->n_flat, sizeof *grad);
            const struct net_run kept = {.net = n.net,
                                         .tape = &t,
                                         .grad = grad};
            const struct net_run run = {.net = n.net,
                                        .tape = &u,
                                        .grad = grad + p->n_flat,
                                        .again = &again,
                                        .keep = (size_t)way / 2};
            struct var *a = loss_of(&kept, &tiny), *b = loss_of(&run, &tiny);
            check_ok(tape_backward(&t, a));
            check_ok(tape_backward(&u, b));
            check(a->v[0] <= b->v[0] && a->v[0] >= b->v[0]);
            check(memcmp(grad, grad + p->n_flat, p->n_flat * sizeof *grad) ==
                  0);
            check(tape_bytes(&u) < tape_bytes(&t) / (way < 2 ? 2 : 1));
            free(grad);
            tape_release(&t);
            tape_release(&u);
            tape_release(&again);
            tiny_close(&n);
        }
}

/* A head alone learns without gradients of the blocks. */
static void a_head_learns_on_a_frozen_network(void **state)
{
    (void)state;
    const struct tiny_family *f = &tiny_families[TINY_FAMILIES - 1];
    const struct net_options options = {.outputs = 3};
    struct tiny_batch tiny;
    struct tiny_net n;
    struct tape t;
    tiny_tokens(&tiny);
    tiny_open(&n, f, QUANT_F32, &options);
    tape_init(&t, 0);
    const struct params *p = net_params(n.net);
    check(p->n_params == 2);
    float *grad = calloc(p->n_flat, sizeof *grad);
    const struct net_run run = {.net = n.net, .tape = &t, .grad = grad};
    check_ok(tape_backward(&t, loss_of(&run, &tiny)));
    check(t.n_nodes == 2);
    check_gradient(&f->tensors[f->n_tensors - 2], p, grad);
    check_gradient(&f->tensors[f->n_tensors - 1], p, grad);
    free(grad);
    tape_release(&t);
    tiny_close(&n);
}

static void packed_sequences_give_what_single_ones_give(void **state)
{
    (void)state;
    struct tiny_batch tiny;
    struct pool *pool;
    check_ok(pool_new(&pool, 3));
    tiny_tokens(&tiny);
    for (size_t i = 0; i < TINY_FAMILIES; i++) {
        struct tiny_net n;
        struct tape t, u;
        tiny_open(&n, &tiny_families[i], QUANT_F32, NULL);
        tape_init(&t, 0);
        tape_init(&u, 0);
        t.pool = pool;
        const struct net_run run = {.net = n.net, .tape = &t},
                             alone = {.net = n.net, .tape = &u};
        struct net_batch b = tiny_packed(&tiny);
        struct var *packed = rows_of(&run, &b);
        check_ok(t.err);
        for (size_t s = 0; s < 2; s++) {
            uint32_t at = tiny.start[s], rows = tiny.start[s + 1] - at;
            const uint32_t start[] = {0, rows};
            const struct net_batch one = {.token = tiny.token + at,
                                          .type = tiny.type + at,
                                          .n = rows,
                                          .segments = {start, 1}};
            struct var *single = rows_of(&alone, &one);
            check_ok(u.err);
            check_tensor(single->v, packed->v + at * packed->cols,
                         rows * packed->cols, 2e-5);
        }
        tape_release(&t);
        tape_release(&u);
        tiny_close(&n);
    }
    pool_free(pool);
}

/* More of them than go through the layers at once. */
static void many_sequences_give_what_two_give(void **state)
{
    (void)state;
    enum { COPIES = 20, ROWS = COPIES * TINY_ROWS };
    static uint32_t token[ROWS], type[ROWS], start[2 * COPIES + 1];
    struct tiny_batch tiny;
    tiny_tokens(&tiny);
    for (uint32_t i = 0; i < ROWS; i++) {
        token[i] = tiny.token[i % TINY_ROWS];
        type[i] = tiny.type[i % TINY_ROWS];
    }
    for (uint32_t i = 0; i <= 2 * COPIES; i++)
        start[i] = i / 2 * TINY_ROWS + i % 2 * TINY_FIRST;
    const struct net_batch two = tiny_packed(&tiny);
    const struct net_batch many = {.token = token,
                                   .type = type,
                                   .n = ROWS,
                                   .segments = {start, 2 * COPIES}};
    for (size_t i = 0; i < TINY_FAMILIES; i++) {
        struct tiny_net n;
        struct tape t, u;
        tiny_open(&n, &tiny_families[i], QUANT_F32, NULL);
        tape_init(&t, 0);
        tape_init(&u, 0);
        const struct net_run run = {.net = n.net, .tape = &t},
                             few = {.net = n.net, .tape = &u};
        struct var *got = rows_of(&run, &many), *want = rows_of(&few, &two);
        check_ok(t.err);
        check_ok(u.err);
        for (size_t k = 0; k < COPIES; k++)
            check_tensor(got->v + k * TINY_ROWS * got->cols, want->v,
                         TINY_ROWS * want->cols, 2e-5);
        tape_release(&t);
        tape_release(&u);
        tiny_close(&n);
    }
}

/* Both sequences in pieces, side by side, each with its cache. */
static void check_pieces(const struct tiny_net *n, const struct var *want,
                         enum quant_type type, size_t piece, double tolerance)
{
    const struct net_shape *s = net_shape(n->net);
    const struct kv_shape shape = {s->layers,  s->kv_heads, s->head_width,
                                   TINY_FIRST, type,        s->window};
    struct tiny_batch tiny;
    struct kv *cache[2];
    struct tape t;
    tiny_tokens(&tiny);
    check_ok(kv_new(&shape, &cache[0]));
    check_ok(kv_new(&shape, &cache[1]));
    tape_init(&t, 0);
    for (size_t at = 0; at < TINY_FIRST; at += piece) {
        uint32_t token[2 * TINY_FIRST], start[3] = {0}, from[2], k = 0;
        struct kv *used[2];
        for (size_t q = 0; q < 2; q++) {
            size_t end = tiny.start[q + 1] - tiny.start[q];
            if (at >= end) continue;
            size_t some = end - at < piece ? end - at : piece;
            from[k] = tiny.start[q] + (uint32_t)at;
            memcpy(token + start[k], tiny.token + from[k],
                   some * sizeof *token);
            used[k] = cache[q];
            start[k + 1] = start[k] + (uint32_t)some;
            k++;
        }
        const struct net_run run = {.net = n->net, .tape = &t};
        const struct net_batch b = {.token = token,
                                    .n = start[k],
                                    .segments = {start, k},
                                    .cache = used};
        tape_reset(&t);
        struct var *z = rows_of(&run, &b);
        check_ok(t.err);
        for (uint32_t q = 0; q < k; q++)
            check_tensor(z->v + start[q] * z->cols, want->v + from[q] * z->cols,
                         (start[q + 1] - start[q]) * z->cols, tolerance);
    }
    check(kv_n(cache[0]) == TINY_FIRST);
    tape_release(&t);
    kv_free(cache[0]);
    kv_free(cache[1]);
}

static void a_cache_gives_what_the_whole_sequence_gives(void **state)
{
    (void)state;
    struct tiny_batch tiny;
    tiny_tokens(&tiny);
    for (size_t i = 0; i < TINY_FAMILIES; i++) {
        struct tiny_net n;
        struct tape t;
        tiny_open(&n, &tiny_families[i], QUANT_F32, NULL);
        tape_init(&t, 0);
        const struct net_run run = {.net = n.net, .tape = &t};
        struct net_batch b = tiny_packed(&tiny);
        struct var *want = rows_of(&run, &b);
        check_ok(t.err);
        if (net_is_decoder(n.net)) {
            double top = largest(want->v, want->rows * want->cols);
            for (size_t piece = 1; piece <= 24; piece += 7) {
                check_pieces(&n, want, QUANT_F32, piece, 1e-5 * top);
                check_pieces(&n, want, QUANT_F16, piece, 5e-3 * top);
            }
        }
        tape_release(&t);
        tiny_close(&n);
    }
}

/* Against the network whose matrices have the very numbers of the packed ones:
 * only the rows of x lose something, and nothing does in f16. */
static void packed_matrices_give_what_their_numbers_give(void **state)
{
    (void)state;
    static const struct {
        enum quant_type type;
        double error; /* of the rows, relative */
    } types[] = {{QUANT_F16, 1e-5},
                 {QUANT_BF16, 1e-5},
                 {QUANT_Q8_0, 0.02},
                 {QUANT_Q4_0, 0.02},
                 {QUANT_Q5_1, 0.02}};
    struct tiny_batch tiny;
    tiny_tokens(&tiny);
    for (size_t k = 0; k < sizeof types / sizeof *types; k++)
        for (size_t i = 0; i < TINY_FAMILIES; i++) {
            const struct net_options full = {.train = NET_FULL};
            struct tiny_net packed, plain;
            struct tape t;
            tiny_open(&packed, &tiny_families[i], types[k].type, NULL);
            tiny_open(&plain, &tiny_families[i], types[k].type, &full);
            tape_init(&t, 0);
            struct net_batch b = tiny_packed(&tiny);
            const struct net_run a = {.net = packed.net, .tape = &t};
            const struct net_run c = {.net = plain.net, .tape = &t};
            struct var *got = rows_of(&a, &b), *want;
            check(t.rows == WEIGHT_ROWS_SPLIT);
            want = rows_of(&c, &b);
            check(t.rows == WEIGHT_ROWS_FAST);
            check_ok(t.err);
            double off = 0, size = 0;
            for (size_t q = 0; q < got->rows * got->cols; q++) {
                double d = (double)got->v[q] - (double)want->v[q];
                off += d * d;
                size += (double)want->v[q] * (double)want->v[q];
            }
            if (!(sqrt(off / size) <= types[k].error))
                fail_msg("%s, type %d: off by %g", tiny_families[i].name,
                         (int)types[k].type, sqrt(off / size));
            tape_release(&t);
            tiny_close(&packed);
            tiny_close(&plain);
        }
}

/* Packed in the file, or packed when it is opened: the same bits. */
static void packed_files_are_used_as_they_lie(void **state)
{
    (void)state;
    static const uint32_t types[] = {QUANT_F16, QUANT_Q8_0, QUANT_Q4_0};
    struct tiny_batch tiny;
    tiny_tokens(&tiny);
    for (size_t k = 0; k < 3; k++)
        for (size_t i = 0; i < TINY_FAMILIES; i++) {
            struct tiny_net packed, plain;
            struct tape t;
            tiny_open(&packed, &tiny_families[i], GGUF_PACKED + types[k], NULL);
            tiny_open(&plain, &tiny_families[i], types[k], NULL);
            tape_init(&t, 0);
            struct net_batch b = tiny_packed(&tiny);
            const struct net_run a = {.net = packed.net, .tape = &t};
            const struct net_run c = {.net = plain.net, .tape = &t};
            struct var *got = rows_of(&a, &b), *want = rows_of(&c, &b);
            check_ok(t.err);
            check(memcmp(got->v, want->v,
                         got->rows * got->cols * sizeof *got->v) == 0);
            tape_release(&t);
            tiny_close(&packed);
            tiny_close(&plain);
        }
}

static void pairs_begin_as_nothing_and_learn(void **state)
{
    (void)state;
    struct tiny_batch tiny;
    tiny_tokens(&tiny);
    for (size_t i = 0; i < TINY_FAMILIES; i++)
        for (int up = 0; up < 3; up++) {
            const struct tiny_family *f = &tiny_families[i];
            struct net_options options = full_of(f);
            options.train = up == 1 ? NET_PAIRS_UP : NET_PAIRS;
            options.rank = 4;
            options.seed = 9;
            const struct optim_config adam = {"adam", 1e-2, 0, 0};
            struct tiny_net n;
            struct tape t;
            struct optim *o;
            tiny_open(&n, f, up == 2 ? QUANT_Q8_0 : QUANT_F32, &options);
            tape_init(&t, 0);
            struct params *p = net_params(n.net);
            for (size_t k = 0; k < p->n_params; k++)
                check(strstr(p->list[k].name, ".lora_") ||
                      strncmp(p->list[k].name, "head.", 5) == 0);
            check((up != 1) == !!params_find(p, "blk.1.ffn_up.weight.lora_a"));
            float *grad = malloc(p->n_flat * sizeof *grad);
            check_ok(optim_new(&adam, p->n_flat, &o));
            double loss_now = 0;
            for (size_t step = 0; step < 30; step++) {
                const struct net_run run = {.net = n.net,
                                            .tape = &t,
                                            .grad = grad};
                tape_reset(&t);
                memset(grad, 0, p->n_flat * sizeof *grad);
                struct var *loss = loss_of(&run, &tiny);
                check_ok(tape_backward(&t, loss));
                loss_now = (double)loss->v[0];
                if (step == 0)
                    check_near(loss_now, f->losses[0],
                               (up == 2 ? 2e-2 : 1e-5) * (double)f->losses[0]);
                optim_step(o, p->flat, grad);
            }
            check(loss_now < 0.5 * (double)f->losses[0]);
            optim_free(o);
            free(grad);
            tape_release(&t);
            tiny_close(&n);
        }
}

/* Open, and if that is possible run: an error, or numbers of some kind. */
static void try_file(const uint8_t *bytes, size_t n)
{
    struct tiny_batch tiny;
    struct gguf *g;
    struct net *net = NULL;
    if (gguf_open_bytes(bytes, n, &g)) {
        check(err_message()[0] != '\0');
        err_clear();
        return;
    }
    tiny_tokens(&tiny);
    if (net_open_gguf(g, NULL, &net) == TACIT_OK) {
        struct tape t;
        tape_init(&t, 64 << 20);
        const struct net_run run = {.net = net, .tape = &t};
        struct net_batch b = tiny_packed(&tiny);
        (void)!rows_of(&run, &b);
        if (t.err) check(err_message()[0] != '\0');
        tape_release(&t);
        net_close(net);
    }
    err_clear();
    gguf_close(g);
}

static void any_byte_flipped_or_cut_is_an_error_or_a_network(void **state)
{
    (void)state;
    for (size_t i = 0; i < TINY_FAMILIES; i++) {
        struct gguf_writer w;
        tiny_file(&tiny_families[i], QUANT_Q8_0, &w);
        uint8_t *bytes = w.out.data;
        size_t n = w.out.len;
        for (size_t at = i; at < 4096; at += 7)
            for (int bit = 0; bit < 8; bit += 3) {
                bytes[at] ^= (uint8_t)(1 << bit);
                try_file(bytes, n);
                bytes[at] ^= (uint8_t)(1 << bit);
            }
        for (size_t at = 4096; at < n; at += n / 50) {
            bytes[at] ^= 0x7f;
            try_file(bytes, n);
            bytes[at] ^= 0x7f;
            try_file(bytes, at);
        }
        gguf_writer_release(&w);
    }
}

static void what_a_network_cannot_do_is_said(void **state)
{
    (void)state;
    struct tiny_batch tiny;
    struct tiny_net n, bert;
    struct kv *small;
    struct net *none = NULL;
    tiny_tokens(&tiny);
    tiny_open(&n, &tiny_families[0], QUANT_F32, NULL);
    tiny_open(&bert, &tiny_families[TINY_FAMILIES - 1], QUANT_F32, NULL);
    const struct kv_shape shape = {2, 1, 8, 4, QUANT_F16, 0};
    check_ok(kv_new(&shape, &small));
    static const uint32_t backwards[] = {0, 20, 10, TINY_ROWS}, one[] = {0, 1};
    static const uint32_t far[] = {40}, outside[] = {64};
    float g;
    static const enum tacit_err wants[] = {TACIT_SHAPE, TACIT_SHAPE,
                                           TACIT_LIMIT, TACIT_SHAPE,
                                           TACIT_SHAPE, TACIT_STATE,
                                           TACIT_STATE};
    for (int i = 0; i < 7; i++) {
        struct tape t;
        tape_init(&t, 0);
        struct net_run run = {.net = i == 4 ? bert.net : n.net, .tape = &t};
        struct net_batch b = tiny_packed(&tiny);
        if (i == 0) b.segments = (struct op_segments){backwards, 3};
        if (i == 1) b.token = outside;
        if (i == 2) b.n = 0;
        if (i == 4) b.position = far;
        if (i == 1 || i == 4 || i == 3 || i == 5) {
            b.n = 1;
            b.segments = (struct op_segments){one, 1};
        }
        if (i == 3 || i == 5) b.cache = &small;
        if (i == 5) run.grad = &g;
        struct var *h = net_hidden(&run, &b);
        if (i == 6) h = net_outputs(&run, h);
        check(h == NULL);
        check_err(t.err, wants[i]);
        tape_release(&t);
    }
    const struct net_options ranks[] = {{.train = NET_PAIRS},
                                        {.train = NET_PAIRS, .rank = 1000},
                                        {.outputs = (size_t)1 << 20}};
    for (size_t i = 0; i < 3; i++)
        check_err(net_open_gguf(n.gguf, &ranks[i], &none), TACIT_LIMIT);
    check(!none);
    kv_free(small);
    tiny_close(&n);
    tiny_close(&bert);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_equal_those_of_transformers),
        cmocka_unit_test(sentence_vectors_equal_those_of_transformers),
        cmocka_unit_test(gradients_equal_those_of_transformers),
        cmocka_unit_test(ten_losses_equal_those_of_transformers),
        cmocka_unit_test(a_second_tape_changes_no_bit),
        cmocka_unit_test(a_head_learns_on_a_frozen_network),
        cmocka_unit_test(packed_sequences_give_what_single_ones_give),
        cmocka_unit_test(many_sequences_give_what_two_give),
        cmocka_unit_test(a_cache_gives_what_the_whole_sequence_gives),
        cmocka_unit_test(packed_matrices_give_what_their_numbers_give),
        cmocka_unit_test(packed_files_are_used_as_they_lie),
        cmocka_unit_test(any_byte_flipped_or_cut_is_an_error_or_a_network),
        cmocka_unit_test(what_a_network_cannot_do_is_said),
        cmocka_unit_test(pairs_begin_as_nothing_and_learn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
