/* kernel_choice: what a processor has holds what it needs; a refusal of the
 * system is an answer, too. */
#include "tests/check.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/tensor/kernel_choice.h"

/* Exit status of run() in a process of its own. */
static int apart(int (*run)(void))
{
    int status = 0;
    pid_t pid = fork();
    check(pid >= 0);
    if (pid == 0) _exit(run());
    check(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Tiles are 8 KiB: Linux refuses them where a signal could not save them. */
static int ask_with_a_small_stack(void)
{
    static char memory[8192];
    stack_t small = {.ss_sp = memory, .ss_size = sizeof memory};
    if (sigaltstack(&small, NULL) != 0) return 2;
    return kernel_has(KERNEL_AMXINT8) || kernel_has(KERNEL_AMXBF16);
}

static void tiles_that_the_system_refuses_are_not_had(void **state)
{
    (void)state;
    check(apart(ask_with_a_small_stack) == 0);
}

static int ask_below_tiles(void)
{
    setenv("TACIT_KERNELS", "avx512", 1);
    return kernel_may(KERNEL_AMXINT8) || kernel_may(KERNEL_AMXBF16) ||
           kernel_may(KERNEL_AVX512VNNI) != kernel_has(KERNEL_AVX512VNNI) ||
           kernel_may(KERNEL_AVX512BF16) != kernel_has(KERNEL_AVX512BF16);
}

static int ask_for_tiles(void)
{
    setenv("TACIT_KERNELS", "amx", 1);
    return kernel_may(KERNEL_AMXINT8) != kernel_has(KERNEL_AMXINT8) ||
           kernel_may(KERNEL_AMXBF16) != kernel_has(KERNEL_AMXBF16);
}

static void the_environment_lowers_what_may_be_used(void **state)
{
    (void)state;
    check(apart(ask_below_tiles) == 0);
    check(apart(ask_for_tiles) == 0);
}

static void what_builds_on_another_kind_has_it(void **state)
{
    (void)state;
    static const enum kernel_kind pairs[][2] = {
        {KERNEL_AVXVNNI, KERNEL_AVX2},
        {KERNEL_AVX512VNNI, KERNEL_AVX512},
        {KERNEL_AVX512BF16, KERNEL_AVX512},
        {KERNEL_AMXINT8, KERNEL_AVX512VNNI},
        {KERNEL_AMXBF16, KERNEL_AVX512BF16},
        {KERNEL_DOTPROD, KERNEL_NEON}};
    check(kernel_has(KERNEL_BASE));
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        check(!kernel_has(pairs[i][0]) || kernel_has(pairs[i][1]));
}

int main(void)
{
    /* The first goes before any question: an answer stays. */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiles_that_the_system_refuses_are_not_had),
        cmocka_unit_test(the_environment_lowers_what_may_be_used),
        cmocka_unit_test(what_builds_on_another_kind_has_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
