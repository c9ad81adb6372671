/* Every architecture: its whole gradient against finite differences, a tiny set
 * that it has to learn, equal bits from equal seeds, and what it refuses. */
#include "tests/check.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/rng.h"
#include "common/model/metrics.h"
#include "common/model/model.h"
#include "tests/gradcheck.h"

enum { ROWS = 24, SIDE = 12, T = 6, TOKENS = 5, FLAT_MAX = 8192 };

struct arch_case {
    const char *name;
    struct model_spec spec;
    double rate, metric; /* Adam's, and what it has to reach */
};

static const struct arch_case cases[] = {
    {"softmax",
     {.kind = "softmax", .task = MODEL_CLASSIFY, .n_inputs = 7, .classes = 3},
     0.05,
     0.9},
    {"mlp with classes",
     {.kind = "mlp",
      .task = MODEL_CLASSIFY,
      .n_inputs = 7,
      .classes = 3,
      .n_hidden = 1,
      .hidden = {16}},
     0.02,
     0.95},
    {"cox", {.kind = "cox", .task = MODEL_COX, .n_inputs = 7}, 0.05, 0.85},
    {"mlp for survival",
     {.kind = "mlp",
      .task = MODEL_COX,
      .n_inputs = 7,
      .n_hidden = 1,
      .hidden = {8}},
     0.02,
     0.85},
    {"cnn",
     {.kind = "cnn",
      .task = MODEL_CLASSIFY,
      .classes = 3,
      .channels = 2,
      .height = SIDE,
      .width = SIDE,
      .n_hidden = 3,
      .hidden = {3, 4, 8}},
     0.01,
     0.95},
    {"cnn with batch norm",
     {.kind = "cnn",
      .task = MODEL_CLASSIFY,
      .classes = 3,
      .channels = 2,
      .height = SIDE,
      .width = SIDE,
      .n_hidden = 3,
      .hidden = {3, 4, 8},
      .norm = "batch"},
     0.01,
     0.95},
    {"cnn with group norm",
     {.kind = "cnn",
      .task = MODEL_CLASSIFY,
      .channels = 2,
      .height = SIDE,
      .width = SIDE,
      .n_hidden = 2,
      .hidden = {3, 4},
      .norm = "group"},
     0.01,
     0.95},
    {"gru",
     {.kind = "gru",
      .task = MODEL_LM,
      .classes = TOKENS,
      .seq = T,
      .layers = 2,
      .n_hidden = 2,
      .hidden = {4, 9}},
     0.03,
     0.75},
    {"lstm",
     {.kind = "lstm",
      .task = MODEL_LM,
      .classes = TOKENS,
      .seq = T,
      .n_hidden = 2,
      .hidden = {4, 11}},
     0.03,
     0.75},
    {"transformer",
     {.kind = "transformer",
      .task = MODEL_LM,
      .classes = TOKENS,
      .seq = T,
      .layers = 2,
      .heads = 2,
      .n_hidden = 1,
      .hidden = {8}},
     0.01,
     0.75},
};
enum { N_CASES = sizeof cases / sizeof *cases };

struct set {
    float x[ROWS * 2 * SIDE * SIDE], y[ROWS * T];
    struct examples ex;
};

/* Three kinds of rows, each with its own pattern under noise. */
static void make_classes(struct set *s, struct rng *r, size_t dim, size_t kinds)
{
    for (size_t i = 0; i < ROWS; i++) {
        s->y[i] = (float)(i % kinds);
        for (size_t k = 0; k < dim; k++)
            s->x[i * dim + k] =
                (float)(k % 3 == i % kinds) + 0.3f * rng_normal(r);
    }
    s->ex =
        (struct examples){.n_rows = ROWS, .x_dim = dim, .x = s->x, .y = s->y};
}

/* Times that fall as x0 - x1 rises, every third one censored. */
static void make_survival(struct set *s, struct rng *r, size_t dim)
{
    for (size_t i = 0; i < ROWS; i++) {
        float *x = s->x + i * dim;
        for (size_t k = 0; k < dim; k++) x[k] = rng_normal(r);
        s->y[2 * i] =
            floorf(20 * expf(-x[0] + x[1]) + 0.2f * rng_normal(r)) + 1;
        s->y[2 * i + 1] = (float)(i % 3 != 0);
    }
    s->ex = (struct examples){
        .n_rows = ROWS, .x_dim = dim, .x = s->x, .y = s->y, .y_dim = 2};
}

/* token' = token + step, the step fixed per row: two tokens show it. */
static void make_text(struct set *s, struct rng *r)
{
    for (size_t i = 0; i < ROWS; i++) {
        uint64_t token = rng_below(r, TOKENS), step = 1 + i % 2;
        for (size_t k = 0; k < T; k++) {
            s->x[i * T + k] = (float)token;
            token = (token + step) % TOKENS;
            s->y[i * T + k] = (float)token;
        }
    }
    s->ex = (struct examples){
        .n_rows = ROWS, .x_dim = T, .x = s->x, .y = s->y, .y_dim = T};
}

static void make_set(struct set *s, const struct model_spec *spec)
{
    struct rng r;
    rng_init(&r, 11, 0, 0);
    size_t dim = spec->channels ? 2 * SIDE * SIDE : spec->n_inputs;
    if (spec->task == MODEL_COX)
        make_survival(s, &r, dim);
    else if (spec->task == MODEL_LM)
        make_text(s, &r);
    else
        make_classes(s, &r, dim, spec->classes > 1 ? spec->classes : 2);
}

struct probe {
    struct model *m;
    struct set *s;
    uint32_t idx[9];
    float g[FLAT_MAX];
};

static enum tacit_err probe_loss(void *ctx, double *loss)
{
    struct probe *p = ctx;
    float l = 0;
    TRY(model_gradient(p->m, &p->s->ex, p->idx, 9, p->g, &l));
    *loss = (double)l;
    return TACIT_OK;
}

/* Against differences at up to 24 weights of each tensor. */
static void check_gradient(const struct arch_case *c)
{
    static struct set s;
    static struct probe p;
    static float g[FLAT_MAX];
    float loss;
    make_set(&s, &c->spec);
    p.s = &s;
    for (uint32_t i = 0; i < 9; i++) p.idx[i] = (5 * i + 2) % ROWS;
    check_ok(model_new(&c->spec, &p.m));
    model_init(p.m, 6);
    struct params *w = model_params(p.m);
    check(w->n_flat <= FLAT_MAX);
    for (size_t i = 0; i < w->n_flat; i++)
        w->flat[i] += 0.013f * (float)(i % 7) - 0.03f;
    check_ok(model_gradient(p.m, &s.ex, p.idx, 9, g, &loss));
    for (size_t i = 0; i < w->n_params; i++) {
        const struct param *t = &w->list[i];
        if (t->role == PARAM_STATISTIC) continue;
        size_t n = t->len < 24 ? t->len : 24, n_off = 0;
        for (size_t k = t->offset; k < t->offset + n; k++) {
            double off = 1;
            check_ok(gradcheck_run(probe_loss, &p, w->flat + k, g + k, 1, 2e-3,
                                   &off));
            n_off += off > 1e-3;
            if (off > 3e-2) fail_msg("%s: %s: %g", c->name, t->name, off);
        }
        /* Differences across a corner of ReLU or of a maximum are off; a
         * convolution's bias moves all of its plane's. */
        if (n > 4 && 2 * n_off > n)
            fail_msg("%s: %s: %zu of %zu are off", c->name, t->name, n_off, n);
    }
    model_free(p.m);
}

static void every_gradient_agrees_with_finite_differences(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) check_gradient(&cases[i]);
}

static struct model *trained(const struct arch_case *c, const struct set *s,
                             uint64_t seed, uint32_t epochs)
{
    struct model *m = NULL;
    const struct model_training how = {.optimizer = "adam",
                                       .epochs = epochs,
                                       .batch = 8,
                                       .learning_rate = c->rate,
                                       .seed = seed};
    check_ok(model_new(&c->spec, &m));
    model_init(m, seed);
    check_ok(model_train(m, &how, &s->ex));
    return m;
}

static void every_model_learns_a_small_set(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        static struct set s;
        struct model_metrics got;
        make_set(&s, &cases[i].spec);
        struct model *m = trained(&cases[i], &s, 3, 60);
        check_ok(model_evaluate(m, &s.ex, &got));
        if (!(got.metric >= cases[i].metric))
            fail_msg("%s: %g, loss %g", cases[i].name, got.metric, got.loss);
        check(got.n_rows == ROWS);
        check_near(got.loss_sum, got.loss * ROWS, 1e-6);
        check_near(got.metric_sum, got.metric * ROWS, 1e-6);
        model_free(m);
    }
}

static void equal_seeds_give_equal_bits(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        static struct set s;
        make_set(&s, &cases[i].spec);
        struct model *a = trained(&cases[i], &s, 4, 3);
        struct model *b = trained(&cases[i], &s, 4, 3);
        struct model *c = trained(&cases[i], &s, 5, 3);
        size_t bytes = model_params(a)->n_flat * sizeof(float);
        assert_memory_equal(model_params(a)->flat, model_params(b)->flat,
                            bytes);
        assert_memory_not_equal(model_params(a)->flat, model_params(c)->flat,
                                bytes);
        model_free(a);
        model_free(b);
        model_free(c);
    }
}

struct lane {
    const struct arch_case *arch;
    const struct set *set;
    struct model *m;
};

static void *train_lane(void *arg)
{
    struct lane *l = arg;
    l->m = trained(l->arch, l->set, 4, 3);
    return NULL;
}

static void threads_do_not_change_a_bit(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        static struct set s;
        pthread_t id[2];
        struct lane lanes[3];
        make_set(&s, &cases[i].spec);
        for (size_t k = 0; k < 3; k++)
            lanes[k] = (struct lane){&cases[i], &s, NULL};
        for (size_t k = 0; k < 2; k++)
            check(pthread_create(&id[k], NULL, train_lane, &lanes[k]) == 0);
        for (size_t k = 0; k < 2; k++) pthread_join(id[k], NULL);
        train_lane(&lanes[2]);
        size_t bytes = model_params(lanes[2].m)->n_flat * sizeof(float);
        for (size_t k = 0; k < 2; k++)
            assert_memory_equal(model_params(lanes[k].m)->flat,
                                model_params(lanes[2].m)->flat, bytes);
        for (size_t k = 0; k < 3; k++) model_free(lanes[k].m);
    }
}

static void predictions_are_what_the_task_asks_for(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        static struct set s;
        float out[ROWS];
        const struct model_spec *spec = &cases[i].spec;
        make_set(&s, spec);
        struct model *m = trained(&cases[i], &s, 3, 60);
        check_ok(model_predict(m, &s.ex, out));
        size_t right = 0;
        for (size_t k = 0; k < ROWS; k++) {
            check(isfinite(out[k]));
            float want = s.y[spec->task == MODEL_LM ? k * T + T - 1 : k];
            right += fabsf(out[k] - want) < 0.5f;
        }
        if (spec->task != MODEL_COX) check(right >= ROWS * 9 / 10);
        model_free(m);
    }
}

/* ---- batch norm's statistics ---- */

static void add_one(void *ctx, const float *w, float *g)
{
    size_t n = *(const size_t *)ctx;
    (void)w;
    for (size_t i = 0; i < n; i++) g[i] += 1;
}

static void running_statistics_follow_the_data_alone(void **state)
{
    (void)state;
    static struct set s;
    static float g[FLAT_MAX], start[FLAT_MAX];
    const struct arch_case *c = &cases[5];
    struct model *m = NULL;
    uint32_t idx[ROWS];
    float loss;
    make_set(&s, &c->spec);
    check_ok(model_new(&c->spec, &m));
    model_init(m, 1);
    struct params *w = model_params(m);
    for (uint32_t i = 0; i < ROWS; i++) idx[i] = i;
    check_ok(model_gradient(m, &s.ex, idx, ROWS, g, &loss));
    memcpy(start, w->flat, w->n_flat * sizeof *start);
    /* One step over all rows with decay, momentum and a hook. */
    const struct model_training how = {.optimizer = "sgd",
                                       .steps = 1,
                                       .batch = ROWS,
                                       .learning_rate = 0.5,
                                       .momentum = 0.9,
                                       .weight_decay = 0.1,
                                       .gradient = add_one,
                                       .ctx = &w->n_flat};
    check_ok(model_train(m, &how, &s.ex));
    size_t n_statistics = 0;
    for (size_t i = 0; i < w->n_params; i++) {
        const struct param *t = &w->list[i];
        for (size_t k = t->offset; k < t->offset + t->len; k++) {
            double by = t->role == PARAM_STATISTIC
                            ? 0.1 * (double)g[k]
                            : 0.5 * ((double)g[k] + 1 + 0.1 * (double)start[k]);
            check_near(w->flat[k], (double)start[k] - by, 2e-5);
        }
        n_statistics += t->role == PARAM_STATISTIC;
    }
    check(n_statistics == 4);
    model_free(m);
}

/* ---- a step in one go ---- */

static void nothing_added(void *ctx, const float *w, float *g)
{
    (void)ctx;
    (void)w;
    (void)g;
}

/* A hook wants to see the gradient, so that training takes the long way. */
static void a_step_in_one_go_has_the_bits_of_the_long_way(void **state)
{
    (void)state;
    for (size_t dim = 1; dim < 70; dim += 3)
        for (uint32_t classes = 2; classes < 13; classes += 5) {
            static struct set s;
            const struct model_spec spec = {.kind = "softmax",
                                            .task = MODEL_CLASSIFY,
                                            .n_inputs = dim,
                                            .classes = classes};
            struct model *m[2];
            double losses[2][2];
            struct rng r;
            rng_init(&r, dim, classes, 0);
            make_classes(&s, &r, dim, 2);
            for (int i = 0; i < 2; i++) {
                struct model_training how = {.optimizer = "sgd",
                                             .epochs = 3,
                                             .batch = 7,
                                             .learning_rate = 0.1,
                                             .weight_decay = 0.01,
                                             .next = &s.ex,
                                             .out_losses = losses[i]};
                if (i) how.gradient = nothing_added;
                check_ok(model_new(&spec, &m[i]));
                model_init(m[i], 3);
                check_ok(model_train(m[i], &how, &s.ex));
            }
            const struct params *p = model_params(m[0]);
            check(memcmp(p->flat, model_params(m[1])->flat,
                         p->n_flat * sizeof(float)) == 0);
            check(memcmp(losses[0], losses[1], sizeof losses[0]) == 0);
            model_free(m[0]);
            model_free(m[1]);
        }
}

/* ---- training's extras ---- */

struct calls {
    size_t n;
    const float *weights;
};

static void count_calls(void *ctx, const float *w, float *g)
{
    struct calls *c = ctx;
    check(w == c->weights && g != w);
    c->n++;
}

static void epochs_are_whole_passes_and_the_hook_sees_each_step(void **state)
{
    (void)state;
    static struct set s;
    struct model *m = NULL;
    struct calls calls = {0};
    uint32_t steps = 0;
    double losses[2] = {-1, -1};
    make_set(&s, &cases[0].spec);
    check_ok(model_new(&cases[0].spec, &m));
    model_init(m, 1);
    calls.weights = model_params(m)->flat;
    struct model_training how = {.optimizer = "sgd",
                                 .steps = 7,
                                 .batch = 10,
                                 .learning_rate = 1e-6,
                                 .epochs = 4,
                                 .gradient = count_calls,
                                 .ctx = &calls,
                                 .out_steps = &steps,
                                 .out_losses = losses};
    struct model_metrics got;
    check_ok(model_evaluate(m, &s.ex, &got));
    check_ok(model_train(m, &how, &s.ex));
    check(steps == 12 && calls.n == 12); /* 24 rows are 3 batches */
    check_near(losses[0], got.loss, 0.05);
    check_near(losses[1], got.loss, 0.05);
    how.epochs = 0;
    check_ok(model_train(m, &how, &s.ex));
    check(steps == 7 && calls.n == 19);
    how.epochs = UINT32_MAX;
    check_err(model_train(m, &how, &s.ex), TACIT_LIMIT);
    check(steps == 7);
    model_free(m);
}

/* ---- c-index ---- */

static void c_index_counts_pairs(void **state)
{
    (void)state;
    double got = -1;
    /* Events at 1, 2, 4; censored at 3. Pairs: 1 against all three, 2 against
     * 3 and 4; 4 against none. Risks put 2 before 1. */
    const float time[] = {1, 2, 3, 4}, event[] = {1, 1, 0, 1};
    const float risk[] = {2, 3, 1, 0};
    check_ok(metrics_c_index(risk, time, event, 4, &got));
    check_near(got, 4.0 / 5, 1e-12);
    /* Equal risks count half; an event ranks before a censoring at the same
     * time; events at the same time are no pair. */
    const float time2[] = {5, 5, 5}, event2[] = {1, 0, 1};
    const float risk2[] = {1, 1, 2};
    check_ok(metrics_c_index(risk2, time2, event2, 3, &got));
    check_near(got, 1.5 / 2, 1e-12);
    const float none[] = {0, 0, 0};
    check_ok(metrics_c_index(risk2, time2, none, 3, &got));
    check_near(got, 0.5, 0);
    check_ok(metrics_c_index(risk2, time2, none, 0, &got));
}

static void c_index_agrees_with_all_pairs_one_by_one(void **state)
{
    (void)state;
    enum { N = 200 };
    float time[N], event[N], risk[N];
    struct rng r;
    rng_init(&r, 8, 0, 0);
    for (size_t i = 0; i < N; i++) {
        time[i] = (float)rng_below(&r, 30);
        event[i] = (float)rng_below(&r, 2);
        risk[i] = (float)rng_below(&r, 15);
    }
    double pairs = 0, right = 0, got = 0;
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++) {
            int later =
                time[j] > time[i] || (time[j] >= time[i] && event[j] < 0.5f);
            if (event[i] < 0.5f || time[j] < time[i] || !later) continue;
            pairs++;
            right += risk[i] > risk[j] ? 1 : risk[i] >= risk[j] ? 0.5 : 0;
        }
    check_ok(metrics_c_index(risk, time, event, N, &got));
    check_near(got, right / pairs, 1e-12);
}

/* ---- what is refused ---- */

static void refused(struct model_spec spec, enum tacit_err want,
                    const char *says)
{
    struct model *m = NULL;
    enum tacit_err got = model_new(&spec, &m);
    if (got != want || !strstr(err_message(), says))
        fail_msg("%s: %d %s", says, (int)got, err_message());
    err_clear();
}

static void specs_that_cannot_be_are_named(void **state)
{
    (void)state;
    struct model_spec cnn = cases[4].spec, lm = cases[9].spec, s;
    refused((struct model_spec){.kind = "softmax", .n_inputs = 3}, TACIT_LIMIT,
            "two");
    refused((struct model_spec){.kind = "logistic",
                                .n_inputs = 3,
                                .classes = 4},
            TACIT_UNSUPPORTED, "softmax");
    refused((struct model_spec){.kind = "mlp",
                                .task = MODEL_REGRESS,
                                .n_inputs = 3,
                                .classes = 4},
            TACIT_UNSUPPORTED, "classes");
    refused((struct model_spec){.kind = "softmax",
                                .n_inputs = 3,
                                .classes = 1u << 30},
            TACIT_LIMIT, "classes");
    refused((struct model_spec){.kind = "lstn"}, TACIT_UNSUPPORTED, "\"lstm\"");
    s = cnn, s.n_hidden = 1, refused(s, TACIT_LIMIT, "two convolutions");
    s = cnn, s.height = 11, refused(s, TACIT_SHAPE, "too small");
    s = cnn, s.channels = 0, refused(s, TACIT_LIMIT, "channels");
    s = cnn, s.hidden[1] = 0, refused(s, TACIT_LIMIT, "convolution");
    s = cnn, s.norm = "layer", refused(s, TACIT_UNSUPPORTED, "norm \"layer\"");
    s = cnn, s.n_inputs = 5, refused(s, TACIT_SHAPE, "288");
    s = cnn, s.height = s.width = UINT32_MAX, refused(s, TACIT_LIMIT, "images");
    s = lm, s.seq = 0, refused(s, TACIT_LIMIT, "seq");
    s = lm, s.classes = 1, refused(s, TACIT_LIMIT, "tokens");
    s = lm, s.heads = 3, refused(s, TACIT_LIMIT, "heads");
    s = lm, s.layers = 5, refused(s, TACIT_LIMIT, "layers");
    s = lm, s.n_hidden = 2, s.hidden[1] = 4;
    refused(s, TACIT_LIMIT, "hidden: [width]");
    s = lm, s.hidden[0] = 1u << 20, refused(s, TACIT_LIMIT, "width");
}

static void labels_that_are_none_are_named(void **state)
{
    (void)state;
    static const float wrong[] = {-1, 0.5f, 3, NAN, INFINITY, 1e30f};
    static const size_t which[] = {0, 2, 7};
    for (size_t c = 0; c < 3; c++)
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
            static struct set s;
            const struct model_spec *spec = &cases[which[c]].spec;
            struct model *m = NULL;
            struct model_metrics got;
            make_set(&s, spec);
            s.y[spec->task == MODEL_COX ? 2 * 4 + 1 : 4] = wrong[i];
            if (spec->task == MODEL_LM && i == 2) s.y[4] = TOKENS;
            check_ok(model_new(spec, &m));
            enum tacit_err err = model_evaluate(m, &s.ex, &got);
            if (err != TACIT_SHAPE || !strstr(err_message(), "row "))
                fail_msg("%s takes a label of %g", cases[which[c]].name,
                         (double)wrong[i]);
            err_clear();
            model_free(m);
        }
}

static void targets_of_another_task_are_refused(void **state)
{
    (void)state;
    static struct set s;
    struct model *m = NULL;
    struct model_metrics got;
    make_set(&s, &cases[2].spec);
    check_ok(model_new(&cases[2].spec, &m));
    s.ex.y_dim = 1;
    check_err(model_evaluate(m, &s.ex, &got), TACIT_SHAPE);
    s.ex.y_dim = 2;
    s.y[6] = NAN;
    check_err(model_evaluate(m, &s.ex, &got), TACIT_SHAPE);
    model_free(m);
}

int main(void)
{
    rng_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_gradient_agrees_with_finite_differences),
        cmocka_unit_test(every_model_learns_a_small_set),
        cmocka_unit_test(equal_seeds_give_equal_bits),
        cmocka_unit_test(threads_do_not_change_a_bit),
        cmocka_unit_test(predictions_are_what_the_task_asks_for),
        cmocka_unit_test(running_statistics_follow_the_data_alone),
        cmocka_unit_test(epochs_are_whole_passes_and_the_hook_sees_each_step),
        cmocka_unit_test(a_step_in_one_go_has_the_bits_of_the_long_way),
        cmocka_unit_test(c_index_counts_pairs),
        cmocka_unit_test(c_index_agrees_with_all_pairs_one_by_one),
        cmocka_unit_test(specs_that_cannot_be_are_named),
        cmocka_unit_test(labels_that_are_none_are_named),
        cmocka_unit_test(targets_of_another_task_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
