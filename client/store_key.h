/*
 * store_key: how the key of a home's store is kept, and opening the store.
 *
 *   <home>/tacit.db   sealed (common/crypto/sealed.h), or plain where the
 *                     person said so
 *   <home>/seal       the slot: the data key, locked (common/crypto/slot.h)
 *   <home>/seal.new   the same while a store is being sealed or unsealed
 *   <home>/store.key  the key that opens the slot, where no other place was
 *                     named: it keeps copies of tacit.db alone unreadable
 *
 * A change of the key writes the slot anew, and nothing else. Sealing a plain
 * store, or unsealing one, copies it beside itself and puts the copy in its
 * place by one rename: whatever happens, there is one whole store, and a slot
 * for it if it is sealed. A copy that was left unfinished goes when the home is
 * used next.
 *
 *   seal     key, seal.new | tacit.db <- copy | seal <- seal.new
 *   unseal   seal.new <- seal | tacit.db <- copy | seal.new and key go
 *
 * A plain tacit.db beside `seal` is refused: somebody else put it there.
 */
#ifndef TACIT_CLIENT_STORE_KEY_H
#define TACIT_CLIENT_STORE_KEY_H

#include "common/base/err.h"
#include "common/crypto/sealed.h"
#include "common/crypto/slot.h"

enum { STORE_PLACE_MAX = 512 };

/* Where a key is kept; STORE_PLAIN: there is none. */
enum store_kind {
    STORE_PLAIN = 0,
    STORE_FILE = SLOT_FILE,
    STORE_KEYRING = SLOT_KEYRING,
    STORE_PASSPHRASE = SLOT_PASSPHRASE
};

struct store_source {
    enum store_kind kind;
    char place[STORE_PLACE_MAX]; /* STORE_FILE: relative to the home, or full */
};

/* "file", "file:PATH", "keyring", "passphrase", "none"; NULL: "file".
 * E_USAGE. */
TACIT_CHECKED enum tacit_err store_source_parse(const char *text,
                                                struct store_source *out);
/* "a key file (/media/key)", for people. */
void store_source_text(const struct store_source *s, char *out, size_t cap);

/* How the home's store is kept now. */
TACIT_CHECKED enum tacit_err store_source_of(const char *home,
                                             struct store_source *out);
/* A key of this source and a slot, for a home whose store is still to be made.
 * passphrase: see passphrase.h. *out is NULL for STORE_PLAIN. */
TACIT_CHECKED enum tacit_err store_key_make(const char *home,
                                            const struct store_source *source,
                                            const char *passphrase,
                                            struct sealed_vfs **out);
/* The VFS that opens the home's store; NULL when it is plain.
 * E_STORE_KEY, E_STORE_KEY_MISSING, E_KEYRING, E_STORE_DAMAGED. */
TACIT_CHECKED enum tacit_err store_key_open(const char *home,
                                            const char *passphrase,
                                            struct sealed_vfs **out);
/* Keep the store by another source: the old key opens it (`passphrase`), the
 * new one is made (`new_passphrase`). Nobody else may use the home. */
TACIT_CHECKED enum tacit_err store_key_change(const char *home,
                                              const struct store_source *to,
                                              const char *passphrase,
                                              const char *new_passphrase);

/* Every user of a home holds it; a change of the store wants it alone. What an
 * interrupted change left of its copy is removed. E_STORE_BUSY. */
enum store_use { STORE_SHARED, STORE_ALONE };
TACIT_CHECKED enum tacit_err store_hold(const char *home, enum store_use use,
                                        int *out_fd);

#endif
