/*
 * failing: memory that runs out on purpose, in this test binary alone.
 *
 * malloc and its kin are defined here, in the program, so that the libraries
 * call them too; sodium_malloc as well. While armed, the n-th request of this
 * thread fails (or that and every later one), and what is taken and given back
 * is counted.
 *
 *   failing_arm(n, FAIL_ONCE); e = run(); r = failing_disarm();
 *   r.fired: was there an n-th request?  r.live: blocks not given back.
 */
#ifndef TACIT_TESTS_FAULT_FAILING_H
#define TACIT_TESTS_FAULT_FAILING_H

enum failing_mode { FAIL_ONCE, FAIL_FROM_HERE };

struct failing_result {
    int fired;
    long live;
    long requests;
};

void failing_arm(long n, enum failing_mode mode);
struct failing_result failing_disarm(void);

#endif
