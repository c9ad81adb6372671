/* The products for any processor, in vectors of four. */
#include "common/tensor/kernel_set.h"

#include <string.h>

#if defined __GNUC__ && !defined __clang__
# pragma GCC optimize("O3")
#endif

#define LANES        4
#define ROWS         6
#define COLUMNS      2
#define UNIT_ROWS    1
#define UNIT_COLUMNS 2
#define vec_keep(v)  ((void)(v))
#define KERNEL_NAME  "base"
#define KERNEL_SET   kernel_set_base

typedef float vec __attribute__((vector_size(16)));

static inline vec vec_load(const float *p)
{
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline vec vec_load_n(const float *p, size_t n)
{
    vec v = {0};
    if (n == LANES) return vec_load(p);
    for (size_t i = 0; i < n; i++) v[i] = p[i];
    return v;
}

static inline void vec_store_n(float *p, vec v, size_t n)
{
    if (n == LANES)
        memcpy(p, &v, sizeof v);
    else
        for (size_t i = 0; i < n; i++) p[i] = v[i];
}

static inline vec vec_all(float x)
{
    return (vec){x, x, x, x};
}

static inline vec vec_fma(vec a, vec b, vec c)
{
    return a * b + c;
}

#include "common/tensor/kernel_body.h"
