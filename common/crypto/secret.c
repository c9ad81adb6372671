#include "common/crypto/secret.h"

#include <sodium.h>
#include <string.h>

#include "common/base/rng.h"

enum tacit_err secret_alloc(size_t n, void *out_ptr)
{
    rng_setup();
    void *p = sodium_malloc(n);
    if (!p) return fail(TACIT_NOMEM, "no guarded memory for %zu bytes", n);
    memset(p, 0, n);
    memcpy(out_ptr, &p, sizeof p);
    return TACIT_OK;
}

void secret_free(void *p)
{
    sodium_free(p);
}

void secret_wipe(void *p, size_t n)
{
    sodium_memzero(p, n);
}
