#!/usr/bin/env python3
"""Golden values of tests/tensor/test_svd.c, by numpy: singular values of whole
numbers over 97, and x' A_k y of the best approximation of rank k (A_k).

    python3 tests/golden/svd_golden.py > tests/golden/svd_golden.h
"""
import textwrap

import numpy as np

CASES = ((30, 12, 5), (12, 30, 4), (17, 17, 9), (1, 6, 1), (6, 1, 1))


def matrix(m, n):
    i, j = np.meshgrid(np.arange(m), np.arange(n), indexing="ij")
    return ((i * 37 + j * 101 + i * j * 13) % 97) / 97 - 0.5


GUARD = "TACIT_TESTS_GOLDEN_SVD_GOLDEN_H"
print("/* Made by tests/golden/svd_golden.py. */")
print(f"#ifndef {GUARD}\n#define {GUARD}\n\n#include <stddef.h>\n")
print("/* clang-format off */\nstatic const struct {\n    size_t m, n, keep;\n"
      "    double sigma[17], kept;\n} golden[] = {")
for m, n, keep in CASES:
    u, s, vt = np.linalg.svd(matrix(m, n), full_matrices=False)
    best = (u[:, :keep] * s[:keep]) @ vt[:keep]
    x, y = np.cos(np.arange(m)), np.sin(1 + np.arange(n))
    numbers = textwrap.fill(", ".join(f"{v:.16g}" for v in s), 70)
    print(f"{{{m}, {n}, {keep},\n {{{numbers}}},\n {x @ best @ y:.16g}}},")
print("};\n/* clang-format on */\n\n#endif")
