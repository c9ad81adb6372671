/*
 * data_idx: images of the MNIST family.
 *
 *   00 00 08 03 | n | height | width | n * height * width bytes     images
 *   00 00 08 04 | n | channels | height | width | …                 images
 *   00 00 08 01 | n | n bytes                                       labels
 *
 * Sizes are 32 bits, big-endian. A path names the images; the labels lie beside
 * them: train-images-idx3-ubyte, train-labels-idx1-ubyte. Where a t10k-… pair
 * lies beside a train-… pair, its rows are the test set. Bytes become 0 to 1.
 */
#ifndef TACIT_CLIENT_DATA_IDX_H
#define TACIT_CLIENT_DATA_IDX_H

#include "client/pooled.h"
#include "common/base/buf.h"

/* Do these bytes begin like IDX? */
int idx_is(const struct buf *bytes);
/* Images in `bytes`, which came from path, and the files beside it. E_DATA_…
 */
TACIT_CHECKED enum tacit_err idx_load(const struct plan *plan, const char *path,
                                      const struct buf *bytes,
                                      struct pooled *out);
/* Images and labels from memory; the names are for messages. E_DATA_… */
TACIT_CHECKED enum tacit_err idx_parse(
    const struct plan *plan, const char *image_name, const struct buf *images,
    const char *label_name, const struct buf *labels, struct pooled *out);
/* The name of the labels' file into out[cap]; E_DATA_KIND when path has no
 * "images" in its last part. */
TACIT_CHECKED enum tacit_err idx_label_path(const char *path, char *out,
                                            size_t cap);
/* The name of the t10k images that would lie beside train images; 0 when path
 * does not name those, or it does not fit. */
int idx_test_path(const char *path, char *out, size_t cap);

#endif
