/*
 * maxpool: the 2 x 2 maximum of one plane and its way back, in vectors. Used by
 * the convolution and by the pooling of ops_conv.c.
 */
#ifndef TACIT_TENSOR_MAXPOOL_H
#define TACIT_TENSOR_MAXPOOL_H

#include <stddef.h>
#include <stdint.h>

/* Whole vectors are moved: up to so many floats are read or written past the
 * end of each array below. */
enum { POOL_SLACK = 16 };

/* A plane whose rows are `stride` apart, and its [height, width] blocks. */
struct pool_plane {
    size_t stride, height, width;
    float bias; /* added to each point */
    int relu;   /* nothing negative passes */
};

/* out [height * width] = the largest of each block; winner gets its place in
 * the block (0 1 / 2 3), 4 where the ReLU lets nothing pass. */
void pool_forward(const struct pool_plane *p, const float *plane, float *out,
                  uint32_t *winner);
/* plane = g [height * width] at the winners, 0 elsewhere in the blocks' rows up
 * to a multiple of 16 columns; what follows a row is written again by the next
 * one, or stays 0 past the last. */
void pool_backward(const struct pool_plane *p, const float *g,
                   const uint32_t *winner, float *plane);

#endif
