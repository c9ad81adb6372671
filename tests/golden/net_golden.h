/*
 * net_golden: what the headers net_golden_*.h hold of a tiny network; they are
 * made by tests/golden/net_golden.py.
 */
#ifndef TACIT_TESTS_GOLDEN_NET_GOLDEN_H
#define TACIT_TESTS_GOLDEN_NET_GOLDEN_H

#include <stddef.h>

/* Number i is base + scale * draw(name, i); of its gradient the length and the
 * products with draw(name#1), draw(name#2). */
struct golden_tensor {
    const char *name;
    size_t rows, cols;
    double base, scale, length, dot1, dot2;
};

/* A key of the file's metadata. */
struct golden_pair {
    const char *key;
    double value;
    int is_real;
};

/* Two texts as one sequence of at most `most` tokens. */
struct golden_pair_text {
    const char *question, *passage;
    size_t most, n, second;
    int id[32];
};

#endif
