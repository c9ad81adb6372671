#include "sims/compare.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/file.h"
#include "common/base/yaml_edit.h"

enum tacit_err compare_init(struct compare *c, double target)
{
    *c = (struct compare){.target = target, .left_out = json_array()};
    return c->left_out ? TACIT_OK : fail(TACIT_NOMEM, "out of memory");
}

void compare_release(struct compare *c)
{
    for (size_t i = 0; i < c->n_runs; i++) runlog_release(&c->runs[i].record);
    free(c->runs);
    free(c->groups);
    json_decref(c->left_out);
    memset(c, 0, sizeof *c);
}

/* ---- finding runs ------------------------------------------------------- */

/* The plan as it would be with seed 0, and the data it ran on. */
static enum tacit_err key_of(const struct runlog *r, struct digest *out)
{
    struct buf text;
    struct digest_state d;
    buf_init(&text, 0);
    enum tacit_err err =
        yaml_set(r->plan, r->plan_text, r->plan_bytes, "seed", "0", &text);
    if (!err) {
        digest_begin(&d);
        digest_add(&d, text.data, text.len);
        digest_add(&d, r->data, strlen(r->data));
        digest_end(&d, out);
    }
    buf_release(&text);
    return err;
}

static void leave_out(struct compare *c, const char *folder, const char *why)
{
    json_array_append_new(c->left_out, json_pack("{s:s, s:s}", "folder", folder,
                                                 "why", why));
}

/* A run that was made again elsewhere: a run of that plan, seed and data. */
static const char *twin_of(const struct compare *c, const struct runlog *r)
{
    for (size_t i = 0; i < c->n_runs; i++) {
        const struct runlog *other = &c->runs[i].record;
        if (strcmp(other->plan_hash, r->plan_hash) == 0 &&
            strcmp(other->data, r->data) == 0)
            return c->runs[i].folder;
    }
    return NULL;
}

static enum tacit_err add_run(struct compare *c, const char *folder)
{
    char why[COMPARE_PATH + 64];
    struct compare_run run = {0};
    TRY(runlog_read(folder, &run.record));
    const char *twin = twin_of(c, &run.record);
    if (run.record.state == RUNLOG_FINISHED && twin) {
        snprintf(why, sizeof why, "the same run as %s", twin);
        leave_out(c, folder, why);
        runlog_release(&run.record);
        return TACIT_OK;
    }
    if (run.record.state != RUNLOG_FINISHED) {
        snprintf(why, sizeof why, "%s%s%s", runlog_state_name(run.record.state),
                 run.record.error[0] ? ": " : "", run.record.error);
        leave_out(c, folder, why);
        runlog_release(&run.record);
        return TACIT_OK;
    }
    enum tacit_err err = key_of(&run.record, &run.key);
    if (!err && c->n_runs == COMPARE_RUNS_MAX)
        err = fail(TACIT_LIMIT, "more than %d runs", COMPARE_RUNS_MAX);
    if (!err && c->n_runs == c->runs_cap) {
        size_t cap = c->runs_cap ? 2 * c->runs_cap : 16;
        void *more = realloc(c->runs, cap * sizeof *c->runs);
        if (more) {
            c->runs = more;
            c->runs_cap = cap;
        } else {
            err = fail(TACIT_NOMEM, "%zu runs", cap);
        }
    }
    if (err) {
        runlog_release(&run.record);
        return err;
    }
    snprintf(run.folder, sizeof run.folder, "%s", folder);
    c->runs[c->n_runs++] = run;
    return TACIT_OK;
}

static int is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Bounded by COMPARE_DEPTH_MAX, which is why it may call itself. */
static enum tacit_err look_below(struct compare *c, const char *folder,
                                 int depth, size_t *n_found)
{
    char path[COMPARE_PATH];
    struct dirent **list = NULL;
    TRY(file_join(path, sizeof path, folder, "run.json"));
    if (file_exists(path)) {
        ++*n_found;
        return add_run(c, folder);
    }
    if (depth == COMPARE_DEPTH_MAX) return TACIT_OK;
    int n = scandir(folder, &list, NULL, versionsort);
    if (n < 0) return fail(TACIT_NOTFOUND, "%s: %s", folder, strerror(errno));
    enum tacit_err err = TACIT_OK;
    for (int i = 0; i < n; i++) {
        const char *name = list[i]->d_name;
        if (!err && name[0] != '.')
            err = file_join(path, sizeof path, folder, name);
        if (!err && name[0] != '.' && is_folder(path))
            err = look_below(c, path, depth + 1, n_found);
        free(list[i]);
    }
    free(list);
    return err;
}

enum tacit_err compare_add(struct compare *c, const char *folder)
{
    size_t n_found = 0;
    TRY(look_below(c, folder, 0, &n_found));
    if (n_found) return TACIT_OK;
    return fail(TACIT_NOTFOUND, "%s: no run of tacit-sim in it (no run.json)",
                folder);
}

/* ---- what tells groups apart -------------------------------------------- */

struct leaf {
    char path[COMPARE_VALUE], value[COMPARE_VALUE];
};

struct leaves {
    struct leaf *list; /* owned */
    size_t n, cap;
    enum tacit_err err;
};

static void take_leaf(void *ctx, const char *path, const char *value)
{
    struct leaves *l = ctx;
    if (l->err || strcmp(path, "seed") == 0) return;
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 64;
        void *more = realloc(l->list, cap * sizeof *l->list);
        if (!more) {
            l->err = fail(TACIT_NOMEM, "out of memory");
            return;
        }
        l->list = more;
        l->cap = cap;
    }
    struct leaf *leaf = &l->list[l->n++];
    snprintf(leaf->path, sizeof leaf->path, "%s", path);
    snprintf(leaf->value, sizeof leaf->value, "%s", value);
}

static const char *value_in(const struct leaves *l, const char *path)
{
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->list[i].path, path) == 0) return l->list[i].value;
    return "-";
}

static int has_key(const struct compare *c, const char *path)
{
    for (size_t k = 0; k < c->n_keys; k++)
        if (strcmp(c->key[k], path) == 0) return 1;
    return 0;
}

/* A path that group g has and some other group has not, or not so. */
static void find_keys(struct compare *c, const struct leaves *all, size_t g)
{
    for (size_t i = 0; i < all[g].n; i++) {
        const struct leaf *leaf = &all[g].list[i];
        int differs = 0;
        if (c->n_keys == COMPARE_KEYS_MAX) return;
        if (has_key(c, leaf->path)) continue;
        for (size_t k = 0; !differs && k < c->n_groups; k++)
            differs = strcmp(value_in(&all[k], leaf->path), leaf->value) != 0;
        if (differs)
            snprintf(c->key[c->n_keys++], COMPARE_VALUE, "%s", leaf->path);
    }
}

static enum tacit_err name_groups(struct compare *c)
{
    struct leaves *all = calloc(c->n_groups, sizeof *all);
    enum tacit_err err = TACIT_OK;
    if (!all) return fail(TACIT_NOMEM, "%zu groups", c->n_groups);
    for (size_t g = 0; !err && g < c->n_groups; g++) {
        const struct runlog *r = &c->runs[c->groups[g].first].record;
        err = yaml_leaves(r->plan, r->plan_text, r->plan_bytes, take_leaf,
                          &all[g]);
        if (!err) err = all[g].err;
        if (!err && r->data[0]) {
            take_leaf(&all[g], "data (folder)", r->data);
            err = all[g].err;
        }
    }
    for (size_t g = 0; !err && g < c->n_groups; g++) find_keys(c, all, g);
    if (!err && c->n_keys == 0)
        snprintf(c->key[c->n_keys++], COMPARE_VALUE, "name");
    for (size_t g = 0; !err && g < c->n_groups; g++)
        for (size_t k = 0; k < c->n_keys; k++)
            snprintf(c->groups[g].value[k], COMPARE_VALUE, "%s",
                     value_in(&all[g], c->key[k]));
    for (size_t g = 0; g < c->n_groups; g++) free(all[g].list);
    free(all);
    return err;
}

/* ---- figures ------------------------------------------------------------ */

static double figure_of(const struct runlog_summary *s, enum compare_figure f)
{
    switch (f) {
    case COMPARE_METRIC: return s->final;
    case COMPARE_BEST: return s->best;
    case COMPARE_WORST: return s->worst;
    case COMPARE_TARGET_ROUNDS: return s->target_rounds;
    case COMPARE_TARGET_TIME: return s->target_virtual_s;
    case COMPARE_VIRTUAL: return s->virtual_s;
    case COMPARE_BYTES: return s->bytes_up + s->bytes_down;
    case COMPARE_ENERGY: return s->energy_j;
    default: return s->wall_s;
    }
}

/* Welford's running mean and sum of squared distances from it (in sd). */
static void take_figure(struct compare_stat *s, double v)
{
    if (!isfinite(v)) return;
    if (s->n == 0) s->mean = s->sd = 0;
    double before = v - s->mean;
    s->n++;
    s->mean += before / (double)s->n;
    s->sd += before * (v - s->mean);
}

static void take_figures(struct compare *c)
{
    for (size_t g = 0; g < c->n_groups; g++)
        for (int f = 0; f < COMPARE_FIGURES; f++)
            c->groups[g].figure[f] = (struct compare_stat){0, NAN, NAN};
    for (size_t i = 0; i < c->n_runs; i++) {
        struct compare_group *g = &c->groups[c->runs[i].group];
        struct runlog_summary s;
        runlog_sum_up(&c->runs[i].record, c->target, &s);
        for (int f = 0; f < COMPARE_FIGURES; f++)
            take_figure(&g->figure[f], figure_of(&s, (enum compare_figure)f));
    }
    for (size_t g = 0; g < c->n_groups; g++)
        for (int f = 0; f < COMPARE_FIGURES; f++) {
            struct compare_stat *s = &c->groups[g].figure[f];
            s->sd = s->n > 1 ? sqrt(s->sd / (double)(s->n - 1)) : NAN;
        }
}

/* The best of several groups that are measured alike. */
static void mark_best(struct compare *c)
{
    const struct runlog *first = &c->runs[c->groups[0].first].record;
    size_t best = 0;
    for (size_t g = 1; g < c->n_groups; g++) {
        const struct runlog *r = &c->runs[c->groups[g].first].record;
        if (strcmp(r->metric, first->metric) != 0) return;
        double a = c->groups[g].figure[COMPARE_METRIC].mean;
        double b = c->groups[best].figure[COMPARE_METRIC].mean;
        if (!isfinite(b) || (r->lower_is_better ? a < b : a > b)) best = g;
    }
    c->groups[best].is_best =
        c->n_groups > 1 && c->groups[best].figure[COMPARE_METRIC].n > 0;
}

enum tacit_err compare_group(struct compare *c)
{
    if (c->n_runs == 0)
        return fail(TACIT_NOTFOUND, "none of the %zu runs is finished",
                    json_array_size(c->left_out));
    c->groups = calloc(c->n_runs, sizeof *c->groups);
    if (!c->groups) return fail(TACIT_NOMEM, "%zu runs", c->n_runs);
    for (size_t i = 0; i < c->n_runs; i++) {
        size_t g = 0;
        while (g < c->n_groups &&
               !digest_equal(&c->runs[c->groups[g].first].key, &c->runs[i].key))
            g++;
        if (g == c->n_groups) c->groups[c->n_groups++].first = i;
        c->groups[g].n++;
        c->runs[i].group = g;
    }
    TRY(name_groups(c));
    take_figures(c);
    mark_best(c);
    return TACIT_OK;
}
