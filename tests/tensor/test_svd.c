/* Singular values and vectors, beside numpy's. */
#include "tests/check.h"

#include <math.h>
#include <string.h>

#include "common/tensor/svd.h"
#include "tests/golden/svd_golden.h"

enum { SIDE = 30, CASES = sizeof golden / sizeof *golden };

static double a[SIDE * SIDE], first[SIDE * SIDE], v[SIDE * SIDE], sigma[SIDE];

/* As in the script, by columns. */
static void fill(size_t m, size_t n)
{
    for (size_t j = 0; j < n; j++)
        for (size_t i = 0; i < m; i++)
            a[j * m + i] =
                (double)((i * 37 + j * 101 + i * j * 13) % 97) / 97 - 0.5;
    memcpy(first, a, m * n * sizeof *a);
}

/* U Sigma V^T, of the first `keep` directions, at row i and column j. */
static double product(size_t m, size_t n, size_t keep, size_t i, size_t j)
{
    double sum = 0;
    for (size_t k = 0; k < keep; k++) sum += a[k * m + i] * v[k * n + j];
    return sum;
}

static void values_are_numpys(void **state)
{
    (void)state;
    for (size_t c = 0; c < CASES; c++) {
        size_t m = golden[c].m, n = golden[c].n;
        size_t some = m < n ? m : n;
        fill(m, n);
        svd_turn(a, m, n, v, sigma);
        for (size_t k = 0; k < n; k++)
            check_near(sigma[k], k < some ? golden[c].sigma[k] : 0, 1e-13);
    }
}

static void the_best_of_a_lower_rank_is_numpys(void **state)
{
    (void)state;
    for (size_t c = 0; c < CASES; c++) {
        size_t m = golden[c].m, n = golden[c].n;
        double sum = 0;
        fill(m, n);
        svd_turn(a, m, n, v, sigma);
        for (size_t i = 0; i < m; i++)
            for (size_t j = 0; j < n; j++)
                sum += cos((double)i) * sin((double)(1 + j)) *
                       product(m, n, golden[c].keep, i, j);
        check_near(sum, golden[c].kept, 1e-12);
    }
}

static void the_parts_make_the_matrix_and_stand_at_right_angles(void **state)
{
    (void)state;
    for (size_t c = 0; c < CASES; c++) {
        size_t m = golden[c].m, n = golden[c].n;
        fill(m, n);
        svd_turn(a, m, n, v, sigma);
        for (size_t i = 0; i < m; i++)
            for (size_t j = 0; j < n; j++)
                check_near(product(m, n, n, i, j), first[j * m + i], 1e-14);
        for (size_t p = 0; p < n; p++)
            for (size_t q = 0; q < n; q++) {
                check_near(svd_dot(v + p * n, v + q * n, n), p == q, 1e-13);
                check_near(svd_dot(a + p * m, a + q * m, m),
                           p == q ? sigma[p] * sigma[p] : 0, 1e-13);
            }
        for (size_t k = 1; k < n; k++) check(sigma[k] <= sigma[k - 1]);
    }
}

static void a_matrix_of_low_rank_has_no_more_directions(void **state)
{
    (void)state;
    enum { M = 20, N = 14, RANK = 3 };
    fill(M, N);
    for (size_t j = RANK; j < N; j++)
        for (size_t i = 0; i < M; i++)
            a[j * M + i] = a[(j % RANK) * M + i] * (double)j - a[i];
    svd_turn(a, M, N, v, sigma);
    check(sigma[RANK - 1] > 0.1);
    for (size_t k = RANK; k < N; k++) check(sigma[k] < 1e-13);
    memset(a, 0, sizeof a);
    svd_turn(a, M, N, NULL, sigma);
    for (size_t k = 0; k < N; k++) check(sigma[k] == 0);
}

static void what_is_no_number_comes_to_an_end(void **state)
{
    (void)state;
    fill(12, 8);
    a[5] = (double)NAN;
    svd_turn(a, 12, 8, v, sigma);
    fill(12, 8);
    a[5] = (double)INFINITY;
    svd_turn(a, 12, 8, v, sigma);
    fill(12, 8);
    for (int i = 0; i < 96; i++) a[i] *= 1e-120; /* squares underflow not */
    svd_turn(a, 12, 8, v, sigma);
    check(sigma[0] > 1e-121 && sigma[7] > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_numpys),
        cmocka_unit_test(the_best_of_a_lower_rank_is_numpys),
        cmocka_unit_test(the_parts_make_the_matrix_and_stand_at_right_angles),
        cmocka_unit_test(a_matrix_of_low_rank_has_no_more_directions),
        cmocka_unit_test(what_is_no_number_comes_to_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
