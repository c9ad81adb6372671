/*
 * peer_ggml: what engine_products measures, by ggml's own mul_mat. Built by
 * bench_engine.py against an installed llama.cpp.
 *
 *   peer_ggml TYPE N_OUT N_IN ROWS THREADS SECONDS
 *
 * The matrix lies in the buffer that llama.cpp would choose: one that packs it
 * anew for this processor, where there is one for its type. A graph holds as
 * many products as make the time of starting its threads small.
 */
#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml-cpu.h>
#include <ggml.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static double cpu_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static double wall_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* A number from -1 to 1. */
static float drawn(void)
{
    static uint32_t x = 1;
    x = x * 1664525u + 1013904223u;
    return (float)(x >> 8) / 8388608 - 1;
}

static struct ggml_context *context(void)
{
    struct ggml_init_params p = {.mem_size = 16 << 20, .no_alloc = true};
    return ggml_init(p);
}

/* The matrix in the first special buffer that can multiply it, or a plain
 * one. */
static struct ggml_tensor *matrix(enum ggml_type type, int64_t n_out,
                                  int64_t n_in, struct ggml_tensor *x)
{
    ggml_backend_dev_t dev =
        ggml_backend_reg_dev_get(ggml_backend_cpu_reg(), 0);
    ggml_backend_dev_get_extra_bufts_t extra =
        (ggml_backend_dev_get_extra_bufts_t)ggml_backend_reg_get_proc_address(
            ggml_backend_cpu_reg(), "ggml_backend_dev_get_extra_bufts");
    ggml_backend_buffer_type_t *more = extra ? extra(dev) : NULL;
    struct ggml_context *c = context();
    struct ggml_tensor *w = ggml_new_tensor_2d(c, type, n_in, n_out);
    ggml_backend_buffer_t buffer = NULL;
    for (; more && *more && !buffer; more++) {
        struct ggml_context *probe = context();
        struct ggml_tensor *v = ggml_new_tensor_2d(probe, type, n_in, n_out);
        v->buffer = ggml_backend_buft_alloc_buffer(*more, 0);
        struct ggml_tensor *product = ggml_mul_mat(probe, v, x);
        if (ggml_backend_dev_supports_op(dev, product))
            buffer = ggml_backend_alloc_ctx_tensors_from_buft(c, *more);
        ggml_backend_buffer_free(v->buffer);
        ggml_free(probe);
    }
    if (buffer)
        fprintf(stderr, "# ggml: %s\n",
                ggml_backend_buft_name(ggml_backend_buffer_get_type(buffer)));
    else
        ggml_backend_alloc_ctx_tensors_from_buft(
            c, ggml_backend_cpu_buffer_type());
    float *f = malloc((size_t)(n_out * n_in) * sizeof *f);
    void *rows = malloc(ggml_row_size(type, n_in) * (size_t)n_out);
    if (!f || !rows) exit(1);
    for (int64_t i = 0; i < n_out * n_in; i++) f[i] = drawn();
    ggml_quantize_chunk(type, f, rows, 0, n_out, n_in, NULL);
    ggml_backend_tensor_set(w, rows, 0,
                            ggml_row_size(type, n_in) * (size_t)n_out);
    free(f);
    free(rows);
    return w;
}

int main(int argc, char **argv)
{
    if (argc != 7) return 4;
    enum ggml_type type = strcmp(argv[1], "Q4_0") == 0   ? GGML_TYPE_Q4_0
                          : strcmp(argv[1], "F16") == 0  ? GGML_TYPE_F16
                          : strcmp(argv[1], "BF16") == 0 ? GGML_TYPE_BF16
                          : strcmp(argv[1], "F32") == 0  ? GGML_TYPE_F32
                                                         : GGML_TYPE_Q8_0;
    int64_t n_out = strtol(argv[2], NULL, 10), n_in = strtol(argv[3], NULL, 10),
            rows = strtol(argv[4], NULL, 10);
    int threads = (int)strtol(argv[5], NULL, 10);
    double seconds = strtod(argv[6], NULL), cpu = INFINITY, wall = INFINITY;
    double ops = 2e-9 * (double)n_out * (double)n_in * (double)rows;
    int times = ops < 0.2 ? (int)(0.2 / ops) + 1 : 1;
    times = times > 64 ? 64 : times;
    ggml_backend_t backend = ggml_backend_cpu_init();
    ggml_backend_cpu_set_n_threads(backend, threads);
    struct ggml_context *c = context();
    struct ggml_tensor *x = ggml_new_tensor_2d(c, GGML_TYPE_F32, n_in, rows);
    struct ggml_tensor *w = matrix(type, n_out, n_in, x);
    struct ggml_cgraph *graph = ggml_new_graph(c);
    for (int i = 0; i < times; i++)
        ggml_build_forward_expand(graph, ggml_mul_mat(c, w, x));
    if (!ggml_backend_alloc_ctx_tensors(c, backend)) return 1;
    float *f = malloc((size_t)(n_in * rows) * sizeof *f);
    for (int64_t i = 0; i < n_in * rows; i++) f[i] = drawn();
    ggml_backend_tensor_set(x, f, 0, (size_t)(n_in * rows) * sizeof *f);
    ggml_backend_graph_compute(backend, graph);
    double end = cpu_s() + seconds;
    for (int turn = 0; turn < 3 || cpu_s() < end; turn++) {
        double c0 = cpu_s(), w0 = wall_s();
        ggml_backend_graph_compute(backend, graph);
        cpu = fmin(cpu, (cpu_s() - c0) / times);
        wall = fmin(wall, (wall_s() - w0) / times);
    }
    printf("%.1f %.1f 0 0\n", ops / cpu, ops / wall);
    return 0;
}
