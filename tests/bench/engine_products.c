/*
 * engine_products: products with packed weights, for bench_engine.py.
 *
 *   engine_products TYPE N_OUT N_IN ROWS THREADS SECONDS
 *
 * Prints one line: giga-operations (a multiplication and an addition are two)
 * per second of CPU time and of wall time, best of several turns, and of the
 * way back where ROWS is over 4. First checks the product of the largest row
 * against the decoded weights.
 */
#include <math.h>
#include <string.h>
#include <sys/resource.h>

#include "common/base/pool.h"
#include "common/base/rng.h"
#include "common/base/tick.h"
#include "common/tensor/weights.h"
#include "tests/bench/bench.h"

static double cpu_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static void *memory(size_t n)
{
    void *p = aligned_alloc(64, (n + 63) / 64 * 64);
    if (!p) exit(1);
    return p;
}

static struct weight draw(enum quant_type type, size_t n_out, size_t n_in)
{
    struct rng r;
    rng_init(&r, 1, 0, 0);
    size_t row = quant_bytes(type, n_in);
    float *x = memory(n_in * sizeof *x);
    uint8_t *rows = memory(row * n_out);
    uint8_t *packed = memory(weight_bytes(type, n_out, n_in));
    for (size_t i = 0; i < n_out; i++) {
        for (size_t k = 0; k < n_in; k++) x[k] = 2 * rng_f32(&r) - 1;
        must(quant_encode(type, x, rows + i * row, n_in));
    }
    weight_pack(type, n_out, n_in, rows, packed);
    free(x);
    free(rows);
    return (struct weight){type, n_out, n_in, packed};
}

/* The last row of y against the decoded matrix. */
static void check_product(const struct weight *w, const float *x,
                          const float *y)
{
    float *row = memory(w->n_in * sizeof *row);
    for (size_t i = 0; i < w->n_out; i += 1 + w->n_out / 64) {
        double want = 0, size = 0;
        weight_rows(w, i, i + 1, row);
        for (size_t k = 0; k < w->n_in; k++) {
            want += (double)row[k] * (double)x[k];
            size += fabs((double)row[k]) * 3;
        }
        if (fabs(want - (double)y[i]) > 0.005 * size) {
            fprintf(stderr, "output %zu is %g, want %g\n", i, (double)y[i],
                    want);
            exit(1);
        }
    }
    free(row);
}

struct job {
    struct weight_room *room;
    const struct weight *w;
    float *x, *y;
    size_t rows;
};

static void forward(const struct job *j)
{
    must(weight_product(j->room, j->w, j->x, j->y, j->rows, GEMM_SET));
}

static void back(const struct job *j)
{
    must(weight_product_back(j->room, j->w, j->y, j->x, j->rows, GEMM_SET));
}

/* Least seconds of CPU and of wall time for one run. */
static void measure(void (*run)(const struct job *), const struct job *j,
                    double seconds, double best[2])
{
    double ops = 2.0 * (double)j->rows * (double)(j->w->n_out * j->w->n_in);
    int times = ops < 2e8 ? (int)(2e8 / ops) + 1 : 1;
    double end = cpu_s() + seconds;
    best[0] = best[1] = INFINITY;
    run(j);
    for (int turn = 0; turn < 3 || cpu_s() < end; turn++) {
        double cpu = cpu_s(), wall = (double)tick_ns();
        for (int i = 0; i < times; i++) run(j);
        best[0] = fmin(best[0], (cpu_s() - cpu) / times);
        best[1] = fmin(best[1], ((double)tick_ns() - wall) * 1e-9 / times);
    }
}

int main(int argc, char **argv)
{
    if (argc != 7 || !quant_find(argv[1])) {
        fprintf(stderr, "usage: %s TYPE N_OUT N_IN ROWS THREADS SECONDS\n",
                argv[0]);
        return 4;
    }
    size_t n_out = strtoul(argv[2], NULL, 10),
           n_in = strtoul(argv[3], NULL, 10);
    size_t rows = strtoul(argv[4], NULL, 10);
    double seconds = strtod(argv[6], NULL), there[2], return_trip[2] = {0};
    struct weight w = draw(quant_find(argv[1])->type, n_out, n_in);
    struct pool *pool = NULL;
    struct job j = {.w = &w, .rows = rows};
    must(pool_new(&pool, (unsigned)strtoul(argv[5], NULL, 10)));
    must(weight_room_new(&j.room, pool));
    j.x = memory(rows * n_in * sizeof *j.x);
    j.y = memory(rows * n_out * sizeof *j.y);
    struct rng r;
    rng_init(&r, 2, 0, 0);
    for (size_t i = 0; i < rows * n_in; i++) j.x[i] = rng_normal(&r);
    forward(&j);
    check_product(&w, j.x + (rows - 1) * n_in, j.y + (rows - 1) * n_out);
    measure(forward, &j, seconds, there);
    double ops = 2e-9 * (double)rows * (double)n_out * (double)n_in;
    if (rows > 4) measure(back, &j, seconds, return_trip);
    printf("%.1f %.1f %.1f %.1f\n", ops / there[0], ops / there[1],
           rows > 4 ? ops / return_trip[0] : 0,
           rows > 4 ? ops / return_trip[1] : 0);
    weight_room_free(j.room);
    pool_free(pool);
    return 0;
}
