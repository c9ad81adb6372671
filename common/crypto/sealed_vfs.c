/* sealed: the VFS itself: which file is of which kind, and what every kind
 * hands on to the system's own VFS. */
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "common/base/db.h"
#include "common/base/rng.h"
#include "common/crypto/sealed.h"
#include "common/crypto/sealed_file.h"
#include "common/crypto/secret.h"

/* ---- what the kinds share ----------------------------------------------- */

int sealed_fault(struct sealed_vfs *v, int rc, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    pthread_mutex_lock(&v->lock);
    vsnprintf(v->fault, sizeof v->fault, fmt, ap);
    pthread_mutex_unlock(&v->lock);
    va_end(ap);
    return rc;
}

static int set_key(uint8_t **keys)
{
    if (*keys) return SQLITE_OK;
    if (secret_alloc((size_t)2 * SEAL_KEY, keys) == TACIT_OK) return SQLITE_OK;
    err_clear(); /* SQLite carries the news */
    return SQLITE_NOMEM;
}

int sealed_set_keys(struct sealed_file *f, const uint8_t salt[SEALED_SALT])
{
    int rc = set_key(&f->keys);
    if (rc) return rc;
    seal_derive(f->keys, f->vfs->key, "tacit sealed pages v1", salt,
                SEALED_SALT);
    seal_derive(f->keys + SEAL_KEY, f->vfs->key, "tacit sealed masks v1", salt,
                SEALED_SALT);
    return SQLITE_OK;
}

int sealed_room(struct sealed_file *f)
{
    if (!f->scratch)
        f->scratch = sqlite3_malloc(SEALED_PAGE_MAX + WAL_FRAME_ROOM);
    return f->scratch ? SQLITE_OK : SQLITE_NOMEM;
}

/* SQLite opens a store before its log and journal, and closes it after them.
 * Another connection's is as good: the header of a store never changes. */
int sealed_of_store(struct sealed_file *f, const char *suffix)
{
    int rc = SQLITE_NOTFOUND;
    size_t n = strlen(f->name), n_suffix = strlen(suffix);
    if (f->page) return SQLITE_OK;
    if (n <= n_suffix) return SQLITE_NOTFOUND;
    n -= n_suffix;
    pthread_mutex_lock(&f->vfs->lock);
    for (struct sealed_file *s = f->vfs->files; s; s = s->next) {
        if (!s->page || strlen(s->name) != n ||
            memcmp(s->name, f->name, n) != 0)
            continue;
        rc = set_key(&f->keys);
        if (rc == SQLITE_OK) {
            memcpy(f->keys, s->keys, (size_t)2 * SEAL_KEY);
            f->page = s->page;
        }
        break;
    }
    pthread_mutex_unlock(&f->vfs->lock);
    return rc ? rc : sealed_room(f);
}

static struct sealed_file *of(sqlite3_file *file)
{
    return (struct sealed_file *)(void *)file;
}

int sealed_close_file(sqlite3_file *file)
{
    struct sealed_file *f = of(file);
    struct sealed_vfs *v = f->vfs;
    pthread_mutex_lock(&v->lock);
    for (struct sealed_file **at = &v->files; *at; at = &(*at)->next)
        if (*at == f) {
            *at = f->next;
            break;
        }
    v->n_open--;
    pthread_mutex_unlock(&v->lock);
    secret_free(f->keys);
    sqlite3_free(f->scratch);
    return f->real->pMethods ? f->real->pMethods->xClose(f->real) : SQLITE_OK;
}

int sealed_sync(sqlite3_file *file, int flags)
{
    sqlite3_file *real = of(file)->real;
    return real->pMethods->xSync(real, flags);
}

int sealed_lock(sqlite3_file *file, int level)
{
    sqlite3_file *real = of(file)->real;
    return real->pMethods->xLock(real, level);
}

int sealed_unlock(sqlite3_file *file, int level)
{
    sqlite3_file *real = of(file)->real;
    return real->pMethods->xUnlock(real, level);
}

int sealed_reserved(sqlite3_file *file, int *out)
{
    sqlite3_file *real = of(file)->real;
    return real->pMethods->xCheckReservedLock(real, out);
}

/* The two PRAGMAs that cannot be had here. arg: [0] for the message, [1] the
 * name, [2] the value or NULL. */
static int pragma(char **arg)
{
    if (sqlite3_stricmp(arg[1], "page_size") != 0 || !arg[2])
        return SQLITE_NOTFOUND;
    arg[0] = sqlite3_mprintf("a sealed store keeps its page size");
    return SQLITE_ERROR;
}

int sealed_control(sqlite3_file *file, int op, void *arg)
{
    struct sealed_file *f = of(file);
    switch (op) {
    case SQLITE_FCNTL_PRAGMA:
        if (f->page == 0) return SQLITE_NOTFOUND;
        return pragma(arg);
    case SQLITE_FCNTL_VFSNAME:
        *(char **)arg =
            sqlite3_mprintf("%s/%s", f->vfs->name, f->vfs->real->zName);
        return SQLITE_OK;
    case DB_FCNTL_DAMAGE_IS_ZEROS:
        f->damage_is_zeros = *(const int *)arg;
        return SQLITE_OK;
    /* Hints about offsets, which differ here. */
    case SQLITE_FCNTL_SIZE_HINT: return SQLITE_OK;
    case SQLITE_FCNTL_CHUNK_SIZE:
    case SQLITE_FCNTL_MMAP_SIZE:
    case SQLITE_FCNTL_BEGIN_ATOMIC_WRITE:
    case SQLITE_FCNTL_COMMIT_ATOMIC_WRITE:
    case SQLITE_FCNTL_ROLLBACK_ATOMIC_WRITE: return SQLITE_NOTFOUND;
    default: return f->real->pMethods->xFileControl(f->real, op, arg);
    }
}

int sealed_sector(sqlite3_file *file)
{
    sqlite3_file *real = of(file)->real;
    return real->pMethods->xSectorSize(real);
}

/* Writes are of other sizes than SQLite thinks: none is atomic, and no part of
 * a page can be read alone. */
int sealed_traits(sqlite3_file *file)
{
    sqlite3_file *real = of(file)->real;
    return real->pMethods->xDeviceCharacteristics(real) &
           (SQLITE_IOCAP_SAFE_APPEND | SQLITE_IOCAP_SEQUENTIAL |
            SQLITE_IOCAP_UNDELETABLE_WHEN_OPEN | SQLITE_IOCAP_IMMUTABLE |
            SQLITE_IOCAP_POWERSAFE_OVERWRITE);
}

/* ---- the VFS ------------------------------------------------------------ */

static struct sealed_vfs *vfs_of(sqlite3_vfs *vfs)
{
    return (struct sealed_vfs *)vfs->pAppData;
}

static size_t file_room(void)
{
    return (sizeof(struct sealed_file) + 15) / 16 * 16;
}

static const sqlite3_io_methods *methods_of(int flags)
{
    if (flags & SQLITE_OPEN_MAIN_DB) return &sealed_store_methods;
    if (flags & SQLITE_OPEN_WAL) return &sealed_wal_methods;
    if (flags & SQLITE_OPEN_MAIN_JOURNAL) return &sealed_journal_methods;
    return &sealed_temp_methods;
}

/* A key that dies with the file: nobody ever opens a temporary one again. */
static int prepare_temp(struct sealed_file *f)
{
    int rc = set_key(&f->keys);
    if (rc == SQLITE_OK) rc = sealed_room(f);
    if (rc == SQLITE_OK) rng_secure(f->keys, SEAL_KEY);
    return rc;
}

static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *file,
                     int flags, int *out_flags)
{
    struct sealed_vfs *v = vfs_of(vfs);
    struct sealed_file *f = of(file);
    /* It holds names of journals. */
    if (flags & SQLITE_OPEN_SUPER_JOURNAL)
        return v->real->xOpen(v->real, name, file, flags, out_flags);
    memset(f, 0, file_room());
    f->vfs = v;
    f->name = name;
    f->head_of = f->number_at = f->masked_at = -1;
    f->real = (sqlite3_file *)(void *)((char *)f + file_room());
    const sqlite3_io_methods *methods = methods_of(flags);
    int rc = methods == &sealed_temp_methods ? prepare_temp(f) : SQLITE_OK;
    if (rc == SQLITE_OK)
        rc = v->real->xOpen(v->real, name, f->real, flags, out_flags);
    if (rc != SQLITE_OK) {
        if (f->real->pMethods) f->real->pMethods->xClose(f->real);
        secret_free(f->keys);
        sqlite3_free(f->scratch);
        return rc;
    }
    f->base.pMethods = methods;
    pthread_mutex_lock(&v->lock);
    v->n_open++;
    if (methods == &sealed_store_methods && name) {
        f->next = v->files;
        v->files = f;
    }
    pthread_mutex_unlock(&v->lock);
    return SQLITE_OK;
}

static int delete_file(sqlite3_vfs *vfs, const char *name, int sync)
{
    sqlite3_vfs *real = vfs_of(vfs)->real;
    return real->xDelete(real, name, sync);
}

static int access_file(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
    sqlite3_vfs *real = vfs_of(vfs)->real;
    return real->xAccess(real, name, flags, out);
}

static int full_name(sqlite3_vfs *vfs, const char *name, int n, char *out)
{
    sqlite3_vfs *real = vfs_of(vfs)->real;
    return real->xFullPathname(real, name, n, out);
}

static void *dl_open(sqlite3_vfs *vfs, const char *name)
{
    sqlite3_vfs *real = vfs_of(vfs)->real;
    return real->xDlOpen(real, name);
}

static void dl_error(sqlite3_vfs *vfs, int n, char *out)
{
    sqlite3_vfs *real = vfs_of(vfs)->real;
    real->xDlError(real, n, out);
}

static void (*dl_symbol(sqlite3_vfs *vfs, void *library,
                        const char *name))(void)
{
    sqlite3_vfs *real = vfs_of(vfs)->real;
    return real->xDlSym(real, library, name);
}

static void dl_close(sqlite3_vfs *vfs, void *library)
{
    sqlite3_vfs *real = vfs_of(vfs)->real;
    real->xDlClose(real, library);
}

static int randomness(sqlite3_vfs *vfs, int n, char *out)
{
    sqlite3_vfs *real = vfs_of(vfs)->real;
    return real->xRandomness(real, n, out);
}

static int nap(sqlite3_vfs *vfs, int us)
{
    sqlite3_vfs *real = vfs_of(vfs)->real;
    return real->xSleep(real, us);
}

static int now(sqlite3_vfs *vfs, double *out)
{
    sqlite3_vfs *real = vfs_of(vfs)->real;
    return real->xCurrentTime(real, out);
}

static int now_ms(sqlite3_vfs *vfs, sqlite3_int64 *out)
{
    sqlite3_vfs *real = vfs_of(vfs)->real;
    return real->xCurrentTimeInt64(real, out);
}

/* SQLite asks for errno without a buffer; base/db asks for the fault. */
static int last_error(sqlite3_vfs *vfs, int n, char *out)
{
    struct sealed_vfs *v = vfs_of(vfs);
    if (n <= 0 || !out) return v->real->xGetLastError(v->real, 0, NULL);
    pthread_mutex_lock(&v->lock);
    snprintf(out, (size_t)n, "%s", v->fault);
    pthread_mutex_unlock(&v->lock);
    return 0;
}

static void fill(struct sealed_vfs *v)
{
    static _Atomic unsigned n_made;
    snprintf(v->name, sizeof v->name, "tacit-sealed-%u", n_made++);
    v->base = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile = (int)file_room() + v->real->szOsFile,
        .mxPathname = v->real->mxPathname,
        .zName = v->name,
        .pAppData = v,
        .xOpen = open_file,
        .xDelete = delete_file,
        .xAccess = access_file,
        .xFullPathname = full_name,
        .xDlOpen = dl_open,
        .xDlError = dl_error,
        .xDlSym = dl_symbol,
        .xDlClose = dl_close,
        .xRandomness = randomness,
        .xSleep = nap,
        .xCurrentTime = now,
        .xGetLastError = last_error,
        .xCurrentTimeInt64 = now_ms,
    };
}

enum tacit_err sealed_new(const uint8_t key[SEAL_KEY], struct sealed_vfs **out)
{
    struct sealed_vfs *v = calloc(1, sizeof *v);
    if (!v) return fail(TACIT_NOMEM, "no memory for the store's key");
    enum tacit_err err = secret_alloc(SEAL_KEY, &v->key);
    if (err) {
        free(v);
        return err;
    }
    memcpy(v->key, key, SEAL_KEY);
    pthread_mutex_init(&v->lock, NULL);
    db_setup();
    v->real = sqlite3_vfs_find("unix");
    if (v->real) fill(v);
    if (!v->real || sqlite3_vfs_register(&v->base, 0) != SQLITE_OK) {
        secret_free(v->key);
        pthread_mutex_destroy(&v->lock);
        free(v);
        return fail(TACIT_UNSUPPORTED, "SQLite has no files here");
    }
    *out = v;
    return TACIT_OK;
}

void sealed_free(struct sealed_vfs *v)
{
    if (!v) return;
    pthread_mutex_lock(&v->lock);
    int in_use = v->n_open > 0;
    pthread_mutex_unlock(&v->lock);
    /* A connection with open statements lives on: it must find its VFS. */
    if (in_use) return;
    sqlite3_vfs_unregister(&v->base);
    secret_free(v->key);
    pthread_mutex_destroy(&v->lock);
    free(v);
}

void sealed_derive(const struct sealed_vfs *v, const char *purpose,
                   uint8_t out[SEAL_KEY])
{
    seal_derive(out, v->key, purpose, "", 0);
}

struct db_vfs sealed_door(const struct sealed_vfs *v)
{
    return (struct db_vfs){v->name, SEALED_RESERVE, SEALED_HEAD};
}
