/*
 * seal: bytes that nobody without the key can read or change unseen. What the
 * sealed store (sealed.h) does to every page, and a slot (slot.h) to its key.
 *
 *   sealed = XChaCha20-Poly1305(key, nonce, bytes; place)
 *   extra  = nonce [24] ‖ tag [16], stored beside the sealed bytes
 *
 * The nonce is drawn anew for each sealing: 192 bits, so that no count of
 * writes, no restored snapshot and no copy of a store ever needs care. `place`
 * says what the bytes are and where they belong; it is not stored. Bytes that
 * are moved elsewhere do not open.
 *
 * Why this cipher, libsodium 1.0.18, one 2.6 GHz core, µs for 4 / 8 / 16 KiB:
 *   XChaCha20-Poly1305             3.3    6.0   11.3   any processor
 *   AES-256-GCM with AES-NI        2.5    4.9    9.4   x86 only; 96-bit nonces
 *   the same, a subkey per page    2.6    4.8    9.2   x86 only
 *   secretstream                   3.9    6.5   11.9
 * A store that opens on one machine alone is not worth a quarter of the time
 * of pages that are not in SQLite's cache.
 */
#ifndef TACIT_CRYPTO_SEAL_H
#define TACIT_CRYPTO_SEAL_H

#include <stddef.h>
#include <stdint.h>

enum {
    SEAL_KEY = 32,
    SEAL_NONCE = 24,
    SEAL_TAG = 16,
    SEAL_EXTRA = SEAL_NONCE + SEAL_TAG
};

/* What is sealed. A number is never used again for something else. */
enum seal_kind {
    SEAL_HEADER = 1,   /* a store's header */
    SEAL_PAGE = 2,     /* a: page number */
    SEAL_WAL_HEAD = 3, /* the header of a write-ahead log */
    SEAL_FRAME = 4,    /* a: frame */
    SEAL_WAL_PAGE = 5, /* a: frame, b: page number */
    SEAL_JOURNAL = 6,  /* a: offset, b: page number */
    SEAL_BLOCK = 7,    /* a: block of a temporary file */
    SEAL_SLOT = 8,     /* a, b: hash of the slot's other fields */
    SEAL_PROMPT = 9    /* a, b: name of a prompt's keys and values */
};

struct seal_place {
    enum seal_kind kind;
    uint64_t a, b;
};

/* Seal bytes [n] into out [n] (may be the same) and extra. */
void seal_close(const uint8_t key[SEAL_KEY], const struct seal_place *place,
                const void *bytes, size_t n, uint8_t *out,
                uint8_t extra[SEAL_EXTRA]);
/* Open in place. 0, or -1 when key, place, bytes or extra are not those of the
 * sealing: then bytes [n] are zeros. */
int seal_open(const uint8_t key[SEAL_KEY], const struct seal_place *place,
              uint8_t *bytes, size_t n, const uint8_t extra[SEAL_EXTRA]);
/* out = a key of its own for `purpose` and salt [n_salt], from key. */
void seal_derive(uint8_t out[SEAL_KEY], const uint8_t key[SEAL_KEY],
                 const char *purpose, const void *salt, size_t n_salt);
/* XOR n <= 64 bytes with what only key and nonce give. */
void seal_mask(const uint8_t key[SEAL_KEY], const uint8_t nonce[SEAL_NONCE],
               uint8_t *bytes, size_t n);

#endif
