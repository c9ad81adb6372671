#include "client/device.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/embedding.h"
#include "client/feedback.h"
#include "client/folders.h"
#include "client/generator.h"
#include "client/networks.h"
#include "client/readers.h"
#include "client/reranker.h"
#include "client/trial.h"
#include "client/tuning.h"
#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/tick.h"
#include "common/model/encoder.h"
#include "common/model/model.h"
#include "common/model/safetensors.h"
#include "common/wire/blob.h"
#include "retrieval/schema.h"

enum {
    OWN_MIGRATIONS = 2,
    N_MIGRATIONS =
        CORPUS_N_MIGRATIONS + LEDGER_N_MIGRATIONS + FEEDBACK_N_MIGRATIONS +
        OWN_MIGRATIONS + TUNING_N_MIGRATIONS + FEEDBACK_N_LATER +
        FOLDERS_N_MIGRATIONS + NETWORKS_N_MIGRATIONS + EMBEDDING_N_MIGRATIONS +
        GENERATOR_N_MIGRATIONS + RERANKER_N_MIGRATIONS + READERS_N_MIGRATIONS +
        TRIAL_N_MIGRATIONS
};

static const char *const own_migrations[OWN_MIGRATIONS] = {
    "CREATE TABLE federation("
    " one INTEGER PRIMARY KEY CHECK(one = 1), name TEXT NOT NULL,"
    " address TEXT NOT NULL, dh BLOB NOT NULL,"
    " sign BLOB NOT NULL, joined_s INTEGER NOT NULL) STRICT;"
    "CREATE TABLE adopted("
    " plan_hash BLOB PRIMARY KEY, plan TEXT NOT NULL, kind TEXT NOT NULL,"
    " task INTEGER NOT NULL, version INTEGER NOT NULL,"
    " model_hash BLOB NOT NULL, parent_hash BLOB NOT NULL,"
    " n_clients INTEGER NOT NULL, signature BLOB NOT NULL,"
    " adopted_s INTEGER NOT NULL, serial INTEGER NOT NULL) STRICT;",
    "CREATE TABLE kept("
    " plan_hash BLOB PRIMARY KEY, version INTEGER NOT NULL,"
    " state BLOB NOT NULL) STRICT;"};

/* One list for the one file: documents first, then what the device adds. A
 * store counts how many of them it has run, so what is new goes to the end. */
static void list_migrations(const char *out[N_MIGRATIONS])
{
    size_t n = 0;
    for (size_t i = 0; i < CORPUS_N_FIRST; i++) out[n++] = corpus_migrations[i];
    for (size_t i = 0; i < LEDGER_N_FIRST; i++) out[n++] = ledger_migrations[i];
    for (size_t i = 0; i < FEEDBACK_N_MIGRATIONS; i++)
        out[n++] = feedback_migrations[i];
    for (size_t i = 0; i < OWN_MIGRATIONS; i++) out[n++] = own_migrations[i];
    for (size_t i = 0; i < TUNING_N_MIGRATIONS; i++)
        out[n++] = tuning_migrations[i];
    for (size_t i = 0; i < FEEDBACK_N_LATER; i++) out[n++] = feedback_later[i];
    for (size_t i = CORPUS_N_FIRST; i < CORPUS_N_SECOND; i++)
        out[n++] = corpus_migrations[i];
    for (size_t i = 0; i < FOLDERS_N_FIRST; i++)
        out[n++] = folders_migrations[i];
    for (size_t i = CORPUS_N_SECOND; i < CORPUS_N_MIGRATIONS; i++)
        out[n++] = corpus_migrations[i];
    for (size_t i = 0; i < NETWORKS_N_MIGRATIONS; i++)
        out[n++] = networks_migrations[i];
    for (size_t i = 0; i < EMBEDDING_N_MIGRATIONS; i++)
        out[n++] = embedding_migrations[i];
    for (size_t i = 0; i < GENERATOR_N_MIGRATIONS; i++)
        out[n++] = generator_migrations[i];
    for (size_t i = 0; i < RERANKER_N_MIGRATIONS; i++)
        out[n++] = reranker_migrations[i];
    for (size_t i = LEDGER_N_FIRST; i < LEDGER_N_MIGRATIONS; i++)
        out[n++] = ledger_migrations[i];
    for (size_t i = 0; i < READERS_N_MIGRATIONS; i++)
        out[n++] = readers_migrations[i];
    for (size_t i = 0; i < TRIAL_N_MIGRATIONS; i++)
        out[n++] = trial_migrations[i];
    for (size_t i = FOLDERS_N_FIRST; i < FOLDERS_N_MIGRATIONS; i++)
        out[n++] = folders_migrations[i];
}

enum tacit_err device_path(const struct device *d, const char *name,
                           char out[DEVICE_PATH_MAX])
{
    return file_join(out, DEVICE_PATH_MAX, d->home, name);
}

static enum tacit_err open_db(struct device *d, enum db_mode mode)
{
    const char *migrations[N_MIGRATIONS];
    char path[DEVICE_PATH_MAX];
    list_migrations(migrations);
    TRY(device_path(d, "tacit.db", path));
    struct db_vfs door = {0};
    if (d->vfs) door = sealed_door(d->vfs);
    const struct db_opening how = {.mode = mode,
                                   .vfs = d->vfs ? &door : NULL,
                                   .migrations = migrations,
                                   .n = N_MIGRATIONS};
    return schema_open_with(&d->db, path, &how);
}

static enum tacit_err set_home(struct device *d, const char *home)
{
    memset(d, 0, sizeof *d);
    int n = snprintf(d->home, sizeof d->home, "%s", home);
    if (n < 0 || (size_t)n >= sizeof d->home)
        return fail(TACIT_LIMIT, "the home's path is longer than %d bytes",
                    DEVICE_PATH_MAX - 1);
    return device_path(d, "blobs", d->blobs);
}

static enum tacit_err make_keys(const struct device *d)
{
    char path[DEVICE_PATH_MAX];
    struct keys k = {0};
    TRY(device_path(d, "keys", path));
    TRY(keys_new(&k));
    enum tacit_err err = keys_save(&k, path);
    keys_release(&k);
    return err;
}

/* The store holds the documents' text. SQLite would make it readable by others,
 * and gives its journals the store's mode. */
static enum tacit_err make_private(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return fail(TACIT_IO, "%s: %s", path, strerror(errno));
    close(fd);
    return TACIT_OK;
}

/* A store that an interrupted init has made already keeps its key. */
static enum tacit_err make_store(struct device *d,
                                 const struct store_source *source,
                                 const char *passphrase)
{
    char path[DEVICE_PATH_MAX];
    enum sealed_look is;
    TRY(device_path(d, "tacit.db", path));
    TRY(sealed_look(path, &is));
    /* What a power cut left of a store without a page is not worth a key. */
    if (is == SEALED_EMPTY) unlink(path);
    if (is == SEALED_STORE || is == SEALED_PLAIN)
        TRY(store_key_open(d->home, passphrase, &d->vfs));
    else
        TRY(store_key_make(d->home, source, passphrase, &d->vfs));
    enum tacit_err err = make_private(path);
    if (!err) err = open_db(d, DB_CREATE);
    if (!err) db_close(&d->db);
    sealed_free(d->vfs);
    d->vfs = NULL;
    return err;
}

/* The keys come last: a home that was interrupted half-way is made again. */
enum tacit_err device_init_with(const char *home,
                                const struct store_source *source,
                                const char *passphrase)
{
    struct device d;
    struct store_source usual;
    char path[DEVICE_PATH_MAX];
    TRY(store_source_parse(NULL, &usual));
    TRY(set_home(&d, home));
    TRY(device_path(&d, "keys", path));
    if (file_exists(path))
        return fail(TACIT_STATE, "%s: there is a device here already", home);
    TRY(file_mkdirs(home, 0700));
    TRY(file_mkdirs(d.blobs, 0700));
    TRY(make_store(&d, source ? source : &usual, passphrase));
    TRY(device_path(&d, "policy.yaml", path));
    if (!file_exists(path))
        TRY(file_write(path, policy_default, strlen(policy_default), 0600));
    return make_keys(&d);
}

static int take_blob(sqlite3_stmt *st, int column, void *out, int n)
{
    const void *bytes = sqlite3_column_blob(st, column);
    if (!bytes || sqlite3_column_bytes(st, column) != n) return 0;
    memcpy(out, bytes, (size_t)n);
    return 1;
}

static void take_text(sqlite3_stmt *st, int column, char *out, size_t cap)
{
    const unsigned char *s = sqlite3_column_text(st, column);
    snprintf(out, cap, "%s", s ? (const char *)s : "");
}

static enum tacit_err load_federation(struct device *d)
{
    sqlite3_stmt *st = NULL;
    int has = 0;
    struct device_federation *f = &d->federation;
    TRY(db_query(&d->db, &st,
                 "SELECT name, address, dh, sign, joined_s FROM "
                 "federation",
                 ""));
    enum tacit_err err = db_step(&d->db, st, &has);
    if (!err && has) {
        take_text(st, 0, f->name, sizeof f->name);
        take_text(st, 1, f->address, sizeof f->address);
        if (!take_blob(st, 2, f->coordinator_dh, KEYS_PUBLIC) ||
            !take_blob(st, 3, f->coordinator_sign, KEYS_PUBLIC))
            err = fail_as(E_STORE_DAMAGED,
                          "%s: the federation's keys are damaged", d->db.path);
        f->joined_s = sqlite3_column_int64(st, 4);
        d->joined = !err;
    }
    db_finish(st);
    return err;
}

/* A home on a read-only medium has no lock to take, and is never changed. */
static enum tacit_err hold_home(struct device *d)
{
    enum tacit_err err = store_hold(d->home, STORE_SHARED, &d->use_fd);
    d->held = err == TACIT_OK;
    if (err != TACIT_IO) return err;
    err_clear();
    return TACIT_OK;
}

static enum tacit_err open_home(struct device *d, const char *passphrase,
                                enum db_mode mode)
{
    TRY(hold_home(d));
    TRY(store_key_open(d->home, passphrase, &d->vfs));
    TRY(open_db(d, mode));
    return load_federation(d);
}

static enum tacit_err open_as(struct device *d, const char *home,
                              const char *passphrase, enum db_mode mode)
{
    char path[DEVICE_PATH_MAX];
    TRY(set_home(d, home));
    TRY(device_path(d, "keys", path));
    if (!file_exists(path))
        return fail_as(E_NOT_INITIALISED,
                       "%s: no device here; run `tacit init`", home);
    TRY(keys_load(&d->keys, path));
    enum tacit_err err = open_home(d, passphrase, mode);
    if (err) device_close(d);
    return err;
}

enum tacit_err device_open_with(struct device *d, const char *home,
                                const char *passphrase)
{
    return open_as(d, home, passphrase, DB_EXISTING);
}

enum tacit_err device_open_to_read(struct device *d, const char *home,
                                   const char *passphrase)
{
    return open_as(d, home, passphrase, DB_READABLE);
}

enum tacit_err device_share(const struct device *of, struct device *out)
{
    TRY(set_home(out, of->home));
    out->vfs = of->vfs;
    out->is_shared = 1;
    enum tacit_err err = open_db(out, DB_EXISTING);
    if (err) device_close(out);
    return err;
}

void device_close(struct device *d)
{
    db_close(&d->db);
    if (!d->is_shared) sealed_free(d->vfs);
    if (d->held) close(d->use_fd);
    keys_release(&d->keys);
    memset(d, 0, sizeof *d);
}

enum tacit_err device_policy(const struct device *d, struct policy *out)
{
    char path[DEVICE_PATH_MAX];
    TRY(device_path(d, "policy.yaml", path));
    return policy_load(path, out);
}

enum tacit_err device_join(struct device *d, const struct device_federation *f)
{
    TRY(db_run(&d->db,
               "INSERT OR IGNORE INTO federation VALUES(1, ?, ?, ?, ?, ?)",
               "ssbbi", f->name, f->address, (const void *)f->coordinator_dh,
               (size_t)KEYS_PUBLIC, (const void *)f->coordinator_sign,
               (size_t)KEYS_PUBLIC, f->joined_s));
    if (!sqlite3_changes(d->db.sql))
        return fail_as(E_ALREADY_JOINED, "%s: this device is a member already",
                       d->home);
    d->federation = *f;
    d->joined = 1;
    return TACIT_OK;
}

enum tacit_err device_leave(struct device *d)
{
    TRY(db_run(&d->db, "DELETE FROM federation", ""));
    d->joined = 0;
    return TACIT_OK;
}

/* ---- adopted models ----------------------------------------------------- */

enum tacit_err device_known(struct device *d, const struct digest *plan_hash,
                            struct participate_known *out)
{
    sqlite3_stmt *st = NULL;
    int has = 0;
    struct participate_known k = {.plan_hash = *plan_hash};
    TRY(db_query(&d->db, &st,
                 "SELECT version, model_hash FROM adopted WHERE plan_hash = ?",
                 "b", (const void *)plan_hash->b, (size_t)DIGEST_BYTES));
    enum tacit_err err = db_step(&d->db, st, &has);
    if (!err && has) {
        k.version = (uint32_t)sqlite3_column_int64(st, 0);
        if (!take_blob(st, 1, k.model_hash.b, DIGEST_BYTES))
            err = fail_as(E_STORE_DAMAGED,
                          "%s: an adopted model's hash is damaged", d->db.path);
    }
    db_finish(st);
    if (!err) *out = k;
    return err;
}

/* An adapter, or a reader, is for the vectors of this program's encoder, no
 * other's. */
static enum tacit_err write_encoder(struct device *d,
                                    const struct digest *model_hash)
{
    char version[ENCODER_VERSION_MAX];
    TRY(encoder_built_in_version(version));
    return db_run(&d->db, "INSERT OR REPLACE INTO adapter_encoder VALUES(?, ?)",
                  "bs", (const void *)model_hash->b, (size_t)DIGEST_BYTES,
                  version);
}

enum tacit_err device_fits_encoder(struct device *d,
                                   const struct digest *model_hash, int *out)
{
    char version[ENCODER_VERSION_MAX];
    int64_t n = 0;
    TRY(encoder_built_in_version(version));
    TRY(db_int(&d->db, &n,
               "SELECT count(*) FROM adapter_encoder"
               " WHERE model_hash = ? AND version = ?",
               "bs", (const void *)model_hash->b, (size_t)DIGEST_BYTES,
               version));
    *out = n > 0;
    return TACIT_OK;
}

static enum tacit_err write_adopted(struct device *d, const struct plan *plan,
                                    const struct msg_over *over,
                                    const float *state, size_t n_state)
{
    int of_encoder = plan->task == PLAN_RETRIEVER || plan->task == PLAN_READER;
    if (state)
        TRY(db_run(&d->db, "INSERT OR REPLACE INTO kept VALUES(?, ?, ?)", "bib",
                   (const void *)over->plan_hash.b, (size_t)DIGEST_BYTES,
                   (int64_t)over->model_version, (const void *)state,
                   n_state * sizeof *state));
    /* What is kept may be older than what is adopted: it goes by its plan. */
    if (state && of_encoder) TRY(write_encoder(d, &over->plan_hash));
    if (of_encoder) TRY(write_encoder(d, &over->model_hash));
    return db_run(
        &d->db,
        "INSERT OR REPLACE INTO adopted VALUES(?, ?, ?, ?, ?, ?, ?, ?, "
        "?, ?, 1 + coalesce((SELECT max(serial) FROM adopted), 0))",
        "bssiibbibi", (const void *)over->plan_hash.b, (size_t)DIGEST_BYTES,
        plan->name, plan->model, (int64_t)plan->task,
        (int64_t)over->model_version, (const void *)over->model_hash.b,
        (size_t)DIGEST_BYTES, (const void *)over->parent_hash.b,
        (size_t)DIGEST_BYTES, (int64_t)over->n_clients,
        (const void *)over->signature, (size_t)KEYS_SIGNATURE, tick_wall_s());
}

enum tacit_err device_adopt(struct device *d, const struct plan *plan,
                            const struct msg_over *over, const float *state,
                            size_t n_state)
{
    struct participate_known before;
    char path[DEVICE_PATH_MAX];
    TRY(device_known(d, &over->plan_hash, &before));
    if (over->model_version < before.version)
        return fail_as(E_MODEL_REFUSED, "version %u is older than %u",
                       over->model_version, before.version);
    TRY(db_begin(&d->db));
    enum tacit_err err = write_adopted(d, plan, over, state, n_state);
    if (!err) err = db_commit(&d->db);
    if (err) {
        db_rollback(&d->db);
        return err;
    }
    /* Two plans that differ in a comment only make the same model. */
    int64_t n_users = 0;
    TRY(db_int(&d->db, &n_users,
               "SELECT count(*) FROM adopted WHERE model_hash = ?", "b",
               (const void *)before.model_hash.b, (size_t)DIGEST_BYTES));
    if (before.version == 0 || n_users > 0) return TACIT_OK;
    TRY(blob_path(d->blobs, &before.model_hash, path, sizeof path));
    unlink(path); /* an old blob that stays costs only room */
    return TACIT_OK;
}

enum tacit_err device_state(struct device *d, const struct digest *plan_hash,
                            size_t n, float **out)
{
    sqlite3_stmt *st = NULL;
    int has = 0;
    *out = NULL;
    TRY(db_query(&d->db, &st, "SELECT state FROM kept WHERE plan_hash = ?", "b",
                 (const void *)plan_hash->b, (size_t)DIGEST_BYTES));
    enum tacit_err err = db_step(&d->db, st, &has);
    float *state = !err && has ? malloc(n * sizeof *state) : NULL;
    if (!err && has && !state)
        err = fail(TACIT_NOMEM, "no memory for what a plan keeps here");
    if (!err && has && !take_blob(st, 0, state, (int)(n * sizeof *state)))
        err = fail_as(E_STORE_DAMAGED, "%s: what a plan keeps here is damaged",
                      d->db.path);
    db_finish(st);
    if (err)
        free(state);
    else
        *out = state;
    return err;
}

#define MODEL_COLUMNS                                                          \
 "plan, kind, task, plan_hash, model_hash, version, n_clients, adopted_s"

static enum tacit_err read_model(struct device *d, sqlite3_stmt *st,
                                 struct device_model *m)
{
    memset(m, 0, sizeof *m);
    take_text(st, 0, m->plan, sizeof m->plan);
    take_text(st, 1, m->kind, sizeof m->kind);
    m->task = (enum plan_task)sqlite3_column_int(st, 2);
    m->version = (uint32_t)sqlite3_column_int64(st, 5);
    m->n_clients = (uint32_t)sqlite3_column_int64(st, 6);
    m->adopted_s = sqlite3_column_int64(st, 7);
    if (take_blob(st, 3, m->plan_hash.b, DIGEST_BYTES) &&
        take_blob(st, 4, m->model_hash.b, DIGEST_BYTES))
        return TACIT_OK;
    return fail_as(E_STORE_DAMAGED, "%s: an adopted model's row is damaged",
                   d->db.path);
}

enum tacit_err device_models(
    struct device *d,
    enum tacit_err (*visit)(const struct device_model *m, void *ctx), void *ctx)
{
    sqlite3_stmt *st = NULL;
    int has = 0;
    TRY(db_query(&d->db, &st,
                 "SELECT " MODEL_COLUMNS " FROM adopted ORDER BY serial", ""));
    enum tacit_err err;
    while (!(err = db_step(&d->db, st, &has)) && has) {
        struct device_model m;
        err = read_model(d, st, &m);
        if (!err) err = visit(&m, ctx);
        if (err) break;
    }
    db_finish(st);
    return err;
}

static enum tacit_err load_weights(struct device *d, const struct digest *hash,
                                   struct params *p)
{
    struct buf bytes;
    buf_init(&bytes, WIRE_BLOB_MAX);
    enum tacit_err err = blob_get(d->blobs, hash, WIRE_BLOB_MAX, &bytes);
    if (!err) err = safetensors_decode(bytes.data, bytes.len, p);
    buf_release(&bytes);
    return err;
}

enum tacit_err device_weights(struct device *d, const struct digest *plan_hash,
                              struct params *p)
{
    struct participate_known k;
    TRY(device_known(d, plan_hash, &k));
    if (k.version == 0)
        return fail(TACIT_NOTFOUND, "no model of this plan was adopted yet");
    return load_weights(d, &k.model_hash, p);
}

/* ---- one daemon per home ------------------------------------------------ */

/* A lock of the open file (fcntl(2), F_OFD_SETLK): unlike flock(2) one can ask
 * for it without taking it, so that `status` never gets in a daemon's way. */
static int lock_file(int fd, int command, struct flock *l)
{
    *l = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(fd, command, l);
}

enum tacit_err device_lock(const struct device *d, int *out_fd)
{
    char path[DEVICE_PATH_MAX];
    struct flock l;
    TRY(device_path(d, "run.lock", path));
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return fail(TACIT_IO, "%s: %s", path, strerror(errno));
    if (lock_file(fd, F_OFD_SETLK, &l) == 0) {
        *out_fd = fd;
        return TACIT_OK;
    }
    int why = errno;
    close(fd);
    if (why != EAGAIN && why != EACCES)
        return fail(TACIT_IO, "%s: cannot lock: %s", path, strerror(why));
    return fail_as(E_STORE_BUSY, "%s: another `tacit run` works on this home",
                   d->home);
}

int device_is_running(const struct device *d)
{
    char path[DEVICE_PATH_MAX];
    struct flock l;
    if (device_path(d, "run.lock", path)) {
        err_clear();
        return 0;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0; /* no daemon has ever run here */
    int held = lock_file(fd, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK;
    close(fd);
    return held;
}
