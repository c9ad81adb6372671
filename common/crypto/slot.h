/*
 * slot: a store's data key, locked by another key that can be changed without
 * writing the store anew.
 *
 *   store's pages  <- data key, drawn once      (sealed.h)
 *   data key       <- slot: sealed by the key of a file, of a keyring, or of a
 *                     passphrase (Argon2id 1.3)
 *
 * The file of a slot, little-endian: magic [8], source u8, zeros [3], memory
 * of Argon2id u32 KiB, passes u32, salt [16], id [16], place (u16 length, then
 * bytes), data key sealed [32] and its extra [40], BLAKE2b-256 of all that,
 * which tells damage from another key. All fields before the data key are part
 * of what its seal proves. It holds no secret in the open, and is worth
 * nothing without the key it names; without it the store cannot be read.
 */
#ifndef TACIT_CRYPTO_SLOT_H
#define TACIT_CRYPTO_SLOT_H

#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/crypto/seal.h"

enum {
    SLOT_ID = 16,
    SLOT_SALT = 16,
    SLOT_PLACE_MAX = 512,
    SLOT_FILE_MAX = 1024,
    /* Argon2id as new slots have it: 64 MiB, 3 passes, 0.15 s. */
    SLOT_MEMORY_KIB = 64 << 10,
    SLOT_PASSES = 3,
    /* What a slot may ask for: more is not of our making. */
    SLOT_MEMORY_KIB_MAX = 1 << 20,
    SLOT_PASSES_MAX = 16,
    SLOT_PASSPHRASE_MIN = 8,
    SLOT_PASSPHRASE_MAX = 1024
};

enum slot_source { SLOT_FILE = 1, SLOT_KEYRING = 2, SLOT_PASSPHRASE = 3 };

struct slot {
    enum slot_source source;
    uint32_t memory_kib, passes; /* SLOT_PASSPHRASE */
    uint8_t salt[SLOT_SALT];
    uint8_t id[SLOT_ID];        /* of the store; names it in a keyring */
    char place[SLOT_PLACE_MAX]; /* SLOT_FILE: path, as given */
    uint8_t sealed[SEAL_KEY];   /* the data key */
    uint8_t extra[SEAL_EXTRA];
};

/* A slot of this source for the store `id`, still without a key; with a fresh
 * salt. LIMIT when place is too long. */
TACIT_CHECKED enum tacit_err slot_new(struct slot *s, enum slot_source source,
                                      const uint8_t id[SLOT_ID],
                                      const char *place);
/* Lock data_key by key. */
void slot_lock(struct slot *s, const uint8_t key[SEAL_KEY],
               const uint8_t data_key[SEAL_KEY]);
/* The data key into out [SEAL_KEY], guarded memory. E_STORE_KEY when it is not
 * this key's slot. */
TACIT_CHECKED enum tacit_err slot_unlock(const struct slot *s,
                                         const uint8_t key[SEAL_KEY],
                                         uint8_t *out);
/* The key that a passphrase gives with the slot's salt and cost. NOMEM. */
TACIT_CHECKED enum tacit_err slot_stretch(const struct slot *s,
                                          const char *passphrase, size_t n,
                                          uint8_t *out);
void slot_encode(const struct slot *s, struct buf *out);
/* FORMAT (E_STORE_DAMAGED), LIMIT for a cost over the limits. */
TACIT_CHECKED enum tacit_err slot_decode(const char *name, const uint8_t *bytes,
                                         size_t n, struct slot *out);

#endif
