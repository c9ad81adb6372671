/*
 * memory: how much of it this process can still take.
 */
#ifndef TACIT_BASE_MEMORY_H
#define TACIT_BASE_MEMORY_H

#include <stdint.h>

/* Bytes that a process can still take: MemAvailable, or less where the limit of
 * a control group is lower. UINT64_MAX when the system does not say. */
uint64_t memory_free(void);
/* The same from a given root in place of "": for tests. */
uint64_t memory_free_below(const char *root);

#endif
