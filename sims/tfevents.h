/*
 * tfevents: the event files that TensorBoard reads.
 *
 *   file   = record …
 *   record = u64 length | u32 crc(length) | bytes | u32 crc(bytes)
 *   bytes  = Event {1: double wall_time, 2: int64 step,
 *                   3: string file_version | 5: Summary}
 *   Summary = {1: Value …}, Value = {1: string tag, 2: float simple_value}
 *
 * Numbers are little-endian; crc is CRC-32C, rotated and shifted so that a
 * record inside a record stays distinct:
 *   masked = (crc >> 15 | crc << 17) + 0xa282ead8.
 * Every record is flushed: a reader never waits for the end of a run.
 */
#ifndef TACIT_SIMS_TFEVENTS_H
#define TACIT_SIMS_TFEVENTS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/err.h"

enum { TFEVENTS_SCALARS_MAX = 32, TFEVENTS_TAG_MAX = 64 };

struct tfevents {
    FILE *file; /* owned */
    char path[4096];
};

struct tfevents_scalar {
    const char *tag; /* "loss/before"; groups by what stands before the '/' */
    double value;
};

/* Create path and write the version. IO, E_DISK_FULL. */
TACIT_CHECKED enum tacit_err tfevents_open(struct tfevents *t,
                                           const char *path);
/* One event with n scalars of this step; wall_time in seconds since 1970. */
TACIT_CHECKED enum tacit_err tfevents_add(struct tfevents *t, double wall_time,
                                          int64_t step,
                                          const struct tfevents_scalar *scalars,
                                          size_t n);
/* Write to the disk and close. A second call does nothing. */
TACIT_CHECKED enum tacit_err tfevents_close(struct tfevents *t);
/* Close without a look back. */
void tfevents_drop(struct tfevents *t);

/* CRC-32C (Castagnoli): of "123456789" it is 0xe3069283. */
uint32_t tfevents_crc32c(const void *bytes, size_t n);

#endif
