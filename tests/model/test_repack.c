#include "tests/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/rng.h"
#include "common/model/repack.h"
#include "common/tensor/weights.h"

enum { ROWS = 37, COLS = 64 };

static uint64_t seen;
static enum tacit_err count(void *ctx, uint64_t bytes)
{
    (void)ctx;
    seen += bytes;
    return TACIT_OK;
}

static enum tacit_err stop(void *ctx, uint64_t bytes)
{
    (void)ctx;
    (void)bytes;
    return fail(TACIT_STATE, "stopped");
}

/* A file of one matrix and one vector through repack; the caller closes both
 * and releases the writer. */
static struct gguf *pass(const struct gguf *g, int type, enum repack_form form,
                         struct gguf_writer *w)
{
    struct repack r[2];
    struct gguf *out = NULL;
    size_t n = gguf_n_tensors(g);
    check_ok(gguf_writer_init(w, NULL, 64));
    for (size_t i = 0; i < n; i++) {
        check_ok(repack_plan(gguf_tensor_at(g, i), type, form, &r[i]));
        repack_announce(&r[i], w);
    }
    for (size_t i = 0; i < n; i++)
        check_ok(repack_write(&r[i], w, count, NULL));
    check_ok(gguf_writer_end(w, NULL));
    check_ok(gguf_open_bytes(w->out.data, w->out.len, &out));
    return out;
}

static struct gguf *make(struct gguf_writer *w, float *values)
{
    const uint64_t dims[] = {COLS, ROWS}, one[] = {COLS};
    struct gguf *g = NULL;
    for (int i = 0; i < ROWS * COLS; i++)
        values[i] = sinf((float)i * 0.37f) * (float)(i % 11);
    check_ok(gguf_writer_init(w, NULL, 32));
    gguf_put_tensor(w, "m.weight", 0, 2, dims);
    gguf_put_tensor(w, "n.weight", 0, 1, one);
    check_ok(gguf_put_data(w, values, sizeof(float) * ROWS * COLS));
    check_ok(gguf_end_tensor(w));
    check_ok(gguf_put_data(w, values, sizeof(float) * COLS));
    check_ok(gguf_end_tensor(w));
    check_ok(gguf_writer_end(w, NULL));
    check_ok(gguf_open_bytes(w->out.data, w->out.len, &g));
    return g;
}

static void tiles_and_back_are_the_same_bytes(void **state)
{
    (void)state;
    static const int types[] = {QUANT_F32, QUANT_F16, QUANT_BF16, QUANT_Q8_0,
                                QUANT_Q4_0};
    static float values[ROWS * COLS];
    struct gguf_writer w;
    struct gguf *g = make(&w, values);
    for (int i = 0; i < 5; i++) {
        struct gguf_writer wr, wt, wb;
        struct gguf *rows = pass(g, types[i], REPACK_ROWS, &wr);
        struct gguf *tiles = pass(rows, REPACK_KEEP, REPACK_TILES, &wt);
        struct gguf *back = pass(tiles, REPACK_KEEP, REPACK_ROWS, &wb);
        const struct gguf_tensor *a = gguf_find(rows, "m.weight");
        const struct gguf_tensor *t = gguf_find(tiles, "m.weight");
        const struct gguf_tensor *b = gguf_find(back, "m.weight");
        assert_int_equal(a->type, types[i]);
        assert_int_equal(t->type, types[i] + GGUF_PACKED);
        assert_int_equal(b->type, a->type);
        assert_memory_equal(a->data, b->data, a->bytes);
        assert_memory_equal(gguf_find(back, "n.weight")->data, values,
                            COLS * sizeof(float));
        /* What the tiles say is what the rows say. */
        struct weight weight = {(enum quant_type)types[i], ROWS, COLS, t->data};
        static float from_tiles[ROWS * COLS], from_rows[ROWS * COLS];
        weight_rows(&weight, 0, ROWS, from_tiles);
        quant_decode((enum quant_type)types[i], a->data, from_rows,
                     ROWS * COLS);
        assert_memory_equal(from_tiles, from_rows, sizeof from_rows);
        gguf_close(rows);
        gguf_close(tiles);
        gguf_close(back);
        gguf_writer_release(&wr);
        gguf_writer_release(&wt);
        gguf_writer_release(&wb);
    }
    gguf_close(g);
    gguf_writer_release(&w);
}

static void what_cannot_be_packed_gets_the_nearest_type(void **state)
{
    (void)state;
    struct gguf_tensor t = {.name = "t", .type = QUANT_Q5_0, .n_dims = 2};
    struct repack r;
    memcpy(t.dims, (const uint64_t[]){64, 32, 1, 1}, sizeof t.dims);
    check_ok(repack_plan(&t, REPACK_KEEP, REPACK_TILES, &r));
    assert_int_equal(r.type, QUANT_Q8_0);
    check_ok(repack_plan(&t, REPACK_KEEP, REPACK_ROWS, &r));
    assert_int_equal(r.type, QUANT_Q5_0);
    t.type = QUANT_F32;
    t.dims[0] = 33;
    check_ok(repack_plan(&t, QUANT_Q4_0, REPACK_TILES, &r));
    assert_int_equal(r.type, QUANT_F16);
    check_ok(repack_plan(&t, REPACK_KEEP, REPACK_TILES, &r));
    assert_int_equal(r.type, QUANT_F32);
    t.type = 20;
    check_code(repack_plan(&t, REPACK_KEEP, REPACK_TILES, &r),
               E_MODEL_UNSUPPORTED);
    t.type = QUANT_F32;
    t.n_dims = 3;
    check_code(repack_plan(&t, REPACK_KEEP, REPACK_TILES, &r),
               E_MODEL_UNSUPPORTED);
}

static void a_number_that_is_not_finite_is_named(void **state)
{
    (void)state;
    static float values[ROWS * COLS];
    struct gguf_writer w, out;
    struct gguf *g = make(&w, values);
    struct repack r;
    const struct gguf_tensor *t = gguf_find(g, "m.weight");
    float nan = NAN;
    memcpy((uint8_t *)(uintptr_t)t->data + 400, &nan, sizeof nan);
    check_ok(gguf_writer_init(&out, NULL, 64));
    check_ok(repack_plan(t, QUANT_Q8_0, REPACK_TILES, &r));
    repack_announce(&r, &out);
    assert_int_not_equal(repack_write(&r, &out, count, NULL), TACIT_OK);
    if (!strstr(err_message(), "m.weight")) fail_msg("%s", err_message());
    err_clear();
    gguf_writer_release(&out);
    gguf_close(g);
    gguf_writer_release(&w);
}

static void work_ends_when_it_is_stopped(void **state)
{
    (void)state;
    static float values[ROWS * COLS];
    struct gguf_writer w, out;
    struct gguf *g = make(&w, values);
    struct repack r;
    check_ok(gguf_writer_init(&out, NULL, 64));
    check_ok(
        repack_plan(gguf_find(g, "m.weight"), REPACK_KEEP, REPACK_TILES, &r));
    repack_announce(&r, &out);
    check_err(repack_write(&r, &out, stop, NULL), TACIT_STATE);
    check(seen > 0);
    gguf_writer_release(&out);
    gguf_close(g);
    gguf_writer_release(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiles_and_back_are_the_same_bytes),
        cmocka_unit_test(what_cannot_be_packed_gets_the_nearest_type),
        cmocka_unit_test(a_number_that_is_not_finite_is_named),
        cmocka_unit_test(work_ends_when_it_is_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
