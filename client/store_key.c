#include "client/store_key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/keyring.h"
#include "client/passphrase.h"
#include "common/base/codes.h"
#include "common/base/digest.h"
#include "common/base/file.h"
#include "common/base/rng.h"
#include "common/crypto/secret.h"

/* A key file: magic, key, BLAKE2b of both. */
static const char magic[8] = "TACITF1";
enum {
    FILE_BODY = sizeof magic + SEAL_KEY,
    FILE_BYTES = FILE_BODY + DIGEST_BYTES,
    PATH_CAP = 1024
};
static const char default_place[] = "store.key";

/* What stands in a home while its key is in use. */
struct state {
    const char *home;
    struct slot slot;
    uint8_t *data_key; /* [SEAL_KEY], guarded, owned */
};

static enum tacit_err in_home(const char *home, const char *name,
                              char out[PATH_CAP])
{
    if (name[0] != '/') return file_join(out, PATH_CAP, home, name);
    return file_join(out, PATH_CAP, "/", name + 1);
}

/* ---- sources, as people write them -------------------------------------- */

enum tacit_err store_source_parse(const char *text, struct store_source *out)
{
    struct store_source s = {.kind = STORE_FILE};
    const char *place = default_place;
    if (!text || strcmp(text, "file") == 0)
        ;
    else if (strncmp(text, "file:", 5) == 0 && text[5])
        place = text + 5;
    else if (strcmp(text, "keyring") == 0)
        s.kind = STORE_KEYRING;
    else if (strcmp(text, "passphrase") == 0)
        s.kind = STORE_PASSPHRASE;
    else if (strcmp(text, "none") == 0)
        s.kind = STORE_PLAIN;
    else
        return fail_as(E_USAGE,
                       "a store's key is kept by: file, file:PATH, keyring, "
                       "passphrase; none leaves the store readable");
    if (s.kind == STORE_FILE) {
        size_t n = strlen(place);
        if (n >= sizeof s.place)
            return fail(TACIT_LIMIT, "the key file's path is too long");
        memcpy(s.place, place, n + 1);
    }
    *out = s;
    return TACIT_OK;
}

void store_source_text(const struct store_source *s, char *out, size_t cap)
{
    switch (s->kind) {
    case STORE_PLAIN: snprintf(out, cap, "not sealed"); break;
    case STORE_FILE: snprintf(out, cap, "key file %s", s->place); break;
    case STORE_KEYRING: snprintf(out, cap, "keyring"); break;
    case STORE_PASSPHRASE: snprintf(out, cap, "passphrase"); break;
    }
}

/* ---- key files ---------------------------------------------------------- */

static enum tacit_err parse_key(const char *path, const struct buf *b,
                                uint8_t *key)
{
    struct digest sum;
    if (b->len != FILE_BYTES || memcmp(b->data, magic, sizeof magic) != 0)
        return fail_as(E_STORE_KEY, "%s: not the key file of a store", path);
    digest_of(&sum, b->data, FILE_BODY);
    if (memcmp(sum.b, b->data + FILE_BODY, sizeof sum.b) != 0)
        return fail_as(E_STORE_KEY, "%s: the key file is damaged", path);
    memcpy(key, b->data + sizeof magic, SEAL_KEY);
    return TACIT_OK;
}

static enum tacit_err load_key(const char *path, uint8_t *key)
{
    struct stat st;
    struct buf b;
    if (stat(path, &st) != 0)
        return fail_as(E_STORE_KEY_MISSING, "the store's key file %s: %s", path,
                       strerror(errno));
    if (st.st_mode & 077)
        return fail_as(E_KEYS_READABLE,
                       "%s: others may read this key file; run: chmod 600 %s",
                       path, path);
    buf_init(&b, 0);
    /* Grown at once, so that growing leaves no copy of the key behind. */
    if (buf_extend(&b, 1 << 12)) b.len = 0;
    enum tacit_err err = file_read(path, FILE_BYTES, &b);
    if (!err) err = parse_key(path, &b, key);
    buf_wipe(&b);
    return err;
}

/* A key that is there already opens other stores: it is used again. */
static enum tacit_err make_key(const char *path, uint8_t *key)
{
    struct digest sum;
    uint8_t *file;
    if (file_exists(path)) return load_key(path, key);
    rng_secure(key, SEAL_KEY);
    TRY(secret_alloc(FILE_BYTES, &file));
    memcpy(file, magic, sizeof magic);
    memcpy(file + sizeof magic, key, SEAL_KEY);
    digest_of(&sum, file, FILE_BODY);
    memcpy(file + FILE_BODY, sum.b, sizeof sum.b);
    enum tacit_err err = file_write(path, file, FILE_BYTES, 0600);
    secret_free(file);
    return err;
}

/* ---- the key that opens a slot ------------------------------------------- */

static enum tacit_err ask_passphrase(const struct slot *s, const char *from,
                                     const char *twice, uint8_t *key)
{
    struct passphrase p;
    TRY(passphrase_read(from, twice ? "New passphrase" : "Passphrase", twice,
                        &p));
    enum tacit_err err = slot_stretch(s, p.text, p.n, key);
    passphrase_release(&p);
    return err;
}

static enum tacit_err find_key(const struct state *t, const char *passphrase,
                               uint8_t *key)
{
    char path[PATH_CAP];
    switch (t->slot.source) {
    case SLOT_FILE:
        TRY(in_home(t->home, t->slot.place, path));
        return load_key(path, key);
    case SLOT_KEYRING: return keyring_lookup(t->slot.id, key);
    case SLOT_PASSPHRASE: break;
    }
    return ask_passphrase(&t->slot, passphrase, NULL, key);
}

static enum tacit_err new_keyring_key(const struct slot *s, uint8_t *key)
{
    uint8_t *found;
    TRY(secret_alloc(SEAL_KEY, &found));
    rng_secure(key, SEAL_KEY);
    enum tacit_err err = keyring_store(s->id, key);
    if (!err) err = keyring_lookup(s->id, found);
    if (!err && memcmp(found, key, SEAL_KEY) != 0)
        err = fail_as(E_KEYRING, "the keyring gives back another key");
    secret_free(found);
    return err;
}

static enum tacit_err new_key(const struct state *t, const char *passphrase,
                              uint8_t *key)
{
    char path[PATH_CAP];
    switch (t->slot.source) {
    case SLOT_FILE:
        TRY(in_home(t->home, t->slot.place, path));
        return make_key(path, key);
    case SLOT_KEYRING: return new_keyring_key(&t->slot, key);
    case SLOT_PASSPHRASE: break;
    }
    return ask_passphrase(&t->slot, passphrase, "The same again", key);
}

/* ---- slots -------------------------------------------------------------- */

static enum tacit_err write_slot(const struct state *t, const char *name)
{
    char path[PATH_CAP];
    struct buf b;
    TRY(in_home(t->home, name, path));
    buf_init(&b, SLOT_FILE_MAX);
    slot_encode(&t->slot, &b);
    enum tacit_err err = buf_end(&b);
    if (!err) err = file_write(path, b.data, b.len, 0600);
    buf_release(&b);
    return err;
}

static enum tacit_err read_slot(const char *home, struct slot *out)
{
    char path[PATH_CAP];
    struct buf b;
    TRY(in_home(home, "seal", path));
    /* A change that was interrupted: see store_key.h. */
    if (!file_exists(path)) TRY(in_home(home, "seal.new", path));
    if (!file_exists(path))
        return fail_as(E_STORE_KEY_MISSING,
                       "%s/seal is missing: without it nobody can read the "
                       "store; restore it from a backup",
                       home);
    buf_init(&b, SLOT_FILE_MAX);
    enum tacit_err err = file_read(path, SLOT_FILE_MAX, &b);
    if (!err) err = slot_decode(path, b.data, b.len, out);
    buf_release(&b);
    return err;
}

static enum tacit_err unlock(struct state *t, const char *passphrase)
{
    uint8_t *key;
    TRY(secret_alloc(SEAL_KEY, &key));
    enum tacit_err err = find_key(t, passphrase, key);
    if (!err) err = secret_alloc(SEAL_KEY, &t->data_key);
    if (!err) err = slot_unlock(&t->slot, key, t->data_key);
    secret_free(key);
    if (err_id() == E_STORE_KEY && t->slot.source == SLOT_FILE)
        return err_context(err, "key file %s", t->slot.place);
    return err;
}

/* A new slot for the data key, under `name`. */
static enum tacit_err lock(struct state *t, const struct store_source *to,
                           const char *passphrase, const char *name)
{
    uint8_t *key;
    struct slot old = t->slot;
    TRY(slot_new(&t->slot, (enum slot_source)to->kind, old.id, to->place));
    TRY(secret_alloc(SEAL_KEY, &key));
    enum tacit_err err = new_key(t, passphrase, key);
    if (!err) slot_lock(&t->slot, key, t->data_key);
    secret_free(key);
    return err ? err : write_slot(t, name);
}

static enum tacit_err draw(struct state *t)
{
    TRY(secret_alloc(SEAL_KEY, &t->data_key));
    rng_secure(t->data_key, SEAL_KEY);
    rng_secure(t->slot.id, sizeof t->slot.id);
    return TACIT_OK;
}

static enum tacit_err look(const char *home, enum sealed_look *out)
{
    char path[PATH_CAP];
    TRY(in_home(home, "tacit.db", path));
    return sealed_look(path, out);
}

enum tacit_err store_source_of(const char *home, struct store_source *out)
{
    enum sealed_look is;
    struct slot slot;
    struct store_source s = {.kind = STORE_PLAIN};
    TRY(look(home, &is));
    if (is == SEALED_STORE) {
        TRY(read_slot(home, &slot));
        s.kind = (enum store_kind)slot.source;
        memcpy(s.place, slot.place, sizeof s.place);
    }
    *out = s;
    return TACIT_OK;
}

enum tacit_err store_key_make(const char *home,
                              const struct store_source *source,
                              const char *passphrase, struct sealed_vfs **out)
{
    struct state t = {.home = home};
    *out = NULL;
    if (source->kind == STORE_PLAIN) return TACIT_OK;
    enum tacit_err err = draw(&t);
    if (!err) err = lock(&t, source, passphrase, "seal");
    if (!err) err = sealed_new(t.data_key, out);
    secret_free(t.data_key);
    return err;
}

/* A plain store where a sealed one should be is not opened: whoever put it
 * there would be given what is added next. */
static enum tacit_err check_plain(const char *home)
{
    char path[PATH_CAP];
    TRY(in_home(home, "seal", path));
    if (!file_exists(path)) return TACIT_OK;
    return fail_as(E_STORE_DAMAGED,
                   "%s/tacit.db is not sealed, but %s/seal says that it is: "
                   "somebody put another file in its place; if that was you, "
                   "remove seal",
                   home, home);
}

enum tacit_err store_key_open(const char *home, const char *passphrase,
                              struct sealed_vfs **out)
{
    struct state t = {.home = home};
    enum sealed_look is;
    char path[PATH_CAP];
    *out = NULL;
    TRY(look(home, &is));
    if (is == SEALED_PLAIN) return check_plain(home);
    if (is != SEALED_STORE) return TACIT_OK;
    TRY(in_home(home, "tacit.db", path));
    TRY(read_slot(home, &t.slot));
    enum tacit_err err = unlock(&t, passphrase);
    if (!err) err = sealed_new(t.data_key, out);
    secret_free(t.data_key);
    if (!err) err = sealed_try(*out, path);
    if (err) {
        sealed_free(*out);
        *out = NULL;
    }
    return err;
}

/* ---- changes ------------------------------------------------------------ */

static enum tacit_err rename_in(const char *home, const char *from,
                                const char *to)
{
    char a[PATH_CAP], b[PATH_CAP];
    TRY(in_home(home, from, a));
    TRY(in_home(home, to, b));
    if (rename(a, b) != 0) return fail(TACIT_IO, "%s: %s", b, strerror(errno));
    int fd = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int bad = fd < 0 || fsync(fd) != 0, why = errno;
    if (fd >= 0) close(fd);
    return bad ? fail(TACIT_IO, "%s: %s", home, strerror(why)) : TACIT_OK;
}

static void drop(const char *home, const char *name)
{
    char path[PATH_CAP];
    if (in_home(home, name, path))
        err_clear();
    else
        unlink(path);
}

/* The key of a slot that is in use no more. A key file elsewhere may open
 * other stores: it stays. */
static void forget_key(const char *home, const struct slot *s)
{
    if (s->source == SLOT_FILE && strcmp(s->place, default_place) == 0)
        drop(home, default_place);
    if (s->source == SLOT_KEYRING && keyring_clear(s->id)) err_clear();
}

/* The copy of a change that did not end: of an unsealing it is plain. */
static void drop_copy(const char *home)
{
    drop(home, "tacit.db.new");
    drop(home, "tacit.db.new-journal");
}

/* tacit.db through another VFS: copy, then rename. What was written to the log
 * before is in the copy; the log of the old file must not meet the new one. */
static enum tacit_err replace_store(const char *home,
                                    const struct db_vfs *through,
                                    const struct db_vfs *into)
{
    char from[PATH_CAP], to[PATH_CAP], wal[PATH_CAP];
    struct stat st;
    TRY(in_home(home, "tacit.db", from));
    TRY(in_home(home, "tacit.db.new", to));
    TRY(in_home(home, "tacit.db-wal", wal));
    drop_copy(home);
    TRY(db_copy(from, through, to, into));
    if (stat(wal, &st) == 0 && st.st_size > 0) {
        unlink(to);
        return fail_as(E_STORE_BUSY, "%s: another program uses the store",
                       from);
    }
    TRY(rename_in(home, "tacit.db.new", "tacit.db"));
    drop(home, "tacit.db-wal");
    drop(home, "tacit.db-shm");
    return TACIT_OK;
}

static enum tacit_err seal_store(struct state *t, const struct store_source *to,
                                 const char *passphrase)
{
    struct sealed_vfs *vfs = NULL;
    TRY(check_plain(t->home));
    enum tacit_err err = draw(t);
    if (!err) err = lock(t, to, passphrase, "seal.new");
    if (!err) err = sealed_new(t->data_key, &vfs);
    if (!err) {
        struct db_vfs door = sealed_door(vfs);
        err = replace_store(t->home, NULL, &door);
    }
    if (!err) err = rename_in(t->home, "seal.new", "seal");
    sealed_free(vfs);
    return err;
}

static enum tacit_err unseal_store(struct state *t)
{
    struct sealed_vfs *vfs = NULL;
    char seal[PATH_CAP];
    TRY(in_home(t->home, "seal", seal));
    TRY(sealed_new(t->data_key, &vfs));
    struct db_vfs door = sealed_door(vfs);
    enum tacit_err err = TACIT_OK;
    if (file_exists(seal)) err = rename_in(t->home, "seal", "seal.new");
    if (!err) err = replace_store(t->home, &door, NULL);
    sealed_free(vfs);
    if (err) return err; /* seal.new opens the store as well as seal did */
    drop(t->home, "seal.new");
    forget_key(t->home, &t->slot);
    return TACIT_OK;
}

static enum tacit_err relock(struct state *t, const struct store_source *to,
                             const char *new_passphrase)
{
    struct slot old = t->slot;
    if (old.source == SLOT_FILE && to->kind == STORE_FILE &&
        strcmp(old.place, to->place) == 0)
        return fail(TACIT_STATE, "the store's key is in this file already");
    /* The keyring has one key of a store: it would be replaced before the slot
     * is. */
    if (old.source == SLOT_KEYRING && to->kind == STORE_KEYRING)
        return fail(TACIT_STATE, "the store's key is in the keyring already");
    TRY(lock(t, to, new_passphrase, "seal"));
    drop(t->home, "seal.new");
    forget_key(t->home, &old);
    return TACIT_OK;
}

enum tacit_err store_key_change(const char *home, const struct store_source *to,
                                const char *passphrase,
                                const char *new_passphrase)
{
    struct state t = {.home = home};
    enum sealed_look is;
    TRY(look(home, &is));
    if (is != SEALED_STORE && is != SEALED_PLAIN)
        return fail_as(E_STORE_DAMAGED, "%s/tacit.db: there is no store", home);
    if (is == SEALED_PLAIN && to->kind == STORE_PLAIN)
        return fail(TACIT_STATE, "the store is not sealed");
    enum tacit_err err = TACIT_OK;
    if (is == SEALED_PLAIN) {
        err = seal_store(&t, to, new_passphrase);
    } else {
        err = read_slot(home, &t.slot);
        if (!err) err = unlock(&t, passphrase);
        if (!err) {
            err = to->kind == STORE_PLAIN ? unseal_store(&t)
                                          : relock(&t, to, new_passphrase);
        }
    }
    secret_free(t.data_key);
    return err;
}

/* ---- who uses a home ---------------------------------------------------- */

/* Locks of the open file, as the daemon's (device.c): they end with it. */
enum tacit_err store_hold(const char *home, enum store_use use, int *out_fd)
{
    char path[PATH_CAP];
    struct flock l = {.l_type = use == STORE_ALONE ? F_WRLCK : F_RDLCK,
                      .l_whence = SEEK_SET};
    TRY(in_home(home, "use.lock", path));
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 && use == STORE_SHARED) fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && (errno == EROFS || errno == EACCES))
        return fail_as(E_STORE_READONLY, "%s: it may only be read", home);
    if (fd < 0) return fail(TACIT_IO, "%s: %s", path, strerror(errno));
    if (fcntl(fd, F_OFD_SETLK, &l) == 0) {
        drop_copy(home); /* nobody makes one now */
        *out_fd = fd;
        return TACIT_OK;
    }
    int why = errno;
    close(fd);
    if (why != EAGAIN && why != EACCES)
        return fail(TACIT_IO, "%s: cannot lock: %s", path, strerror(why));
    return fail_as(E_STORE_BUSY,
                   use == STORE_ALONE
                       ? "%s: another `tacit` works on this home; end it first"
                       : "%s: the store's key is being changed; try again",
                   home);
}
