#include "client/networks.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/networks_parts.h"
#include "common/base/codes.h"
#include "common/base/utf8.h"
#include "common/model/mapped.h"
#include "common/wire/blob.h"

enum { SQL_MAX = 128 };

const char *const networks_migrations[NETWORKS_N_MIGRATIONS] = {
    "CREATE TABLE model("
    " name TEXT PRIMARY KEY, family TEXT NOT NULL, type TEXT NOT NULL,"
    " licence TEXT NOT NULL, source TEXT NOT NULL, hash BLOB NOT NULL,"
    " source_hash BLOB NOT NULL, bytes INTEGER NOT NULL,"
    " source_bytes INTEGER NOT NULL, parameters INTEGER NOT NULL,"
    " added_s INTEGER NOT NULL) STRICT;"};

#define COLUMNS                                                                \
 "name, family, type, licence, source, hash, source_hash, bytes, "             \
 "source_bytes, parameters, added_s"

/* ---- rows --------------------------------------------------------------- */

/* Licence and source are a stranger's words: what a terminal or JSON could not
 * show is a '?'. */
static void take_text(sqlite3_stmt *st, int column, char *out, size_t cap)
{
    const unsigned char *s = sqlite3_column_text(st, column);
    utf8_printable(out, cap, s ? (const char *)s : "");
}

enum tacit_err networks_hash_at(const struct device *d, sqlite3_stmt *st,
                                int column, struct digest *out)
{
    const void *bytes = sqlite3_column_blob(st, column);
    if (!bytes || sqlite3_column_bytes(st, column) != DIGEST_BYTES)
        return fail_as(E_STORE_DAMAGED, "%s: a model's hash is damaged",
                       d->db.path);
    memcpy(out->b, bytes, DIGEST_BYTES);
    return TACIT_OK;
}

static enum tacit_err take_row(const struct device *d, sqlite3_stmt *st,
                               struct network_row *out)
{
    take_text(st, 0, out->name, sizeof out->name);
    take_text(st, 1, out->family, sizeof out->family);
    take_text(st, 2, out->type, sizeof out->type);
    take_text(st, 3, out->licence, sizeof out->licence);
    take_text(st, 4, out->source, sizeof out->source);
    TRY(networks_hash_at(d, st, 5, &out->hash));
    TRY(networks_hash_at(d, st, 6, &out->source_hash));
    out->bytes = (uint64_t)sqlite3_column_int64(st, 7);
    out->source_bytes = (uint64_t)sqlite3_column_int64(st, 8);
    out->parameters = (uint64_t)sqlite3_column_int64(st, 9);
    out->added_s = sqlite3_column_int64(st, 10);
    return TACIT_OK;
}

enum tacit_err networks_walk(
    struct device *d,
    enum tacit_err (*visit)(const struct network_row *m, void *ctx), void *ctx)
{
    sqlite3_stmt *st = NULL;
    int has = 1;
    TRY(db_query(&d->db, &st, "SELECT " COLUMNS " FROM model ORDER BY name",
                 ""));
    enum tacit_err err = TACIT_OK;
    while (!err && has) {
        struct network_row m = {0};
        err = db_step(&d->db, st, &has);
        if (!err && has) err = take_row(d, st, &m);
        if (!err && has) err = visit(&m, ctx);
    }
    db_finish(st);
    return err;
}

enum tacit_err networks_find(struct device *d, const char *name,
                             struct network_row *out)
{
    sqlite3_stmt *st = NULL;
    int has = 0;
    struct network_row m = {0};
    size_t n = strlen(name);
    TRY(db_query(&d->db, &st,
                 "SELECT " COLUMNS " FROM model WHERE name = ?1 OR (?2 AND "
                 "substr(lower(hex(hash)), 1, length(?1)) = ?1) "
                 "ORDER BY name = ?1 DESC, name LIMIT 1",
                 "si", name, (int64_t)(n >= 8)));
    enum tacit_err err = db_step(&d->db, st, &has);
    if (!err && has) err = take_row(d, st, &m);
    if (!err && !has)
        err = fail(TACIT_NOTFOUND,
                   "there is no model %s here; `tacit model ls` lists them",
                   name);
    db_finish(st);
    if (!err) *out = m;
    return err;
}

enum tacit_err networks_explain_missing(struct device *d, const char *name,
                                        const struct digest *hash,
                                        enum tacit_err err)
{
    sqlite3_stmt *st = NULL;
    struct network_row m = {0};
    char hex[DIGEST_HEX];
    int has = 0;
    if (err == TACIT_OK || err_id() != E_BASE_MISSING || !name[0]) return err;
    if (db_query(&d->db, &st, "SELECT " COLUMNS " FROM model WHERE name = ?",
                 "s", name) != TACIT_OK)
        return err; /* the first failure stands */
    if (db_step(&d->db, st, &has) == TACIT_OK && has &&
        take_row(d, st, &m) == TACIT_OK && !digest_equal(&m.hash, hash)) {
        hex_encode(hex, m.hash.b, DIGEST_BYTES);
        err = err_context(err,
                          "%s is here as %s (%.16s), another file than the "
                          "plan's",
                          m.name, m.type, hex);
    }
    db_finish(st);
    return err;
}

static enum tacit_err insert_row(struct device *d, const struct network_row *m)
{
    return db_run(&d->db,
                  "INSERT INTO model(" COLUMNS
                  ") VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                  "sssssbbiiii", m->name, m->family, m->type, m->licence,
                  m->source, (const void *)m->hash.b, (size_t)DIGEST_BYTES,
                  (const void *)m->source_hash.b, (size_t)DIGEST_BYTES,
                  (int64_t)m->bytes, (int64_t)m->source_bytes,
                  (int64_t)m->parameters, m->added_s);
}

/* The same again, under the same name: what is new is what is said of it. Its
 * file was written again, which heals a damaged one. */
static enum tacit_err keep_old(struct device *d, const struct networks_job *job,
                               const struct network_row *old,
                               struct network_row *m)
{
    const struct network_row made = *m;
    *m = *old;
    if (job->licence) memcpy(m->licence, made.licence, sizeof m->licence);
    if (job->source) memcpy(m->source, made.source, sizeof m->source);
    return db_run(&d->db,
                  "UPDATE model SET licence = ?, source = ? WHERE name = ?",
                  "sss", m->licence, m->source, m->name);
}

/* Another command may have taken the name meanwhile. */
enum tacit_err networks_put(struct device *d, const struct networks_job *job,
                            struct network_row *m)
{
    struct network_row old;
    enum tacit_err err = networks_find(d, m->name, &old);
    int is_new = err == TACIT_NOTFOUND || strcmp(old.name, m->name) != 0;
    if (err == TACIT_NOTFOUND) {
        err_clear();
        err = TACIT_OK;
    }
    if (!err && is_new) err = insert_row(d, m);
    if (!err && !is_new)
        err = digest_equal(&old.hash, &m->hash)
                  ? keep_old(d, job, &old, m)
                  : fail(TACIT_STATE,
                         "a model named %s is here, made of other weights, "
                         "with another --type or other files beside them; "
                         "give this one another --name, or `tacit model rm "
                         "%s` first",
                         m->name, m->name);
    return err;
}

enum tacit_err networks_path(const struct device *d,
                             const struct network_row *m,
                             char out[DEVICE_PATH_MAX])
{
    return blob_path(d->blobs, &m->hash, out, DEVICE_PATH_MAX);
}

/* Its file, where no more rows than n_own name it. */
static enum tacit_err remove_file(struct device *d, const struct network_row *m,
                                  const char *path, int64_t n_own)
{
    int64_t users = 0;
    TRY(db_begin(&d->db));
    enum tacit_err err =
        db_int(&d->db, &users, "SELECT count(*) FROM model WHERE hash = ?", "b",
               (const void *)m->hash.b, (size_t)DIGEST_BYTES);
    if (!err && users <= n_own && unlink(path) != 0 && errno != ENOENT)
        err = fail(TACIT_IO, "%s: %s", path, strerror(errno));
    db_rollback(&d->db);
    return err;
}

enum tacit_err networks_remove_unused(struct device *d,
                                      const struct network_row *m,
                                      const char *path)
{
    return remove_file(d, m, path, 0);
}

static enum tacit_err remove_row(struct device *d, const struct network_row *m)
{
    return db_run(&d->db, "DELETE FROM model WHERE name = ?", "s", m->name);
}

enum tacit_err networks_remove(struct device *d, const struct network_row *m)
{
    char path[DEVICE_PATH_MAX];
    TRY(networks_path(d, m, path));
    enum tacit_err err = remove_row(d, m);
    if (err && err_id() == E_DISK_FULL) {
        err_clear();
        err = remove_file(d, m, path, 1);
        if (!err) err = remove_row(d, m);
    }
    return err ? err : networks_remove_unused(d, m, path);
}

/* ---- what one was chosen for -------------------------------------------- */

enum tacit_err networks_chosen(struct device *d,
                               const struct networks_role *role,
                               struct networks_choice *out)
{
    sqlite3_stmt *st = NULL;
    struct networks_choice c = {0};
    char sql[SQL_MAX];
    int has = 0;
    snprintf(sql, sizeof sql, "SELECT name, hash, %s FROM %s",
             role->number ? role->number : "0", role->table);
    TRY(db_query(&d->db, &st, sql, ""));
    enum tacit_err err = db_step(&d->db, st, &has);
    if (!err && has) {
        const unsigned char *name = sqlite3_column_text(st, 0);
        snprintf(c.name, sizeof c.name, "%s", name ? (const char *)name : "");
        c.number = sqlite3_column_int64(st, 2);
        err = networks_hash_at(d, st, 1, &c.hash);
    }
    db_finish(st);
    if (!err) *out = c;
    return err;
}

static enum tacit_err write_choice(struct device *d,
                                   const struct networks_role *role,
                                   const struct network_row *m, int64_t number)
{
    char sql[SQL_MAX];
    snprintf(sql, sizeof sql, "DELETE FROM %s", role->table);
    TRY(db_run(&d->db, sql, ""));
    if (!m) return TACIT_OK;
    snprintf(sql, sizeof sql, "INSERT INTO %s VALUES(1, ?, ?%s)", role->table,
             role->number ? ", ?" : "");
    return db_run(&d->db, sql, role->number ? "sbi" : "sb", m->name,
                  (const void *)m->hash.b, (size_t)DIGEST_BYTES, number);
}

enum tacit_err networks_choose(struct device *d,
                               const struct networks_role *role,
                               const struct network_row *m, int64_t number)
{
    TRY(db_begin(&d->db));
    enum tacit_err err = write_choice(d, role, m, number);
    if (!err) err = db_commit(&d->db);
    if (err) db_rollback(&d->db);
    return err;
}

enum tacit_err networks_check_unused(const struct network_row *m,
                                     const char *chosen, const char *does,
                                     const char *back)
{
    if (strcmp(chosen, m->name) != 0) return TACIT_OK;
    return fail(TACIT_STATE,
                "%s %s here; `tacit model use %s`, or another one, before it "
                "is removed",
                m->name, does, back);
}

/* ---- names -------------------------------------------------------------- */

static int is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

/* What a path suggests: its last part, folded, without its ending. */
static void name_from(const char *path, char out[NETWORK_NAME_MAX])
{
    size_t n = strlen(path), k = 0;
    while (n > 1 && path[n - 1] == '/') n--;
    size_t from = n;
    while (from > 0 && path[from - 1] != '/') from--;
    if (n - from > 5 && strncmp(path + n - 5, ".gguf", 5) == 0) n -= 5;
    for (size_t i = from; i < n && k + 1 < NETWORK_NAME_MAX; i++) {
        char c = path[i];
        if (c >= 'A' && c <= 'Z') c = (char)(c | 32);
        if (!is_name_char(c)) c = '-';
        if (k > 0 || (c != '.' && c != '-')) out[k++] = c;
    }
    out[k] = '\0';
}

/* What `tacit model use` understands to be another thing. */
static int is_taken(const char *name)
{
    static const char *const taken[] = {"none", "built-in", "built-in-reader"};
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        if (strcmp(name, taken[i]) == 0) return 1;
    return 0;
}

enum tacit_err networks_choose_name(const struct networks_job *job,
                                    char out[NETWORK_NAME_MAX])
{
    char own[NETWORK_NAME_MAX];
    const char *name = job->name ? job->name : own;
    if (!job->name) name_from(job->path, own);
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++)
        if (!is_name_char(name[i]) || name[0] == '.' || name[0] == '-') n = 0;
    if (is_taken(name))
        return fail_as(E_USAGE,
                       "`tacit model use %s` means another thing; "
                       "give the model another --name",
                       name);
    if (n == 0 && !job->name)
        return fail_as(E_USAGE, "%s: no name can be made of this; give --name",
                       job->path);
    if (n == 0 || n >= NETWORK_NAME_MAX)
        return fail_as(E_USAGE,
                       "a model's name is 1 to %d of a-z, 0-9, '.', '_' and "
                       "'-', and begins with no '.' or '-'",
                       NETWORK_NAME_MAX - 1);
    memcpy(out, name, n + 1);
    return TACIT_OK;
}

enum tacit_err networks_check_name(struct device *d,
                                   const struct network_row *m)
{
    struct network_row old;
    enum tacit_err err = networks_find(d, m->name, &old);
    if (err == TACIT_NOTFOUND) {
        err_clear();
        return TACIT_OK;
    }
    TRY(err);
    if (strcmp(old.name, m->name) != 0 ||
        digest_equal(&old.source_hash, &m->source_hash))
        return TACIT_OK;
    return fail(TACIT_STATE,
                "there is another model named %s; give this one another "
                "--name, or `tacit model rm %s` first",
                m->name, m->name);
}

enum tacit_err networks_check_free(struct device *d, const char *name)
{
    const struct networks_job job = {.name = name};
    char taken[NETWORK_NAME_MAX];
    struct network_row old;
    assert(name);
    TRY(networks_choose_name(&job, taken));
    enum tacit_err err = networks_find(d, name, &old);
    if (err == TACIT_OK && strcmp(old.name, name) == 0)
        return fail(TACIT_STATE,
                    "there is a model named %s; give another name, or `tacit "
                    "model rm %s` first",
                    name, name);
    if (err && err != TACIT_NOTFOUND) return err;
    err_clear();
    return TACIT_OK;
}

/* ---- looking after ------------------------------------------------------ */

enum tacit_err networks_check_file(const struct device *d,
                                   const struct network_row *m)
{
    char path[DEVICE_PATH_MAX];
    struct digest now;
    const uint8_t *bytes = NULL;
    size_t n = 0;
    TRY(networks_path(d, m, path));
    enum tacit_err err = mapped_open(path, &bytes, &n);
    if (!err) {
        digest_of(&now, bytes, n);
        mapped_close(bytes, n);
        if (!digest_equal(&now, &m->hash))
            err = fail(TACIT_FORMAT, "its file was changed");
    }
    if (!err) return TACIT_OK;
    return err_context(err, "model %s: import it again, which heals it",
                       m->name);
}

static enum tacit_err check_row(const struct network_row *m, void *ctx)
{
    return networks_check_file(ctx, m);
}

enum tacit_err networks_check(struct device *d)
{
    return networks_walk(d, check_row, d);
}
