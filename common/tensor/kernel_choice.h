/*
 * kernel_choice: which instructions the products may use: those that the
 * processor has, or fewer where TACIT_KERNELS names one of
 *
 *   base < avx2 < avxvnni < avx512 (VNNI, BF16 if it has) < amx   x86-64
 *   base < neon < dotprod                                     64-bit ARM
 *
 * What it names is an upper bound; anything else is as if it were not set. It
 * is read once, before the first product. AMX is had where Linux lends this
 * process its tiles as well: they are asked for once, at the first question
 * that TACIT_KERNELS lets through; from then on a stack for signals
 * (sigaltstack) must hold them, AT_MINSIGSTKSZ says how many bytes. Who uses
 * tiles sets them up and releases them in one call: a thread that waits keeps
 * none.
 */
#ifndef TACIT_TENSOR_KERNEL_CHOICE_H
#define TACIT_TENSOR_KERNEL_CHOICE_H

#include <stdbool.h>

enum kernel_kind {
    KERNEL_BASE,
    KERNEL_AVX2, /* with FMA */
    KERNEL_AVXVNNI,
    KERNEL_AVX512, /* F and VL */
    KERNEL_AVX512VNNI,
    KERNEL_AVX512BF16,
    KERNEL_AMXINT8, /* with AVX512VNNI */
    KERNEL_AMXBF16, /* with AVX512BF16 */
    KERNEL_NEON,
    KERNEL_DOTPROD
};

/* This processor has it, and it may be used. */
bool kernel_may(enum kernel_kind kind);
/* This processor has it. */
bool kernel_has(enum kernel_kind kind);

#endif
