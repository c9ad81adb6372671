/* The products for any processor, in vectors of four. */
#include "common/tensor/kernel_set.h"

#include <string.h>

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

/* Of a part, by a call: tiles of all sizes have many of these. */
static __attribute__((noinline)) vec load_part(const float *p, size_t n)
{
    vec v = {0};
    for (size_t i = 0; i < n; i++) v[i] = p[i];
    return v;
}

static inline vec vec_load_n(const float *p, size_t n)
{
    return n == LANES ? vec_load(p) : load_part(p, n);
}

static __attribute__((noinline)) void store_part(float *p, vec v, size_t n)
{
    for (size_t i = 0; i < n; i++) p[i] = v[i];
}

static inline void vec_store_n(float *p, vec v, size_t n)
{
    if (n == LANES)
        memcpy(p, &v, sizeof v);
    else
        store_part(p, v, n);
}

static inline vec vec_all(float x)
{
    return (vec){x, x, x, x};
}

typedef int32_t lane_bits __attribute__((vector_size(16)));

static inline vec choose(lane_bits which, vec a, vec b)
{
    return (vec)(((lane_bits)a & which) | ((lane_bits)b & ~which));
}

static inline vec vec_max(vec a, vec b)
{
    return choose(a > b, a, b);
}

static inline vec vec_min(vec a, vec b)
{
    return choose(a < b, a, b);
}

static inline vec vec_fma(vec a, vec b, vec c)
{
    return a * b + c;
}

#include "common/tensor/kernel_body.h"
