/*
 * exhaust: something is run until no request for memory is left that could
 * fail: nothing crashes, nothing leaks, and the error says so by name.
 */
#ifndef TACIT_TESTS_FAULT_EXHAUST_H
#define TACIT_TESTS_FAULT_EXHAUST_H

#include "tests/check.h"

#include "tests/fault/failing.h"

enum { REQUESTS_MAX = 20000 };

/* Whoever is out of memory says so; but a peer hears only that the session is
 * gone, and jansson takes a missing token for a wrong one. */
enum words { SAYS_NOMEM, MAY_SAY_LESS };

/* Let request 1, 2, … fail until there is none left that could. */
static void exhaust(const char *name, enum words words,
                    enum tacit_err (*run)(void))
{
    static const enum failing_mode modes[] = {FAIL_ONCE, FAIL_FROM_HERE};
    check_ok(run()); /* what is kept for good is made now */
    for (size_t m = 0; m < 2; m++) {
        long n = 1;
        for (;; n++) {
            failing_arm(n, modes[m]);
            enum tacit_err e = run();
            struct failing_result r = failing_disarm();
            int right =
                e == TACIT_OK || e == TACIT_NOMEM || words == MAY_SAY_LESS;
            if ((COUNTS_LIVE && r.live != 0) || !right ||
                (e != TACIT_OK && !r.fired))
                fail_msg("%s: request %ld: %s (%s), %ld blocks lost", name, n,
                         err_text(e), err_message(), r.live);
            if (e == TACIT_NOMEM) check(err_message()[0] != '\0');
            err_clear();
            if (!r.fired) {
                check_ok(e);
                break;
            }
            check(n < REQUESTS_MAX);
        }
        print_message("%s: %ld requests\n", name, n - 1);
    }
}

#endif
