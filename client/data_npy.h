/*
 * data_npy: NumPy arrays, as numpy.save() writes them.
 *
 *   93 "NUMPY" | major minor | header length (v1: 2 bytes, v2: 4) |
 *   {'descr': '<f4', 'fortran_order': False, 'shape': (100, 60), } | values
 *
 * Values are little-endian f4, f8, i8 or u1, in C order. A path names x, y lies
 * beside it: x.npy and y.npy, x_train.npy and y_train.npy, train_x.npy and
 * train_y.npy. x is [n, …] with as many values per row as the plan has inputs;
 * y is [n] or [n, 1]. In images, u1 are bytes from 0 to 255 and become 0 to 1.
 */
#ifndef TACIT_CLIENT_DATA_NPY_H
#define TACIT_CLIENT_DATA_NPY_H

#include "client/pooled.h"
#include "common/base/buf.h"

int npy_is(const struct buf *bytes);
/* x in `bytes`, which came from path, and y beside it. E_DATA_… */
TACIT_CHECKED enum tacit_err npy_load(const struct plan *plan, const char *path,
                                      const struct buf *bytes,
                                      struct pooled *out);
/* Both from memory; the names are for messages. E_DATA_… */
TACIT_CHECKED enum tacit_err npy_parse(const struct plan *plan,
                                       const char *x_name, const struct buf *x,
                                       const char *y_name, const struct buf *y,
                                       struct pooled *out);
/* The name of y's file into out[cap]; E_DATA_KIND when the stem of path neither
 * begins nor ends in x. */
TACIT_CHECKED enum tacit_err npy_label_path(const char *path, char *out,
                                            size_t cap);

#endif
