#include "common/crypto/slot.h"

#include <sodium.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/digest.h"
#include "common/base/rng.h"

static const char magic[8] = "TACITS1";

/* Everything that the seal of the data key proves besides. */
static void put_fields(const struct slot *s, struct buf *b)
{
    buf_put(b, magic, sizeof magic);
    buf_put_u8(b, (uint8_t)s->source);
    for (int i = 0; i < 3; i++) buf_put_u8(b, 0);
    buf_put_u32(b, s->memory_kib);
    buf_put_u32(b, s->passes);
    buf_put(b, s->salt, sizeof s->salt);
    buf_put(b, s->id, sizeof s->id);
    buf_put_str(b, s->place);
}

static struct seal_place place_of(const struct slot *s)
{
    struct digest d = {{0}};
    struct buf b;
    buf_init(&b, SLOT_FILE_MAX);
    put_fields(s, &b);
    if (!b.err) digest_of(&d, b.data, b.len);
    buf_release(&b);
    return (struct seal_place){SEAL_SLOT, le64_load(d.b), le64_load(d.b + 8)};
}

enum tacit_err slot_new(struct slot *s, enum slot_source source,
                        const uint8_t id[SLOT_ID], const char *place)
{
    size_t n = strlen(place);
    if (n >= SLOT_PLACE_MAX)
        return fail(TACIT_LIMIT, "a key file's path is longer than %d bytes",
                    SLOT_PLACE_MAX - 1);
    memset(s, 0, sizeof *s);
    s->source = source;
    memcpy(s->id, id, SLOT_ID);
    memcpy(s->place, place, n + 1);
    rng_secure(s->salt, sizeof s->salt);
    if (source == SLOT_PASSPHRASE) {
        s->memory_kib = SLOT_MEMORY_KIB;
        s->passes = SLOT_PASSES;
    }
    return TACIT_OK;
}

void slot_lock(struct slot *s, const uint8_t key[SEAL_KEY],
               const uint8_t data_key[SEAL_KEY])
{
    const struct seal_place place = place_of(s);
    seal_close(key, &place, data_key, SEAL_KEY, s->sealed, s->extra);
}

enum tacit_err slot_unlock(const struct slot *s, const uint8_t key[SEAL_KEY],
                           uint8_t *out)
{
    const struct seal_place place = place_of(s);
    memcpy(out, s->sealed, SEAL_KEY);
    if (seal_open(key, &place, out, SEAL_KEY, s->extra) == 0) return TACIT_OK;
    return fail_as(E_STORE_KEY, "%s",
                   s->source == SLOT_PASSPHRASE
                       ? "the passphrase is not this store's"
                       : "the key is not this store's");
}

enum tacit_err slot_stretch(const struct slot *s, const char *passphrase,
                            size_t n, uint8_t *out)
{
    if (crypto_pwhash(out, SEAL_KEY, passphrase, n, s->salt, s->passes,
                      (size_t)s->memory_kib << 10,
                      crypto_pwhash_ALG_ARGON2ID13) == 0)
        return TACIT_OK;
    return fail(TACIT_NOMEM, "no %u MiB of memory for the passphrase",
                s->memory_kib >> 10);
}

void slot_encode(const struct slot *s, struct buf *out)
{
    struct digest sum = {{0}};
    size_t from = out->len;
    put_fields(s, out);
    buf_put(out, s->sealed, sizeof s->sealed);
    buf_put(out, s->extra, sizeof s->extra);
    if (!out->err) digest_of(&sum, out->data + from, out->len - from);
    buf_put(out, sum.b, sizeof sum.b);
}

static int is_sound(const struct slot *s)
{
    if (s->source == SLOT_PASSPHRASE)
        return s->memory_kib >= 8 && s->passes >= 1;
    return s->source == SLOT_FILE ? s->place[0] != '\0'
                                  : s->source == SLOT_KEYRING;
}

enum tacit_err slot_decode(const char *name, const uint8_t *bytes, size_t n,
                           struct slot *out)
{
    struct slot s = {0};
    struct reader r;
    struct digest sum, found;
    uint8_t start[sizeof magic + 4];
    reader_init(&r, bytes, n);
    reader_copy(&r, start, sizeof start);
    s.memory_kib = reader_u32(&r);
    s.passes = reader_u32(&r);
    reader_copy(&r, s.salt, sizeof s.salt);
    reader_copy(&r, s.id, sizeof s.id);
    reader_str(&r, s.place, sizeof s.place);
    reader_copy(&r, s.sealed, sizeof s.sealed);
    reader_copy(&r, s.extra, sizeof s.extra);
    reader_copy(&r, found.b, sizeof found.b);
    s.source = start[sizeof magic];
    if (reader_end(&r, name) || memcmp(start, magic, sizeof magic) != 0 ||
        !is_sound(&s)) {
        err_clear();
        return fail_as(E_STORE_DAMAGED, "%s: not the file of a store's key",
                       name);
    }
    digest_of(&sum, bytes, n - DIGEST_BYTES);
    if (!digest_equal(&sum, &found))
        return fail_as(E_STORE_DAMAGED,
                       "%s: damaged; restore it from a backup: without it the "
                       "store cannot be read",
                       name);
    if (s.memory_kib > SLOT_MEMORY_KIB_MAX || s.passes > SLOT_PASSES_MAX)
        return fail(TACIT_LIMIT, "%s: its passphrase costs %u KiB x %u", name,
                    s.memory_kib, s.passes);
    *out = s;
    return TACIT_OK;
}
