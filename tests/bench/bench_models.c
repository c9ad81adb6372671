/*
 * bench_models: one thread training each model, CPU time.
 *
 *   gemm_peak_gflops       256 x 256 x 256 product: what the others may reach
 *   cnn_image_us           LeNet on 28 x 28, a batch of 10 and of 32
 *   softmax_sample_us      784 x 10, batch 10, and a pass over 70,000 rows
 *   gru_, lstm_, transformer_token_us   next character
 *   threads_scaling        two threads, a model each: elapsed time of one alone
 *                          over elapsed time of both
 *
 * Each line carries GFLOP/s and its share of the peak. FLOPs count the
 * products of forward and backward that the equations need, and nothing else.
 * Peers are not run here: they need a Python environment
 * (tests/bench/README.md).
 */
#include <pthread.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/base/tick.h"
#include "common/model/model.h"
#include "common/tensor/kernels.h"
#include "tests/bench/bench.h"

enum { REPEATS = 7, SIDE = 256, IMAGES = 640, SAMPLES = 7000 };

static double peak; /* GFLOP/s */

static void print_line(const char *name, const char *unit, double value,
                       double gflops)
{
    printf("{\"bench\": \"models\", \"case\": \"%s\", \"value\": %.4g, "
           "\"unit\": \"%s\", \"gflops\": %.3g, \"share_of_peak\": %.2f}\n",
           name, value, unit, gflops, peak > 0 ? gflops / peak : 1);
    fflush(stdout);
}

static void measure_peak(void)
{
    static float a[SIDE * SIDE], b[SIDE * SIDE], c[SIDE * SIDE];
    double ms[REPEATS];
    for (size_t i = 0; i < SIDE * SIDE; i++) a[i] = b[i] = 0.5f;
    for (int r = 0; r < REPEATS; r++) {
        double from = bench_cpu_ms();
        for (int k = 0; k < 20; k++)
            gemm_nn(c, a, b, SIDE, SIDE, SIDE, GEMM_SET);
        ms[r] = bench_cpu_ms() - from;
    }
    peak = 20 * 2.0 * SIDE * SIDE * SIDE / bench_median(ms, REPEATS) / 1e6;
    print_line("gemm_peak_gflops", "GFLOP/s", peak, peak);
}

/* A model with rows of random inputs and labels. */
struct job {
    const char *name, *unit;
    struct model_spec spec;
    size_t rows, batch, per_row; /* per_row: what is counted, of one row */
    double flops;                /* per counted thing, forward + backward */
    struct model *m;
    struct examples ex;
    float *x, *y;
};

static void job_new(struct job *j)
{
    struct rng r;
    size_t dim = j->spec.task == MODEL_LM ? j->spec.seq : 784;
    size_t targets = j->spec.task == MODEL_LM ? j->spec.seq : 1;
    rng_init(&r, 5, 0, 0);
    j->x = malloc(j->rows * dim * sizeof *j->x);
    j->y = malloc(j->rows * targets * sizeof *j->y);
    if (!j->x || !j->y) exit(1);
    for (size_t i = 0; i < j->rows * dim; i++)
        j->x[i] = j->spec.task == MODEL_LM
                      ? (float)rng_below(&r, j->spec.classes)
                      : rng_f32(&r);
    for (size_t i = 0; i < j->rows * targets; i++)
        j->y[i] = (float)rng_below(&r, j->spec.classes);
    j->ex = (struct examples){.n_rows = j->rows,
                              .x_dim = dim,
                              .x = j->x,
                              .y = j->y,
                              .y_dim = targets};
    must(model_new(&j->spec, &j->m));
    model_init(j->m, 1);
}

static void job_free(struct job *j)
{
    model_free(j->m);
    free(j->x);
    free(j->y);
}

static void epoch(struct job *j)
{
    const struct model_training how = {.optimizer = "sgd",
                                       .epochs = 1,
                                       .batch = (uint32_t)j->batch,
                                       .learning_rate = 0.01};
    must(model_train(j->m, &how, &j->ex));
}

static void measure(struct job *j)
{
    double ms[REPEATS];
    job_new(j);
    epoch(j);
    for (int r = 0; r < REPEATS; r++) {
        double from = bench_cpu_ms();
        epoch(j);
        ms[r] = bench_cpu_ms() - from;
    }
    double n = (double)(j->rows * j->per_row);
    double us = bench_median(ms, REPEATS) * 1e3 / n;
    print_line(j->name, j->unit, us, j->flops / us / 1e3);
    job_free(j);
}

/* LeNet: weights times points per layer, forward; the first layer has no
 * gradient of its input. */
static double lenet_flops(void)
{
    double first = 2.0 * 25 * 6 * 784;
    double others = 2.0 * (150 * 16 * 100 + 400 * 120 + 120 * 84 + 84 * 10);
    return 2 * first + 3 * others;
}

static double recurrent_flops(double tokens, double in, double h, double gates)
{
    return 3 * 2 * (in * gates * h + h * gates * h + h * tokens);
}

static double transformer_flops(double tokens, double d, double steps,
                                double layers)
{
    return 3 * 2 * (layers * (12 * d * d + d * (steps + 1)) + d * tokens);
}

static const struct model_spec lenet = {.kind = "cnn",
                                        .task = MODEL_CLASSIFY,
                                        .classes = 10,
                                        .channels = 1,
                                        .height = 28,
                                        .width = 28,
                                        .n_hidden = 4,
                                        .hidden = {6, 16, 120, 84}};

static void measure_images(void)
{
    struct job small = {.name = "cnn_image_us_batch10",
                        .unit = "us/image",
                        .spec = lenet,
                        .rows = IMAGES,
                        .batch = 10,
                        .per_row = 1,
                        .flops = lenet_flops()};
    struct job large = small;
    large.name = "cnn_image_us_batch32";
    large.batch = 32;
    measure(&small);
    measure(&large);
}

static void measure_softmax(void)
{
    struct job j = {.name = "softmax_sample_us",
                    .unit = "us/sample",
                    .spec = {.kind = "softmax",
                             .task = MODEL_CLASSIFY,
                             .n_inputs = 784,
                             .classes = 10},
                    .rows = SAMPLES,
                    .batch = 10,
                    .per_row = 1,
                    .flops = 2 * 2.0 * 784 * 10};
    measure(&j);
    j.rows = 10 * SAMPLES;
    j.name = "softmax_sample_us_70000";
    measure(&j);
}

static void measure_text(void)
{
    enum { TOKENS = 80, STEPS = 80 };
    struct job j = {.name = "gru_token_us",
                    .unit = "us/token",
                    .spec = {.kind = "gru",
                             .task = MODEL_LM,
                             .classes = TOKENS,
                             .seq = STEPS,
                             .n_hidden = 2,
                             .hidden = {8, 128}},
                    .rows = 64,
                    .batch = 16,
                    .per_row = STEPS,
                    .flops = recurrent_flops(TOKENS, 8, 128, 3)};
    measure(&j);
    j.name = "lstm_token_us";
    j.spec.kind = "lstm";
    j.flops = recurrent_flops(TOKENS, 8, 128, 4);
    measure(&j);
    j.name = "transformer_token_us";
    j.spec.kind = "transformer";
    j.spec.n_hidden = 1;
    j.spec.hidden[0] = 64;
    j.spec.heads = 4;
    j.spec.layers = 2;
    j.flops = transformer_flops(TOKENS, 64, STEPS, 2);
    measure(&j);
}

/* ---- two threads ---- */

static void *run_epochs(void *arg)
{
    for (int i = 0; i < 12; i++) epoch(arg);
    return NULL;
}

static double elapsed_ms(struct job *jobs, int n_threads)
{
    pthread_t id[2];
    int64_t from = tick_ns();
    for (int i = 0; i < n_threads; i++)
        if (pthread_create(&id[i], NULL, run_epochs, &jobs[i])) exit(1);
    for (int i = 0; i < n_threads; i++) pthread_join(id[i], NULL);
    return (double)(tick_ns() - from) / 1e6;
}

static void measure_scaling(void)
{
    struct job jobs[2];
    double ratio[REPEATS];
    for (int i = 0; i < 2; i++) {
        jobs[i] = (struct job){.spec = lenet, .rows = IMAGES, .batch = 10};
        job_new(&jobs[i]);
        epoch(&jobs[i]);
    }
    for (int r = 0; r < REPEATS; r++)
        ratio[r] = 2 * elapsed_ms(jobs, 1) / elapsed_ms(jobs, 2);
    print_line("threads_scaling_cnn", "x of one thread",
               bench_median(ratio, REPEATS), 0);
    for (int i = 0; i < 2; i++) job_free(&jobs[i]);
}

int main(void)
{
    rng_setup();
    measure_peak();
    measure_images();
    measure_softmax();
    measure_text();
    measure_scaling();
    return 0;
}
