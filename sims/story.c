#include "sims/story.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/json.h"

enum { PATH_BYTES = 4096, FILE_MAX = 16 << 20, ROUNDS_SHOWN_MAX = 10000 };

struct telling {
    const char *folder;
    struct report *r;
    char names[STORY_FILES_MAX][STORY_NAME_MAX]; /* *.json, sorted */
    size_t n_names;
    json_t *rounds; /* borrowed from root */
    json_t *root;
};

/* The envelope in a file; NULL (and no message) when it is none. */
static json_t *read_envelope(const struct telling *t, const char *name)
{
    char path[PATH_BYTES];
    struct buf b;
    json_t *root = NULL;
    buf_init(&b, FILE_MAX);
    if (file_join(path, sizeof path, t->folder, name) ||
        file_read(path, FILE_MAX, &b) ||
        json_parse((const char *)b.data, b.len, &root))
        err_clear();
    buf_release(&b);
    return root;
}

static void read_line(const struct telling *t, const char *name, char *out,
                      size_t cap)
{
    char path[PATH_BYTES];
    out[0] = '\0';
    if (file_join(path, sizeof path, t->folder, name)) {
        err_clear();
        return;
    }
    FILE *f = fopen(path, "r");
    if (!f) return;
    if (!fgets(out, (int)cap, f)) out[0] = '\0';
    out[strcspn(out, "\n")] = '\0';
    fclose(f);
}

/* "train-risk-harbour.json" with prefix "train-risk-" -> "harbour"; 0 when the
 * name is of another kind. */
static int part_of(const char *name, const char *prefix,
                   char out[STORY_NAME_MAX])
{
    size_t n = strlen(prefix), len = strlen(name);
    if (len <= n + 5 || strncmp(name, prefix, n) != 0 ||
        strcmp(name + len - 5, ".json") != 0)
        return 0;
    snprintf(out, STORY_NAME_MAX, "%.*s", (int)(len - n - 5), name + n);
    return 1;
}

static double number(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

static const char *string(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static int is_committed(const json_t *round)
{
    return strcmp(string(round, "state"), "committed") == 0;
}

/* ---- rounds ------------------------------------------------------------- */

/* Secure sums that were committed: a round in groups has one for each. */
static size_t n_committed(const struct telling *t)
{
    size_t i, n = 0;
    const json_t *round;
    json_array_foreach(t->rounds, i, round) n += (size_t)is_committed(round);
    return n;
}

/* One plan's committed rounds; those in groups, by the weight of each sum. */
struct curve {
    double *x, *weight, *loss, *metric; /* [most]; loss and metric: sums */
    size_t n;
};

/* The point of a round, which is almost always the last one. */
static size_t point_of(struct curve *c, double round)
{
    size_t i = c->n;
    while (i > 0 && c->x[i - 1] != round) i--;
    if (i > 0) return i - 1;
    if (c->n == ROUNDS_SHOWN_MAX) return c->n;
    c->x[c->n] = round;
    return c->n++;
}

static void take_curve(const struct telling *t, const char *plan,
                       struct curve *c)
{
    size_t i;
    const json_t *round;
    json_array_foreach(t->rounds, i, round)
    {
        if (!is_committed(round)) continue;
        if (strcmp(string(round, "plan"), plan) != 0) continue;
        size_t at = point_of(c, number(round, "round"));
        if (at == ROUNDS_SHOWN_MAX) continue;
        double weight = number(round, "weight");
        if (!(weight > 0)) weight = 1;
        c->weight[at] += weight;
        c->loss[at] += weight * number(round, "loss");
        c->metric[at] += weight * number(round, "metric");
    }
    for (i = 0; i < c->n; i++) {
        c->loss[i] /= c->weight[i];
        c->metric[i] /= c->weight[i];
    }
}

static void tell_curves(struct telling *t, const char *plan, const char *title,
                        const char *metric_name)
{
    char text[128];
    size_t most = json_array_size(t->rounds);
    double *x = calloc(4 * (most ? most : 1), sizeof *x);
    if (!x) return;
    struct curve c = {.x = x,
                      .weight = x + most,
                      .loss = x + 2 * most,
                      .metric = x + 3 * most};
    take_curve(t, plan, &c);
    const struct report_series a[] = {{"training loss", c.n, x, c.loss}};
    const struct report_series b[] = {{metric_name, c.n, x, c.metric}};
    if (c.n > 1) {
        snprintf(text, sizeof text, "%s: loss, from the secure sum", title);
        report_curves(t->r, text, "round", a, 1);
        snprintf(text, sizeof text, "%s: %s on held-out rows", title,
                 metric_name);
        report_curves(t->r, text, "round", b, 1);
    }
    free(x);
}

/* ---- sites -------------------------------------------------------------- */

struct site_row {
    char name[STORY_NAME_MAX], cells[4][32];
    double before, after;
};

/* One row per train-PLAN-SITE.json: `from` (initial or local) and federated. */
static size_t take_sites(const struct telling *t, const char *plan,
                         const char *from, struct site_row *rows, size_t most)
{
    char prefix[STORY_NAME_MAX];
    size_t n = 0;
    snprintf(prefix, sizeof prefix, "train-%s-", plan);
    for (size_t i = 0; i < t->n_names && n < most; i++) {
        struct site_row *r = &rows[n];
        if (!part_of(t->names[i], prefix, r->name)) continue;
        json_t *root = read_envelope(t, t->names[i]);
        const json_t *data = json_object_get(root, "data");
        const json_t *before = json_object_get(data, from);
        const json_t *after = json_object_get(data, "federated");
        if (before && after) {
            r->before = number(before, "metric");
            r->after = number(after, "metric");
            snprintf(r->cells[0], sizeof r->cells[0], "%.0f",
                     number(data, "n_train"));
            snprintf(r->cells[1], sizeof r->cells[1], "%.3f", r->before);
            snprintf(r->cells[2], sizeof r->cells[2], "%.3f", r->after);
            snprintf(r->cells[3], sizeof r->cells[3], "%+.3f",
                     r->after - r->before);
            n++;
        }
        json_decref(root);
    }
    return n;
}

static void tell_sites(struct telling *t, const char *plan, const char *from,
                       const char *title, const char *before, const char *after)
{
    enum { MOST = 16 };
    struct site_row rows[MOST];
    struct report_bar bars[MOST];
    const char *cells[MOST * 5];
    const char *const names[] = {before, after};
    const char *const header[] = {"site", "rows to train on", before, after,
                                  "difference"};
    size_t n = take_sites(t, plan, from, rows, MOST);
    if (n == 0) return;
    for (size_t i = 0; i < n; i++) {
        bars[i] =
            (struct report_bar){rows[i].name, {rows[i].before, rows[i].after}};
        cells[i * 5] = rows[i].name;
        for (size_t c = 0; c < 4; c++) cells[i * 5 + 1 + c] = rows[i].cells[c];
    }
    report_bars(t->r, title, 1, names, 2, bars, n);
    report_table(t->r, header, 5, cells, n);
}

/* ---- answers, ledger ---------------------------------------------------- */

static void tell_answer(struct telling *t, const char *name, const char *site)
{
    char question[1024], file[STORY_NAME_MAX + 8];
    char source[512] = "";
    struct buf answer;
    snprintf(file, sizeof file, "%.*s.txt", (int)strlen(name) - 5, name);
    read_line(t, file, question, sizeof question);
    json_t *root = read_envelope(t, name);
    const json_t *data = json_object_get(root, "data"), *x;
    size_t i;
    buf_init(&answer, 1 << 16);
    json_array_foreach(json_object_get(data, "sentences"), i, x)
        buf_printf(&answer, "%s%s [%.0f]", i ? " " : "", string(x, "text"),
                   number(x, "citation"));
    json_array_foreach(json_object_get(data, "citations"), i, x)
    {
        size_t used = strlen(source);
        const json_t *lines = json_object_get(x, "lines");
        const char *path = string(x, "path"), *base = strrchr(path, '/');
        snprintf(source + used, sizeof source - used,
                 "%s[%.0f] %s > %s (%s, line %lld)", i ? "; " : "",
                 number(x, "number"), string(x, "title"), string(x, "heading"),
                 base ? base + 1 : path,
                 json_integer_value(json_array_get(lines, 0)));
    }
    const char *text = answer.len ? buf_cstr(&answer) : NULL;
    report_answer(t->r, site, question,
                  text ? text : "Nothing here answers this.",
                  source[0] ? source : NULL);
    buf_release(&answer);
    json_decref(root);
}

static void tell_answers(struct telling *t)
{
    int first = 1;
    for (size_t i = 0; i < t->n_names; i++) {
        char part[STORY_NAME_MAX];
        if (!part_of(t->names[i], "ask-", part)) continue;
        if (first)
            report_section(t->r, "Questions, answered offline",
                           "Each sentence is taken word by word from the "
                           "site's own documents.");
        first = 0;
        const char *dash = strchr(part, '-');
        tell_answer(t, t->names[i], dash ? dash + 1 : part);
    }
}

static void tell_ledger(struct telling *t)
{
    enum { MOST = 16, COLUMNS = 6 };
    static char text[MOST][COLUMNS][STORY_NAME_MAX];
    const char *cells[MOST * COLUMNS];
    const char *const header[] = {"site",   "masked updates", "bytes",
                                  "cohort", "noise",          "ledger"};
    size_t n = 0;
    for (size_t i = 0; i < t->n_names && n < MOST; i++) {
        if (!part_of(t->names[i], "audit-", text[n][0])) continue;
        json_t *root = read_envelope(t, t->names[i]);
        const json_t *data = json_object_get(root, "data");
        const json_t *releases = json_object_get(data, "releases");
        snprintf(text[n][1], STORY_NAME_MAX, "%zu", json_array_size(releases));
        snprintf(text[n][2], STORY_NAME_MAX, "%.0f", number(data, "bytes"));
        snprintf(text[n][3], STORY_NAME_MAX, "at least %.0f",
                 number(json_array_get(releases, 0), "min_cohort"));
        const json_t *noise =
            json_object_get(json_array_get(releases, 0), "noise");
        if (json_is_real(noise))
            snprintf(text[n][4], STORY_NAME_MAX, "%.3g x clip, epsilon %.3g",
                     json_real_value(noise),
                     number(json_object_get(data, "privacy"), "epsilon"));
        else
            snprintf(text[n][4], STORY_NAME_MAX, "none");
        snprintf(text[n][5], STORY_NAME_MAX, "%s",
                 json_is_true(json_object_get(data, "chain_ok")) ? "whole"
                                                                 : "BROKEN");
        for (size_t c = 0; c < COLUMNS; c++)
            cells[n * COLUMNS + c] = text[n][c];
        json_decref(root);
        n++;
    }
    if (n == 0) return;
    report_section(t->r, "What left each site",
                   "Masked updates, readable only as the sum of the cohort. "
                   "No document, question, patient or single update ever left. "
                   "Where noise says none, no differential-privacy noise is "
                   "added, and epsilon is not bounded.");
    report_table(t->r, header, COLUMNS, cells, n);
}

/* ---- the whole ---------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

static enum tacit_err list_files(struct telling *t)
{
    DIR *d = opendir(t->folder);
    const struct dirent *e;
    if (!d) return fail(TACIT_IO, "%s: %s", t->folder, strerror(errno));
    while ((e = readdir(d)) && t->n_names < STORY_FILES_MAX) {
        size_t n = strlen(e->d_name);
        if (n < 6 || n >= STORY_NAME_MAX) continue;
        if (strcmp(e->d_name + n - 5, ".json") == 0)
            memcpy(t->names[t->n_names++], e->d_name, n + 1);
    }
    closedir(d);
    qsort(t->names, t->n_names, STORY_NAME_MAX, by_name);
    return TACIT_OK;
}

static int compare_ms(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_ms(const struct telling *t)
{
    double ms[ROUNDS_SHOWN_MAX > 1000 ? 1000 : ROUNDS_SHOWN_MAX];
    size_t i, n = 0;
    const json_t *round;
    json_array_foreach(t->rounds, i, round) if (is_committed(round) &&
                                                n < sizeof ms / sizeof *ms)
        ms[n++] = number(round, "duration_ms");
    qsort(ms, n, sizeof *ms, compare_ms);
    return n ? ms[n / 2] : 0;
}

static size_t n_sites(const struct telling *t)
{
    char site[STORY_NAME_MAX];
    size_t n = 0;
    for (size_t i = 0; i < t->n_names; i++)
        n += (size_t)part_of(t->names[i], "audit-", site);
    return n;
}

static void tell(struct telling *t)
{
    char text[64];
    report_begin(t->r, "Hospitals learn together",
                 "Each answers from its own documents and trains on its own "
                 "patients. What leaves a site is a masked update; only the "
                 "sum of all of them can be read.");
    snprintf(text, sizeof text, "%zu", n_sites(t));
    report_figure(t->r, text, "sites, separate processes");
    snprintf(text, sizeof text, "%zu", n_committed(t));
    report_figure(t->r, text, "secure sums");
    snprintf(text, sizeof text, "%.0f ms", median_ms(t));
    report_figure(t->r, text, "median round");
    report_figure(t->r, "0", "documents, questions or patients sent");
    report_section(t->r, "A risk model from the patient tables",
                   "Logistic regression. Every site measures on patients that "
                   "were never trained on.");
    tell_sites(t, "risk", "local", "Accuracy on held-out patients", "alone",
               "federated");
    tell_curves(t, "risk", "Risk model", "accuracy");
    report_section(t->r, "A search model from the folders of documents",
                   "The query-side adapter of the text encoder, trained from "
                   "each site's question and passage pairs.");
    tell_sites(t, "retriever", "initial", "Recall@5 on held-out questions",
               "before", "after");
    tell_curves(t, "retriever", "Search model", "recall@5");
    tell_answers(t);
    tell_ledger(t);
}

enum tacit_err story_tell(const char *folder, struct report *out)
{
    struct telling *t = calloc(1, sizeof *t);
    if (!t) return fail(TACIT_NOMEM, "no memory for the report");
    t->folder = folder;
    t->r = out;
    enum tacit_err err = list_files(t);
    if (!err) {
        t->root = read_envelope(t, "rounds.json");
        t->rounds = json_object_get(json_object_get(t->root, "data"), "rounds");
        if (!json_is_array(t->rounds))
            err = fail(TACIT_NOTFOUND, "%s: no rounds.json to tell of", folder);
    }
    if (!err) {
        tell(t);
        err = report_end(out);
        if (err) report_release(out);
    }
    json_decref(t->root);
    free(t);
    return err;
}
