/*
 * passphrase: where a person's passphrase comes from: a file, standard input,
 * or the terminal without echo. Never a flag's value, which others can read.
 */
#ifndef TACIT_CLIENT_PASSPHRASE_H
#define TACIT_CLIENT_PASSPHRASE_H

#include <stddef.h>

#include "common/base/err.h"

struct passphrase {
    char *text; /* [n], guarded, owned; not terminated */
    size_t n;
};

/* from: a file (others must not be able to read it), "-" for the first line of
 * standard input, NULL for the terminal. `twice` not NULL: a new one, asked
 * for again with those words and refused when it is short.
 * E_STORE_KEY_MISSING without a terminal, E_KEYS_READABLE, LIMIT, STATE. */
TACIT_CHECKED enum tacit_err passphrase_read(const char *from, const char *ask,
                                             const char *twice,
                                             struct passphrase *out);
void passphrase_release(struct passphrase *p); /* wipes */

#endif
