/*
 * bench_scan: the exact scan of 100,000 vectors of 128 numbers, one thread.
 *
 *   vecscan_100k_ms   one flatindex_search(): both passes, best 10 of all
 *
 * Vectors and queries are unit vectors in random directions, from a seeded
 * stream: the neighbours stand close together, so pass 2 has much to recount.
 * Each query's ten are compared with those of a plain loop over the vectors,
 * so that only a result that is right has a figure. Warm: one query follows the
 * other. Cold: 64 MiB of other memory are written before each, as much as the
 * machine may have done between two questions.
 *
 * Peer: cblas_sgemv on the same f32 matrix, on one thread and without choosing
 * the best; it reads four times the bytes. Both in CPU time of the thread: on a
 * busy machine wall time would charge the longer call with more interruptions.
 */
#include <string.h>

#if defined TACIT_HAVE_BLAS && TACIT_HAVE_BLAS
# include <cblas.h>
#endif

#include "common/base/rng.h"
#include "common/tensor/kernels.h"
#include "retrieval/flatindex.h"
#include "tests/bench/bench.h"

enum {
    ROWS = 100000,
    DIM = 128,
    BEST = 10,
    QUERIES = 101,
    COLD_BYTES = 64 << 20,
    SEED = 20
};

struct scan {
    struct flatindex *index;
    float *vectors;  /* [ROWS, DIM] */
    float *queries;  /* [QUERIES, DIM] */
    float *products; /* [ROWS] */
    uint8_t *other;  /* [COLD_BYTES] */
};

static void fill(float *v, size_t n, uint64_t stream)
{
    struct rng r;
    rng_init(&r, SEED, stream, 0);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < DIM; k++) v[i * DIM + k] = rng_normal(&r);
        kernel_normalise(v + i * DIM, DIM);
    }
}

static void setup(struct scan *s)
{
    s->vectors = malloc((size_t)ROWS * DIM * sizeof(float));
    s->queries = malloc((size_t)QUERIES * DIM * sizeof(float));
    s->products = malloc(ROWS * sizeof(float));
    s->other = malloc(COLD_BYTES);
    if (!s->vectors || !s->queries || !s->products || !s->other) exit(1);
    fill(s->vectors, ROWS, 0);
    fill(s->queries, QUERIES, 1);
    must(flatindex_new(DIM, &s->index));
    must(flatindex_reserve(s->index, ROWS));
    for (int i = 0; i < ROWS; i++)
        must(flatindex_insert(s->index, i, s->vectors + (size_t)i * DIM));
}

/* The hits are the best: as many as asked, in order, with the true products,
 * and no row outside them is better than the last. */
static void compare(const struct scan *s, const float *q,
                    const struct vec_hit *hits, size_t n)
{
    size_t better = 0, wrong = n != BEST;
    for (size_t i = 0; i < ROWS; i++) {
        float p = kernel_dot(s->vectors + i * DIM, q, DIM);
        better +=
            n > 0 && (p > hits[n - 1].score ||
                      (p >= hits[n - 1].score && (int64_t)i < hits[n - 1].id));
    }
    for (size_t i = 0; i < n; i++) {
        const float *v = s->vectors + (size_t)hits[i].id * DIM;
        float p = kernel_dot(v, q, DIM);
        wrong |= memcmp(&p, &hits[i].score, sizeof p) != 0;
        wrong |= i > 0 && hits[i].score > hits[i - 1].score;
    }
    if (!wrong && better == BEST - 1) return;
    fprintf(stderr, "the scan did not find the %d nearest\n", BEST);
    exit(1);
}

/* Apart from the timing: a comparison reads all vectors. */
static void check_all(struct scan *s)
{
    for (int i = 0; i < QUERIES; i++) {
        const float *q = s->queries + (size_t)i * DIM;
        struct vec_hit hits[BEST];
        size_t n = 0;
        must(flatindex_search(s->index, q, BEST, NULL, hits, &n));
        compare(s, q, hits, n);
    }
}

/* Median CPU time of a search, ms. */
static double search_ms(struct scan *s, size_t cold_bytes)
{
    double took[QUERIES];
    for (int i = 0; i < QUERIES; i++) {
        const float *q = s->queries + (size_t)i * DIM;
        struct vec_hit hits[BEST];
        size_t n = 0;
        memset(s->other, i, cold_bytes);
        double from = bench_cpu_ms();
        must(flatindex_search(s->index, q, BEST, NULL, hits, &n));
        took[i] = bench_cpu_ms() - from;
    }
    return bench_median(took, QUERIES);
}

#if defined TACIT_HAVE_BLAS && TACIT_HAVE_BLAS
static double sgemv_ms(struct scan *s, size_t cold_bytes)
{
    double took[QUERIES];
    openblas_set_num_threads(1);
    for (int i = 0; i < QUERIES; i++) {
        memset(s->other, i, cold_bytes);
        double from = bench_cpu_ms();
        cblas_sgemv(CblasRowMajor, CblasNoTrans, ROWS, DIM, 1, s->vectors, DIM,
                    s->queries + (size_t)i * DIM, 1, 0, s->products, 1);
        took[i] = bench_cpu_ms() - from;
    }
    return bench_median(took, QUERIES);
}
#endif

static void measure(struct scan *s, const char *name, size_t cold_bytes)
{
    struct bench_figure f = {.bench = "vecscan_100k_ms",
                             .name = name,
                             .unit = "ms",
                             .value = search_ms(s, cold_bytes),
                             .limit = 5};
#if defined TACIT_HAVE_BLAS && TACIT_HAVE_BLAS
    f.peer = "OpenBLAS sgemv, no top 10";
    f.peer_value = sgemv_ms(s, cold_bytes);
#endif
    bench_print(&f);
}

int main(void)
{
    static struct scan s;
    rng_setup();
    setup(&s);
    check_all(&s);
    measure(&s, "100,000 x 128, best 10, warm", 0);
    measure(&s, "100,000 x 128, best 10, cold", COLD_BYTES);
    flatindex_free(s.index);
    free(s.vectors);
    free(s.queries);
    free(s.products);
    free(s.other);
    return 0;
}
