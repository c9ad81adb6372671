/* The cache of keys and values. */
#include "tests/check.h"

#include <math.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/model/kv.h"

enum { LAYERS = 2, HEADS = 3, WIDTH = 32, TOKENS = 20, ROW = HEADS * WIDTH };

static struct kv_shape shape_of(enum quant_type type)
{
    return (struct kv_shape){LAYERS, HEADS, WIDTH, TOKENS, type, 0};
}

static float k_of[LAYERS][TOKENS * ROW], v_of[LAYERS][TOKENS * ROW];

static void draw(void)
{
    struct rng r;
    rng_init(&r, 5, 0, 0);
    for (size_t l = 0; l < LAYERS; l++)
        for (size_t i = 0; i < TOKENS * ROW; i++) {
            k_of[l][i] = rng_normal(&r);
            v_of[l][i] = rng_normal(&r);
        }
}

static void put(struct kv *c, size_t n)
{
    size_t at = kv_n(c) * ROW;
    for (size_t l = 0; l < LAYERS; l++)
        check_ok(kv_append(c, l, k_of[l] + at, v_of[l] + at, n));
    kv_advance(c, n);
}

static void check_holds(const struct kv *c, size_t n, double tolerance)
{
    float k[TOKENS * WIDTH], v[TOKENS * WIDTH];
    for (size_t l = 0; l < LAYERS; l++) {
        struct attend_past past = kv_past(c, l);
        check(past.n == n);
        for (size_t h = 0; h < HEADS; h++) {
            past.fetch(past.ctx, h, 1, n - 1, k, v);
            for (size_t i = 0; i < n - 1; i++) {
                size_t at = (i + 1) * ROW + h * WIDTH;
                check_tensor(k + i * WIDTH, k_of[l] + at, WIDTH, tolerance);
                check_tensor(v + i * WIDTH, v_of[l] + at, WIDTH, tolerance);
            }
        }
    }
}

static void a_cache_gives_back_what_it_got(void **state)
{
    (void)state;
    static const struct {
        enum quant_type type;
        double tolerance; /* half a step of numbers up to 4 */
        size_t bytes;     /* of a row */
    } types[] = {{QUANT_F32, 0, 128},
                 {QUANT_F16, 1e-3, 64},
                 {QUANT_Q8_0, 0.02, 34}};
    draw();
    for (size_t i = 0; i < 3; i++) {
        const struct kv_shape shape = shape_of(types[i].type);
        struct kv *c;
        check_ok(kv_new(&shape, &c));
        check(kv_bytes(&shape) >= types[i].bytes * LAYERS * HEADS * 2 * TOKENS);
        check(kv_bytes(&shape) <
              types[i].bytes * LAYERS * HEADS * 2 * TOKENS + 64);
        put(c, 7);
        put(c, 1);
        put(c, 12);
        check_holds(c, TOKENS, types[i].tolerance);
        check_err(kv_append(c, 0, k_of[0], v_of[0], 1), TACIT_LIMIT);
        kv_truncate(c, 9);
        check_holds(c, 9, types[i].tolerance);
        put(c, 3);
        check_holds(c, 12, types[i].tolerance);
        kv_free(c);
    }
}

static void a_prefix_is_shared_by_copy(void **state)
{
    (void)state;
    struct kv_shape shape = shape_of(QUANT_F16);
    struct kv *c, *d, *other;
    draw();
    check_ok(kv_new(&shape, &c));
    put(c, TOKENS);
    shape.n_max = 10;
    check_ok(kv_new(&shape, &d));
    check_ok(kv_copy(d, c, 9));
    check_holds(d, 9, 1e-3);
    put(d, 1);
    check_holds(d, 10, 1e-3);
    check_err(kv_copy(d, c, 11), TACIT_LIMIT);
    check_err(kv_copy(c, d, 11), TACIT_LIMIT);
    shape.type = QUANT_F32;
    check_ok(kv_new(&shape, &other));
    check_err(kv_copy(other, c, 1), TACIT_SHAPE);
    kv_free(c);
    kv_free(d);
    kv_free(other);
}

/* Each token sees itself alone: nothing of a prefix is kept, but how long it
 * is. */
static void a_window_of_one_token_packs_nothing(void **state)
{
    (void)state;
    struct kv_shape shape = shape_of(QUANT_F16);
    shape.window = 1;
    struct kv *c, *d;
    uint8_t none[1] = {7};
    draw();
    check_ok(kv_new(&shape, &c));
    check_ok(kv_new(&shape, &d));
    put(c, 9);
    assert_int_equal(kv_packed_bytes(c, 9), 0);
    kv_pack(c, 9, none);
    check_ok(kv_unpack(d, none, 0, 9));
    assert_int_equal(kv_n(d), 9);
    assert_int_equal(none[0], 7);
    kv_free(c);
    kv_free(d);
}

static void what_cannot_be_cached_is_refused(void **state)
{
    (void)state;
    struct kv_shape shape = shape_of(QUANT_Q4_0);
    struct kv *c = NULL;
    check_err(kv_new(&shape, &c), TACIT_UNSUPPORTED);
    shape = shape_of(QUANT_Q8_0);
    shape.width = 24;
    check_err(kv_new(&shape, &c), TACIT_UNSUPPORTED);
    shape.n_max = KV_TOKENS_MAX + 1;
    check_err(kv_new(&shape, &c), TACIT_LIMIT);
    check(kv_bytes(&shape) == 0 && c == NULL);
    shape = shape_of(QUANT_F16);
    check_ok(kv_new(&shape, &c));
    float row[ROW] = {0}, odd[ROW] = {[5] = NAN};
    check_err(kv_append(c, 0, row, odd, 1), TACIT_LIMIT);
    check(kv_n(c) == 0);
    kv_free(c);
    kv_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cache_gives_back_what_it_got),
        cmocka_unit_test(a_prefix_is_shared_by_copy),
        cmocka_unit_test(a_window_of_one_token_packs_nothing),
        cmocka_unit_test(what_cannot_be_cached_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
