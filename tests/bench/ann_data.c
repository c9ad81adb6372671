/*
 * ann_data: the vectors that indexes are measured on, and the true answers.
 *
 *   ann_data make DIR ROWS CLUSTERS SPREAD OFFSET   base.f32, query.f32
 *   ann_data int8 DIR BASE                          base.f32 from int8 rows
 *   ann_data truth DIR                              truth.i32, truth.f32
 *   ann_data score DIR MASK FILE PART               recall of the ids in FILE
 *
 * A set is clustered in all 384 dimensions:
 *
 *   centre_j = g(1, j)
 *   row_i    = unit(centre_{u(i)} + SPREAD g(2, i))     u uniform in CLUSTERS
 *   query_i  = unit(row_{r(i)} + OFFSET g(3, i))        r uniform in ROWS
 *
 * with g(a, i) ~ N(0, 1/384)^384, the stream (SEED, a, i) of rng.h: a set is a
 * pure function of its numbers. Few clusters are easy, since an index finds
 * the cluster and has it; with ten rows each, next to nothing says where a
 * cluster lies, and its rows stand alone.
 *
 * Truth: the ten rows with the largest product, of all and of those that each
 * filter keeps (ann.h), by products of blocks of rows with all queries. A
 * result counts as right when its own product reaches the tenth's: rows that
 * occur twice are not an error.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/pool.h"
#include "common/base/rng.h"
#include "common/tensor/kernels.h"
#include "tests/bench/ann.h"
#include "tests/bench/bench.h"

enum {
    SEED = 4,
    STREAM_CENTRE = 1,
    STREAM_ROW,
    STREAM_QUERY,
    BLOCK = 512, /* rows of one product */
    PATH_BYTES = 4096
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* ---- files ----------------------------------------------------------------
 */

struct rows {
    float *v; /* [n, ANN_DIM], mapped */
    size_t n;
};

static void name_in(char *out, const char *dir, const char *name)
{
    must(file_join(out, PATH_BYTES, dir, name));
}

static struct rows rows_create(const char *dir, const char *name, size_t n)
{
    struct rows r = {.n = n};
    size_t bytes = n * ANN_DIM * sizeof(float);
    char path[PATH_BYTES];
    int fd;
    name_in(path, dir, name);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0666);
    if (fd < 0 || ftruncate(fd, (off_t)bytes)) die(path);
    r.v = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (r.v == MAP_FAILED) die(path);
    close(fd);
    return r;
}

/* A whole file, mapped for reading. */
static const void *map_file(const char *path, size_t *bytes)
{
    struct stat st;
    void *p;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &st)) die(path);
    p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED) die(path);
    close(fd);
    *bytes = (size_t)st.st_size;
    return p;
}

static const float *map_rows(const char *dir, const char *name, size_t *n)
{
    char path[PATH_BYTES];
    size_t bytes;
    const float *v;
    name_in(path, dir, name);
    v = map_file(path, &bytes);
    *n = bytes / (ANN_DIM * sizeof(float));
    return v;
}

/* ---- making a set ---------------------------------------------------------
 */

struct set {
    size_t n_rows, n_clusters;
    float spread, offset;
    float *centres; /* [n_clusters, ANN_DIM] */
    struct rows base, query;
};

/* v += scale g(stream, i). */
static void add_noise(float *v, float scale, uint64_t stream, uint64_t i)
{
    struct rng r;
    rng_init(&r, SEED, stream, i);
    scale /= 19.595918F; /* sqrt(384) */
    for (int k = 0; k < ANN_DIM; k++) v[k] += scale * rng_normal(&r);
}

static void make_centre(void *ctx, size_t i, unsigned worker)
{
    struct set *s = ctx;
    (void)worker;
    memset(s->centres + i * ANN_DIM, 0, ANN_DIM * sizeof(float));
    add_noise(s->centres + i * ANN_DIM, 1, STREAM_CENTRE, i);
}

static void make_row(void *ctx, size_t i, unsigned worker)
{
    struct set *s = ctx;
    float *v = s->base.v + i * ANN_DIM;
    struct rng r;
    (void)worker;
    rng_init(&r, SEED, STREAM_ROW, ~(uint64_t)i);
    memcpy(v, s->centres + rng_below(&r, s->n_clusters) * ANN_DIM,
           ANN_DIM * sizeof(float));
    add_noise(v, s->spread, STREAM_ROW, i);
    kernel_normalise(v, ANN_DIM);
}

static void make_query(void *ctx, size_t i, unsigned worker)
{
    struct set *s = ctx;
    float *v = s->query.v + i * ANN_DIM;
    struct rng r;
    (void)worker;
    rng_init(&r, SEED, STREAM_QUERY, ~(uint64_t)i);
    memcpy(v, s->base.v + rng_below(&r, s->n_rows) * ANN_DIM,
           ANN_DIM * sizeof(float));
    add_noise(v, s->offset, STREAM_QUERY, i);
    kernel_normalise(v, ANN_DIM);
}

static void make(struct pool *pool, char **words)
{
    struct set s = {.n_rows = strtoul(words[1], NULL, 10),
                    .n_clusters = strtoul(words[2], NULL, 10),
                    .spread = strtof(words[3], NULL),
                    .offset = strtof(words[4], NULL)};
    s.centres = malloc(s.n_clusters * ANN_DIM * sizeof(float));
    if (!s.centres) die("malloc");
    s.base = rows_create(words[0], "base.f32", s.n_rows);
    s.query = rows_create(words[0], "query.f32", ANN_QUERIES);
    pool_run(pool, s.n_clusters, make_centre, &s);
    pool_run(pool, s.n_rows, make_row, &s);
    pool_run(pool, ANN_QUERIES, make_query, &s);
    free(s.centres);
}

/* Rows of int8, whose length is their scale, as unit vectors. */
static void from_int8(char **words)
{
    size_t bytes;
    const int8_t *in = map_file(words[1], &bytes);
    struct rows base = rows_create(words[0], "base.f32", bytes / ANN_DIM);
    for (size_t i = 0; i < base.n * ANN_DIM; i++) base.v[i] = in[i];
    for (size_t i = 0; i < base.n; i++)
        kernel_normalise(base.v + i * ANN_DIM, ANN_DIM);
}

/* ---- truth ----------------------------------------------------------------
 */

struct best {
    float product[ANN_BEST]; /* falling */
    int32_t row[ANN_BEST];
};

struct truth {
    const float *base, *query;
    size_t n_rows, n_queries;
    struct best *best; /* [workers, ANN_MASKS, n_queries] */
    float **products;  /* [workers] [n_queries, BLOCK] */
};

static void keep(struct best *b, float product, size_t row)
{
    int i = ANN_BEST - 1;
    for (; i > 0 && b->product[i - 1] < product; i--) {
        b->product[i] = b->product[i - 1];
        b->row[i] = b->row[i - 1];
    }
    b->product[i] = product;
    b->row[i] = (int32_t)row;
}

static void truth_block(void *ctx, size_t i, unsigned worker)
{
    struct truth *t = ctx;
    struct best *best = t->best + worker * ANN_MASKS * t->n_queries;
    size_t first = i * BLOCK;
    size_t n = t->n_rows - first < BLOCK ? t->n_rows - first : BLOCK;
    float *p = t->products[worker];
    gemm_nt(p, t->query, t->base + first * ANN_DIM, t->n_queries, n, ANN_DIM,
            GEMM_SET);
    for (int m = 0; m < ANN_MASKS; m++) {
        struct best *b = best + (size_t)m * t->n_queries;
        for (size_t q = 0; q < t->n_queries; q++)
            for (size_t k = 0; k < n; k++)
                if (p[q * n + k] > b[q].product[ANN_BEST - 1] &&
                    ann_dept(first + k) < ann_masks[m])
                    keep(&b[q], p[q * n + k], first + k);
    }
}

static void write_best(const char *dir, const struct best *best, size_t n)
{
    char ids[PATH_BYTES], products[PATH_BYTES];
    FILE *a, *b;
    name_in(ids, dir, "truth.i32");
    name_in(products, dir, "truth.f32");
    a = fopen(ids, "wb");
    b = fopen(products, "wb");
    if (!a || !b) die(ids);
    for (size_t i = 0; i < n; i++) {
        fwrite(best[i].row, sizeof(int32_t), ANN_BEST, a);
        fwrite(best[i].product, sizeof(float), ANN_BEST, b);
    }
    if (fclose(a) || fclose(b)) die(ids);
}

static void find_truth(struct pool *pool, char **words)
{
    struct truth t = {0};
    unsigned n_workers = pool_threads(pool);
    size_t n;
    t.base = map_rows(words[0], "base.f32", &t.n_rows);
    t.query = map_rows(words[0], "query.f32", &t.n_queries);
    n = ANN_MASKS * t.n_queries;
    t.best = malloc(n_workers * n * sizeof *t.best);
    t.products = malloc(n_workers * sizeof *t.products);
    if (!t.best || !t.products) die("malloc");
    for (size_t i = 0; i < n_workers * n; i++)
        for (int k = 0; k < ANN_BEST; k++)
            t.best[i].product[k] = -2, t.best[i].row[k] = -1;
    for (unsigned w = 0; w < n_workers; w++) {
        t.products[w] = malloc(t.n_queries * BLOCK * sizeof(float));
        if (!t.products[w]) die("malloc");
    }
    pool_run(pool, (t.n_rows + BLOCK - 1) / BLOCK, truth_block, &t);
    for (size_t w = 1; w < n_workers; w++)
        for (size_t i = 0; i < n; i++) {
            const struct best *b = &t.best[w * n + i];
            for (int k = 0; k < ANN_BEST; k++)
                if (b->product[k] > t.best[i].product[ANN_BEST - 1])
                    keep(&t.best[i], b->product[k], (size_t)b->row[k]);
        }
    write_best(words[0], t.best, n);
}

/* ---- scoring --------------------------------------------------------------
 */

/* FILE: int64 rows [n_queries, ANN_BEST], -1 where there was none. PART: 0 is
 * all queries, 1 the even ones, by which an effort is chosen, 2 the others. */
static void score(char **words)
{
    size_t n_rows, n_queries, bytes, right = 0, n = 0;
    const float *base = map_rows(words[0], "base.f32", &n_rows);
    const float *query = map_rows(words[0], "query.f32", &n_queries);
    size_t mask = strtoul(words[1], NULL, 10);
    char path[PATH_BYTES];
    const float *truth;
    const int64_t *got = map_file(words[2], &bytes);
    size_t part = strtoul(words[3], NULL, 10);
    if (mask >= ANN_MASKS) die("mask");
    n_queries = bytes / (ANN_BEST * sizeof *got) < n_queries
                    ? bytes / (ANN_BEST * sizeof *got)
                    : n_queries;
    name_in(path, words[0], "truth.f32");
    truth = map_file(path, &bytes);
    truth += mask * (bytes / (ANN_MASKS * sizeof *truth));
    for (size_t q = part == 2; q < n_queries; q += part ? 2 : 1, n++)
        for (int k = 0; k < ANN_BEST; k++) {
            int64_t id = got[q * ANN_BEST + (size_t)k];
            int twice = 0;
            if (id < 0 || (size_t)id >= n_rows ||
                ann_dept((size_t)id) >= ann_masks[mask])
                continue;
            for (int j = 0; j < k; j++)
                twice |= got[q * ANN_BEST + (size_t)j] == id;
            right +=
                !twice && kernel_dot(query + q * ANN_DIM,
                                     base + (size_t)id * ANN_DIM, ANN_DIM) >=
                              truth[q * ANN_BEST + ANN_BEST - 1] - 1e-6F;
        }
    printf("%.4f\n", (double)right / (double)(n * ANN_BEST));
}

int main(int argc, char **argv)
{
    struct pool *pool;
    must(pool_new(&pool, 0));
    if (argc == 7 && !strcmp(argv[1], "make"))
        make(pool, argv + 2);
    else if (argc == 4 && !strcmp(argv[1], "int8"))
        from_int8(argv + 2);
    else if (argc == 3 && !strcmp(argv[1], "truth"))
        find_truth(pool, argv + 2);
    else if (argc == 6 && !strcmp(argv[1], "score"))
        score(argv + 2);
    else {
        fprintf(stderr, "ann_data make|int8|truth|score DIR ...\n");
        return 2;
    }
    pool_free(pool);
    return 0;
}
