/*
 * blob: content-addressed bytes cut into chunks, kept in a folder; resumable
 * in both directions.
 *
 *   <dir>/<hex of BLAKE2b-256>         a complete blob, verified when written
 *   <dir>/<hex>.part                   a blob being received, chunks in place
 *   <dir>/<hex>.map                    "TBM1" | u64 total | bit i = chunk i
 *
 * A bit is written to the map only after the chunk it stands for has been
 * synced, every BLOB_SYNC_CHUNKS chunks and when the part is closed: a power
 * cut costs at most those chunks, and what the map promises is there. One
 * process holds a part at a time (a lock on the map).
 */
#ifndef TACIT_WIRE_BLOB_H
#define TACIT_WIRE_BLOB_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/wire/limits.h"

enum { BLOB_SYNC_CHUNKS = 16 };

/* Number of WIRE_CHUNK_MAX chunks in total bytes. */
uint32_t blob_n_chunks(uint64_t total_bytes);
/* Bytes in chunk index of total_bytes: all are full but the last; 0 past the
 * end. */
uint32_t blob_chunk_len(uint64_t total_bytes, uint32_t index);
/* Store bytes durably; the name is their hash. Makes the folder where it is
 * missing, mends a blob that is there but damaged. LIMIT over WIRE_BLOB_MAX. */
TACIT_CHECKED enum tacit_err blob_put(const char *dir, const void *bytes,
                                      size_t n, struct digest *out);
/* Whole blob appended to out, hash checked (FORMAT when damaged). NOTFOUND. */
TACIT_CHECKED enum tacit_err blob_get(const char *dir,
                                      const struct digest *hash,
                                      size_t max_bytes, struct buf *out);
/* 1 when it is there (its content unchecked). */
int blob_has(const char *dir, const struct digest *hash);
/* Read it once: OK, NOTFOUND, FORMAT when damaged, IO. */
TACIT_CHECKED enum tacit_err blob_verify(const char *dir,
                                         const struct digest *hash);
/* BLAKE2b-256 of a file's content, in small steps. NOTFOUND, IO. */
TACIT_CHECKED enum tacit_err blob_hash_file(const char *path,
                                            struct digest *out);
TACIT_CHECKED enum tacit_err blob_path(const char *dir,
                                       const struct digest *hash, char *out,
                                       size_t cap);
/* Append chunk index to out; *total_bytes gets the blob's size. NOTFOUND past
 * the end. The hash was checked when the blob was written. */
TACIT_CHECKED enum tacit_err blob_chunk(const char *dir,
                                        const struct digest *hash,
                                        uint32_t index, uint64_t *total_bytes,
                                        struct buf *out);

/* A blob being received; survives a restart of the process. */
struct blob_part; /* owned */
/* Go on where an earlier part stopped; a part that does not fit total_bytes is
 * started again. Complete at once when the blob is there already, whole. FORMAT
 * for no bytes at all, LIMIT over WIRE_BLOB_MAX, STATE (E_STORE_BUSY) when
 * another process receives it. */
TACIT_CHECKED enum tacit_err blob_part_open(const char *dir,
                                            const struct digest *hash,
                                            uint64_t total_bytes,
                                            struct blob_part **out);
/* Lowest missing chunk, or n_chunks when complete. */
uint32_t blob_part_next(const struct blob_part *p);
/* FORMAT unless n is the chunk's exact length. A chunk already held is left as
 * it is. */
TACIT_CHECKED enum tacit_err blob_part_write(struct blob_part *p,
                                             uint32_t index, const void *bytes,
                                             size_t n);
/* Check the whole hash and rename into place; FORMAT (and the part begins
 * again, empty) when it differs; STATE while chunks are missing. */
TACIT_CHECKED enum tacit_err blob_part_finish(struct blob_part *p);
/* Keeps what was received; NULL is fine. */
void blob_part_close(struct blob_part *p);

#endif
