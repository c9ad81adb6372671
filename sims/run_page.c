#include "sims/run_page.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sims/report.h"

/* A unit of 0 ends the list. */
static void scaled(char out[32], double v, const double *unit,
                   const char *const *name)
{
    size_t i = 0;
    if (!isfinite(v)) {
        snprintf(out, 32, "-");
        return;
    }
    while (unit[i + 1] > 0 && v >= unit[i + 1]) i++;
    v /= unit[i];
    snprintf(out, 32, "%.*f %s",
             v >= 100 || i == 0 ? 0
             : v >= 10          ? 1
                                : 2,
             v, name[i]);
}

void page_bytes(char out[32], double bytes)
{
    static const double unit[] = {1, 1e3, 1e6, 1e9, 1e12, 0};
    static const char *const name[] = {"B", "kB", "MB", "GB", "TB"};
    scaled(out, bytes, unit, name);
}

void page_seconds(char out[32], double seconds)
{
    static const double unit[] = {1e-3, 1, 60, 3600, 86400, 0};
    static const char *const name[] = {"ms", "s", "min", "h", "days"};
    scaled(out, seconds, unit, name);
}

void page_joules(char out[32], double joules)
{
    static const double unit[] = {1, 1e3, 1e6, 1e9, 0};
    static const char *const name[] = {"J", "kJ", "MJ", "GJ"};
    scaled(out, joules, unit, name);
}

/* The columns that curves are made of: [n] each, one allocation. */
enum line {
    ROUND,
    MINUTES,
    METRIC,
    SUM_METRIC,
    PERSONAL,
    BEFORE,
    AFTER,
    POOLED_LOSS,
    LOW,
    MEDIAN,
    HIGH,
    WORST,
    UP,
    DOWN,
    ENERGY,
    N_LINES
};

struct lines {
    double *at[N_LINES]; /* [n] NaN where there is no figure */
    size_t n;
    double *all; /* owned */
};

static enum tacit_err lines_take(const struct runlog *r, struct lines *l)
{
    double up = 0, down = 0, energy = 0;
    l->n = r->n_rounds;
    l->all = malloc(N_LINES * l->n * sizeof *l->all);
    if (!l->all) return fail(TACIT_NOMEM, "no memory for the report");
    for (size_t k = 0; k < N_LINES; k++) l->at[k] = l->all + k * l->n;
    for (size_t i = 0; i < l->n; i++) {
        const struct fleet_round *x = &r->rounds[i];
        int spread = x->spread.n > 0;
        l->at[ROUND][i] = x->round;
        l->at[MINUTES][i] = (double)x->virtual_ms / 60000;
        if (!runlog_metric(r, i, &l->at[METRIC][i])) l->at[METRIC][i] = NAN;
        l->at[SUM_METRIC][i] = x->has_metric ? x->metric : NAN;
        l->at[PERSONAL][i] = x->has_personal ? x->personal : NAN;
        l->at[BEFORE][i] = x->loss_before;
        l->at[AFTER][i] = x->loss_after;
        l->at[POOLED_LOSS][i] = x->has_pooled ? x->pooled.loss : NAN;
        l->at[LOW][i] = spread ? x->spread.low : NAN;
        l->at[MEDIAN][i] = spread ? x->spread.median : NAN;
        l->at[HIGH][i] = spread ? x->spread.high : NAN;
        l->at[WORST][i] = spread ? x->spread.worst : NAN;
        l->at[UP][i] = (up += (double)x->bytes_up) / 1e6;
        l->at[DOWN][i] = (down += (double)x->bytes_down) / 1e6;
        l->at[ENERGY][i] = (energy += x->energy_j);
    }
    return TACIT_OK;
}

/* Rounds without any of these figures would tear the curves: what is left of
 * the lines when they are closed up. */
static size_t close_up(struct lines *to, const struct lines *from,
                       enum line what)
{
    size_t n = 0;
    for (size_t i = 0; i < from->n; i++) {
        if (!isfinite(from->at[what][i])) continue;
        for (size_t k = 0; k < N_LINES; k++) to->at[k][n] = from->at[k][i];
        n++;
    }
    return to->n = n;
}

static void figures(struct report *page, const struct runlog *r,
                    const struct runlog_summary *s)
{
    char text[64];
    snprintf(text, sizeof text, "%zu", r->n_clients);
    report_figure(page, text, "clients");
    snprintf(text, sizeof text, "%zu", r->n_rounds);
    report_figure(page, text, "rounds");
    snprintf(text, sizeof text, "%.3f", s->final);
    if (isfinite(s->final)) report_figure(page, text, r->metric);
    snprintf(text, sizeof text, "%.3f", s->worst);
    if (isfinite(s->worst)) report_figure(page, text, "worst 10 % of clients");
    page_seconds(text, s->wall_s);
    report_figure(page, text, "on this machine");
    page_seconds(text, s->virtual_s);
    report_figure(page, text, "virtual time");
    snprintf(text, sizeof text, "%llu", (unsigned long long)r->seed);
    report_figure(page, text, "seed");
}

static void learning(struct report *page, const struct runlog *r,
                     const struct lines *all, struct lines *some)
{
    if (close_up(some, all, METRIC)) {
        const struct report_series metric[] = {
            {r->has_pooled ? "new model, all held-out rows"
                           : "model of the round's start, secure sum",
             some->n, some->at[ROUND], some->at[METRIC]},
            {"devices' own models", some->n, some->at[ROUND],
             some->at[PERSONAL]}};
        report_curves(page, r->metric, "round", metric,
                      r->rounds[r->n_rounds - 1].has_personal ? 2 : 1);
    }
    const struct report_series loss[] = {{"first half of local training",
                                          all->n, all->at[ROUND],
                                          all->at[BEFORE]},
                                         {"second half", all->n, all->at[ROUND],
                                          all->at[AFTER]}};
    report_curves(page, "Training loss (from the secure sum)", "round", loss,
                  2);
    if (close_up(some, all, POOLED_LOSS)) {
        const struct report_series pooled[] = {{"new model, all held-out rows",
                                                some->n, some->at[ROUND],
                                                some->at[POOLED_LOSS]}};
        report_curves(page, "Held-out loss", "round", pooled, 1);
    }
}

static void spread(struct report *page, const struct lines *all,
                   struct lines *some)
{
    if (!close_up(some, all, MEDIAN)) return;
    const struct report_series series[] = {{"median client, 10 to 90 % shaded",
                                            some->n, some->at[ROUND],
                                            some->at[MEDIAN]},
                                           {"mean of the worst 10 %", some->n,
                                            some->at[ROUND], some->at[WORST]}};
    const struct report_band bands[] = {{some->at[LOW], some->at[HIGH]},
                                        {NULL, NULL}};
    report_bands(page, "Clients: the new model on each one's own rows", "round",
                 series, bands, 2);
}

static void costs(struct report *page, const struct runlog *r,
                  const struct runlog_summary *s, const struct lines *all,
                  struct lines *some)
{
    char up[32], down[32], energy[32], virtual_time[32], wall[32];
    if (s->bytes_up + s->bytes_down > 0) {
        const struct report_series bytes[] = {{"up", all->n, all->at[ROUND],
                                               all->at[UP]},
                                              {"down", all->n, all->at[ROUND],
                                               all->at[DOWN]}};
        report_curves(page, "Traffic of all clients, summed (MB)", "round",
                      bytes, 2);
    }
    if (close_up(some, all, METRIC) && s->virtual_s > 0) {
        const struct report_series time[] = {
            {r->metric, some->n, some->at[MINUTES], some->at[METRIC]}};
        report_curves(page, "Over virtual time", "minutes", time, 1);
    }
    page_bytes(up, s->bytes_up);
    page_bytes(down, s->bytes_down);
    page_joules(energy, s->energy_j);
    page_seconds(virtual_time, s->virtual_s);
    page_seconds(wall, s->wall_s);
    const char *header[] = {"cost", "all clients, all rounds"};
    const char *cells[] = {"bytes up",           up,
                           "bytes down",         down,
                           "energy (estimated)", energy,
                           "virtual time",       virtual_time,
                           "time here",          wall};
    report_table(page, header, 2, cells, 5);
}

static void what_was_run(struct report *page, const struct runlog *r)
{
    char seed[32];
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)r->seed);
    const char *header[] = {"what", "value"};
    const char *cells[] = {
        "plan",     r->plan,     "plan hash", r->plan_hash,
        "strategy", r->strategy, "task",      r->task,
        "seed",     seed,        "data",      r->data[0] ? r->data : "invented",
        "started",  r->started,  "state",     runlog_state_name(r->state)};
    report_section(page, "What was run", NULL);
    report_table(page, header, 2, cells, 8);
    report_section(page, "Privacy", r->privacy);
}

enum tacit_err run_page(const struct runlog *r, struct buf *out)
{
    struct runlog_summary s;
    struct lines all = {0}, some = {0};
    struct report page;
    runlog_sum_up(r, NAN, &s);
    enum tacit_err err = lines_take(r, &all);
    if (!err) err = lines_take(r, &some);
    if (!err) {
        report_begin(&page, r->plan,
                     "A simulation of devices and coordinator under a virtual "
                     "clock. Its noise, where a plan asks for any, is drawn "
                     "from the seed: it shows what privacy costs and protects "
                     "nobody.");
        figures(&page, r, &s);
        report_section(&page, "Learning", NULL);
        learning(&page, r, &all, &some);
        spread(&page, &all, &some);
        report_section(&page, "Cost", NULL);
        costs(&page, r, &s, &all, &some);
        what_was_run(&page, r);
        err = report_end(&page);
        if (!err) buf_put(out, page.out.data, page.out.len);
        if (!err) err = buf_end(out);
        report_release(&page);
    }
    free(all.all);
    free(some.all);
    return err;
}
