#include "client/networks.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/tick.h"
#include "common/base/utf8.h"
#include "common/model/mapped.h"
#include "common/model/model_files.h"
#include "common/model/model_folder.h"
#include "common/model/net.h"
#include "common/model/repack.h"
#include "common/model/word_table.h"
#include "common/wire/blob.h"

enum { ALIGNMENT = 64 };

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

enum tacit_err networks_path(const struct device *d,
                             const struct network_row *m,
                             char out[DEVICE_PATH_MAX])
{
    return blob_path(d->blobs, &m->hash, out, DEVICE_PATH_MAX);
}

/* A blob that no row names goes, in a write: so that no other process names it
 * between the look and the end of it. */
static enum tacit_err remove_unused(struct device *d,
                                    const struct network_row *m,
                                    const char *path)
{
    int64_t users = 0;
    TRY(db_begin(&d->db));
    enum tacit_err err =
        db_int(&d->db, &users, "SELECT count(*) FROM model WHERE hash = ?", "b",
               (const void *)m->hash.b, (size_t)DIGEST_BYTES);
    if (!err && users == 0 && unlink(path) != 0 && errno != ENOENT)
        err = fail(TACIT_IO, "%s: %s", path, strerror(errno));
    db_rollback(&d->db);
    return err;
}

enum tacit_err networks_remove(struct device *d, const struct network_row *m)
{
    char path[DEVICE_PATH_MAX];
    TRY(networks_path(d, m, path));
    TRY(db_run(&d->db, "DELETE FROM model WHERE name = ?", "s", m->name));
    return remove_unused(d, m, path);
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

static enum tacit_err choose_name(const struct networks_job *job,
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

/* ---- what a killed process left ----------------------------------------- */

static void sweep(const char *folder)
{
    char path[DEVICE_PATH_MAX];
    DIR *dir = opendir(folder);
    if (!dir) return;
    for (struct dirent *e; (e = readdir(dir));) {
        if (strncmp(e->d_name, ".import-", 8) != 0) continue;
        if (file_join(path, sizeof path, folder, e->d_name)) {
            err_clear();
            continue;
        }
        int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) unlink(path);
        if (fd >= 0) close(fd);
    }
    closedir(dir);
}

/* ---- tensors ------------------------------------------------------------ */

struct moving {
    const struct networks_job *job;
    struct repack *plan; /* [n], owned */
    size_t n;
    uint64_t done, total;
};

static enum tacit_err step(void *ctx, uint64_t bytes)
{
    struct moving *m = ctx;
    m->done += bytes;
    return m->job->step ? m->job->step(m->job->ctx, m->done, m->total)
                        : TACIT_OK;
}

struct tensors {
    size_t n;
    const struct gguf_tensor *(*at)(const void *of, size_t i);
    const void *of;
};

static const struct gguf_tensor *of_files(const void *of, size_t i)
{
    return model_files_tensor_at(of, i);
}

static const struct gguf_tensor *of_gguf(const void *of, size_t i)
{
    return gguf_tensor_at(of, i);
}

static enum tacit_err plan_all(const struct tensors *t, int type,
                               enum repack_form form, struct moving *m)
{
    m->plan = calloc(t->n + 1, sizeof *m->plan);
    if (!m->plan) return fail(TACIT_NOMEM, "no memory for %zu tensors", t->n);
    if (t->n == 0)
        return fail(TACIT_FORMAT, "there is no tensor in it: a vocabulary "
                                  "alone is no model");
    for (; m->n < t->n; m->n++) {
        const struct gguf_tensor *from = t->at(t->of, m->n);
        TRY(repack_plan(from, type, form, &m->plan[m->n]));
        m->total += from->bytes;
    }
    return TACIT_OK;
}

static enum tacit_err write_all(struct moving *m, struct gguf_writer *w)
{
    for (size_t i = 0; i < m->n; i++) repack_announce(&m->plan[i], w);
    for (size_t i = 0; i < m->n; i++)
        TRY(repack_write(&m->plan[i], w, step, m));
    return TACIT_OK;
}

/* The type of most numbers in matrices. */
static void describe(const struct moving *m, struct network_row *out)
{
    uint64_t count[64] = {0}, best = 0;
    for (size_t i = 0; i < m->n; i++) {
        const struct repack *r = &m->plan[i];
        uint64_t n = r->from->dims[0] * r->from->dims[1];
        out->parameters += n;
        if (!r->is_matrix) continue;
        count[(unsigned)r->type % 64] += n;
        if (count[(unsigned)r->type % 64] <= best) continue;
        best = count[(unsigned)r->type % 64];
        snprintf(out->type, sizeof out->type, "%s", quant_info(r->type)->name);
    }
}

/* ---- metadata ----------------------------------------------------------- */

static int is_ours(const char *key)
{
    return strcmp(key, "general.alignment") == 0 ||
           strcmp(key, "general.name") == 0 ||
           strcmp(key, "tacit.source_hash") == 0 ||
           strcmp(key, "general.license") == 0 ||
           strcmp(key, "general.source.url") == 0;
}

static void put_text(struct gguf_writer *w, const char *key, const char *text)
{
    if (text[0]) gguf_put_text(w, key, text, strlen(text));
}

static void put_pairs(const struct gguf *g, const struct network_row *m,
                      struct gguf_writer *w)
{
    char hex[DIGEST_HEX];
    hex_encode(hex, m->source_hash.b, DIGEST_BYTES);
    for (size_t i = 0; i < gguf_n_pairs(g); i++)
        if (!is_ours(gguf_key_at(g, i))) gguf_put_pair(w, g, i);
    put_text(w, "tacit.source_hash", hex);
}

/* What only this device says of it. */
static void put_origin(const struct network_row *m, struct gguf_writer *w)
{
    put_text(w, "general.name", m->name);
    put_text(w, "general.license", m->licence);
    put_text(w, "general.source.url", m->source);
}

static void said(const struct gguf *g, const char *const *keys,
                 const char *given, char out[NETWORK_TEXT_MAX])
{
    char text[NETWORK_TEXT_MAX] = "";
    for (; *keys && !given && !text[0]; keys++)
        gguf_text_or_empty(g, *keys, text, sizeof text);
    utf8_printable(out, NETWORK_TEXT_MAX, given ? given : text);
}

/* What the command says, else the file, else where it was. */
static void take_origin(const struct gguf *g, const struct networks_job *job,
                        struct network_row *m)
{
    static const char *const licences[] = {"general.license",
                                           "general.license.name", NULL};
    static const char *const sources[] = {
        "general.source.url", "general.url", "general.repo_url",
        "general.source.huggingface.repository", NULL};
    said(g, licences, job->licence, m->licence);
    said(g, sources, job->source, m->source);
    if (!m->source[0]) utf8_printable(m->source, sizeof m->source, job->path);
}

/* ---- importing ---------------------------------------------------------- */

/* Its rows are looked up, not multiplied: they stay rows. */
static int is_word_table(const char *family)
{
    return strcmp(family, WORD_TABLE_FAMILY) == 0;
}

static enum tacit_err check_words(const struct gguf *g)
{
    struct word_table *t = NULL;
    TRY(word_table_open(g, &t));
    word_table_free(t);
    return TACIT_OK;
}

static enum tacit_err check_readable(const struct model_files *c)
{
    struct vocab *v = NULL;
    if (is_word_table(model_files_family(c)))
        return check_words(model_files_metadata(c));
    TRY(net_knows(model_files_family(c)));
    TRY(model_files_vocab(c, &v));
    vocab_free(v);
    return TACIT_OK;
}

/* It has every tensor in its shape and no other, and a row for each token. */
static enum tacit_err check_net(const struct gguf *g)
{
    struct net *net = NULL;
    struct vocab *v = NULL;
    TRY(net_open_gguf(g, NULL, &net));
    enum tacit_err err = TACIT_OK;
    for (size_t i = 0; !err && i < gguf_n_tensors(g); i++)
        if (!net_reads(net, gguf_tensor_at(g, i)->name))
            err = fail_as(E_MODEL_UNSUPPORTED,
                          "tensor %s is no part of the family %s as it is "
                          "known here: without it this would be another model",
                          gguf_tensor_at(g, i)->name, net_family_name(net));
    if (!err) err = vocab_from_gguf(g, &v);
    if (!err && vocab_size(v) > net_shape(net)->vocab)
        err = fail(TACIT_SHAPE,
                   "its vocabulary has %zu tokens, its table %zu rows: the "
                   "tokenizer is another model's",
                   vocab_size(v), net_shape(net)->vocab);
    vocab_free(v);
    net_close(net);
    return err;
}

/* What was written is a network. */
static enum tacit_err check_network(const char *path, const char *family)
{
    struct gguf *g = NULL;
    TRY(gguf_open(path, &g));
    enum tacit_err err = is_word_table(family) ? check_words(g) : check_net(g);
    gguf_close(g);
    return err;
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
/* Within a write. */
static enum tacit_err put_row(struct device *d, const struct networks_job *job,
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

/* Write the blob and its row: both or none. Both are there before another
 * process looks whether the blob that it gives up is anybody's. */
static enum tacit_err commit(struct device *d, const struct networks_job *job,
                             struct gguf_writer *w, struct network_row *m)
{
    char path[DEVICE_PATH_MAX];
    TRY(gguf_writer_end(w, &m->hash));
    const struct network_row made = *m;
    TRY(networks_path(d, m, path));
    m->bytes = w->file_bytes;
    m->added_s = tick_wall_s();
    TRY(db_begin(&d->db));
    enum tacit_err err = gguf_writer_commit(w, path, 0600);
    int is_there = !err;
    if (!err) err = check_network(path, m->family);
    if (!err) err = put_row(d, job, m);
    if (!err) err = db_commit(&d->db);
    if (!err) return TACIT_OK;
    db_rollback(&d->db);
    if (is_there) (void)remove_unused(d, &made, path);
    return err;
}

static enum tacit_err store(struct device *d, const struct tensors *t,
                            const struct gguf *meta,
                            const struct networks_job *job,
                            struct network_row *m)
{
    struct moving moving = {.job = job};
    struct gguf_writer w;
    enum tacit_err err = file_mkdirs(d->blobs, 0700);
    if (err) return err;
    sweep(d->blobs);
    err = gguf_writer_init(&w, d->blobs, ALIGNMENT);
    if (!err)
        err = plan_all(t, job->type,
                       is_word_table(m->family) ? REPACK_ROWS : REPACK_TILES,
                       &moving);
    if (!err) put_pairs(meta, m, &w);
    if (!err) err = write_all(&moving, &w);
    if (!err) describe(&moving, m);
    if (!err) err = commit(d, job, &w, m);
    free(moving.plan);
    gguf_writer_release(&w);
    return err;
}

/* Before the work: a name that other weights have. */
static enum tacit_err check_name(struct device *d, const struct network_row *m)
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

enum tacit_err networks_import(struct device *d, const struct networks_job *job,
                               struct network_row *out)
{
    struct model_files *c = NULL;
    struct network_row m = {0};
    TRY(choose_name(job, m.name));
    TRY(model_files_open(job->path, &c));
    struct tensors t = {model_files_n_tensors(c), of_files, c};
    enum tacit_err err = check_readable(c);
    if (!err) {
        snprintf(m.family, sizeof m.family, "%s", model_files_family(c));
        model_files_hash(c, &m.source_hash, &m.source_bytes);
        take_origin(model_files_metadata(c), job, &m);
        err = check_name(d, &m);
    }
    if (!err) err = store(d, &t, model_files_metadata(c), job, &m);
    if (err) err = err_context(err, "%s", job->path);
    model_files_close(c);
    if (!err) *out = m;
    return err;
}

enum tacit_err networks_check_free(struct device *d, const char *name)
{
    const struct networks_job job = {.name = name};
    char taken[NETWORK_NAME_MAX];
    struct network_row old;
    assert(name);
    TRY(choose_name(&job, taken));
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

enum tacit_err networks_quantise(struct device *d,
                                 const struct network_row *from,
                                 const struct networks_job *job,
                                 struct network_row *out)
{
    char path[DEVICE_PATH_MAX];
    struct gguf *g = NULL;
    struct network_row m = *from;
    TRY(networks_check_free(d, job->name));
    snprintf(m.name, sizeof m.name, "%s", job->name);
    TRY(networks_path(d, from, path));
    TRY(gguf_open(path, &g));
    struct tensors t = {gguf_n_tensors(g), of_gguf, g};
    m.parameters = 0;
    enum tacit_err err = store(d, &t, g, job, &m);
    gguf_close(g);
    if (!err) *out = m;
    return err;
}

/* ---- looking after ------------------------------------------------------ */

static enum tacit_err check_file(const struct network_row *m, void *ctx)
{
    const struct device *d = ctx;
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

enum tacit_err networks_check(struct device *d)
{
    return networks_walk(d, check_file, d);
}

/* ---- exporting ---------------------------------------------------------- */

static enum tacit_err export_to(const struct gguf *g,
                                const struct network_row *from,
                                const struct networks_job *job,
                                struct gguf_writer *w)
{
    struct moving moving = {.job = job};
    struct tensors t = {gguf_n_tensors(g), of_gguf, g};
    enum tacit_err err = plan_all(&t, REPACK_KEEP, REPACK_ROWS, &moving);
    if (!err) put_pairs(g, from, w);
    if (!err) put_origin(from, w);
    if (!err) err = write_all(&moving, w);
    if (!err) err = gguf_writer_end(w, NULL);
    free(moving.plan);
    return err;
}

enum tacit_err networks_export(struct device *d, const struct network_row *from,
                               const struct networks_job *job)
{
    char path[DEVICE_PATH_MAX], folder[DEVICE_PATH_MAX];
    struct gguf *g = NULL;
    struct gguf_writer w;
    const char *slash = strrchr(job->path, '/');
    int n = slash ? snprintf(folder, sizeof folder, "%.*s",
                             (int)(slash - job->path + 1), job->path)
                  : snprintf(folder, sizeof folder, ".");
    if (n < 0 || (size_t)n >= sizeof folder)
        return fail(TACIT_LIMIT, "%s: the path is too long", job->path);
    if (file_exists(job->path))
        return fail(TACIT_STATE, "%s is there already; name another file",
                    job->path);
    TRY(networks_path(d, from, path));
    TRY(gguf_open(path, &g));
    enum tacit_err err = gguf_writer_init(&w, folder, GGUF_ALIGNMENT);
    if (!err) err = export_to(g, from, job, &w);
    if (!err) err = gguf_writer_commit(&w, job->path, 0644);
    gguf_writer_release(&w);
    gguf_close(g);
    return err;
}

enum tacit_err networks_export_folder(struct device *d,
                                      const struct network_row *from,
                                      const struct networks_job *job)
{
    char path[DEVICE_PATH_MAX];
    struct model_files *f = NULL;
    const int rows = from->type[0] == 'F' || from->type[0] == 'B';
    const struct quant_info *own = rows ? quant_find(from->type) : NULL;
    struct model_folder how = {.type = own ? own->type : QUANT_F32,
                               .licence = from->licence,
                               .source = from->source,
                               .step = job->step,
                               .ctx = job->ctx};
    if (job->type != REPACK_KEEP) how.type = (enum quant_type)job->type;
    TRY(networks_path(d, from, path));
    TRY(model_files_open(path, &f));
    enum tacit_err err = model_folder_write(f, job->path, &how);
    model_files_close(f);
    return err;
}
