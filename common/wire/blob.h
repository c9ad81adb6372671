/*
 * blob: content-addressed bytes cut into chunks, kept in a folder; resumable
 * in both directions.
 *
 *   <dir>/<hex of BLAKE2b-256>         a complete blob, verified when written
 *   <dir>/<hex>.part + .map            chunks held so far (fsync'd map)
 */
#ifndef TACIT_WIRE_BLOB_H
#define TACIT_WIRE_BLOB_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/wire/limits.h"

/* Number of WIRE_CHUNK_MAX chunks in total bytes. */
uint32_t blob_n_chunks(uint64_t total_bytes);
/* Store bytes durably; the name is their hash. */
TACIT_CHECKED enum tacit_err blob_put(const char *dir, const void *bytes,
                                      size_t n, struct digest *out);
/* Whole blob, hash checked (FORMAT when damaged). */
TACIT_CHECKED enum tacit_err blob_get(const char *dir,
                                      const struct digest *hash,
                                      size_t max_bytes, struct buf *out);
int blob_has(const char *dir, const struct digest *hash);
TACIT_CHECKED enum tacit_err blob_path(const char *dir,
                                       const struct digest *hash, char *out,
                                       size_t cap);
/* Read chunk index; *total_bytes gets the blob's size. */
TACIT_CHECKED enum tacit_err blob_chunk(const char *dir,
                                        const struct digest *hash,
                                        uint32_t index, uint64_t *total_bytes,
                                        struct buf *out);

/* A blob being received; survives a restart of the process. */
struct blob_part; /* owned */
TACIT_CHECKED enum tacit_err blob_part_open(const char *dir,
                                            const struct digest *hash,
                                            uint64_t total_bytes,
                                            struct blob_part **out);
/* Lowest missing chunk, or n_chunks when complete. */
uint32_t blob_part_next(const struct blob_part *p);
TACIT_CHECKED enum tacit_err blob_part_write(struct blob_part *p,
                                             uint32_t index, const void *bytes,
                                             size_t n);
/* Check the whole hash and rename into place; FORMAT (and the part is
 * deleted) when it differs. */
TACIT_CHECKED enum tacit_err blob_part_finish(struct blob_part *p);
void blob_part_close(struct blob_part *p);

#endif
