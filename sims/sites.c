#include "sims/sites.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/codes.h"
#include "sims/data.h"
#include "sims/partition.h"
#include "sims/sites_parts.h"

void sites_release(struct sites *s)
{
    for (size_t i = 0; i < s->n; i++) dataset_release(&s->data[i]);
    pooled_release(&s->pooled);
    free(s->data);
    free(s->name);
    memset(s, 0, sizeof *s);
}

enum tacit_err sites_room(struct sites *s, size_t n)
{
    if (n > SITES_MAX)
        return fail(TACIT_LIMIT, "%zu clients in the data; at most %d", n,
                    SITES_MAX);
    s->data = calloc(n ? n : 1, sizeof *s->data);
    s->name = calloc(n ? n : 1, sizeof *s->name);
    if (s->data && s->name) return TACIT_OK;
    return fail(TACIT_NOMEM, "no memory for %zu clients", n);
}

void sites_name(struct sites *s, size_t i, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(s->name[i], SITES_NAME_MAX, fmt, args);
    va_end(args);
}

enum tacit_err sites_shift(const struct plan *plan, size_t i, struct dataset *d)
{
    size_t dim = d->train.x_dim;
    float *offset = NULL;
    if (plan->sim.partition != PLAN_PART_SHIFT) return TACIT_OK;
    TRY(arena_alloc(&d->arena, dim, sizeof *offset, &offset));
    partition_offset(plan, i, dim, offset);
    struct examples *sets[] = {&d->train, &d->test};
    for (size_t k = 0; k < 2; k++) {
        /* The rows are the simulation's own; examples only show them. */
        float *x = (float *)(uintptr_t)sets[k]->x;
        for (size_t r = 0; r < sets[k]->n_rows; r++)
            for (size_t j = 0; j < dim; j++) x[r * dim + j] += offset[j];
    }
    return TACIT_OK;
}

/* ---- rows that are no table --------------------------------------------- */

/* A pool on its way to clients. */
struct dealing {
    const struct plan *plan;
    struct sites *s;
    struct pooled *p;
    struct arena arena;
    uint32_t *row;   /* [n_train] rows that are dealt out */
    uint32_t *label; /* [n_train], or NULL */
    uint32_t *client;
    uint32_t *order; /* [p->n_rows] the rows' new places */
    size_t n_train;
    struct deal deal;
};

/* Does each client hold out rows of its own? */
static int holds_own(const struct dealing *d)
{
    enum plan_held_out said = d->plan->sim.held_out;
    if (said != PLAN_HELD_AS_USUAL) return said == PLAN_HELD_OWN;
    return d->plan->format != PLAN_IMAGES && !d->p->is_test;
}

/* Rows of a test set for all stay out of the deal. */
static int is_for_all(const struct dealing *d, size_t row)
{
    if (d->p->is_test) return d->p->is_test[row];
    return !holds_own(d) && examples_held_out(d->plan, row);
}

static enum tacit_err choose_rows(struct dealing *d)
{
    const struct plan *plan = d->plan;
    size_t n = d->p->n_rows;
    int labelled = plan->task == PLAN_CLASSIFY;
    TRY(arena_alloc(&d->arena, n + 1, sizeof *d->row, &d->row));
    TRY(arena_alloc(&d->arena, n + 1, sizeof *d->order, &d->order));
    if (labelled)
        TRY(arena_alloc(&d->arena, n + 1, sizeof *d->label, &d->label));
    if (d->p->client)
        TRY(arena_alloc(&d->arena, n + 1, sizeof *d->client, &d->client));
    for (size_t i = 0; i < n; i++) {
        if (is_for_all(d, i)) continue;
        /* Under privacy a label may be none (examples.h). */
        if (labelled)
            d->label[d->n_train] = d->p->y[i] >= 0 ? (uint32_t)d->p->y[i] : 0;
        if (d->client && d->p->client) d->client[d->n_train] = d->p->client[i];
        d->row[d->n_train++] = (uint32_t)i;
    }
    return TACIT_OK;
}

/* Places of client i's rows, train rows first; how many those are. */
static size_t place_client(struct dealing *d, size_t i, int own_test)
{
    size_t first = d->deal.first[i], n = d->deal.first[i + 1] - first;
    size_t at = first, n_train = n;
    const uint32_t *dealt = d->deal.order + first;
    if (own_test) {
        n_train = 0;
        for (size_t k = 0; k < n; k++)
            n_train += !examples_held_out(d->plan, k);
    }
    int keep_first = n_train == 0;
    for (int held = 0; held < 2; held++)
        for (size_t k = 0; k < n; k++) {
            int is_held = own_test && !(keep_first && k == 0) &&
                          examples_held_out(d->plan, k);
            if (is_held == held) d->order[at++] = d->row[dealt[k]];
        }
    return keep_first ? 1 : n_train;
}

static void name_client(struct dealing *d, size_t i)
{
    static const char *const kinds[] = {"site", "device", "writer", "speaker"};
    int natural = d->plan->sim.partition == PLAN_PART_SITES ||
                  d->plan->sim.partition == PLAN_PART_COLUMN;
    if (natural && d->p->client_name)
        sites_name(d->s, i, "%s", d->p->client_name[i]);
    else
        sites_name(d->s, i, "%s-%zu",
                   natural ? kinds[d->plan->format] : "client", i);
}

static enum tacit_err hand_out(struct dealing *d)
{
    struct sites *s = d->s;
    struct pooled *p = d->p;
    size_t *n_train = NULL, at = d->n_train;
    int own_test = holds_own(d);
    TRY(sites_room(s, d->deal.n_clients));
    TRY(arena_alloc(&d->arena, d->deal.n_clients, sizeof *n_train, &n_train));
    for (size_t i = 0; i < d->deal.n_clients; i++)
        n_train[i] = place_client(d, i, own_test);
    for (size_t i = 0; i < p->n_rows; i++)
        if (is_for_all(d, i)) d->order[at++] = (uint32_t)i;
    TRY(pooled_order(p, d->order));
    for (size_t i = 0; i < d->deal.n_clients; i++) {
        size_t first = d->deal.first[i], end = d->deal.first[i + 1];
        struct dataset *x = &s->data[i];
        pooled_view(p, first, n_train[i], &x->train);
        pooled_view(p, first + n_train[i], end - first - n_train[i], &x->test);
        name_client(d, i);
        s->n++;
        TRY(sites_shift(d->plan, i, x));
    }
    pooled_view(p, d->n_train, p->n_rows - d->n_train, &s->test);
    return TACIT_OK;
}

enum origin { LOADED, INVENTED };

/* Deal out the rows of s->pooled, which came from `name`. */
static enum tacit_err deal_pooled(const struct plan *plan, const char *name,
                                  enum origin origin, struct sites *s)
{
    struct dealing d = {.plan = plan, .s = s, .p = &s->pooled};
    arena_init(&d.arena, 0);
    enum tacit_err err =
        plan->format == PLAN_TEXT && plan->sim.partition == PLAN_PART_SHIFT
            ? fail_as(E_DEAL,
                      "%s: sim.partition: shift moves numbers; text has none",
                      name)
            : choose_rows(&d);
    const struct partition_rows rows = {.name = name,
                                        .n = d.n_train,
                                        .label = d.label,
                                        .n_labels = plan->classes > 1
                                                        ? plan->classes
                                                        : 2,
                                        .client = d.client,
                                        .n_clients = s->pooled.n_clients,
                                        .client_name = s->pooled.client_name,
                                        .is_sized = origin == INVENTED};
    if (!err) err = partition_deal(plan, &rows, &d.deal);
    if (!err) err = hand_out(&d);
    deal_release(&d.deal);
    arena_release(&d.arena);
    return err;
}

/* ---- from where --------------------------------------------------------- */

static enum tacit_err finish(enum tacit_err err, struct sites *s,
                             struct sites *out)
{
    if (err)
        sites_release(s);
    else
        *out = *s;
    return err;
}

static enum tacit_err invent(const struct plan *plan, struct sites *s)
{
    if (plan->task == PLAN_READER ||
        (plan_has_base(plan) && plan->task != PLAN_RETRIEVER))
        return fail(
            TACIT_UNSUPPORTED,
            "a plan that learns from texts needs --data FOLDER with one "
            ".csv file per client");
    if (plan->task == PLAN_RETRIEVER)
        return fail(TACIT_UNSUPPORTED,
                    "a retriever plan needs --data FOLDER with one folder per "
                    "client (documents/ and questions.csv)");
    if (plan->sim.clients > SITES_MAX)
        return fail(TACIT_LIMIT, "sim.clients is %u; one run has at most %d",
                    plan->sim.clients, SITES_MAX);
    if (plan->format == PLAN_TABLE) return sites_invent_tables(plan, s);
    TRY(data_invent(plan, &s->pooled));
    return deal_pooled(plan, plan->name, INVENTED, s);
}

enum tacit_err sites_invent(const struct plan *plan, struct sites *out)
{
    struct sites s = {0};
    return finish(invent(plan, &s), &s, out);
}

static enum tacit_err load(const struct plan *plan, const char *path,
                           struct sites *s)
{
    struct stat st;
    int is_file = stat(path, &st) == 0 && S_ISREG(st.st_mode);
    if (is_file && plan->task == PLAN_RETRIEVER)
        return fail(TACIT_UNSUPPORTED,
                    "%s: a retriever plan needs a folder with one folder per "
                    "client (documents/ and questions.csv)",
                    path);
    if (is_file && (plan_has_base(plan) || plan->task == PLAN_READER))
        return fail(
            TACIT_UNSUPPORTED,
            "%s: a plan that learns from texts needs a folder with one .csv "
            "file per client",
            path);
    if (!is_file) return sites_load_folder(plan, path, s);
    if (plan->format == PLAN_TABLE) return sites_load_table(plan, path, s);
    TRY(pooled_load(plan, path, &s->pooled));
    return deal_pooled(plan, path, LOADED, s);
}

enum tacit_err sites_load(const struct plan *plan, const char *path,
                          struct sites *out)
{
    struct sites s = {0};
    return finish(load(plan, path, &s), &s, out);
}
