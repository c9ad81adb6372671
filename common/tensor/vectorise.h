/*
 * vectorise: include it first in a file whose plain loops are worth vectors,
 * and put MANY_TARGETS before a function that holds such a loop: it is compiled
 * for AVX-512, AVX2 and the base, and the loader picks one. Loops compiled so
 * add and multiply in the order they are written in (no fast-math, no fused
 * steps), so every choice gives the same bits. Sanitizers and, by
 * -DTACIT_ONE_TARGET, analysers get the base alone: they cannot follow the
 * loader's choice.
 */
#ifndef TACIT_TENSOR_VECTORISE_H
#define TACIT_TENSOR_VECTORISE_H

#if defined __GNUC__ && !defined __clang__
# pragma GCC optimize("O3", "no-math-errno")
#endif

#if defined __x86_64__ && defined __GNUC__ && !defined __clang__ &&            \
    !defined __SANITIZE_THREAD__ && !defined __SANITIZE_ADDRESS__ &&           \
    !defined TACIT_ONE_TARGET
# define MANY_TARGETS                                                          \
  __attribute__((target_clones("avx512f", "avx2", "default")))
#else
# define MANY_TARGETS
#endif

#endif
