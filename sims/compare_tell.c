/* compare: its table, for people, for programs and as a page. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/terminal.h"
#include "common/base/utf8.h"
#include "sims/compare.h"
#include "sims/report.h"
#include "sims/run_page.h"

enum { CELL = 96, COLUMNS_MAX = COMPARE_KEYS_MAX + COMPARE_FIGURES + 2 };

/* What a figure is called and how it is written. */
static const struct {
    const char *name, *json;
    void (*unit)(char out[32], double v); /* NULL: a plain number */
    int needs_target;
} figures[COMPARE_FIGURES] = {
    [COMPARE_METRIC] = {NULL, "metric", NULL, 0},
    [COMPARE_BEST] = {"best", "best", NULL, 0},
    [COMPARE_WORST] = {"worst 10 %", "worst_clients", NULL, 0},
    [COMPARE_TARGET_ROUNDS] = {"rounds to target", "target_rounds", NULL, 1},
    [COMPARE_TARGET_TIME] = {"time to target", "target_virtual_s", page_seconds,
                             1},
    [COMPARE_VIRTUAL] = {"virtual time", "virtual_s", page_seconds, 0},
    [COMPARE_BYTES] = {"bytes", "bytes", page_bytes, 0},
    [COMPARE_ENERGY] = {"energy", "energy_j", page_joules, 0},
    [COMPARE_WALL] = {"time here", "wall_s", page_seconds, 0},
};

static void put_cell(char out[CELL], const struct compare_group *g, int f)
{
    const struct compare_stat *s = &g->figure[f];
    char mean[32], sd[32];
    size_t n = 0;
    if (s->n == 0) {
        snprintf(out, CELL, "-");
        return;
    }
    if (figures[f].unit) {
        figures[f].unit(mean, s->mean);
        n = (size_t)snprintf(out, CELL, "%s", mean);
    } else {
        int digits = f == COMPARE_TARGET_ROUNDS ? 1 : 4;
        snprintf(mean, sizeof mean, "%.*f", digits, s->mean);
        snprintf(sd, sizeof sd, " ± %.*f", digits, s->sd);
        n = (size_t)snprintf(out, CELL, "%s%s", mean,
                             isfinite(s->sd) ? sd : "");
    }
    if (s->n < g->n) /* some runs never got there */
        snprintf(out + n, CELL - n, " (%zu/%zu)", s->n, g->n);
}

/* The table as texts: cell[row * n_columns + column]. */
struct table {
    char (*cell)[CELL]; /* owned */
    char header[COLUMNS_MAX][CELL];
    size_t width[COLUMNS_MAX]; /* columns of a terminal */
    size_t n_keys, n_columns, n_rows;
};

static const char *metric_of(const struct compare *c)
{
    return c->runs[c->groups[0].first].record.metric;
}

static int is_shown(const struct compare *c, int f)
{
    if (figures[f].needs_target && !isfinite(c->target)) return 0;
    for (size_t g = 0; g < c->n_groups; g++)
        if (c->groups[g].figure[f].n &&
            (c->groups[g].figure[f].mean > 0 || f <= COMPARE_TARGET_TIME))
            return 1;
    return figures[f].needs_target;
}

static size_t width_of(const char *s)
{
    size_t n;
    (void)terminal_fit(s, SIZE_MAX, &n);
    return n;
}

static size_t width_of_column(const struct table *t, size_t k)
{
    size_t width = width_of(t->header[k]);
    for (size_t g = 0; g < t->n_rows; g++) {
        size_t w = width_of(t->cell[g * COLUMNS_MAX + k]);
        if (w > width) width = w;
    }
    return width;
}

static enum tacit_err table_make(const struct compare *c, struct table *t)
{
    size_t at = 0;
    memset(t, 0, sizeof *t);
    t->n_rows = c->n_groups;
    t->cell = calloc(t->n_rows * COLUMNS_MAX, sizeof *t->cell);
    if (!t->cell) return fail(TACIT_NOMEM, "%zu groups", t->n_rows);
    for (size_t k = 0; k < c->n_keys; k++, at++) {
        snprintf(t->header[at], CELL, "%s", c->key[k]);
        for (size_t g = 0; g < t->n_rows; g++)
            utf8_printable(t->cell[g * COLUMNS_MAX + at], CELL,
                           c->groups[g].value[k]);
    }
    snprintf(t->header[at], CELL, "runs");
    for (size_t g = 0; g < t->n_rows; g++)
        snprintf(t->cell[g * COLUMNS_MAX + at], CELL, "%zu", c->groups[g].n);
    at++;
    for (int f = 0; f < COMPARE_FIGURES; f++) {
        if (!is_shown(c, f)) continue;
        snprintf(t->header[at], CELL, "%s",
                 figures[f].name ? figures[f].name : metric_of(c));
        for (size_t g = 0; g < t->n_rows; g++)
            put_cell(t->cell[g * COLUMNS_MAX + at], &c->groups[g], f);
        at++;
    }
    t->n_keys = c->n_keys;
    t->n_columns = at;
    for (size_t k = 0; k < at; k++) t->width[k] = width_of_column(t, k);
    return TACIT_OK;
}

enum { GAP = 2 };
static const char of_best[] = "  <- best";

/* The keys, by which rows are known, and the columns from..to behind them. */
static void print_row(FILE *f, const struct table *t, const char (*cells)[CELL],
                      size_t from, size_t to, const char *end)
{
    for (size_t i = 0; i < to; i++) {
        if (i >= t->n_keys && i < from) continue;
        size_t pad = t->width[i] - width_of(cells[i]);
        fputs(cells[i], f);
        if (i + 1 < to) fprintf(f, "%*s", (int)pad + GAP, "");
    }
    fprintf(f, "%s\n", end);
}

/* How many columns from `from` on fit behind the keys: one at least. */
static size_t columns_that_fit(const struct table *t, size_t from,
                               size_t window)
{
    size_t used = sizeof of_best - 1, to = from;
    for (size_t k = 0; k < t->n_keys; k++) used += t->width[k] + GAP;
    while (to < t->n_columns && (to == from || used + t->width[to] <= window))
        used += t->width[to++] + GAP;
    return to;
}

static void print_part(FILE *f, const struct compare *c, const struct table *t,
                       size_t from, size_t to)
{
    print_row(f, t, (const char(*)[CELL])t->header, from, to, "");
    for (size_t g = 0; g < t->n_rows; g++)
        print_row(f, t, (const char(*)[CELL])(t->cell + g * COLUMNS_MAX), from,
                  to, c->groups[g].is_best ? of_best : "");
}

/* A table that is wider than its window is shown in parts, each with the keys;
 * in a file or a pipe it is one. */
void compare_print(FILE *f, const struct compare *c)
{
    struct table t;
    size_t i, window = terminal_columns(fileno(f));
    json_t *one;
    if (table_make(c, &t) != TACIT_OK) {
        err_clear();
        return;
    }
    for (size_t from = t.n_keys, to; from < t.n_columns; from = to) {
        to = window ? columns_that_fit(&t, from, window) : t.n_columns;
        if (from > t.n_keys) fputc('\n', f);
        print_part(f, c, &t, from, to);
    }
    json_array_foreach(c->left_out, i, one)
        terminal_say(f, 0, "left out: %s: %s",
                     json_string_value(json_object_get(one, "folder")),
                     json_string_value(json_object_get(one, "why")));
    free(t.cell);
}

/* ---- JSON --------------------------------------------------------------- */

static json_t *number(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *group_json(const struct compare *c, size_t at)
{
    const struct compare_group *g = &c->groups[at];
    json_t *set = json_object(), *seeds = json_array();
    json_t *o =
        json_pack("{s:s, s:I, s:b}", "plan", c->runs[g->first].record.plan,
                  "runs", (json_int_t)g->n, "best_group", g->is_best);
    for (size_t k = 0; k < c->n_keys; k++)
        json_object_set_new(set, c->key[k], json_string(g->value[k]));
    for (size_t i = 0; i < c->n_runs; i++)
        if (c->runs[i].group == at)
            json_array_append_new(seeds,
                                  json_integer(
                                      (json_int_t)c->runs[i].record.seed));
    json_object_set_new(o, "set", set);
    json_object_set_new(o, "seeds", seeds);
    for (int f = 0; f < COMPARE_FIGURES; f++) {
        const struct compare_stat *s = &g->figure[f];
        json_object_set_new(o, figures[f].json,
                            json_pack("{s:I, s:o, s:o}", "n", (json_int_t)s->n,
                                      "mean", number(s->mean), "sd",
                                      number(s->sd)));
    }
    return o;
}

json_t *compare_json(const struct compare *c)
{
    json_t *groups = json_array();
    for (size_t g = 0; g < c->n_groups; g++)
        json_array_append_new(groups, group_json(c, g));
    return json_pack("{s:s, s:o, s:o, s:O}", "metric", metric_of(c), "target",
                     number(c->target), "groups", groups, "left_out",
                     c->left_out);
}

/* ---- page --------------------------------------------------------------- */

/* Mean ± sd of a group over rounds, where every run of it has the figure. */
struct curve {
    char name[CELL];
    double *x, *mean, *low, *high; /* [n]; x owns all four */
    size_t n;
};

static enum tacit_err curve_make(const struct compare *c, size_t group,
                                 struct curve *out)
{
    const struct compare_group *g = &c->groups[group];
    const struct runlog *first = &c->runs[g->first].record;
    size_t n = first->n_rounds, name = 0;
    out->x = malloc(4 * (n ? n : 1) * sizeof *out->x);
    if (!out->x) return fail(TACIT_NOMEM, "no memory for the page");
    out->mean = out->x + n;
    out->low = out->mean + n;
    out->high = out->low + n;
    for (size_t i = 0; i < n; i++) {
        struct compare_stat s = {0, 0, 0};
        double v;
        for (size_t k = 0; k < c->n_runs; k++) {
            const struct runlog *r = &c->runs[k].record;
            if (c->runs[k].group != group || i >= r->n_rounds) continue;
            if (!runlog_metric(r, i, &v)) continue;
            double before = v - s.mean;
            s.mean += before / (double)++s.n;
            s.sd += before * (v - s.mean);
        }
        if (s.n < g->n) continue;
        double sd = s.n > 1 ? sqrt(s.sd / (double)(s.n - 1)) : 0;
        out->x[out->n] = first->rounds[i].round;
        out->mean[out->n] = s.mean;
        out->low[out->n] = s.mean - sd;
        out->high[out->n++] = s.mean + sd;
    }
    for (size_t k = 0; k < c->n_keys && name < CELL; k++)
        name += (size_t)snprintf(out->name + name, CELL - name, "%s%s",
                                 k ? ", " : "", g->value[k]);
    return TACIT_OK;
}

/* The groups from the best on, by their final metric. */
static void rank(const struct compare *c, size_t *order)
{
    int lower = c->runs[c->groups[0].first].record.lower_is_better;
    for (size_t i = 0; i < c->n_groups; i++) {
        double v = c->groups[i].figure[COMPARE_METRIC].mean;
        size_t at = i;
        for (; at > 0; at--) {
            double w = c->groups[order[at - 1]].figure[COMPARE_METRIC].mean;
            int better =
                isfinite(v) && (!isfinite(w) || (lower ? v < w : v > w));
            if (!better) break;
            order[at] = order[at - 1];
        }
        order[at] = i;
    }
}

static enum tacit_err draw_curves(const struct compare *c, struct report *page)
{
    struct curve curves[REPORT_SERIES_MAX] = {{.n = 0}};
    struct report_series series[REPORT_SERIES_MAX];
    struct report_band bands[REPORT_SERIES_MAX];
    size_t *order = malloc(c->n_groups * sizeof *order), n = 0;
    enum tacit_err err = TACIT_OK;
    if (!order) return fail(TACIT_NOMEM, "no memory for the page");
    rank(c, order);
    for (; !err && n < c->n_groups && n < REPORT_SERIES_MAX; n++) {
        err = curve_make(c, order[n], &curves[n]);
        series[n] = (struct report_series){curves[n].name, curves[n].n,
                                           curves[n].x, curves[n].mean};
        bands[n] = (struct report_band){curves[n].low, curves[n].high};
    }
    if (!err)
        report_bands(page,
                     c->n_groups > REPORT_SERIES_MAX
                         ? "The best six: mean, one standard deviation shaded"
                         : "Mean over seeds, one standard deviation shaded",
                     "round", series, bands, n);
    for (size_t i = 0; i < n; i++) free(curves[i].x);
    free(order);
    return err;
}

static enum tacit_err draw_table(const struct compare *c, struct report *page)
{
    struct table t;
    const char *header[COLUMNS_MAX];
    TRY(table_make(c, &t));
    const char **cells = calloc(t.n_rows * t.n_columns, sizeof *cells);
    if (!cells) {
        free(t.cell);
        return fail(TACIT_NOMEM, "no memory for the page");
    }
    for (size_t k = 0; k < t.n_columns; k++) {
        header[k] = t.header[k];
        for (size_t g = 0; g < t.n_rows; g++)
            cells[g * t.n_columns + k] = t.cell[g * COLUMNS_MAX + k];
    }
    /* The first cell names the best one: there is no colour in print. */
    char best[CELL + 8];
    for (size_t g = 0; g < t.n_rows; g++) {
        if (!c->groups[g].is_best) continue;
        snprintf(best, sizeof best, "%s (best)", cells[g * t.n_columns]);
        cells[g * t.n_columns] = best;
    }
    report_table(page, header, t.n_columns, cells, t.n_rows);
    free(cells);
    free(t.cell);
    return TACIT_OK;
}

enum tacit_err compare_page(const struct compare *c, const char *path)
{
    struct report page;
    char title[CELL];
    snprintf(title, sizeof title, "%zu runs of %zu variants", c->n_runs,
             c->n_groups);
    report_begin(&page, title,
                 "Simulations; mean ± standard deviation over seeds. Without a "
                 "privacy block in its plan a run adds no "
                 "differential-privacy noise: its ε is not bounded.");
    enum tacit_err err = draw_curves(c, &page);
    if (!err) err = draw_table(c, &page);
    if (!err && json_array_size(c->left_out))
        report_section(&page, "Left out",
                       "Some runs are not finished and are not counted; "
                       "tacit-sim compare lists them.");
    if (!err) err = report_end(&page);
    if (!err) err = file_write(path, page.out.data, page.out.len, 0644);
    report_release(&page);
    return err;
}
