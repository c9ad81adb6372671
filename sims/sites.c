#include "sims/sites.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "client/feedback.h"
#include "client/pairs.h"
#include "common/base/file.h"
#include "common/base/rng.h"
#include "retrieval/schema.h"
#include "sims/world.h"

enum { PATH_BYTES = 4096 };

void sites_release(struct sites *s)
{
    for (size_t i = 0; i < s->n; i++) dataset_release(&s->data[i]);
    free(s->data);
    free(s->name);
    memset(s, 0, sizeof *s);
}

static enum tacit_err make_room(struct sites *s, size_t n)
{
    if (n > SITES_MAX)
        return fail(TACIT_LIMIT, "%zu clients; at most %d", n, SITES_MAX);
    s->data = calloc(n ? n : 1, sizeof *s->data);
    s->name = calloc(n ? n : 1, sizeof *s->name);
    if (s->data && s->name) return TACIT_OK;
    return fail(TACIT_NOMEM, "no memory for %zu clients", n);
}

/* ---- the invented world ------------------------------------------------- */

/* Append rows of one site; the header only for the first. */
static enum tacit_err put_rows(struct buf *out, uint64_t seed, size_t site,
                               uint64_t first, size_t n)
{
    struct buf rows;
    buf_init(&rows, 0);
    enum tacit_err err = world_csv(seed, site, first, n, &rows);
    if (!err) {
        const uint8_t *end = memchr(rows.data, '\n', rows.len);
        size_t skip = out->len && end ? (size_t)(end - rows.data) + 1 : 0;
        buf_put(out, rows.data + skip, rows.len - skip);
        err = buf_end(out);
    }
    buf_release(&rows);
    return err;
}

/* The rows of client number i. By site: the next sim.rows of site i mod 4. Iid:
 * each row from a site drawn at random, so that all clients look alike. */
static enum tacit_err invent_rows(const struct plan *p, size_t i,
                                  struct buf *out)
{
    uint64_t first = (uint64_t)(i / WORLD_SITES) * p->sim.rows;
    if (p->sim.partition == PLAN_PART_SITES)
        return put_rows(out, p->seed, i % WORLD_SITES, first, p->sim.rows);
    struct rng rng;
    rng_init(&rng, p->seed, 0x736974657u, i);
    for (uint32_t r = 0; r < p->sim.rows; r++)
        TRY(put_rows(out, p->seed, (size_t)rng_below(&rng, WORLD_SITES),
                     (uint64_t)i * p->sim.rows + r, 1));
    return TACIT_OK;
}

static enum tacit_err take_table(const struct plan *plan, const char *name,
                                 struct buf *text, struct dataset *out)
{
    struct arena a;
    struct csv t;
    arena_init(&a, 0);
    size_t n = text->len;
    buf_put_u8(text, 0); /* room for the last cell's end */
    enum tacit_err err = buf_end(text);
    if (!err) err = csv_parse(name, (char *)text->data, n, &a, &t);
    if (!err) err = examples_from_csv(plan, &t, out);
    arena_release(&a);
    return err;
}

enum tacit_err sites_invent(const struct plan *plan, struct sites *out)
{
    struct sites s = {0};
    if (plan->task == PLAN_RETRIEVER)
        return fail(TACIT_UNSUPPORTED,
                    "a retriever plan needs --data FOLDER with one folder per "
                    "client (documents/ and questions.csv)");
    enum tacit_err err = make_room(&s, plan->sim.clients);
    for (size_t i = 0; !err && i < plan->sim.clients; i++) {
        struct buf text;
        buf_init(&text, 0);
        snprintf(s.name[i], SITES_NAME_MAX, "%s-%zu",
                 world_site_name(i % WORLD_SITES), i / WORLD_SITES);
        err = invent_rows(plan, i, &text);
        if (!err) err = take_table(plan, s.name[i], &text, &s.data[i]);
        s.n += !err;
        buf_release(&text);
    }
    if (err)
        sites_release(&s);
    else
        *out = s;
    return err;
}

/* ---- a folder ----------------------------------------------------------- */

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

/* One client's documents in a store of its own, in memory. */
static enum tacit_err load_pairs(const struct plan *plan, const char *folder,
                                 const struct encoder *encoder,
                                 struct dataset *out)
{
    const char *migrations[CORPUS_N_MIGRATIONS + FEEDBACK_N_MIGRATIONS];
    size_t n = 0;
    char documents[PATH_BYTES], questions[PATH_BYTES];
    struct db db = {0};
    struct indexing x = {0};
    for (size_t i = 0; i < CORPUS_N_MIGRATIONS; i++)
        migrations[n++] = corpus_migrations[i];
    for (size_t i = 0; i < FEEDBACK_N_MIGRATIONS; i++)
        migrations[n++] = feedback_migrations[i];
    TRY(file_join(documents, sizeof documents, folder, "documents"));
    TRY(file_join(questions, sizeof questions, folder, "questions.csv"));
    TRY(db_open(&db, ":memory:", DB_CREATE, migrations, n));
    enum tacit_err err = corpus_open(&db, encoder, &x.corpus);
    if (!err) err = file_walk(documents, index_one, &x);
    if (!err) err = pairs_load(plan, questions, &db, x.corpus, encoder, out);
    corpus_close(x.corpus);
    db_close(&db);
    return err;
}

static int is_client(const struct plan *plan, const char *folder,
                     const char *name)
{
    char path[PATH_BYTES];
    struct stat st;
    size_t n = strlen(name);
    if (name[0] == '.') return 0;
    if (plan->task != PLAN_RETRIEVER)
        return n > 4 && strcmp(name + n - 4, ".csv") == 0;
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
    TRY(plan->task == PLAN_RETRIEVER ? load_pairs(plan, path, encoder, d)
                                     : examples_table(plan, path, d));
    snprintf(s->name[s->n++], SITES_NAME_MAX, "%.*s", SITES_NAME_MAX - 1, name);
    return TACIT_OK;
}

enum tacit_err sites_load(const struct plan *plan, const char *folder,
                          struct sites *out)
{
    struct dirent **list = NULL;
    struct sites s = {0};
    struct encoder *encoder = NULL;
    int n = scandir(folder, &list, NULL, alphasort);
    if (n < 0) return fail(TACIT_IO, "%s: %s", folder, strerror(errno));
    enum tacit_err err = make_room(&s, (size_t)n);
    if (!err && plan->task == PLAN_RETRIEVER) err = encoder_new(&encoder);
    for (int i = 0; i < n; i++) {
        if (!err && is_client(plan, folder, list[i]->d_name))
            err = load_one(plan, folder, list[i]->d_name, encoder, &s);
        free(list[i]);
    }
    free(list);
    encoder_free(encoder);
    if (!err && s.n < 2)
        err = fail(TACIT_NOTFOUND, "%s: %zu clients found; %s", folder, s.n,
                   plan->task == PLAN_RETRIEVER
                       ? "one folder each, with documents/ and questions.csv"
                       : "one .csv file each");
    if (err)
        sites_release(&s);
    else
        *out = s;
    return err;
}
