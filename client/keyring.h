/*
 * keyring: a key in the keyring of the person's session (freedesktop Secret
 * Service: GNOME Keyring, KWallet, KeePassXC), through the child secret-tool.
 * The secret passes by its standard input and output alone. The child has
 * KEYRING_WAIT_MS, in which a person may have to unlock the keyring.
 */
#ifndef TACIT_CLIENT_KEYRING_H
#define TACIT_CLIENT_KEYRING_H

#include <stdint.h>

#include "common/base/err.h"
#include "common/crypto/slot.h"

enum { KEYRING_WAIT_MS = 60000 };

/* Keep key under the store's id; replaces what is there. E_KEYRING. */
TACIT_CHECKED enum tacit_err keyring_store(const uint8_t id[SLOT_ID],
                                           const uint8_t key[SEAL_KEY]);
/* key [SEAL_KEY], guarded memory. E_STORE_KEY_MISSING when the keyring has
 * none, E_KEYRING when it cannot be asked. */
TACIT_CHECKED enum tacit_err keyring_lookup(const uint8_t id[SLOT_ID],
                                            uint8_t *key);
/* Forget it. */
TACIT_CHECKED enum tacit_err keyring_clear(const uint8_t id[SLOT_ID]);

#endif
