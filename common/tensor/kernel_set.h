/*
 * kernel_set: the products of one instruction set. kernel_body.h is their one
 * source; kernels_avx512.c, kernels_avx2.c and kernels_base.c include it with
 * their own vector type, and kernels.c picks the widest that the processor has.
 *
 * gemm and correlate sum over k in order with one rounding per step (a fused
 * multiply and add), whatever the width of the vectors; reduce sums in sixteen
 * strands. So AVX2 and AVX-512 give the same bits. The base, for processors
 * without a fused step, rounds twice.
 */
#ifndef TACIT_TENSOR_KERNEL_SET_H
#define TACIT_TENSOR_KERNEL_SET_H

#include <stdint.h>

#include "common/tensor/kernels.h"

struct kernel_set {
    const char *name;
    /* start [n]: as gemm_run_from(); NULL: by the mode. */
    void (*gemm)(const struct gemm *g, const float *start);
    void (*correlate)(const struct kernel_window *w);
    void (*reduce)(const struct kernel_window *w);
    void (*descend)(const struct kernel_window *w);
    /* Those of maps.h. */
    void (*gelu)(float *y, const float *x, size_t n);
    void (*gelu_slope)(float *y, float *x, size_t n);
    void (*gelu_backward)(float *gx, const float *gy, const float *x, size_t n);
    float (*soften)(float *x, float by, float *top, size_t n);
};

/* The one for this processor and TACIT_KERNELS (kernel_choice.h). */
const struct kernel_set *kernel_set_best(void);

extern const struct kernel_set kernel_set_base;
#if defined __x86_64__ && defined __GNUC__ && !defined __clang__
# define KERNEL_SETS_X86 1
extern const struct kernel_set kernel_set_avx2;
extern const struct kernel_set kernel_set_avx512;
/* The gemm of GEMM_BF16, for k > 0; a_row or a_col is 1: by pairs
 * (KERNEL_AVX512BF16), by tiles (KERNEL_AMXBF16); the same bits. */
void kernel_gemm_bf16(const struct gemm *g);
void kernel_gemm_amx(const struct gemm *g);
/* Both, where B is never in memory as a whole: fill() packs rows [l, l + k)
 * and columns [j, j + n) of it, l and j whole blocks and panels. By pairs into
 * [panels of KERNEL_PANEL columns][KERNEL_PAIRS][KERNEL_PANEL words], k at most
 * 2 KERNEL_PAIRS, as kernels_bf16.c has them; by tiles into [groups of 16
 * columns][blocks of 32 along k][16 x 16 words], as kernels_amx.c does. g->b
 * is not read. */
enum { KERNEL_PANEL = 64, KERNEL_PAIRS = 96 }; /* half the first cache */
typedef void kernel_fill(const void *ctx, size_t l, size_t k, size_t j,
                         size_t n, uint32_t *packed);
void kernel_gemm_bf16_filled(const struct gemm *g, kernel_fill *fill,
                             const void *ctx);
void kernel_gemm_amx_filled(const struct gemm *g, kernel_fill *fill,
                            const void *ctx);

/* What they are made of, between begin and end: C [m, n], up to 32 x 32, is 2 x
 * 2 tiles of sums. A tile of A is [16 rows][16 words], one of B [16 words][16
 * columns], a word two numbers of bf16 along k; `blocks` of 32 along k follow
 * each other, the next 16 lines lie a_next and b_next words behind (read where
 * m or n is over 16). Split numbers are the sum of two, whose tiles follow each
 * other, upper and lower; lower by lower counts as nothing. */
enum kernel_parts { KERNEL_WHOLE, KERNEL_A_SPLIT, KERNEL_BOTH_SPLIT };
struct kernel_square {
    const uint32_t *a, *b;
    size_t a_next, b_next, blocks;
    const float *from; /* what is added to, rows from_row apart; NULL: zeros */
    float *c;          /* rows c_row apart; may be from */
    size_t from_row, c_row, m, n;
    enum kernel_parts parts;
};
void kernel_tiles_begin(void);
void kernel_square_run(const struct kernel_square *s);
void kernel_tiles_end(void);
#else
# define KERNEL_SETS_X86 0
#endif

#endif
