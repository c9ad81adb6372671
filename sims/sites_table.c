/* sites: tables, invented or pooled in one CSV, dealt out to clients. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/rng.h"
#include "sims/partition.h"
#include "sims/sites_parts.h"
#include "sims/world.h"

enum { FOR_SITES = 0x73697465 };

static enum tacit_err take_text(struct buf *text, const char *name,
                                struct arena *a, struct csv *out)
{
    size_t n = text->len;
    buf_put_u8(text, 0); /* room for the last cell's end */
    TRY(buf_end(text));
    return csv_parse(name, (char *)text->data, n, a, out);
}

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

/* ---- one table, many clients -------------------------------------------- */

struct pool_table {
    const struct plan *plan;
    const struct csv *t;
    struct arena arena;
    size_t column;      /* of the client, where the plan names one */
    uint32_t *label;    /* [n_rows], or NULL */
    uint32_t *client;   /* [n_rows], or NULL */
    const char **names; /* [n_clients] */
    size_t n_clients;
};

static enum tacit_err read_labels(struct pool_table *p)
{
    if (p->plan->task == PLAN_REGRESS) return TACIT_OK;
    TRY(arena_alloc(&p->arena, p->t->n_rows + 1, sizeof *p->label, &p->label));
    for (size_t i = 0; i < p->t->n_rows; i++) {
        int known =
            0; /* an unknown one counts as class 0 until it is dropped */
        TRY(examples_class(p->plan, p->t, i, &p->label[i], &known));
    }
    return TACIT_OK;
}

/* A row and whose it is. */
struct named {
    const char *name;
    size_t row;
};

static int compare_named(const void *a, const void *b)
{
    const struct named *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* Clients in byte order of their names, like the files of a folder. */
static enum tacit_err read_clients(struct pool_table *p)
{
    size_t n = p->t->n_rows;
    struct named *all = NULL;
    TRY(csv_column(p->t, p->plan->sim.column, &p->column));
    TRY(arena_alloc(&p->arena, n + 1, sizeof *all, &all));
    TRY(arena_alloc(&p->arena, n + 1, sizeof *p->client, &p->client));
    TRY(arena_alloc(&p->arena, n + 1, sizeof *p->names, &p->names));
    for (size_t i = 0; i < n; i++) {
        all[i] = (struct named){csv_cell(p->t, i, p->column), i};
        if (all[i].name[0] == '\0')
            return fail_as(E_CSV_VALUE,
                           "%s:%u: column \"%s\" is empty; it names the client "
                           "(sim.column)",
                           p->t->name, p->t->line[i], p->plan->sim.column);
    }
    if (n) qsort(all, n, sizeof *all, compare_named);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || strcmp(all[i].name, all[i - 1].name) != 0)
            p->names[p->n_clients++] = all[i].name;
        p->client[all[i].row] = (uint32_t)p->n_clients - 1;
    }
    return TACIT_OK;
}

/* The examples of one client: its rows as a table of their own. */
static enum tacit_err take_rows(const struct pool_table *p,
                                const uint32_t *rows, size_t n,
                                struct dataset *out)
{
    struct arena a;
    struct csv own = *p->t;
    const char **cells = NULL;
    uint32_t *line = NULL;
    size_t width = own.n_columns;
    arena_init(&a, 0);
    enum tacit_err err = arena_alloc(&a, n * width + 1, sizeof *cells, &cells);
    if (!err) err = arena_alloc(&a, n + 1, sizeof *line, &line);
    for (size_t i = 0; !err && i < n; i++) {
        memcpy(cells + i * width, p->t->cells + rows[i] * width,
               width * sizeof *cells);
        line[i] = p->t->line[rows[i]];
    }
    own.n_rows = n;
    own.cells = cells;
    own.line = line;
    if (!err) err = examples_from_csv(p->plan, &own, out);
    arena_release(&a);
    return err;
}

static enum tacit_err hand_out(const struct pool_table *p,
                               const struct deal *deal, struct sites *s)
{
    TRY(sites_room(s, deal->n_clients));
    for (size_t i = 0; i < deal->n_clients; i++) {
        size_t first = deal->first[i];
        if (p->names)
            sites_name(s, i, "%s", p->names[i]);
        else
            sites_name(s, i, "client-%zu", i);
        enum tacit_err err = take_rows(p, deal->order + first,
                                       deal->first[i + 1] - first, &s->data[i]);
        if (err && p->names) return err_context(err, "client %s", p->names[i]);
        if (err) return err_context(err, "client %zu", i);
        s->n++;
        TRY(sites_shift(p->plan, i, &s->data[i]));
    }
    return TACIT_OK;
}

static enum tacit_err deal_table(const struct plan *plan, const struct csv *t,
                                 struct sites *s)
{
    struct pool_table p = {.plan = plan, .t = t};
    struct deal deal = {0};
    arena_init(&p.arena, 0);
    enum tacit_err err = read_labels(&p);
    if (!err && plan->sim.partition == PLAN_PART_COLUMN) err = read_clients(&p);
    const struct partition_rows rows = {.name = t->name,
                                        .n = t->n_rows,
                                        .label = p.label,
                                        .n_labels = plan->classes > 1
                                                        ? plan->classes
                                                        : 2,
                                        .client = p.client,
                                        .n_clients = p.n_clients,
                                        .client_name = p.names};
    if (!err) err = partition_deal(plan, &rows, &deal);
    if (!err) err = hand_out(&p, &deal, s);
    deal_release(&deal);
    arena_release(&p.arena);
    return err;
}

enum tacit_err sites_load_table(const struct plan *plan, const char *path,
                                struct sites *s)
{
    struct arena a;
    struct csv t;
    arena_init(&a, 0);
    enum tacit_err err = csv_load(path, &a, &t);
    if (!err) err = deal_table(plan, &t, s);
    arena_release(&a);
    return err;
}

/* ---- the invented world ------------------------------------------------- */

/* The n rows of client number i. By site: the next ones of site i mod 4. Iid:
 * each from a site drawn at random, so that all clients look alike. */
static enum tacit_err invent_rows(const struct plan *p, size_t i, size_t n,
                                  struct buf *out)
{
    uint64_t turn = (uint64_t)(i / WORLD_SITES);
    if (p->sim.partition == PLAN_PART_SITES)
        return put_rows(out, p->seed, i % WORLD_SITES,
                        p->sim.power_sizes ? turn << 32 : turn * p->sim.rows,
                        n);
    struct rng rng;
    rng_init(&rng, p->seed, FOR_SITES, i);
    for (uint32_t r = 0; r < n; r++)
        TRY(put_rows(out, p->seed, (size_t)rng_below(&rng, WORLD_SITES),
                     (uint64_t)i * p->sim.rows + r, 1));
    return TACIT_OK;
}

static enum tacit_err invent_client(const struct plan *plan, size_t i, size_t n,
                                    struct sites *s)
{
    struct buf text;
    struct arena a;
    struct csv t;
    buf_init(&text, 0);
    arena_init(&a, 0);
    sites_name(s, i, "%s-%zu", world_site_name(i % WORLD_SITES),
               i / WORLD_SITES);
    enum tacit_err err = invent_rows(plan, i, n, &text);
    if (!err) err = take_text(&text, s->name[i], &a, &t);
    if (!err) err = examples_from_csv(plan, &t, &s->data[i]);
    s->n += !err;
    arena_release(&a);
    buf_release(&text);
    return err;
}

/* Clients one by one, each with patients of its own. */
static enum tacit_err invent_clients(const struct plan *plan, struct sites *s)
{
    size_t n = plan->sim.clients;
    size_t *sizes = malloc(n * sizeof *sizes);
    if (!sizes) return fail(TACIT_NOMEM, "%zu clients", n);
    enum tacit_err err = partition_sizes(plan, n * plan->sim.rows, n, sizes);
    if (!err) err = sites_room(s, n);
    for (size_t i = 0; !err && i < n; i++)
        err = invent_client(plan, i, sizes[i], s);
    free(sizes);
    return err;
}

/* Patients of all sites in one table, then dealt out. */
static enum tacit_err invent_pool(const struct plan *plan, struct sites *s)
{
    uint64_t n = (uint64_t)plan->sim.clients * plan->sim.rows;
    struct buf text;
    struct arena a;
    struct csv t;
    if (n > EXAMPLES_ROWS_MAX)
        return fail(TACIT_LIMIT, "%llu rows to deal out; at most %d",
                    (unsigned long long)n, EXAMPLES_ROWS_MAX);
    buf_init(&text, 0);
    arena_init(&a, 0);
    enum tacit_err err = TACIT_OK;
    for (size_t site = 0; !err && site < WORLD_SITES; site++) {
        size_t k = (n + WORLD_SITES - 1 - site) / WORLD_SITES;
        if (k) err = put_rows(&text, plan->seed, site, 0, k);
    }
    if (!err) err = take_text(&text, plan->name, &a, &t);
    if (!err) err = deal_table(plan, &t, s);
    arena_release(&a);
    buf_release(&text);
    return err;
}

static enum tacit_err want_column(const struct csv *t, const char *name)
{
    char all[CSV_NAMES_BYTES];
    if (!name[0] || csv_find(t, name) >= 0) return TACIT_OK;
    return fail_as(E_CSV_COLUMN,
                   "the patients that are made here have no column \"%s\", "
                   "only %s; name a table of your own with --data",
                   name, csv_names(t, all));
}

/* Before the first client, so that none is named for what all lack. */
static enum tacit_err check_columns(const struct plan *plan)
{
    struct buf text;
    struct arena a;
    struct csv t = {0};
    buf_init(&text, 0);
    arena_init(&a, 0);
    enum tacit_err err = put_rows(&text, plan->seed, 0, 0, 1);
    if (!err) err = take_text(&text, plan->name, &a, &t);
    for (size_t i = 0; !err && i < plan->n_columns; i++)
        err = want_column(&t, plan->columns[i].name);
    if (!err) err = want_column(&t, plan->label);
    if (!err) err = want_column(&t, plan->event);
    arena_release(&a);
    buf_release(&text);
    return err;
}

enum tacit_err sites_invent_tables(const struct plan *plan, struct sites *s)
{
    TRY(check_columns(plan));
    enum plan_partition way = plan->sim.partition;
    if (way == PLAN_PART_SITES ||
        (way == PLAN_PART_IID && !plan->sim.power_sizes))
        return invent_clients(plan, s);
    return invent_pool(plan, s);
}
