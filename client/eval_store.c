#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/embedding.h"
#include "client/eval.h"
#include "common/base/codes.h"
#include "common/base/file.h"
#include "retrieval/schema.h"
#include "retrieval/shelve.h"

enum { TEXTS_PER_WRITE = 1024, TEXTS_TOGETHER = 64 };

static const char store_name[] = "tacit.db";

struct filling {
    struct eval_store *s;
    struct progress progress;
    const char *path;
    struct shelve_row rows[TEXTS_TOGETHER]; /* of the store's arena */
    size_t n, n_waiting;
};

/* The one that is asked for, or the built-in one. */
static enum tacit_err open_encoder(struct eval_store *s,
                                   const struct options *o)
{
    struct embedding_choice c;
    const char *name = options_value(o, "model");
    if (!name) return encoder_new(&s->encoder);
    TRY(cli_open_to_read(o, &s->device));
    s->has_device = 1;
    TRY(embedding_read(&s->device, name, NULL, NULL, &c));
    return embedding_make(&s->device, &c, &s->encoder);
}

static enum tacit_err open_corpus(struct eval_store *s)
{
    TRY(corpus_open(&s->db, s->encoder, &s->corpus));
    TRY(db_begin(&s->db));
    enum tacit_err err = corpus_fit(s->corpus);
    if (!err) err = db_commit(&s->db);
    if (err) db_rollback(&s->db);
    return err;
}

enum tacit_err eval_store_new(struct eval_store *s, const struct options *o)
{
    char path[EVAL_PATH_MAX];
    const char *tmp = getenv("TMPDIR");
    arena_init(&s->a, 0);
    TRY(open_encoder(s, o));
    /* What asks for a passphrase is behind us; from here on there is something
     * to remove. */
    cli_catch_interrupt();
    int n = snprintf(s->folder, sizeof s->folder, "%s/tacit-eval-XXXXXX",
                     tmp && *tmp ? tmp : "/tmp");
    if (n < 0 || (size_t)n >= sizeof s->folder || !mkdtemp(s->folder)) {
        s->folder[0] = '\0';
        return fail(TACIT_IO, "cannot make a folder below TMPDIR");
    }
    TRY(file_join(path, sizeof path, s->folder, store_name));
    TRY(schema_open(&s->db, path, DB_CREATE, NULL));
    /* Nothing here outlives the evaluation. */
    TRY(db_exec(&s->db, "PRAGMA synchronous = OFF"));
    return open_corpus(s);
}

static enum tacit_err commit(struct eval_store *s)
{
    TRY(shelve_end(s->corpus));
    return db_commit(&s->db);
}

static enum tacit_err add_waiting(struct filling *f)
{
    struct db *db = &f->s->db;
    if (cli_interrupted()) return fail_as(E_INTERRUPTED, "interrupted");
    if (sqlite3_get_autocommit(db->sql)) TRY(db_begin(db));
    enum tacit_err err = shelve_texts(f->s->corpus, f->rows, f->n_waiting);
    if (err) return err_context(err, "%s", f->path);
    f->n_waiting = 0;
    arena_reset(&f->s->a);
    return TACIT_OK;
}

static enum tacit_err copy(struct eval_store *s, const char *text,
                           const char **out)
{
    char *copied = NULL;
    TRY(arena_strdup(&s->a, text, strlen(text), &copied));
    *out = copied;
    return TACIT_OK;
}

static enum tacit_err add_text(const struct judged_document *d, void *ctx)
{
    struct filling *f = ctx;
    struct shelve_row *row = &f->rows[f->n_waiting];
    TRY(copy(f->s, d->id, &row->path));
    TRY(copy(f->s, d->title, &row->title));
    TRY(copy(f->s, d->text, &row->text));
    f->n++;
    if (++f->n_waiting < TEXTS_TOGETHER) return TACIT_OK;
    TRY(add_waiting(f));
    progress_update(&f->progress, d->bytes, NULL);
    return f->n % TEXTS_PER_WRITE ? TACIT_OK : commit(f->s);
}

enum tacit_err eval_store_fill(struct eval_store *s, const struct options *o,
                               const char *path)
{
    struct filling f = {.s = s, .path = path};
    struct stat st;
    uint64_t total = stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
    progress_begin(&f.progress, cli_progress(o), "indexing", "bytes", total);
    enum tacit_err err = judged_corpus_read(path, add_text, &f);
    if (!err && f.n_waiting) err = add_waiting(&f);
    if (!err && !sqlite3_get_autocommit(s->db.sql)) err = commit(s);
    if (err) db_rollback(&s->db);
    progress_end(&f.progress);
    if (!err && f.n == 0)
        err = fail_as(E_JUDGED_EMPTY, "%s holds no document", path);
    return err;
}

enum tacit_err eval_store_home(struct eval_store *s, const struct options *o)
{
    arena_init(&s->a, 0);
    TRY(cli_open_to_read(o, &s->device));
    s->has_device = 1;
    TRY(embedding_open(&s->device, &s->encoder));
    TRY(corpus_open(&s->device.db, s->encoder, &s->corpus));
    TRY(readers_open(&s->device, &s->readers));
    return embedding_adapter(&s->device, s->encoder, &s->adapter);
}

enum tacit_err eval_store_reranker(struct eval_store *s,
                                   const struct options *o)
{
    const char *name = options_value(o, "reranker");
    int is_home = !s->folder[0];
    struct reranker_choice chosen = {.name = RERANKER_NONE};
    struct network_row m;
    int64_t n = 0;
    int asked = options_value(o, "rerank") != NULL;
    TRY(options_int(o, "rerank", 0, REREAD_MAX, 0, &n));
    if (asked && n == 0) return TACIT_OK;
    if (!name && is_home) TRY(reranker_chosen(&s->device, &chosen));
    if (strcmp(chosen.name, RERANKER_NONE) != 0)
        return reranker_open(&s->device, (size_t)n, &s->reranker);
    if (!name && asked)
        return fail_as(E_NO_RERANKER,
                       "--rerank wants a cross-encoder: --reranker NAME");
    if (!name) return TACIT_OK;
    if (!s->has_device) TRY(cli_open_to_read(o, &s->device));
    s->has_device = 1;
    TRY(networks_find(&s->device, name, &m));
    return reranker_open_row(&s->device, &m, n ? (size_t)n : REREAD_DEFAULT,
                             &s->reranker);
}

void eval_store_tell(const struct eval_store *s, json_t *data)
{
    if (s->reranker.how.n)
        json_object_set_new(data, "reranker",
                            json_pack("{s:s, s:I}", "name",
                                      s->reranker.choice.name, "passages",
                                      (json_int_t)s->reranker.how.n));
}

static void remove_folder(const char *folder)
{
    static const char *const names[] = {"tacit.db", "tacit.db-wal",
                                        "tacit.db-shm", "tacit.db-journal"};
    char path[EVAL_PATH_MAX];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

void eval_store_close(struct eval_store *s)
{
    corpus_close(s->corpus);
    readers_close(&s->readers);
    reranker_close(&s->reranker);
    if (s->db.sql) db_close(&s->db);
    if (s->folder[0]) remove_folder(s->folder);
    if (s->has_device) device_close(&s->device);
    encoder_free(s->encoder);
    free(s->adapter);
    arena_release(&s->a);
}
