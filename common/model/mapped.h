/*
 * mapped: a whole file as bytes in memory, read from the disk as it is touched.
 *
 * Who else writes the file changes the bytes; who cuts it, ends the program,
 * which names the file on stderr and exits with 1 (a handler of SIGBUS, from
 * the first file on, for the first 64 that are open). Files that are ours are
 * written once and never changed.
 *
 * Thread rule: any thread.
 */
#ifndef TACIT_MODEL_MAPPED_H
#define TACIT_MODEL_MAPPED_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

/* NOTFOUND, IO; FORMAT when it is empty or no file. */
TACIT_CHECKED enum tacit_err mapped_open(const char *path, const uint8_t **out,
                                         size_t *out_n);
/* These bytes of it have been used: their memory is given back. When they are
 * touched again, they are read from the disk's cache. */
void mapped_forget(const uint8_t *bytes, size_t n);
/* All of the file will be read. Some file systems then bring it into memory in
 * pieces of 2 MiB, which are there sooner and are read in less time. */
void mapped_expect_all(const uint8_t *bytes, size_t n);
void mapped_close(const uint8_t *bytes, size_t n);

#endif
