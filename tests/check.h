/*
 * check: what every test uses on top of cmocka. A failed check prints the
 * recorded message, so a red test says why. Include it before project headers.
 */
#ifndef TACIT_TESTS_CHECK_H
#define TACIT_TESTS_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
/* Ours, below, records a message; tests fail by check_* and fail_msg. */
#undef fail
#undef fail_msg
#define fail_msg(...)                                                          \
 (print_error(__VA_ARGS__), print_error("\n"), _fail(__FILE__, __LINE__))

#include "common/base/err.h"

/* expr returned TACIT_OK, or fail with its message. */
#define check_ok(expr) check_ok_at((expr), #expr, __FILE__, __LINE__)
/* expr returned exactly `want`; the recorded message is cleared. */
#define check_err(expr, want)                                                  \
 check_err_at((expr), (want), #expr, __FILE__, __LINE__)
/* The same, and the catalogue code is `id` (an E_… name). */
#define check_code(expr, id)                                                   \
 check_code_at((expr), (id), #expr, __FILE__, __LINE__)
#define check(cond) check_at((cond) ? 1 : 0, #cond, __FILE__, __LINE__)
#define check_near(a, b, tol)                                                  \
 check_near_at((double)(a), (double)(b), (double)(tol), __FILE__, __LINE__)
/* First mismatch and the largest difference of two float arrays. */
#define check_tensor(got, want, n, tol)                                        \
 check_tensor_at((got), (want), (n), (tol), __FILE__, __LINE__)

void check_ok_at(enum tacit_err e, const char *what, const char *file,
                 int line);
void check_err_at(enum tacit_err e, enum tacit_err want, const char *what,
                  const char *file, int line);
void check_code_at(enum tacit_err e, unsigned id, const char *what,
                   const char *file, int line);
void check_at(int cond, const char *what, const char *file, int line);
void check_near_at(double a, double b, double tol, const char *file, int line);
void check_tensor_at(const float *got, const float *want, size_t n, double tol,
                     const char *file, int line);

/* A fresh folder below $TMPDIR; check_tmpdir_remove() deletes it. */
void check_tmpdir(char out[256]);
void check_tmpdir_remove(const char *path);
/* Path of a file in the shared test data (../shared/data or
 * $TACIT_TEST_DATA), or NULL when it is missing: then skip_missing(). */
const char *check_data(const char *relative);
/* Print one clear line and skip the running test. */
#define skip_missing(what)                                                     \
 do {                                                                          \
  print_message("[ SKIPPED  ] %s: test data %s is not here\n", __func__,       \
                (what));                                                       \
  skip();                                                                      \
 } while (0)
/* Read a gzip or plain file whole; *out is malloc'd, NUL-terminated. */
char *check_gunzip(const char *path, size_t *out_n);

#endif
