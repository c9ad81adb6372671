/*
 * How often an answer is right, and how often a refusal is.
 *
 *   bench_answers                    JSON lines, on the held-out questions
 *   bench_answers --features FOLDER  rows for calibrate_answers.py
 *
 * The search model comes from a simulated run of sims/clinic/retriever.yaml by
 * the sites of FOLDER (sims/clinic), each with documents/ and questions.csv;
 * rows marked train train it, rows marked test are asked.
 */
#include "tests/bench/bench.h"

#include <string.h>

#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/rng.h"
#include "retrieval/answerer.h"
#include "retrieval/relevance.h"
#include "retrieval/schema.h"
#include "sims/fleet.h"
#include "sims/sites.h"
#include "tests/retrieval/questions.h"

static const char plan_path[] = "sims/clinic/retriever.yaml";
static const char licences[] = "/usr/share/common-licenses";

enum { PASSAGES = 20, PLAN_MAX = 1 << 16 };

/* One site's documents, and a question at a time. */
struct desk {
    struct db db;
    struct corpus *corpus;
    struct arena a;
};

static enum tacit_err visit(const char *path, void *ctx)
{
    enum corpus_outcome outcome;
    size_t n;
    return corpus_add(ctx, path, &outcome, &n);
}

static void desk_open(struct desk *d, const struct encoder *e,
                      const char *folder)
{
    *d = (struct desk){0};
    arena_init(&d->a, 0);
    must(schema_open(&d->db, ":memory:", DB_CREATE, NULL));
    must(corpus_open(&d->db, e, &d->corpus));
    must(file_walk(folder, visit, d->corpus));
}

static void desk_close(struct desk *d)
{
    corpus_close(d->corpus);
    db_close(&d->db);
    arena_release(&d->a);
}

static void open_site(struct desk *d, const struct encoder *e,
                      const char *folder, const char *site)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s/documents", folder, site);
    desk_open(d, e, path);
}

/* The adapter that the sites of a folder learn together, malloc'd. */
static float *learn(const char *folder)
{
    struct plan *plan = NULL;
    struct sites sites;
    struct fleet *fleet = NULL;
    struct fleet_round round;
    struct buf text;
    buf_init(&text, 0);
    must(file_read(plan_path, PLAN_MAX, &text));
    must(plan_parse(plan_path, (const char *)text.data, text.len, &plan));
    must(sites_load(plan, folder, &sites));
    const struct fleet_config c = {.plan = plan,
                                   .plan_text = (const char *)text.data,
                                   .plan_bytes = text.len,
                                   .data = sites.data,
                                   .n_clients = sites.n};
    must(fleet_new(&c, &fleet));
    for (uint32_t i = 0; i < plan->rounds; i++)
        must(fleet_round(fleet, &round));
    fprintf(stderr, "# %s: recall@5 %.3f after %u rounds, seed %llu\n", folder,
            round.pooled.metric, plan->rounds, (unsigned long long)plan->seed);
    const struct params *p = model_params(fleet_model(fleet));
    size_t size = (size_t)ENCODER_DIM * ENCODER_DIM * sizeof(float);
    float *w = malloc(size);
    if (!w || p->n_flat * sizeof(float) != size) exit(1);
    memcpy(w, p->flat, size);
    fleet_free(fleet);
    sites_release(&sites);
    plan_free(plan);
    buf_release(&text);
    return w;
}

/* ---- figures ----------------------------------------------------------- */

struct tally {
    int n, n_answered, n_right, n_first, n_refused;
};

static void ask_all(struct desk *d, const struct questions *q, const float *w,
                    struct tally *t)
{
    static struct answer a;
    for (size_t i = 0; i < q->n; i++) {
        const struct asked *x = &q->list[i];
        struct search_query query = {.text = x->question,
                                     .adapter = w,
                                     .limit = 5};
        int is_right = 0, is_first = 0;
        arena_reset(&d->a);
        enum tacit_err err = answerer_ask(d->corpus, &query, &d->a, &a);
        if (err && err_id() != E_NOTHING_RELEVANT) must(err);
        err_clear();
        for (size_t k = 0; k < a.n_citations; k++) {
            int found = questions_is_right(x, a.citations[k].path,
                                           a.citations[k].heading);
            is_right |= found;
            is_first |= found && k == 0;
        }
        t->n++;
        t->n_answered += err == TACIT_OK;
        t->n_refused += err != TACIT_OK;
        t->n_right += is_right;
        t->n_first += is_first;
    }
}

static void print_share(const char *bench, const char *name, int part, int all)
{
    const struct bench_figure f = {.bench = bench,
                                   .name = name,
                                   .unit = "share",
                                   .value = (double)part / all};
    bench_print(&f);
}

static void keep_kind(struct questions *q, const char *kind)
{
    size_t n = 0;
    for (size_t i = 0; i < q->n; i++)
        if (strcmp(q->list[i].document, kind) == 0) q->list[n++] = q->list[i];
    q->n = n;
}

/* Documents alone count as right: a section's answer may stand in another. */
static void forget_headings(struct questions *q)
{
    for (size_t i = 0; i < q->n; i++) q->list[i].heading[0] = '\0';
}

static void measure(const struct encoder *e, const char *split, const float *w,
                    const char *when)
{
    static const char *const kinds[] = {"everyday", "hospital"};
    static struct questions q;
    struct tally sections = {0}, documents = {0}, refusals[2] = {0};
    char name[96];
    for (size_t s = 0; s < N_CLINIC_SITES; s++) {
        struct desk d;
        open_site(&d, e, "sims/clinic", clinic_sites[s]);
        if (!questions_of_site("sims/clinic", clinic_sites[s], split, &q))
            exit(1);
        ask_all(&d, &q, w, &sections);
        forget_headings(&q);
        ask_all(&d, &q, w, &documents);
        for (size_t k = 0; k < 2; k++) {
            if (!questions_unanswerable(split, &q)) exit(1);
            keep_kind(&q, kinds[k]);
            ask_all(&d, &q, w, &refusals[k]);
        }
        desk_close(&d);
    }
    int n = documents.n, n_answered = documents.n_answered;
    snprintf(name, sizeof name, "%s training: of all, answered", when);
    print_share("answers_right", name, n_answered, n);
    snprintf(name, sizeof name, "%s training: of all, document cited", when);
    print_share("answers_right", name, documents.n_right, n);
    snprintf(name, sizeof name, "%s training: of all, section cited", when);
    print_share("answers_right", name, sections.n_right, n);
    snprintf(name, sizeof name, "%s training: of all, section cited first",
             when);
    print_share("answers_right", name, sections.n_first, n);
    snprintf(name, sizeof name, "%s training: of answered, document cited",
             when);
    print_share("answers_right", name, documents.n_right, n_answered);
    for (size_t k = 0; k < 2; k++) {
        snprintf(name, sizeof name, "%s training: %s questions", when,
                 kinds[k]);
        print_share("answers_refused", name, refusals[k].n_refused,
                    refusals[k].n);
    }
}

/* ---- rows for the calibration ------------------------------------------ */

/* site, kind, number, is the document right, answers, sentence, passage,
 * cosine, gain; for each passage that search finds. */
static void print_features(struct desk *d, const char *site, const char *kind,
                           const char *number, const char *text,
                           const struct asked *right, const float *w)
{
    static struct passage p;
    struct search_query query = {.text = text, .adapter = w, .limit = PASSAGES};
    struct search_hit *hits = NULL;
    struct inquiry inquiry;
    size_t n = 0;
    arena_reset(&d->a);
    must(search_hybrid(d->corpus, &query, &d->a, &hits, &n));
    must(relevance_inquire(d->corpus, &query, &d->a, &inquiry));
    for (size_t i = 0; i < n; i++) {
        must(relevance_read(d->corpus, &inquiry, &hits[i], &p));
        int is_right = !right || questions_is_right(right, hits[i].path, "");
        const struct relevance *r = &p.relevance;
        printf("%s\t%s\t%s%s\t%d\t%.6f\t%.6f\t%.6f\t%.6f\t%.6f\n", site, kind,
               w ? "adapted" : "plain", number, is_right, r->answers,
               r->sentence, r->passage, r->cosine, r->gain);
    }
}

static void print_all(struct desk *d, const char *site, const char *kind,
                      const struct questions *q, const float *w)
{
    char number[16];
    for (size_t i = 0; i < q->n; i++) {
        struct asked document = q->list[i];
        document.heading[0] = '\0';
        snprintf(number, sizeof number, "%zu", i);
        print_features(d, site, kind, number, q->list[i].question,
                       strcmp(kind, "unanswerable") == 0 ? NULL : &document, w);
    }
}

static void features(const struct encoder *e, const char *folder)
{
    static struct questions q, none;
    char number[16];
    struct desk d;
    float *w = learn(folder);
    if (!questions_unanswerable("train", &none)) exit(1);
    for (size_t s = 0; s < N_CLINIC_SITES; s++) {
        const char *site = clinic_sites[s];
        open_site(&d, e, folder, site);
        if (!questions_of_site(folder, site, "test", &q)) exit(1);
        for (int adapted = 0; adapted < 2; adapted++) {
            print_all(&d, site, "asked", &q, adapted ? w : NULL);
            print_all(&d, site, "unanswerable", &none, adapted ? w : NULL);
        }
        desk_close(&d);
    }
    desk_open(&d, e, licences);
    for (size_t i = 0; i < N_LICENCE_QUESTIONS; i++) {
        snprintf(number, sizeof number, "%zu", i);
        print_features(&d, "licences", "asked", number, licence_questions[i],
                       NULL, NULL);
    }
    print_all(&d, "licences", "unanswerable", &none, NULL);
    desk_close(&d);
    free(w);
}

int main(int argc, char **argv)
{
    struct encoder *e = NULL;
    rng_setup();
    must(encoder_new(&e));
    if (argc == 3 && strcmp(argv[1], "--features") == 0) {
        features(e, argv[2]);
    } else {
        float *w = learn("sims/clinic");
        measure(e, "test", NULL, "before");
        measure(e, "test", w, "after");
        free(w);
    }
    encoder_free(e);
    return 0;
}
