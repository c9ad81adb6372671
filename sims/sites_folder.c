/* sites: a folder with one file, or for a retriever one folder, per client. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "client/feedback.h"
#include "client/pairs.h"
#include "client/token_sets.h"
#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/model/model_files.h"
#include "common/model/tuned_base.h"
#include "common/task/task.h"
#include "retrieval/schema.h"
#include "sims/sites_parts.h"

enum { PATH_BYTES = 4096 };

struct indexing {
    struct corpus *corpus;
};

static enum tacit_err index_one(const char *path, void *ctx)
{
    struct indexing *x = ctx;
    enum corpus_outcome outcome;
    size_t n;
    return corpus_add(x->corpus, path, &outcome, &n);
}

/* A network takes minutes for what the built-in encoder does in a second: its
 * index stays beside the documents, for the next run. */
static enum tacit_err index_path(const struct plan *plan, const char *folder,
                                 const struct encoder *encoder,
                                 char out[PATH_BYTES])
{
    char name[ENCODER_VERSION_MAX + 16], version[ENCODER_VERSION_MAX];
    if (!plan_has_base(plan)) {
        snprintf(out, PATH_BYTES, ":memory:");
        return TACIT_OK;
    }
    encoder_version(encoder, version);
    snprintf(name, sizeof name, ".index-%s.db", version);
    return file_join(out, PATH_BYTES, folder, name);
}

/* The store's vectors become as long as the encoder's. */
static enum tacit_err fit(struct db *db, struct corpus *corpus)
{
    TRY(db_begin(db));
    enum tacit_err err = corpus_fit(corpus);
    if (!err) err = db_commit(db);
    if (err) db_rollback(db);
    return err;
}

/* ---- a kept index ------------------------------------------------------- */

struct elsewhere {
    char folder[PATH_MAX]; /* with a slash behind it */
    struct buf paths;      /* each with its zero */
};

static enum tacit_err note_elsewhere(const struct corpus_document *d, void *ctx)
{
    struct elsewhere *e = ctx;
    if (strncmp(d->path, e->folder, strlen(e->folder)) != 0)
        buf_put(&e->paths, d->path, strlen(d->path) + 1);
    return buf_end(&e->paths);
}

static enum tacit_err remove_noted(struct corpus *corpus,
                                   const struct elsewhere *e)
{
    size_t n;
    for (size_t at = 0; at < e->paths.len;) {
        const char *path = (const char *)e->paths.data + at;
        TRY(corpus_remove(corpus, path, &n));
        at += strlen(path) + 1;
    }
    return TACIT_OK;
}

/* An index came along with a copied or renamed folder, or a file is gone: those
 * documents are not this client's, and would be among its passages. */
static enum tacit_err forget_others(struct corpus *corpus,
                                    const char *documents)
{
    struct elsewhere e;
    size_t n;
    if (!realpath(documents, e.folder)) return TACIT_OK; /* file_walk() says */
    n = strlen(e.folder);
    if (n + 2 > sizeof e.folder)
        return fail(TACIT_LIMIT, "%s: a path too long", documents);
    memcpy(e.folder + n, "/", 2);
    buf_init(&e.paths, 0);
    enum tacit_err err = corpus_list(corpus, note_elsewhere, &e);
    if (!err) err = remove_noted(corpus, &e);
    if (!err) err = corpus_prune(corpus, documents, NULL, &n);
    buf_release(&e.paths);
    return err;
}

/* One client's documents in a store of its own. */
static enum tacit_err load_pairs(const struct plan *plan, const char *folder,
                                 const struct encoder *encoder,
                                 struct dataset *out)
{
    const char *migrations[CORPUS_N_MIGRATIONS + FEEDBACK_N_MIGRATIONS];
    size_t n = 0;
    char documents[PATH_BYTES], questions[PATH_BYTES], index[PATH_BYTES];
    struct db db = {0};
    struct indexing x = {0};
    for (size_t i = 0; i < CORPUS_N_MIGRATIONS; i++)
        migrations[n++] = corpus_migrations[i];
    for (size_t i = 0; i < FEEDBACK_N_MIGRATIONS; i++)
        migrations[n++] = feedback_migrations[i];
    TRY(file_join(documents, sizeof documents, folder, "documents"));
    TRY(file_join(questions, sizeof questions, folder, "questions.csv"));
    const struct db_opening how = {.mode = DB_CREATE,
                                   .migrations = migrations,
                                   .n = n};
    TRY(index_path(plan, folder, encoder, index));
    TRY(schema_open_with(&db, index, &how));
    enum tacit_err err = corpus_open(&db, encoder, &x.corpus);
    if (!err && plan_has_base(plan)) err = fit(&db, x.corpus);
    if (!err) err = forget_others(x.corpus, documents);
    if (!err) err = file_walk(documents, index_one, &x);
    if (!err) err = pairs_load(plan, questions, &db, x.corpus, encoder, out);
    corpus_close(x.corpus);
    db_close(&db);
    return err;
}

/* A client without rows: in a study, its file is best left out. */
static enum tacit_err empty_client(enum tacit_err err)
{
    char why[512];
    if (!err || err_id() != E_NO_EXAMPLES) return err;
    snprintf(why, sizeof why, "%s", err_message());
    err_clear();
    return fail_as(E_NO_EXAMPLES,
                   "%s; every client needs some: add rows, or take it out of "
                   "the folder",
                   why);
}

/* The end of a client's file's name. */
static const char *ending_of(const struct plan *plan)
{
    return plan->format == PLAN_TEXT ? ".jsonl" : ".csv";
}

static int is_client(const struct plan *plan, const char *folder,
                     const char *name)
{
    char path[PATH_BYTES];
    const char *ending = ending_of(plan);
    struct stat st;
    size_t n = strlen(name), tail = strlen(ending);
    if (name[0] == '.') return 0;
    if (plan->task != PLAN_RETRIEVER)
        return n > tail && strcmp(name + n - tail, ending) == 0;
    n = (size_t)snprintf(path, sizeof path, "%s/%s/documents", folder, name);
    return n < sizeof path && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static enum tacit_err load_one(const struct plan *plan, const char *folder,
                               const char *name, const struct encoder *encoder,
                               struct sites *s)
{
    char path[PATH_BYTES];
    struct dataset *d = &s->data[s->n];
    TRY(file_join(path, sizeof path, folder, name));
    enum tacit_err err = plan->task == PLAN_RETRIEVER
                             ? load_pairs(plan, path, encoder, d)
                         : plan_has_base(plan) ? token_sets_load(plan, path, d)
                                               : examples_load(plan, path, d);
    TRY(empty_client(err));
    sites_name(s, s->n++, "%s", name);
    return TACIT_OK;
}

static enum tacit_err check_plan(const struct plan *plan, const char *folder)
{
    if (plan->format == PLAN_IMAGES || plan->format == PLAN_VECTORS)
        return fail_as(E_DATA_KIND,
                       "%s: a folder serves tables and text, one file per "
                       "client; name the one file of images or vectors",
                       folder);
    return TACIT_OK;
}

/* The built-in one, or the plan's base. */
static enum tacit_err open_encoder(const struct plan *plan,
                                   struct encoder **out)
{
    const struct plan_base *b = &plan->base;
    struct model_spec spec;
    struct model_files *files = NULL;
    int64_t dim = 0;
    if (!plan_has_base(plan)) return encoder_new(out);
    task_spec(plan, &spec);
    TRY(tuned_base(&spec.base, &files));
    enum tacit_err err =
        model_files_int(files, "embedding_length", 1, ENCODER_DIM_MAX, &dim);
    model_files_close(files);
    TRY(err);
    const struct encoder_model m = {.name = b->name,
                                    .path = b->where,
                                    .hash = b->hash,
                                    .dim = (size_t)dim,
                                    .question = "",
                                    .passage = ""};
    return encoder_open(&m, out);
}

enum tacit_err sites_load_folder(const struct plan *plan, const char *folder,
                                 struct sites *s)
{
    struct dirent **list = NULL;
    struct encoder *encoder = NULL;
    int n = scandir(folder, &list, NULL, alphasort);
    if (n < 0) return fail(TACIT_IO, "%s: %s", folder, strerror(errno));
    enum tacit_err err = check_plan(plan, folder);
    if (!err) err = sites_room(s, (size_t)n);
    if (!err && plan->task == PLAN_RETRIEVER)
        err = open_encoder(plan, &encoder);
    for (int i = 0; i < n; i++) {
        if (!err && is_client(plan, folder, list[i]->d_name))
            err = load_one(plan, folder, list[i]->d_name, encoder, s);
        free(list[i]);
    }
    free(list);
    encoder_free(encoder);
    if (err || s->n >= 2) return err;
    if (plan->task == PLAN_RETRIEVER)
        return fail(TACIT_NOTFOUND,
                    "%s: %zu clients found; one folder each, with documents/ "
                    "and questions.csv",
                    folder, s->n);
    return fail(TACIT_NOTFOUND, "%s: %zu clients found; one %s file each",
                folder, s->n, ending_of(plan));
}
