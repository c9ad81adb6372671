#include "client/tuning.h"

#include <string.h>

#include "client/feedback.h"
#include "common/base/codes.h"
#include "common/base/csv.h"
#include "common/base/digest.h"

const char *const tuning_migrations[TUNING_N_MIGRATIONS] = {
    "CREATE TABLE search_weight("
    " model BLOB PRIMARY KEY, weight REAL NOT NULL, ndcg REAL NOT NULL,"
    " by_words REAL NOT NULL, questions INTEGER NOT NULL,"
    " learnt_s INTEGER NOT NULL) STRICT;"};

/* Names encoder and adapter. */
static void name_model(const struct tuning_model *m, struct digest *out)
{
    char version[ENCODER_VERSION_MAX] = {0};
    struct digest_state s;
    encoder_version(m->encoder, version);
    digest_begin(&s);
    digest_add(&s, version, sizeof version);
    if (m->adapter)
        digest_add(&s, m->adapter,
                   (size_t)ENCODER_DIM * ENCODER_DIM * sizeof *m->adapter);
    digest_end(&s, out);
}

enum tacit_err tuning_weight(struct db *db, const struct tuning_model *m,
                             struct weight_learnt *out, int *found)
{
    struct digest name;
    sqlite3_stmt *st;
    name_model(m, &name);
    TRY(db_query(db, &st,
                 "SELECT weight, ndcg, by_words, questions FROM search_weight"
                 " WHERE model = ?",
                 "b", (const void *)name.b, sizeof name.b));
    enum tacit_err err = db_step(db, st, found);
    double weight = !err && *found ? sqlite3_column_double(st, 0) : 0;
    if (!err && *found && weight >= 0 && weight <= 1)
        *out = (struct weight_learnt){.weight = weight,
                                      .ndcg = sqlite3_column_double(st, 1),
                                      .by_words = sqlite3_column_double(st, 2),
                                      .n_questions =
                                          (size_t)sqlite3_column_int64(st, 3)};
    else
        *found = 0;
    db_finish(st);
    return err;
}

enum tacit_err tuning_keep(struct db *db, const struct tuning_model *m,
                           const struct weight_learnt *w, int64_t now_s)
{
    struct digest name;
    name_model(m, &name);
    return db_run(db,
                  "INSERT OR REPLACE INTO search_weight VALUES(?,?,?,?,?,?)",
                  "bdddii", (const void *)name.b, sizeof name.b, w->weight,
                  w->ndcg, w->by_words, (int64_t)w->n_questions, now_s);
}

struct learning {
    struct corpus *corpus;
    const struct tuning_model *m;
    struct weight_fit *fit;
};

/* What answers a question. */
struct target {
    const char *path;    /* the whole one, or its end */
    const char *heading; /* the innermost one; NULL or "": anywhere */
};

static int ends_at_name(const char *path, const char *end)
{
    size_t n = strlen(path), k = strlen(end);
    return n >= k && strcmp(path + n - k, end) == 0 &&
           (n == k || *end == '/' || path[n - k - 1] == '/');
}

static int is_target(const struct search_hit *h, void *ctx)
{
    const struct target *t = ctx;
    size_t n = strlen(h->heading), k = t->heading ? strlen(t->heading) : 0;
    int is_here =
        n >= k && strcmp(h->heading + n - k, t->heading ? t->heading : "") == 0;
    return ends_at_name(h->path, t->path) && is_here;
}

static enum tacit_err learn_pair(struct learning *l, const char *question,
                                 struct target target)
{
    const struct search_query q = {.text = question,
                                   .adapter = l->m->adapter,
                                   .limit = 1};
    enum tacit_err err =
        weight_fit_add(l->fit, l->corpus, &q, is_target, &target);
    if (err && err_id() != E_QUESTION_EMPTY && err_id() != E_QUESTION_LIMIT)
        return err;
    if (err) err_clear();
    return TACIT_OK;
}

static enum tacit_err learn_feedback(const struct feedback_pair *p, void *ctx)
{
    if (p->verdict != FEEDBACK_GOOD) return TACIT_OK;
    return learn_pair(ctx, p->question, (struct target){p->path, p->heading});
}

static int is_known(const char *cell)
{
    return cell && *cell && strcmp(cell, "?") != 0;
}

static enum tacit_err learn_csv(struct learning *l, const char *path)
{
    struct arena a;
    struct csv t;
    size_t question = 0, document = 0;
    arena_init(&a, 0);
    enum tacit_err err = csv_load(path, &a, &t);
    if (!err) err = csv_column(&t, "question", &question);
    if (!err) err = csv_column(&t, "document", &document);
    long heading = err ? -1 : csv_find(&t, "heading");
    long split = err ? -1 : csv_find(&t, "split");
    for (size_t i = 0; !err && i < t.n_rows; i++) {
        struct target target = {.path = csv_cell(&t, i, document)};
        if (heading >= 0) target.heading = csv_cell(&t, i, (size_t)heading);
        if (split >= 0 && strcmp(csv_cell(&t, i, (size_t)split), "test") == 0)
            continue;
        if (is_known(csv_cell(&t, i, question)) && is_known(target.path))
            err = learn_pair(l, csv_cell(&t, i, question), target);
    }
    arena_release(&a);
    return err;
}

enum tacit_err tuning_learn(struct db *db, struct corpus *corpus,
                            const struct tuning_model *m, const char *csv_path,
                            struct weight_learnt *out)
{
    struct learning l = {.corpus = corpus, .m = m};
    TRY(weight_fit_new(&l.fit));
    enum tacit_err err = feedback_pairs(db, learn_feedback, &l);
    if (!err && csv_path) err = learn_csv(&l, csv_path);
    if (!err) err = weight_fit_end(l.fit, out);
    weight_fit_free(l.fit);
    return err;
}
