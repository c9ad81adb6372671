#include "client/embedding.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "client/adapters.h"
#include "common/base/codes.h"
#include "common/model/gguf.h"
#include "common/model/word_table.h"
#include "retrieval/corpus.h"

const char *const embedding_migrations[EMBEDDING_N_MIGRATIONS] = {
    "CREATE TABLE search_encoder("
    " one INTEGER PRIMARY KEY CHECK(one = 1), name TEXT NOT NULL,"
    " hash BLOB NOT NULL, dim INTEGER NOT NULL, question TEXT NOT NULL,"
    " passage TEXT NOT NULL) STRICT;",
    /* Which built-in encoder an adopted search model is for. */
    "CREATE TABLE adapter_encoder("
    " model_hash BLOB PRIMARY KEY, version TEXT NOT NULL) STRICT;"};

/* ---- prefixes ------------------------------------------------------------
 */

/* What families of names want, where their files do not say it. */
static const struct {
    const char *word, *question, *passage;
} known[] = {
    {"e5-", "query: ", "passage: "},
    {"bge-small-en",
     "Represent this sentence for searching relevant passages: ", ""},
    {"bge-base-en",
     "Represent this sentence for searching relevant passages: ", ""},
    {"bge-large-en",
     "Represent this sentence for searching relevant passages: ", ""},
};

/* Whether a word begins somewhere in a name. */
static int has_word(const char *name, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = name; *p; p++) {
        int at_start = p == name || strchr("/-_. ", p[-1]);
        if (at_start && strncasecmp(p, word, n) == 0) return 1;
    }
    return 0;
}

static enum tacit_err take_prefix(const char *given, const char *key,
                                  const struct gguf *g, const char *usual,
                                  char out[EMBEDDING_PREFIX_MAX])
{
    if (given && strlen(given) >= EMBEDDING_PREFIX_MAX)
        return fail_as(E_USAGE, "a prefix has at most %d bytes",
                       EMBEDDING_PREFIX_MAX - 1);
    if (given)
        snprintf(out, EMBEDDING_PREFIX_MAX, "%s", given);
    else if (gguf_has(g, key))
        gguf_text_or_empty(g, key, out, EMBEDDING_PREFIX_MAX);
    else
        snprintf(out, EMBEDDING_PREFIX_MAX, "%s", usual);
    return TACIT_OK;
}

static enum tacit_err take_prefixes(const struct network_row *m,
                                    const struct gguf *g, const char *question,
                                    const char *passage,
                                    struct embedding_choice *out)
{
    const char *usual_question = "", *usual_passage = "";
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!has_word(m->name, known[i].word) &&
            !has_word(m->source, known[i].word))
            continue;
        usual_question = known[i].question;
        usual_passage = known[i].passage;
    }
    TRY(take_prefix(question, "tacit.prefix.question", g, usual_question,
                    out->question));
    return take_prefix(passage, "tacit.prefix.passage", g, usual_passage,
                       out->passage);
}

/* ---- choices -------------------------------------------------------------
 */

static enum encoder_kind kind_of(const char *family)
{
    return strcmp(family, WORD_TABLE_FAMILY) == 0 ? ENCODER_TABLE
                                                  : ENCODER_NETWORK;
}

static struct embedding_choice built_in(void)
{
    return (struct embedding_choice){.name = EMBEDDING_BUILT_IN,
                                     .kind = ENCODER_TABLE,
                                     .dim = ENCODER_DIM};
}

static int is_built_in(const struct embedding_choice *c)
{
    return strcmp(c->name, EMBEDDING_BUILT_IN) == 0;
}

static void take_text(sqlite3_stmt *st, int column, char *out, size_t cap)
{
    const unsigned char *s = sqlite3_column_text(st, column);
    snprintf(out, cap, "%s", s ? (const char *)s : "");
}

enum tacit_err embedding_chosen(struct device *d, struct embedding_choice *out)
{
    sqlite3_stmt *st = NULL;
    int has = 0;
    struct embedding_choice c = built_in();
    char family[sizeof((struct network_row *)0)->family];
    TRY(db_query(&d->db, &st,
                 "SELECT s.name, s.hash, s.dim, s.question, s.passage, m.family"
                 " FROM search_encoder s LEFT JOIN model m ON m.name = s.name",
                 ""));
    enum tacit_err err = db_step(&d->db, st, &has);
    if (!err && has) {
        take_text(st, 0, c.name, sizeof c.name);
        c.dim = (size_t)sqlite3_column_int64(st, 2);
        take_text(st, 3, c.question, sizeof c.question);
        take_text(st, 4, c.passage, sizeof c.passage);
        take_text(st, 5, family, sizeof family);
        c.kind = kind_of(family);
        err = networks_hash_at(d, st, 1, &c.hash);
    }
    db_finish(st);
    if (!err) *out = c;
    return err;
}

enum tacit_err embedding_read(struct device *d, const char *name,
                              const char *question, const char *passage,
                              struct embedding_choice *out)
{
    struct network_row m;
    struct gguf *g = NULL;
    struct embedding_choice c = built_in();
    char path[DEVICE_PATH_MAX], key[64];
    int64_t dim = 0;
    if (strcmp(name, EMBEDDING_BUILT_IN) == 0) {
        if (question || passage)
            return fail_as(E_USAGE, "the built-in encoder takes no prefix");
        *out = c;
        return TACIT_OK;
    }
    TRY(networks_find(d, name, &m));
    c.kind = kind_of(m.family);
    if (c.kind == ENCODER_NETWORK && strcmp(m.family, "bert") != 0)
        return fail_as(E_MODEL_UNSUPPORTED,
                       "%s is of the family %s, which predicts text; search "
                       "wants an encoder (bert: MiniLM, BGE, E5; words: from "
                       "`tacit model distill`)",
                       m.name, m.family);
    snprintf(c.name, sizeof c.name, "%s", m.name);
    c.hash = m.hash;
    snprintf(key, sizeof key, "%s.embedding_length", m.family);
    TRY(networks_path(d, &m, path));
    enum tacit_err err = gguf_open(path, &g);
    if (!err) err = gguf_int(g, key, 1, ENCODER_DIM_MAX, &dim);
    if (!err) err = take_prefixes(&m, g, question, passage, &c);
    gguf_close(g);
    if (err) return err_context(err, "model %s", m.name);
    c.dim = (size_t)dim;
    *out = c;
    return TACIT_OK;
}

enum tacit_err embedding_make(struct device *d,
                              const struct embedding_choice *c,
                              struct encoder **out)
{
    char path[DEVICE_PATH_MAX];
    const struct network_row m = {.hash = c->hash};
    if (is_built_in(c)) return encoder_new(out);
    TRY(networks_path(d, &m, path));
    const struct encoder_model model = {.kind = c->kind,
                                        .name = c->name,
                                        .path = path,
                                        .hash = c->hash,
                                        .dim = c->dim,
                                        .question = c->question,
                                        .passage = c->passage};
    return encoder_open(&model, out);
}

/* Questions go through the adapter that was adopted for this network. */
static enum tacit_err adapt(struct device *d, const struct embedding_choice *c,
                            struct encoder *e)
{
    struct adapter_found a;
    struct digest base;
    int has = 0;
    if (is_built_in(c)) return TACIT_OK;
    TRY(adapters_base(d, &has, &base));
    if (!has || !digest_equal(&base, &c->hash)) return TACIT_OK;
    TRY(adapters_find(d, NULL, &a));
    enum tacit_err err =
        device_own(d, &a.plan->hash, model_params(a.model), &has);
    const struct params *p = model_weights(a.model);
    if (!err) err = encoder_adapt(e, &a.spec.base, p->flat, p->n_flat);
    adapters_release(&a);
    return err;
}

enum tacit_err embedding_open(struct device *d, struct encoder **out)
{
    struct embedding_choice c;
    struct encoder *e = NULL;
    TRY(embedding_chosen(d, &c));
    TRY(embedding_make(d, &c, &e));
    enum tacit_err err = adapt(d, &c, e);
    if (err)
        encoder_free(e);
    else
        *out = e;
    return err;
}

/* ---- choosing ------------------------------------------------------------
 */

/* A text goes through it, so that a damaged file is not chosen. */
static enum tacit_err try_out(const struct encoder *e)
{
    struct arena a;
    float v[ENCODER_DIM_MAX];
    arena_init(&a, 0);
    enum tacit_err err = encoder_embed(e, &a, "a question", 10, v);
    arena_release(&a);
    return err;
}

static enum tacit_err write_choice(struct device *d,
                                   const struct embedding_choice *c)
{
    TRY(db_run(&d->db, "DELETE FROM search_encoder", ""));
    if (is_built_in(c)) return TACIT_OK;
    return db_run(&d->db, "INSERT INTO search_encoder VALUES(1, ?, ?, ?, ?, ?)",
                  "sbiss", c->name, (const void *)c->hash.b,
                  (size_t)DIGEST_BYTES, (int64_t)c->dim, c->question,
                  c->passage);
}

/* The choice and what follows from it, or neither. */
static enum tacit_err change(struct device *d, const struct embedding_choice *c,
                             struct corpus *corpus)
{
    TRY(db_begin(&d->db));
    enum tacit_err err = write_choice(d, c);
    if (!err) err = corpus_fit(corpus);
    if (!err) err = db_commit(&d->db);
    if (err) db_rollback(&d->db);
    return err;
}

enum tacit_err embedding_use(struct device *d, const struct embedding_choice *c,
                             size_t *n_stale)
{
    struct encoder *e = NULL;
    struct corpus *corpus = NULL;
    struct corpus_counts n = {0};
    enum tacit_err err = embedding_make(d, c, &e);
    if (!err) err = try_out(e);
    if (!err) err = corpus_open(&d->db, e, &corpus);
    if (!err) err = change(d, c, corpus);
    if (!err) err = corpus_count(corpus, &n);
    corpus_close(corpus);
    encoder_free(e);
    if (!err) *n_stale = (size_t)n.n_stale;
    return err;
}

enum tacit_err embedding_check_unused(struct device *d,
                                      const struct network_row *m)
{
    struct embedding_choice c;
    TRY(embedding_chosen(d, &c));
    return networks_check_unused(m, c.name, "is the encoder that searches",
                                 EMBEDDING_BUILT_IN);
}

/* ---- the federation's adapter --------------------------------------------
 */

enum tacit_err embedding_adapter(struct device *d, const struct encoder *e,
                                 float **out)
{
    *out = NULL;
    return encoder_is_built_in(e) ? device_adapter(d, ENCODER_DIM, out)
                                  : TACIT_OK;
}

static enum tacit_err note_retriever(const struct device_model *m, void *ctx)
{
    int *has = ctx;
    *has |= m->task == PLAN_RETRIEVER && strcmp(m->kind, "static") == 0;
    return TACIT_OK;
}

enum tacit_err embedding_sets_aside(struct device *d, int *out)
{
    struct embedding_choice c;
    int has = 0;
    TRY(embedding_chosen(d, &c));
    TRY(device_models(d, note_retriever, &has));
    *out = has && !is_built_in(&c);
    return TACIT_OK;
}
