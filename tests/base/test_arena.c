/* arena: aligned, zeroed, bounded, freed whole. */
#include "tests/check.h"

#include <stdint.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/rng.h"

static void allocations_are_zeroed_aligned_and_apart(void **state)
{
    (void)state;
    enum { N = 400 };
    static uint8_t *at[N];
    static size_t size[N];
    struct arena a;
    struct rng r;
    rng_init(&r, 1, 0, 0);
    arena_init(&a, 0);
    for (size_t i = 0; i < N; i++) {
        size[i] = rng_below(&r, i % 10 ? 300 : 20000);
        check_ok(arena_alloc(&a, size[i], 1, &at[i]));
        check((uintptr_t)at[i] % 64 == 0);
        for (size_t k = 0; k < size[i]; k++) check(at[i][k] == 0);
        memset(at[i], (int)(i & 0xff), size[i]);
    }
    check_ok(arena_check(&a));
    for (size_t i = 0; i < N; i++)
        for (size_t k = 0; k < size[i]; k++) check(at[i][k] == (i & 0xff));
    arena_release(&a);
    check(a.used_bytes == 0 && a.head == NULL);
}

static void the_limit_holds_to_the_byte(void **state)
{
    (void)state;
    struct arena a;
    void *p = NULL, *was;
    arena_init(&a, 256);
    check_ok(arena_alloc(&a, 3, 64, &p));
    was = p;
    check_err(arena_alloc(&a, 65, 1, &p), TACIT_LIMIT);
    check(p == was);
    check_ok(arena_alloc(&a, 64, 1, &p));
    check_err(arena_alloc(&a, 1, 1, &p), TACIT_LIMIT);
    arena_reset(&a);
    check_ok(arena_alloc(&a, 256, 1, &p));
    arena_release(&a);
}

static void sizes_that_wrap_around_are_refused(void **state)
{
    (void)state;
    struct arena a;
    void *p = NULL;
    arena_init(&a, 0);
    check_err(arena_alloc(&a, SIZE_MAX, 2, &p), TACIT_NOMEM);
    check_err(arena_alloc(&a, SIZE_MAX / 2, SIZE_MAX / 2, &p), TACIT_NOMEM);
    char *s = NULL;
    check_err(arena_strdup(&a, "x", SIZE_MAX, &s), TACIT_NOMEM);
    check(p == NULL && s == NULL);
    arena_release(&a);
}

static void reset_keeps_the_newest_block(void **state)
{
    (void)state;
    struct arena a;
    void *p;
    arena_init(&a, 0);
    for (int round = 0; round < 5; round++) {
        const struct arena_block *before = a.head;
        for (int i = 0; i < 100; i++) check_ok(arena_alloc(&a, 1, 640, &p));
        if (round >= 2) check(a.head == before);
        arena_reset(&a);
        check(a.used_bytes == 0);
    }
    arena_release(&a);
    arena_reset(&a);
    check_ok(arena_alloc(&a, 1, 1, &p));
    arena_release(&a);
}

static void reserved_memory_is_one_block(void **state)
{
    (void)state;
    struct arena a;
    void *p;
    arena_init(&a, 1 << 20);
    check_ok(arena_reserve(&a, 200000));
    const struct arena_block *block = a.head;
    check(a.used_bytes == 0);
    check_ok(arena_reserve(&a, 100000));
    for (int i = 0; i < 3125; i++) check_ok(arena_alloc_raw(&a, 1, 64, &p));
    check(a.head == block);
    check_err(arena_reserve(&a, SIZE_MAX - 8), TACIT_NOMEM);
    arena_release(&a);
}

static void reused_memory_is_zeroed_again(void **state)
{
    (void)state;
    struct arena a;
    uint8_t *p;
    arena_init(&a, 0);
    check_ok(arena_alloc(&a, 100, 1, &p));
    memset(p, 0xff, 100);
    arena_reset(&a);
    check_ok(arena_alloc(&a, 100, 1, &p));
    for (size_t i = 0; i < 100; i++) check(p[i] == 0);
    arena_release(&a);
}

static void strdup_ends_the_copy(void **state)
{
    (void)state;
    struct arena a;
    char *s;
    arena_init(&a, 0);
    check_ok(arena_strdup(&a, "hospital", 4, &s));
    assert_string_equal(s, "hosp");
    check_ok(arena_strdup(&a, NULL, 0, &s));
    assert_string_equal(s, "");
    arena_release(&a);
}

static void a_damaged_mark_is_found(void **state)
{
    (void)state;
    struct arena a;
    void *p;
    arena_init(&a, 0);
    check_ok(arena_alloc(&a, 1, 64, &p));
    uint64_t mark, damaged = 0;
    memcpy(&mark, a.head, sizeof mark);
    memcpy(a.head, &damaged, sizeof damaged);
    check_err(arena_check(&a), TACIT_INTERNAL);
    memcpy(a.head, &mark, sizeof mark);
    check_ok(arena_check(&a));
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_are_zeroed_aligned_and_apart),
        cmocka_unit_test(the_limit_holds_to_the_byte),
        cmocka_unit_test(sizes_that_wrap_around_are_refused),
        cmocka_unit_test(reset_keeps_the_newest_block),
        cmocka_unit_test(reserved_memory_is_one_block),
        cmocka_unit_test(reused_memory_is_zeroed_again),
        cmocka_unit_test(strdup_ends_the_copy),
        cmocka_unit_test(a_damaged_mark_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
