/* weights: packing is exact, products equal their definition. */
#include "tests/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/pool.h"
#include "common/base/rng.h"
#include "common/tensor/half.h"
#include "common/tensor/kernel_choice.h"
#include "common/tensor/quant.h"
#include "common/tensor/weight_set.h"
#include "common/tensor/weights.h"
#include "tests/tensor/drawn.h"

static const enum quant_type types[] = {QUANT_F32, QUANT_F16, QUANT_BF16,
                                        QUANT_Q8_0, QUANT_Q4_0};
enum { N_TYPES = sizeof types / sizeof types[0] };

/* A matrix of drawn numbers: as a file has it, packed, and decoded. */
struct matrix {
    struct weight w;
    uint8_t *rows, *packed;
    float *decoded;
};

static struct matrix draw(struct rng *r, enum quant_type type, size_t n_out,
                          size_t n_in)
{
    struct matrix m = {.w = {type, n_out, n_in, NULL}};
    size_t n = n_out * n_in;
    float *x = numbers(r, n);
    m.rows = memory(quant_bytes(type, n));
    m.packed = memory(weight_bytes(type, n_out, n_in));
    m.decoded = memory(n * sizeof(float));
    check_ok(quant_encode(type, x, m.rows, n));
    quant_decode(type, m.rows, m.decoded, n);
    weight_pack(type, n_out, n_in, m.rows, m.packed);
    m.w.data = m.packed;
    free(x);
    return m;
}

static void drop(struct matrix *m)
{
    free(m->rows);
    free(m->packed);
    free(m->decoded);
}

static void packing_is_exact_both_ways(void **state)
{
    (void)state;
    static const size_t shapes[][2] = {{1, 32}, {16, 32}, {17, 96}, {50, 320}};
    struct rng r;
    rng_init(&r, 1, 0, 0);
    for (size_t t = 0; t < N_TYPES; t++)
        for (size_t s = 0; s < 4; s++) {
            size_t n_out = shapes[s][0], n_in = shapes[s][1];
            size_t n_bytes = quant_bytes(types[t], n_out * n_in);
            struct matrix m = draw(&r, types[t], n_out, n_in);
            uint8_t *back = memory(n_bytes);
            /* Any bytes at all, not only those that an encoder writes. */
            for (size_t i = 0; i < n_bytes; i++)
                m.rows[i] = (uint8_t)rng_below(&r, 256);
            weight_pack(types[t], n_out, n_in, m.rows, m.packed);
            weight_unpack(&m.w, back);
            check(memcmp(back, m.rows, n_bytes) == 0);
            free(back);
            drop(&m);
        }
}

static void rows_decode_as_in_a_file(void **state)
{
    (void)state;
    enum { N_OUT = 37, N_IN = 96 };
    struct rng r;
    rng_init(&r, 2, 0, 0);
    for (size_t t = 0; t < N_TYPES; t++) {
        struct matrix m = draw(&r, types[t], N_OUT, N_IN);
        float got[N_OUT * N_IN];
        for (size_t i0 = 0; i0 <= N_OUT; i0 += 3)
            for (size_t i1 = i0; i1 <= N_OUT; i1 += 5) {
                weight_rows(&m.w, i0, i1, got);
                check(memcmp(got, m.decoded + i0 * N_IN,
                             (i1 - i0) * N_IN * sizeof *got) == 0);
            }
        drop(&m);
    }
}

/* By whichever instructions: each of the 65,536, a NaN as some NaN. */
static void every_f16_becomes_its_number(void **state)
{
    (void)state;
    enum { N_IN = 4096, WIDE = 2 * WEIGHT_TILE };
    static uint16_t packed[N_IN * WEIGHT_TILE];
    static float got[N_IN * WIDE];
    struct weight w = {QUANT_F16, WEIGHT_TILE, N_IN, (uint8_t *)packed};
    for (size_t i = 0; i < N_IN * WEIGHT_TILE; i++) packed[i] = (uint16_t)i;
    weight_columns(&w, 0, 0, N_IN, got, WIDE);
    for (size_t i = 0; i < N_IN * WEIGHT_TILE; i++) {
        float y = got[i / WEIGHT_TILE * WIDE + i % WEIGHT_TILE];
        float want = f16_decode(packed[i]);
        check(isnan(want) ? isnan(y) : float_bits(y) == float_bits(want));
        check(got[i / WEIGHT_TILE * WIDE + WEIGHT_TILE + i % WEIGHT_TILE] == 0);
    }
}

static void sizes_that_cannot_be_packed_are_zero_bytes(void **state)
{
    (void)state;
    check(weight_bytes(QUANT_Q8_0, 1, 32) == 64 + 512);
    check(weight_bytes(QUANT_Q8_0, 17, 64) == 2 * (64 + 1024));
    check(weight_bytes(QUANT_Q4_0, 16, 96) == 128 + 3 * 256);
    check(weight_bytes(QUANT_F32, 3, 5) == 5 * 16 * 4);
    check(weight_bytes(QUANT_Q8_0, 16, 33) == 0);
    check(weight_bytes(QUANT_Q4_K, 16, 256) == 0);
    check(weight_bytes((enum quant_type)77, 16, 256) == 0);
    check(weight_bytes(QUANT_F16, 0, 32) == 0);
    check(weight_bytes(QUANT_F16, 32, 0) == 0);
    check(weight_bytes(QUANT_F16, (size_t)WEIGHT_SIDE_MAX + 1, 32) == 0);
    check(weight_bytes(QUANT_F16, 32, SIZE_MAX) == 0);
}

/* |y - x W^T| by what x may lose as bytes: half a step of each block. */
static void check_forward(const struct matrix *m, const float *x,
                          const float *y, const float *before, size_t n_rows)
{
    size_t n_in = m->w.n_in, n_out = m->w.n_out;
    bool bytes = m->w.type == QUANT_Q8_0 || m->w.type == QUANT_Q4_0;
    for (size_t t = 0; t < n_rows; t++)
        for (size_t i = 0; i < n_out; i++) {
            const float *w = m->decoded + i * n_in, *v = x + t * n_in;
            double sum = before ? (double)before[t * n_out + i] : 0, most = 0;
            double lost = 0, size = fabs(sum);
            for (size_t k = 0; k < n_in; k++) {
                if (k % 32 == 0) most = 0;
                for (size_t l = k; k % 32 == 0 && l < k + 32 && l < n_in; l++)
                    most = fmax(most, fabs((double)v[l]));
                sum += (double)w[k] * (double)v[k];
                size += fabs((double)w[k] * (double)v[k]);
                lost += fabs((double)w[k]) * most / 254;
            }
            check_near(y[t * n_out + i], sum,
                       (bytes ? 1.001 * lost : 0) + 1e-6 * size);
        }
}

static void products_equal_their_definition(void **state)
{
    (void)state;
    static const size_t shapes[][3] = {{1, 1, 32},   {1, 40, 64},
                                       {2, 16, 96},  {3, 33, 256},
                                       {4, 50, 576}, {5, 16, 32},
                                       {15, 48, 64}, {16, 17, 160},
                                       {31, 64, 64}, {33, 20, 32},
                                       {70, 16, 320}};
    struct pool *pool = NULL;
    struct weight_room *room = NULL;
    struct rng r;
    rng_init(&r, 3, 0, 0);
    check_ok(pool_new(&pool, 2));
    check_ok(weight_room_new(&room, pool));
    for (size_t t = 0; t < N_TYPES; t++)
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
            size_t n_rows = shapes[s][0], n_out = shapes[s][1];
            struct matrix m = draw(&r, types[t], n_out, shapes[s][2]);
            float *x = numbers(&r, n_rows * m.w.n_in);
            float *y = numbers(&r, n_rows * n_out);
            float *before = memory(n_rows * n_out * sizeof *y);
            memcpy(before, y, n_rows * n_out * sizeof *y);
            check_ok(weight_product(room, &m.w, x, y, n_rows, GEMM_ADD));
            check_forward(&m, x, y, before, n_rows);
            for (size_t i = 0; i < n_rows * n_out; i++) y[i] = NAN;
            check_ok(weight_product(room, &m.w, x, y, n_rows, GEMM_SET));
            check_forward(&m, x, y, NULL, n_rows);
            drop(&m);
            free(x);
            free(y);
            free(before);
        }
    weight_room_free(room);
    pool_free(pool);
}

static void plain_rows_need_not_be_whole_blocks(void **state)
{
    (void)state;
    struct weight_room *room = NULL;
    struct rng r;
    rng_init(&r, 4, 0, 0);
    check_ok(weight_room_new(&room, NULL));
    for (size_t t = 0; t < 3; t++)
        for (size_t n_in = 1; n_in < 180; n_in += 19) {
            struct matrix m = draw(&r, types[t], 21, n_in);
            float *x = numbers(&r, 7 * n_in), y[7 * 21];
            check_ok(weight_product(room, &m.w, x, y, 7, GEMM_SET));
            check_forward(&m, x, y, NULL, 7);
            drop(&m);
            free(x);
        }
    weight_room_free(room);
}

/* Any finite f16, the smallest too: their own order of sums, to the bit. */
static void few_rows_by_plain_types_have_the_bits_of_their_definition(
    void **state)
{
    (void)state;
    enum { OUT = 21, MOST = 131 };
    struct weight_room *room = NULL;
    struct rng r;
    rng_init(&r, 9, 0, 0);
    check_ok(weight_room_new(&room, NULL));
    for (size_t t = 0; t < 3; t++)
        for (size_t n_in = 1; n_in <= MOST; n_in += 13) {
            struct matrix m = draw(&r, types[t], OUT, n_in);
            float *x = numbers(&r, n_in), y[OUT];
            for (size_t i = 0; types[t] == QUANT_F16 && i < OUT * n_in; i++) {
                uint16_t h = (uint16_t)rng_below(&r, 1 << 16);
                if ((h & 0x7c00) == 0x7c00) h &= 0x83ff;
                memcpy(m.rows + 2 * i, &h, sizeof h);
            }
            quant_decode(types[t], m.rows, m.decoded, OUT * n_in);
            weight_pack(types[t], OUT, n_in, m.rows, m.packed);
            check_ok(weight_product(room, &m.w, x, y, 1, GEMM_SET));
            for (size_t i = 0; i < OUT; i++) {
                float sum[4] = {0};
                for (size_t l = 0; l < n_in; l++) {
                    float p = m.decoded[i * n_in + l] * x[l];
                    sum[l % 4] += p;
                }
                float want = (sum[0] + sum[2]) + (sum[1] + sum[3]);
                check(memcmp(&want, &y[i], sizeof want) == 0);
            }
            drop(&m);
            free(x);
        }
    weight_room_free(room);
}

static void products_have_the_same_bits_for_any_number_of_threads(void **state)
{
    (void)state;
    enum { ROWS = 600, N_OUT = 200, N_IN = 1056 };
    static const unsigned threads[] = {1, 2, 3, 7};
    struct rng r;
    rng_init(&r, 5, 0, 0);
    float *x = numbers(&r, (size_t)ROWS * N_IN);
    float *dy = numbers(&r, (size_t)ROWS * N_OUT);
    float *want = memory((size_t)ROWS * N_IN * sizeof(float));
    float *got = memory((size_t)ROWS * N_IN * sizeof(float));
    for (size_t t = 0; t < N_TYPES; t++) {
        struct matrix m = draw(&r, types[t], N_OUT, N_IN);
        for (size_t k = 0; k < 4; k++) {
            struct pool *pool = NULL;
            struct weight_room *room = NULL;
            float *to = k ? got : want;
            size_t n_rows = t % 2 ? ROWS : 9;
            check_ok(pool_new(&pool, threads[k]));
            check_ok(weight_room_new(&room, pool));
            weight_room_rows(room, WEIGHT_ROWS_SPLIT);
            check_ok(weight_product(room, &m.w, x, to, n_rows, GEMM_SET));
            check(memcmp(to, want, n_rows * N_OUT * sizeof *to) == 0);
            if (k)
                check_ok(weight_product_back(room, &m.w, dy, to, 9, GEMM_SET));
            weight_room_free(room);
            pool_free(pool);
        }
        drop(&m);
    }
    free(x);
    free(dy);
    free(want);
    free(got);
}

/* Whatever the height of its panel: a row alone, or among others. */
static void a_row_has_the_same_bits_in_any_company(void **state)
{
    (void)state;
    enum { ROWS = 31, N_OUT = 48, N_IN = 128 };
    struct weight_room *room = NULL;
    struct rng r;
    rng_init(&r, 6, 0, 0);
    check_ok(weight_room_new(&room, NULL));
    for (size_t t = 3; t < N_TYPES; t++) {
        struct matrix m = draw(&r, types[t], N_OUT, N_IN);
        float *x = numbers(&r, ROWS * N_IN), all[ROWS * N_OUT], one[N_OUT];
        check_ok(weight_product(room, &m.w, x, all, ROWS, GEMM_SET));
        for (size_t i = 0; i < ROWS; i++) {
            check_ok(
                weight_product(room, &m.w, x + i * N_IN, one, 1, GEMM_SET));
            check(memcmp(one, all + i * N_OUT, sizeof one) == 0);
        }
        drop(&m);
        free(x);
    }
    weight_room_free(room);
}

static void products_of_one_x_equal_products_alone(void **state)
{
    (void)state;
    enum { ROWS = 19, N_IN = 192 };
    static const size_t n_out[N_TYPES] = {16, 30, 64, 192, 77};
    struct weight_room *room = NULL;
    struct pool *pool = NULL;
    struct matrix m[N_TYPES];
    struct weight_job jobs[N_TYPES];
    float *x, *want[N_TYPES], *bias;
    struct rng r;
    rng_init(&r, 7, 0, 0);
    bias = numbers(&r, 192);
    check_ok(pool_new(&pool, 2));
    check_ok(weight_room_new(&room, pool));
    x = numbers(&r, ROWS * N_IN);
    for (size_t t = 0; t < N_TYPES; t++) {
        m[t] = draw(&r, types[t], n_out[t], N_IN);
        jobs[t] = (struct weight_job){.w = &m[t].w,
                                      .y = numbers(&r, ROWS * n_out[t]),
                                      .mode = t % 2 ? GEMM_ADD : GEMM_SET,
                                      .bias = t > 1 ? bias : NULL};
        want[t] = memory(ROWS * n_out[t] * sizeof(float));
        memcpy(want[t], jobs[t].y, ROWS * n_out[t] * sizeof(float));
        for (size_t i = 0; t > 1 && i < ROWS * n_out[t]; i++)
            want[t][i] = bias[i % n_out[t]];
        check_ok(weight_product(room, &m[t].w, x, want[t], ROWS,
                                t > 1 ? GEMM_ADD : jobs[t].mode));
    }
    check_ok(weight_products(room, jobs, N_TYPES, x, ROWS));
    for (size_t t = 0; t < N_TYPES; t++) {
        check(memcmp(jobs[t].y, want[t], ROWS * n_out[t] * 4) == 0);
        free(jobs[t].y);
        free(want[t]);
        drop(&m[t]);
    }
    check_ok(weight_products(room, jobs, 0, x, ROWS));
    free(bias);
    free(x);
    weight_room_free(room);
    pool_free(pool);
}

/* Drawn bytes: all of them, extremes and scales that are no numbers too. */
static void every_instruction_set_gives_the_same_bits(void **state)
{
    (void)state;
    enum { BLOCKS = 5, N_IN = 32 * BLOCKS };
    struct rng r;
    rng_init(&r, 8, 0, 0);
    check(weight_set_at(0) != NULL);
    for (int k = 0; k < 400; k++) {
        enum quant_type type = types[3 + k % 2];
        size_t rows = (size_t)1 << k % 5, n = weight_bytes(type, 16, N_IN);
        uint8_t *data = memory(n), *panel = memory(panel_bytes(rows, N_IN));
        float *x = numbers(&r, rows * N_IN);
        float want[16 * PANEL_ROWS], got[16 * PANEL_ROWS];
        struct weight w = {type, 16, N_IN, data};
        struct weight_tile tile = weight_tile(&w, 0);
        for (size_t i = 0; i < n; i++)
            data[i] = k % 7 ? (uint8_t)rng_below(&r, 256) : k % 3 ? 255 : 0;
        for (size_t b = 0; k % 11 && b < BLOCKS; b++)
            for (size_t i = 1; i < 32; i += 2)
                data[block_scales(data, b, k % 2 ? NIBBLES : BYTES) - data +
                     (ptrdiff_t)i] &= 0xbf;
        if (k % 13 == 0)
            for (size_t i = 0; i < rows * N_IN; i++) x[i] = x[i] > 0 ? 1 : -1;
        panel_fill(&weight_set_base, x, rows, N_IN, panel, 0);
        for (size_t s = 0; weight_set_at(s); s++) {
            const struct weight_set *set = weight_set_at(s);
            float *to = s ? got : want;
            (type == QUANT_Q8_0 ? set->q8_0 : set->q4_0)(&tile, panel, rows,
                                                         to);
            for (size_t i = 0; s && i < 16 * rows; i++)
                if (memcmp(&got[i], &want[i], 4) != 0 &&
                    !(isnan(got[i]) && isnan(want[i])))
                    fail_msg("%s: sum %zu of %zu rows is %.9g, want %.9g",
                             set->name, i, rows, (double)got[i],
                             (double)want[i]);
        }
        free(data);
        free(panel);
        free(x);
    }
}

/* Rows with what is no number, too small to divide by, or all zero. */
static void every_instruction_set_makes_the_same_bytes_of_rows(void **state)
{
    (void)state;
    enum { MOST = 37 };
    static const float odd[] = {NAN, INFINITY, -INFINITY, 0x1p-101f, 0x1p-140f};
    struct rng r;
    rng_init(&r, 21, 0, 0);
    for (size_t k = 0; k < 200; k++) {
        size_t rows = (size_t)1 << k % 5, n_in = 32 * (1 + k % MOST);
        size_t n = panel_bytes(rows, n_in);
        float *x = numbers(&r, rows * n_in);
        uint8_t *want = memory(n), *got = memory(n);
        if (k % 3) x[rng_below(&r, (uint32_t)(rows * n_in))] = odd[k % 5];
        for (size_t i = 0; k % 4 == 0 && i < 32; i++)
            x[i] *= odd[3 + k / 4 % 2];
        panel_fill(&weight_set_base, x, rows, n_in, want, 0);
        for (size_t s = 0; weight_set_at(s); s++) {
            memset(got, 0x55, n);
            panel_fill(weight_set_at(s), x, rows, n_in, got, 0);
            if (memcmp(got, want, n) != 0)
                fail_msg("%s: other bytes of %zu rows of %zu",
                         weight_set_at(s)->name, rows, n_in);
        }
        free(x);
        free(want);
        free(got);
    }
}

/* out [16][CHUNK_WIDTH] = panel x w by chunks of at most `most` blocks. */
static void run_chunks(const struct weight_many *many, const struct weight *w,
                       const uint8_t *panel, size_t most, float *out)
{
    struct weight_chunk c;
    many->begin();
    for (size_t b = 0; b < w->n_in / 32; b += most) {
        size_t n = w->n_in / 32 - b < most ? w->n_in / 32 - b : most;
        c.n_tiles = 0;
        for (size_t i = 0; i < w->n_out / 16; i++) {
            struct weight_tile t = weight_tile(w, i);
            (w->type == QUANT_Q8_0 ? many->fill_bytes
                                   : many->fill_nibbles)(&t, b, n, &c);
        }
        many->run(&c, panel + b * PANEL_ROWS * PANEL_ROW_BYTES, b ? out : NULL,
                  out);
    }
    many->end();
}

/* As above, drawn bytes, of any length, in any chunks, at any address. */
static void panels_that_meet_chunks_have_the_same_bits(void **state)
{
    (void)state;
    enum { MOST = 37, LATER = 3 };
    const struct weight_many *many = weight_many_best();
    struct rng r;
    rng_init(&r, 13, 0, 0);
    if (!many) skip();
    for (size_t k = 0; k < 300; k++) {
        enum quant_type type = types[3 + k % 2];
        enum weight_form form = k % 2 ? NIBBLES : BYTES;
        size_t n_in = 32 * (1 + k % MOST), n_tiles = 1 + k % CHUNK_TILES;
        size_t n = weight_bytes(type, 16 * n_tiles, n_in);
        uint8_t *data = memory(n + LATER);
        uint8_t *panel = memory(panel_bytes(PANEL_ROWS, n_in));
        float *x = numbers(&r, PANEL_ROWS * n_in);
        float got[PANEL_ROWS * CHUNK_WIDTH] __attribute__((aligned(64)));
        float want[PANEL_ROWS * 16];
        struct weight w = {type, 16 * n_tiles, n_in, data + k % LATER};
        for (size_t i = 0; i < n + LATER; i++)
            data[i] = k % 7 ? (uint8_t)rng_below(&r, 256) : k % 3 ? 255 : 0;
        for (size_t b = 0; k % 11 && b < n_tiles * n_in / 32; b++) {
            const uint8_t *tile = weight_tile(&w, b / (n_in / 32)).data;
            for (size_t i = 1; i < 32; i += 2)
                data[block_scales(tile, b % (n_in / 32), form) - data +
                     (ptrdiff_t)i] &= 0xbf;
        }
        if (k % 13 == 0) x[k % n_in] = NAN;
        panel_fill(&weight_set_base, x, PANEL_ROWS, n_in, panel, 0);
        run_chunks(many, &w, panel, 1 + rng_below(&r, CHUNK_BLOCKS), got);
        for (size_t i = 0; i < PANEL_ROWS * 16 * n_tiles; i++) {
            size_t row = i / 16 % PANEL_ROWS, tile = i / 16 / PANEL_ROWS;
            float is = got[row * CHUNK_WIDTH + tile * 16 + i % 16];
            float should;
            struct weight_tile t = weight_tile(&w, tile);
            if (i % (PANEL_ROWS * 16) == 0)
                (form == BYTES
                     ? weight_set_base.q8_0
                     : weight_set_base.q4_0)(&t, panel, PANEL_ROWS, want);
            should = want[row * 16 + i % 16];
            if (memcmp(&is, &should, 4) != 0 && !(isnan(is) && isnan(should)))
                fail_msg("%s: sum %zu of %zu inputs is %.9g, want %.9g",
                         many->name, i, n_in, (double)is, (double)should);
        }
        free(data);
        free(panel);
        free(x);
    }
}

/* Sum of squares: of how far y is from x W^T, and of its products. */
struct distance {
    double off, size;
};

static void check_split(const struct matrix *m, const float *x, const float *y,
                        const float *bias, size_t n_rows, struct distance *d)
{
    size_t n_in = m->w.n_in, n_out = m->w.n_out;
    for (size_t t = 0; t < n_rows; t++)
        for (size_t i = 0; i < n_out; i++) {
            double sum = bias ? (double)bias[i] : 0, size = fabs(sum), off;
            for (size_t k = 0; k < n_in; k++) {
                double part =
                    (double)m->decoded[i * n_in + k] * (double)x[t * n_in + k];
                sum += part;
                size += fabs(part);
                d->size += part * part;
            }
            off = (double)y[t * n_out + i] - sum;
            check_near(y[t * n_out + i], sum, size / 65536);
            d->off += off * off;
        }
}

/* As the plain path, a sixteenth of a bf16's last place apart and no more: one
 * product of tiles left out would be a hundred times as far. */
static void halves_by_tiles_are_products_of_f32(void **state)
{
    (void)state;
    static const size_t shapes[][3] = {{5, 1, 1},      {16, 16, 32},
                                       {17, 33, 31},   {33, 48, 95},
                                       {40, 100, 384}, {700, 35, 640},
                                       {31, 200, 1537}};
    struct pool *pool = NULL;
    struct weight_room *room = NULL;
    struct rng r;
    if (!kernel_may(KERNEL_AMXBF16)) {
        print_message("no tiles of bf16 here (AMX-BF16)\n");
        skip();
    }
    rng_init(&r, 15, 0, 0);
    check_ok(pool_new(&pool, 2));
    check_ok(weight_room_new(&room, pool));
    for (size_t t = 1; t < 3; t++) {
        struct distance d = {0, 0};
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
            size_t n_rows = shapes[s][0], n_out = shapes[s][1];
            struct matrix m = draw(&r, types[t], n_out, shapes[s][2]);
            float *x = numbers(&r, n_rows * m.w.n_in);
            float *bias = numbers(&r, n_out);
            float *y = numbers(&r, n_rows * n_out);
            float *alone = memory(n_rows * n_out * sizeof *y);
            struct weight_job job = {&m.w, y, GEMM_SET, bias};
            weight_room_rows(room, WEIGHT_ROWS_SPLIT);
            check_ok(weight_products(room, &job, 1, x, n_rows));
            check_split(&m, x, y, bias, n_rows, &d);
            memset(y, 0, n_rows * n_out * sizeof *y);
            check_ok(weight_product(room, &m.w, x, y, n_rows, GEMM_ADD));
            check_split(&m, x, y, NULL, n_rows, &d);
            /* Each row has its bits in other company. */
            check_ok(weight_product(room, &m.w, x, alone, 5, GEMM_SET));
            check(memcmp(y, alone, 5 * n_out * sizeof *y) == 0);
            /* It is another path than that of f32, which is as it was. */
            weight_room_rows(room, WEIGHT_ROWS_FAST);
            check_ok(weight_product(room, &m.w, x, alone, n_rows, GEMM_SET));
            check_forward(&m, x, alone, NULL, n_rows);
            check(n_out * n_rows < 100 ||
                  memcmp(y, alone, n_rows * n_out * sizeof *y) != 0);
            free(x);
            free(bias);
            free(y);
            free(alone);
            drop(&m);
        }
        print_message("%s by tiles: off by %.2g of the products\n",
                      quant_info(types[t])->name, sqrt(d.off / d.size));
        check(d.off < 4e-6 * 4e-6 * d.size);
    }
    weight_room_free(room);
    pool_free(pool);
}

static void a_row_that_is_not_finite_spoils_no_other(void **state)
{
    (void)state;
    enum { ROWS = 18, N_OUT = 32, N_IN = 64 };
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    struct weight_room *room = NULL;
    struct rng r;
    rng_init(&r, 9, 0, 0);
    check_ok(weight_room_new(&room, NULL));
    for (size_t t = 0; t < 2 * N_TYPES; t++) {
        struct matrix m = draw(&r, types[t / 2], N_OUT, N_IN);
        float *x = numbers(&r, ROWS * N_IN), y[ROWS * N_OUT];
        weight_room_rows(room, t % 2 ? WEIGHT_ROWS_SPLIT : WEIGHT_ROWS_FAST);
        for (size_t k = 0; k < 3; k++) {
            x[5 * N_IN + 40] = bad[k];
            check_ok(weight_product(room, &m.w, x, y, ROWS, GEMM_SET));
            for (size_t i = 0; i < ROWS * N_OUT; i++)
                check((i / N_OUT == 5) == !isfinite(y[i]));
        }
        drop(&m);
        free(x);
    }
    weight_room_free(room);
}

static void rows_of_zeros_and_tiny_numbers_give_tiny_products(void **state)
{
    (void)state;
    enum { N_OUT = 16, N_IN = 64 };
    struct weight_room *room = NULL;
    struct rng r;
    rng_init(&r, 10, 0, 0);
    check_ok(weight_room_new(&room, NULL));
    for (size_t t = 0; t < N_TYPES; t++) {
        struct matrix m = draw(&r, types[t], N_OUT, N_IN);
        float x[2 * N_IN] = {0}, y[2 * N_OUT], zero[2 * N_OUT] = {0};
        for (size_t i = 0; i < N_IN; i++)
            x[N_IN + i] = i % 2 ? 1e-42f : -1e-38f;
        check_ok(weight_product(room, &m.w, x, y, 2, GEMM_SET));
        check_tensor(y, zero, 2 * N_OUT, 1e-35);
        check_tensor(y, zero, N_OUT, 0);
        drop(&m);
    }
    weight_room_free(room);
}

static void the_way_back_equals_its_definition(void **state)
{
    (void)state;
    static const size_t shapes[][3] = {
        {1, 1, 32}, {3, 40, 64}, {17, 300, 96}, {5, 16, 160}, {270, 33, 128}};
    struct pool *pool = NULL;
    struct weight_room *room = NULL;
    struct rng r;
    rng_init(&r, 11, 0, 0);
    check_ok(pool_new(&pool, 2));
    check_ok(weight_room_new(&room, pool));
    for (size_t t = 0; t < N_TYPES; t++)
        for (size_t s = 0; s < 5; s++) {
            size_t n_rows = shapes[s][0], n_out = shapes[s][1];
            size_t n_in = shapes[s][2] + (t < 3 ? 3 : 0);
            struct matrix m = draw(&r, types[t], n_out, n_in);
            float *dy = numbers(&r, n_rows * n_out);
            float *dx = numbers(&r, n_rows * n_in);
            float *want = memory(n_rows * n_in * sizeof *want);
            for (int add = 0; add < 2; add++) {
                for (size_t i = 0; i < n_rows * n_in; i++) {
                    double sum = add ? (double)dx[i] : 0;
                    for (size_t o = 0; o < n_out; o++)
                        sum += (double)dy[i / n_in * n_out + o] *
                               (double)m.decoded[o * n_in + i % n_in];
                    want[i] = (float)sum;
                    if (!add) dx[i] = NAN;
                }
                check_ok(weight_product_back(room, &m.w, dy, dx, n_rows,
                                             add ? GEMM_ADD : GEMM_SET));
                check_tensor(dx, want, n_rows * n_in,
                             3e-5 * sqrt((double)n_out) + 1e-4);
            }
            drop(&m);
            free(dy);
            free(dx);
            free(want);
        }
    weight_room_free(room);
    pool_free(pool);
}

/* However W gets to where it is multiplied: the bits of the product with all of
 * it decoded. Rows that a last tile has too much count for nothing, whatever a
 * file has there. */
static void the_way_back_in_bf16_has_the_bits_of_the_decoded_matrix(
    void **state)
{
    (void)state;
    static const size_t shapes[][3] = {
        {1, 1, 32}, {9, 40, 96}, {33, 17, 640}, {5, 800, 64}, {40, 32, 1216}};
    struct pool *pool = NULL;
    struct weight_room *room = NULL;
    struct rng r;
    rng_init(&r, 14, 0, 0);
    check_ok(pool_new(&pool, 2));
    check_ok(weight_room_new(&room, pool));
    weight_room_back_in(room, GEMM_BF16);
    for (size_t t = 0; t < N_TYPES; t++)
        for (size_t s = 0; s < 5; s++) {
            size_t n_rows = shapes[s][0], n_out = shapes[s][1];
            size_t n_in = shapes[s][2], n = n_rows * n_in;
            size_t whole =
                (n_out + WEIGHT_TILE - 1) / WEIGHT_TILE * WEIGHT_TILE;
            struct matrix m = draw(&r, types[t], whole, n_in);
            m.w.n_out = n_out;
            float *dy = numbers(&r, n_rows * n_out), *dx = numbers(&r, n);
            float *want = memory(n * sizeof *want);
            memcpy(want, dx, n * sizeof *want);
            for (int add = 1; add >= 0; add--) {
                struct gemm g = {.m = n_rows,
                                 .n = n_in,
                                 .k = n_out,
                                 .a = dy,
                                 .a_row = n_out,
                                 .a_col = 1,
                                 .b = m.decoded,
                                 .b_row = n_in,
                                 .b_col = 1,
                                 .c = want,
                                 .c_row = n_in,
                                 .mode = add ? GEMM_ADD : GEMM_SET};
                gemm_run_in(GEMM_BF16, &g);
                check_ok(
                    weight_product_back(room, &m.w, dy, dx, n_rows, g.mode));
                check(memcmp(dx, want, n * sizeof *want) == 0);
            }
            drop(&m);
            free(dy);
            free(dx);
            free(want);
        }
    weight_room_free(room);
    pool_free(pool);
}

static void a_room_stops_growing(void **state)
{
    (void)state;
    enum { ROWS = 700, N_OUT = 32, N_IN = 64 };
    struct weight_room *room = NULL;
    struct rng r;
    rng_init(&r, 12, 0, 0);
    check_ok(weight_room_new(&room, NULL));
    check(weight_room_bytes(room) == 0);
    struct matrix m = draw(&r, QUANT_Q8_0, N_OUT, N_IN);
    float *x = numbers(&r, ROWS * N_IN), *y = memory(ROWS * N_OUT * 4);
    check_ok(weight_product(room, &m.w, x, y, ROWS, GEMM_SET));
    size_t once = weight_room_bytes(room);
    check(once > 0 && once <= 600 * 1024);
    check_ok(weight_product(room, &m.w, x, y, 5, GEMM_SET));
    check_ok(weight_product(room, &m.w, x, y, ROWS, GEMM_SET));
    check_ok(weight_product(room, &m.w, x, y, 0, GEMM_SET));
    check(weight_room_bytes(room) == once);
    drop(&m);
    free(x);
    free(y);
    weight_room_free(room);
    weight_room_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packing_is_exact_both_ways),
        cmocka_unit_test(rows_decode_as_in_a_file),
        cmocka_unit_test(every_f16_becomes_its_number),
        cmocka_unit_test(sizes_that_cannot_be_packed_are_zero_bytes),
        cmocka_unit_test(products_equal_their_definition),
        cmocka_unit_test(plain_rows_need_not_be_whole_blocks),
        cmocka_unit_test(
            few_rows_by_plain_types_have_the_bits_of_their_definition),
        cmocka_unit_test(products_have_the_same_bits_for_any_number_of_threads),
        cmocka_unit_test(a_row_has_the_same_bits_in_any_company),
        cmocka_unit_test(products_of_one_x_equal_products_alone),
        cmocka_unit_test(every_instruction_set_gives_the_same_bits),
        cmocka_unit_test(every_instruction_set_makes_the_same_bytes_of_rows),
        cmocka_unit_test(panels_that_meet_chunks_have_the_same_bits),
        cmocka_unit_test(halves_by_tiles_are_products_of_f32),
        cmocka_unit_test(a_row_that_is_not_finite_spoils_no_other),
        cmocka_unit_test(rows_of_zeros_and_tiny_numbers_give_tiny_products),
        cmocka_unit_test(the_way_back_equals_its_definition),
        cmocka_unit_test(
            the_way_back_in_bf16_has_the_bits_of_the_decoded_matrix),
        cmocka_unit_test(a_room_stops_growing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
