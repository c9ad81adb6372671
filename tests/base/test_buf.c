/* buf: what was written is read back, errors stick, nothing trails. */
#include "tests/check.h"

#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/rng.h"

static void fields_have_their_documented_bytes(void **state)
{
    (void)state;
    static const uint8_t want[] = {0x01, 0x03, 0x02, 0x07, 0x06, 0x05,
                                   0x04, 0x0f, 0x0e, 0x0d, 0x0c, 0x0b,
                                   0x0a, 0x09, 0x08, 0x00, 0x00, 0x80,
                                   0x3f, 0x02, 0x00, 'h',  'i'};
    struct buf b;
    buf_init(&b, 0);
    buf_put_u8(&b, 1);
    buf_put_u16(&b, 0x0203);
    buf_put_u32(&b, 0x04050607);
    buf_put_u64(&b, 0x08090a0b0c0d0e0f);
    buf_put_f32(&b, 1.0F);
    buf_put_str(&b, "hi");
    check_ok(buf_end(&b));
    check(b.len == sizeof want && memcmp(b.data, want, b.len) == 0);
    buf_release(&b);
}

/* Write or check field number `kind` with the next random words. */
static void put_field(struct buf *b, struct rng *r, uint64_t kind)
{
    uint64_t v = rng_u64(r);
    char text[41];
    switch (kind) {
    case 0: buf_put_u8(b, (uint8_t)v); break;
    case 1: buf_put_u16(b, (uint16_t)v); break;
    case 2: buf_put_u32(b, (uint32_t)v); break;
    case 3: buf_put_u64(b, v); break;
    case 4: buf_put_f32(b, (float)(int32_t)v); break;
    default:
        memset(text, 'a' + (int)(v % 26), sizeof text);
        text[v % sizeof text] = '\0';
        buf_put_str(b, text);
        break;
    }
}

static void check_field(struct reader *in, struct rng *r, uint64_t kind)
{
    uint64_t v = rng_u64(r);
    uint32_t bits;
    float f;
    char text[41];
    switch (kind) {
    case 0: check(reader_u8(in) == (uint8_t)v); break;
    case 1: check(reader_u16(in) == (uint16_t)v); break;
    case 2: check(reader_u32(in) == (uint32_t)v); break;
    case 3: check(reader_u64(in) == v); break;
    case 4:
        f = (float)(int32_t)v;
        memcpy(&bits, &f, sizeof bits);
        check(reader_u32(in) == bits);
        break;
    default:
        reader_str(in, text, sizeof text);
        check(strlen(text) == v % sizeof text);
        check(text[0] == '\0' || text[0] == 'a' + (char)(v % 26));
        break;
    }
}

static void random_fields_are_read_back(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct rng kinds, values;
        struct buf b;
        struct reader in;
        buf_init(&b, 0);
        rng_init(&kinds, seed, 0, 0);
        rng_init(&values, seed, 1, 0);
        for (int i = 0; i < 50; i++)
            put_field(&b, &values, rng_below(&kinds, 6));
        check_ok(buf_end(&b));
        rng_init(&kinds, seed, 0, 0);
        rng_init(&values, seed, 1, 0);
        reader_init(&in, b.data, b.len);
        for (int i = 0; i < 50; i++)
            check_field(&in, &values, rng_below(&kinds, 6));
        check_ok(reader_end(&in, "fields"));
        /* One byte fewer is always an error, one more too. */
        rng_init(&kinds, seed, 0, 0);
        reader_init(&in, b.data, b.len - 1);
        for (int i = 0; i < 50; i++) {
            uint64_t kind = rng_below(&kinds, 6);
            char text[64];
            if (kind == 5)
                reader_str(&in, text, sizeof text);
            else
                reader_copy(&in, text, kind == 4 ? 4 : (size_t)1 << kind);
        }
        check_err(reader_end(&in, "fields"), TACIT_FORMAT);
        buf_release(&b);
    }
}

static void trailing_bytes_are_counted_in_the_message(void **state)
{
    (void)state;
    static const uint8_t bytes[5] = {0};
    struct reader in;
    reader_init(&in, bytes, sizeof bytes);
    check(reader_u16(&in) == 0);
    enum tacit_err e = reader_end(&in, "a frame");
    assert_string_equal(err_message(), "a frame: 3 bytes too many");
    check_err(e, TACIT_FORMAT);
}

static void a_reader_past_its_end_yields_zeros(void **state)
{
    (void)state;
    static const uint8_t bytes[3] = {9, 9, 9};
    uint8_t copy[4] = {7, 7, 7, 7};
    char text[4] = "old";
    struct reader in;
    reader_init(&in, bytes, sizeof bytes);
    check(reader_u32(&in) == 0);
    /* What would fit is not read either: the error sticks. */
    check(reader_u8(&in) == 0 && reader_u16(&in) == 0 && reader_u64(&in) == 0);
    check(reader_take(&in, 1) == NULL);
    reader_copy(&in, copy, 4);
    check(copy[0] == 0 && copy[3] == 0);
    reader_str(&in, text, sizeof text);
    check(text[0] == '\0');
    check_err(reader_end(&in, "x"), TACIT_FORMAT);
}

static void an_empty_reader_is_at_its_end(void **state)
{
    (void)state;
    struct reader in;
    reader_init(&in, NULL, 0);
    reader_copy(&in, NULL, 0);
    check_ok(reader_end(&in, "nothing"));
    check(reader_take(&in, SIZE_MAX) == NULL);
    check_err(reader_end(&in, "nothing"), TACIT_FORMAT);
}

static void strings_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    static const uint8_t with_nul[] = {3, 0, 'a', 0, 'b'};
    static const uint8_t too_long[] = {9, 0, 'a', 'b'};
    struct buf b;
    struct reader in;
    char text[4];
    buf_init(&b, 0);
    buf_put_str(&b, "four");
    reader_init(&in, b.data, b.len);
    reader_str(&in, text, sizeof text); /* no room for its NUL */
    check_err(reader_end(&in, "x"), TACIT_FORMAT);
    reader_init(&in, with_nul, sizeof with_nul);
    reader_str(&in, text, sizeof text);
    check(text[0] == '\0');
    check_err(reader_end(&in, "x"), TACIT_FORMAT);
    reader_init(&in, too_long, sizeof too_long);
    reader_str(&in, text, sizeof text);
    check_err(reader_end(&in, "x"), TACIT_FORMAT);
    buf_release(&b);
}

static void a_string_has_at_most_65535_bytes(void **state)
{
    (void)state;
    static char text[UINT16_MAX + 2];
    struct buf b;
    memset(text, 'x', UINT16_MAX);
    buf_init(&b, 0);
    buf_put_str(&b, text);
    check_ok(buf_end(&b));
    text[UINT16_MAX] = 'x';
    buf_put_str(&b, text);
    check(b.len == 2 + UINT16_MAX);
    check_err(buf_end(&b), TACIT_LIMIT);
    buf_release(&b);
}

static void the_limit_holds_and_sticks(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    buf_put_u64(&b, 1);
    buf_put_u32(&b, 2);
    check(b.len == 8);
    buf_put_u8(&b, 3); /* would fit */
    check(b.len == 8 && buf_extend(&b, 0) == NULL && buf_cstr(&b) == NULL);
    check_err(buf_end(&b), TACIT_LIMIT);
    buf_clear(&b);
    buf_put(&b, "0123456789", 10);
    check_ok(buf_end(&b));
    check(buf_extend(&b, SIZE_MAX) == NULL);
    check_err(buf_end(&b), TACIT_LIMIT);
    buf_release(&b);
}

static void a_zeroed_struct_is_an_empty_buffer(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_put_u8(&b, 5);
    check_ok(buf_end(&b));
    check(b.len == 1);
    buf_release(&b);
    buf_release(&b);
}

static void printf_grows_as_needed(void **state)
{
    (void)state;
    struct buf b;
    char want[600];
    buf_init(&b, 0);
    for (int width = 250; width <= 260; width++) {
        buf_clear(&b);
        buf_printf(&b, "%*d|", width, 7);
        snprintf(want, sizeof want, "%*d|", width, 7);
        assert_string_equal(buf_cstr(&b), want);
        check(b.len == strlen(want));
    }
    buf_printf(&b, "%s", "");
    check_ok(buf_end(&b));
    buf_release(&b);
    buf_init(&b, 300);
    buf_printf(&b, "%*d", 301, 7);
    check_err(buf_end(&b), TACIT_LIMIT);
    buf_release(&b);
}

static void wiping_leaves_nothing(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 0);
    buf_wipe(&b);
    buf_put(&b, "secret", 6);
    buf_wipe(&b);
    check(b.data == NULL && b.len == 0 && b.cap == 0);
}

static void little_endian_words_round_trip(void **state)
{
    (void)state;
    struct rng r;
    uint8_t b[8];
    rng_init(&r, 5, 0, 0);
    for (int i = 0; i < 100; i++) {
        uint64_t v = rng_u64(&r);
        le64_store(b, v);
        check(le64_load(b) == v && b[0] == (uint8_t)v);
        le32_store(b, (uint32_t)v);
        check(le32_load(b) == (uint32_t)v && b[3] == (uint8_t)(v >> 24));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_have_their_documented_bytes),
        cmocka_unit_test(random_fields_are_read_back),
        cmocka_unit_test(trailing_bytes_are_counted_in_the_message),
        cmocka_unit_test(a_reader_past_its_end_yields_zeros),
        cmocka_unit_test(an_empty_reader_is_at_its_end),
        cmocka_unit_test(strings_that_do_not_fit_are_refused),
        cmocka_unit_test(a_string_has_at_most_65535_bytes),
        cmocka_unit_test(the_limit_holds_and_sticks),
        cmocka_unit_test(a_zeroed_struct_is_an_empty_buffer),
        cmocka_unit_test(printf_grows_as_needed),
        cmocka_unit_test(wiping_leaves_nothing),
        cmocka_unit_test(little_endian_words_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
