#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* TACIT_CASE=word: only tests whose name holds it, as in e2e. */
__attribute__((constructor)) static void choose_cases(void)
{
    static char pattern[256];
    const char *only = getenv("TACIT_CASE");
    if (!only) return;
    snprintf(pattern, sizeof pattern, "*%s*", only);
    cmocka_set_test_filter(pattern);
}

void check_ok_at(enum tacit_err e, const char *what, const char *file, int line)
{
    if (e == TACIT_OK) return;
    print_error("%s: %s: %s\n", what, err_text(e), err_message());
    _fail(file, line);
}

void check_err_at(enum tacit_err e, enum tacit_err want, const char *what,
                  const char *file, int line)
{
    if (e != want) {
        print_error("%s: got %s (%s), want %s\n", what, err_text(e),
                    err_message(), err_text(want));
        _fail(file, line);
    }
    err_clear();
}

void check_code_at(enum tacit_err e, unsigned id, const char *what,
                   const char *file, int line)
{
    if (e == TACIT_OK || err_id() != id) {
        print_error("%s: got code %u (%s), want %u\n", what, err_id(),
                    err_message(), id);
        _fail(file, line);
    }
    err_clear();
}

void check_at(int cond, const char *what, const char *file, int line)
{
    if (cond) return;
    print_error("not true: %s\n", what);
    _fail(file, line);
}

void check_near_at(double a, double b, double tol, const char *file, int line)
{
    if (fabs(a - b) <= tol) return;
    print_error("%.9g is not within %.3g of %.9g\n", a, tol, b);
    _fail(file, line);
}

void check_tensor_at(const float *got, const float *want, size_t n, double tol,
                     const char *file, int line)
{
    size_t first = n;
    double worst = 0.0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)got[i] - (double)want[i]);
        if (!(d <= tol) && first == n) first = i;
        if (!(d <= worst)) worst = d;
    }
    if (first == n) return;
    print_error("element %zu: %.9g, want %.9g; largest difference %.3g\n",
                first, (double)got[first], (double)want[first], worst);
    _fail(file, line);
}

void check_tmpdir(char out[256])
{
    const char *base = getenv("TMPDIR");
    snprintf(out, 256, "%s/tacit-test-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(out)) fail_msg("mkdtemp %s", out);
}

void check_tmpdir_remove(const char *path)
{
    char command[512];
    if (!strstr(path, "/tacit-test-")) fail_msg("not ours: %s", path);
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    if (system(command) != 0) fail_msg("%s", command);
}

const char *check_data(const char *relative)
{
    static char path[1024];
    const char *root = getenv("TACIT_TEST_DATA");
    snprintf(path, sizeof path, "%s/%s", root ? root : "../shared/data",
             relative);
    return access(path, R_OK) == 0 ? path : NULL;
}

char *check_gunzip(const char *path, size_t *out_n)
{
    char command[1200];
    size_t cap = 1 << 16, n = 0;
    char *data = malloc(cap);
    const char *gz = strstr(path, ".gz");
    snprintf(command, sizeof command, "%s '%s'", gz ? "gzip -dc" : "cat", path);
    FILE *f = popen(command, "r");
    if (!f || !data) fail_msg("cannot read %s", path);
    for (size_t got; (got = fread(data + n, 1, cap - n - 1, f)) > 0;) {
        n += got;
        if (n + 1 < cap) continue;
        cap *= 2;
        data = realloc(data, cap);
        if (!data) fail_msg("out of memory");
    }
    pclose(f);
    data[n] = '\0';
    *out_n = n;
    return data;
}
