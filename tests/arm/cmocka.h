/*
 * cmocka: as much of it as the tensor tests use, for the build of
 * tests/arm/run.sh: cross compilers come without the library.
 */
#ifndef TACIT_TESTS_ARM_CMOCKA_H
#define TACIT_TESTS_ARM_CMOCKA_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct CMUnitTest {
    const char *name;
    void (*run)(void **state);
};

#define cmocka_unit_test(f)                                                    \
 {                                                                             \
#  f, f                                                                        \
 }
#define print_error(...)                fprintf(stderr, __VA_ARGS__)
#define print_message(...)              printf(__VA_ARGS__)
#define skip()                          return
#define cmocka_set_test_filter(pattern) ((void)(pattern)) /* all run */
#define fail()                          _fail(__FILE__, __LINE__)

/* For whatever asserts: our err.h has another fail(). */
#define fail_msg(...) _fail(__FILE__, __LINE__)
#define assert_memory_equal(a, b, bytes)                                       \
 (memcmp(a, b, bytes) ? _fail(__FILE__, __LINE__) : (void)0)

static inline void _fail(const char *file, int line)
{
    fprintf(stderr, "%s:%d: failed\n", file, line);
    exit(1);
}

static inline int run_all(const struct CMUnitTest *tests, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        printf("  %s\n", tests[i].name);
        fflush(stdout);
        tests[i].run(NULL);
    }
    return 0;
}

#define cmocka_run_group_tests(tests, up, down)                                \
 run_all(tests, sizeof(tests) / sizeof *(tests))

#endif
