/*
 * ann: what the programs that make, load and score vector sets agree on.
 */
#ifndef TACIT_TESTS_BENCH_ANN_H
#define TACIT_TESTS_BENCH_ANN_H

#include <stddef.h>
#include <stdint.h>

enum { ANN_DIM = 384, ANN_QUERIES = 1000, ANN_BEST = 10, ANN_MASKS = 4 };

/* Filter column: a number below 100 that says nothing about the vector. */
static inline int ann_dept(size_t row)
{
    return (int)(((uint32_t)row * 2654435761U >> 8) % 100);
}

/* Mask m keeps the rows with dept < ann_masks[m]: all, and 1, 10, 50 %. */
static const int ann_masks[ANN_MASKS] = {100, 1, 10, 50};

#endif
