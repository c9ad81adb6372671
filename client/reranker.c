#include "client/reranker.h"

#include <stdio.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/model/gguf.h"

const char *const reranker_migrations[RERANKER_N_MIGRATIONS] = {
    "CREATE TABLE reranker("
    " one INTEGER PRIMARY KEY CHECK(one = 1), name TEXT NOT NULL,"
    " hash BLOB NOT NULL, passages INTEGER NOT NULL) STRICT;"};

static const struct networks_role role = {"reranker", "passages"};

enum tacit_err reranker_chosen(struct device *d, struct reranker_choice *out)
{
    struct networks_choice c;
    TRY(networks_chosen(d, &role, &c));
    *out = (struct reranker_choice){.hash = c.hash};
    snprintf(out->name, sizeof out->name, "%s",
             c.name[0] ? c.name : RERANKER_NONE);
    if (c.name[0])
        out->n = c.number >= 1 && c.number <= REREAD_MAX ? (size_t)c.number
                                                         : REREAD_DEFAULT;
    return TACIT_OK;
}

enum tacit_err reranker_outputs(struct device *d, const struct network_row *m,
                                uint64_t *out)
{
    char path[DEVICE_PATH_MAX];
    struct gguf *g = NULL;
    TRY(networks_path(d, m, path));
    TRY(gguf_open(path, &g));
    *out = cross_outputs(g);
    gguf_close(g);
    return TACIT_OK;
}

static enum tacit_err fits(struct device *d, const struct network_row *m)
{
    char path[DEVICE_PATH_MAX];
    struct gguf *g = NULL;
    TRY(networks_path(d, m, path));
    TRY(gguf_open(path, &g));
    enum tacit_err err = cross_fits(g);
    gguf_close(g);
    return err ? err_context(err, "model %s", m->name) : TACIT_OK;
}

/* ---- using -------------------------------------------------------------- */

static enum tacit_err open_cross(struct device *d, const struct digest *hash,
                                 const char *name, struct cross **out)
{
    char path[DEVICE_PATH_MAX];
    const struct network_row row = {.hash = *hash};
    TRY(networks_path(d, &row, path));
    const struct cross_model m = {.name = name, .path = path};
    return cross_open(&m, out);
}

enum tacit_err reranker_open(struct device *d, size_t asked,
                             struct reranker *out)
{
    struct reranker r = {0};
    TRY(reranker_chosen(d, &r.choice));
    if (strcmp(r.choice.name, RERANKER_NONE) == 0)
        return fail_as(E_NO_RERANKER,
                       "no network is chosen that could read passages again; "
                       "`tacit model use NAME` chooses a cross-encoder");
    TRY(open_cross(d, &r.choice.hash, r.choice.name, &r.how.cross));
    r.how.n = asked ? asked : r.choice.n;
    *out = r;
    return TACIT_OK;
}

enum tacit_err reranker_open_row(struct device *d, const struct network_row *m,
                                 size_t n, struct reranker *out)
{
    struct reranker r = {.choice = {.hash = m->hash, .n = n}, .how = {.n = n}};
    TRY(open_cross(d, &m->hash, m->name, &r.how.cross));
    snprintf(r.choice.name, sizeof r.choice.name, "%s", m->name);
    *out = r;
    return TACIT_OK;
}

void reranker_close(struct reranker *r)
{
    cross_close(r->how.cross);
    *r = (struct reranker){0};
}

/* ---- choosing ----------------------------------------------------------- */

/* It scores a pair, so that a damaged file is not chosen. */
static enum tacit_err try_out(struct device *d, const struct network_row *m)
{
    static const struct text question = {"a question", 10};
    static const struct text passage = {"a passage", 9};
    struct reranker r;
    float score;
    size_t n_cut;
    TRY(reranker_open_row(d, m, 1, &r));
    enum tacit_err err =
        cross_scores(r.how.cross, question, &passage, 1, &score, &n_cut);
    reranker_close(&r);
    return err;
}

enum tacit_err reranker_use(struct device *d, const struct network_row *m,
                            size_t n)
{
    if (m) TRY(fits(d, m));
    if (m) TRY(try_out(d, m));
    return networks_choose(d, &role, m, (int64_t)n);
}

enum tacit_err reranker_check_unused(struct device *d,
                                     const struct network_row *m)
{
    struct reranker_choice c;
    TRY(reranker_chosen(d, &c));
    return networks_check_unused(m, c.name, "reads hits again",
                                 RERANKER_NONE " --as rerank");
}
