#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/model/safetensors.h"

static void make(struct params *p, const char *first, size_t rows)
{
    const size_t w[] = {rows, 2}, b[] = {2};
    params_init(p);
    check_ok(params_add(p, first, w, 2));
    check_ok(params_add(p, "b", b, 1));
    check_ok(params_alloc(p));
    for (size_t i = 0; i < p->n_flat; i++) p->flat[i] = (float)i - 1.5f;
}

static void weights_come_back(void **state)
{
    (void)state;
    struct params a, b;
    struct buf bytes;
    const char *const metadata[] = {"plan", "risk \"1\"", NULL};
    make(&a, "w", 3);
    make(&b, "w", 3);
    memset(b.flat, 0, b.n_flat * sizeof(float));
    buf_init(&bytes, 0);
    check_ok(safetensors_encode(&a, metadata, &bytes));
    assert_int_equal(le64_load(bytes.data) % 8, 0);
    check_ok(safetensors_decode(bytes.data, bytes.len, &b));
    assert_memory_equal(a.flat, b.flat, a.n_flat * sizeof(float));
    buf_release(&bytes);
    params_release(&a);
    params_release(&b);
}

static void another_models_file_is_refused(void **state)
{
    (void)state;
    struct params a, renamed, longer;
    struct buf bytes;
    make(&a, "w", 3);
    make(&renamed, "v", 3);
    make(&longer, "w", 4);
    buf_init(&bytes, 0);
    check_ok(safetensors_encode(&a, NULL, &bytes));
    check_err(safetensors_decode(bytes.data, bytes.len, &renamed), TACIT_SHAPE);
    check_err(safetensors_decode(bytes.data, bytes.len, &longer), TACIT_SHAPE);
    buf_release(&bytes);
    params_release(&a);
    params_release(&renamed);
    params_release(&longer);
}

static void every_truncation_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    struct params a, b;
    struct buf bytes;
    make(&a, "w", 3);
    make(&b, "w", 3);
    buf_init(&bytes, 0);
    check_ok(safetensors_encode(&a, NULL, &bytes));
    for (size_t n = 0; n < bytes.len; n++) {
        assert_int_not_equal(safetensors_decode(bytes.data, n, &b), TACIT_OK);
        err_clear();
        assert_memory_equal(a.flat, b.flat, a.n_flat * sizeof(float));
    }
    buf_put_u8(&bytes, 0);
    check_err(safetensors_decode(bytes.data, bytes.len, &b), TACIT_FORMAT);
    buf_release(&bytes);
    params_release(&a);
    params_release(&b);
}

static void nan_and_infinity_are_refused(void **state)
{
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++) {
        struct params a, b;
        struct buf bytes;
        make(&a, "w", 3);
        make(&b, "w", 3);
        a.flat[4] = bad[i];
        buf_init(&bytes, 0);
        check_ok(safetensors_encode(&a, NULL, &bytes));
        check_err(safetensors_decode(bytes.data, bytes.len, &b), TACIT_FORMAT);
        buf_release(&bytes);
        params_release(&a);
        params_release(&b);
    }
}

static void hostile_headers_are_refused(void **state)
{
    (void)state;
    static const char *const headers[] = {
        "",
        "{",
        "[]",
        "{}",
        "null",
        "{\"w\":1,\"b\":2}",
        "{\"w\":{\"dtype\":\"F32\",\"shape\":[3,2],\"data_offsets\":[0,24]},"
        "\"b\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[24,32]}}",
        "{\"w\":{\"dtype\":\"F32\",\"shape\":[3,2],\"data_offsets\":[8,32]},"
        "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
        "{\"w\":{\"dtype\":\"F32\",\"shape\":[3,2],\"data_offsets\":[0,-24]},"
        "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[24,32]}}"};
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        struct params p;
        struct buf bytes;
        make(&p, "w", 3);
        buf_init(&bytes, 0);
        buf_put_u64(&bytes, strlen(headers[i]));
        buf_put(&bytes, headers[i], strlen(headers[i]));
        buf_put(&bytes, p.flat, p.n_flat * sizeof(float));
        assert_int_not_equal(safetensors_decode(bytes.data, bytes.len, &p),
                             TACIT_OK);
        err_clear();
        buf_release(&bytes);
        params_release(&p);
    }
    /* A header longer than the file, or than any may be. */
    struct params p;
    uint8_t bytes[64] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    make(&p, "w", 3);
    check_err(safetensors_decode(bytes, sizeof bytes, &p), TACIT_FORMAT);
    params_release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_come_back),
        cmocka_unit_test(another_models_file_is_refused),
        cmocka_unit_test(every_truncation_is_refused_and_changes_nothing),
        cmocka_unit_test(nan_and_infinity_are_refused),
        cmocka_unit_test(hostile_headers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
