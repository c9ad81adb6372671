/*
 * secret: memory for keys. Guard pages around it, locked where the system
 * allows, wiped when freed (libsodium's sodium_malloc).
 */
#ifndef TACIT_CRYPTO_SECRET_H
#define TACIT_CRYPTO_SECRET_H

#include <stddef.h>

#include "common/base/err.h"

/* n zeroed bytes into *out_ptr (a pointer of any type); free with
 * secret_free. NOMEM. */
TACIT_CHECKED enum tacit_err secret_alloc(size_t n, void *out_ptr);
/* Wipes first; NULL is fine. */
void secret_free(void *p);
/* Wipe n bytes in a way that the compiler keeps. */
void secret_wipe(void *p, size_t n);

#endif
