/*
 * svd: singular values and vectors of a small dense matrix, in f64.
 *
 *   A [m, n] = U diag(sigma) V^T     A V = U diag(sigma): turn pairs of columns
 *                                    of A until all are at right angles
 *
 * One-sided Jacobi: Hestenes 1958; the order of pairs is the plain one by rows,
 * as in Demmel and Veselic 1992, whose criterion it stops by. Columns come out
 * in falling order of length. Matrices stand by columns, each in one piece.
 *
 * No pivoting and no QR before it: m n^2 operations a sweep, for the widths of
 * adapters (up to a few hundred columns).
 *
 * Thread rule: pure functions of their arguments.
 */
#ifndef TACIT_TENSOR_SVD_H
#define TACIT_TENSOR_SVD_H

#include <stddef.h>

/* a: n columns of m; they become u_j sigma_j. sigma [n]: their lengths. v: n
 * columns of n, or NULL where V is not wanted. Any m and n; a column beyond the
 * rank has the length of rounding, or 0. */
void svd_turn(double *a, size_t m, size_t n, double *v, double *sigma);
double svd_dot(const double *x, const double *y, size_t n);

#endif
