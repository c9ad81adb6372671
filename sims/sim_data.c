/* tacit-sim data: the rows as a run deals them out, for other programs. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/memory.h"
#include "sims/commands.h"
#include "sims/estimate.h"
#include "sims/sites.h"

/* A NumPy array that is written row by row; all are whole once they have their
 * names. */
struct array {
    char path[SIM_PATH], part[SIM_PATH];
    FILE *f;
};

static enum tacit_err array_open(struct array *a, const char *folder,
                                 const char *name, const char *type, size_t n,
                                 size_t width)
{
    char shape[64], header[128], part[32];
    snprintf(part, sizeof part, "%s.part", name);
    TRY(file_join(a->path, sizeof a->path, folder, name));
    TRY(file_join(a->part, sizeof a->part, folder, part));
    if (width > 1)
        snprintf(shape, sizeof shape, "(%zu, %zu)", n, width);
    else
        snprintf(shape, sizeof shape, "(%zu,)", n);
    /* Magic, version and length take 10 bytes of the 128. */
    int len = snprintf(header, sizeof header,
                       "{'descr': '%s', 'fortran_order': False, 'shape': %s, }",
                       type, shape);
    a->f = fopen(a->part, "wb");
    if (!a->f) return fail(TACIT_IO, "%s: %s", a->part, strerror(errno));
    fwrite("\x93NUMPY\1\0\x76\0", 1, 10, a->f);
    fprintf(a->f, "%-117s\n", len > 0 ? header : "");
    return TACIT_OK;
}

static enum tacit_err array_close(struct array *a)
{
    int bad = fflush(a->f) != 0 || ferror(a->f);
    bad |= fclose(a->f) != 0;
    a->f = NULL;
    return bad ? fail(TACIT_IO, "%s: %s", a->path, strerror(errno)) : TACIT_OK;
}

static enum tacit_err array_name(const struct array *a)
{
    return rename(a->part, a->path) == 0
               ? TACIT_OK
               : fail(TACIT_IO, "%s: %s", a->path, strerror(errno));
}

/* ---- rows --------------------------------------------------------------- */

enum { X, Y, CLIENT, TEST, N_ARRAYS };

struct writing {
    const struct sites *s;
    struct array a[N_ARRAYS];
    size_t x_dim, y_dim, n_rows;
};

static void put_rows(struct writing *w, const struct examples *e,
                     int64_t client, uint8_t is_test)
{
    fwrite(e->x, sizeof *e->x, e->n_rows * w->x_dim, w->a[X].f);
    fwrite(e->y, sizeof *e->y, e->n_rows * w->y_dim, w->a[Y].f);
    for (size_t i = 0; i < e->n_rows; i++) {
        fwrite(&client, sizeof client, 1, w->a[CLIENT].f);
        fwrite(&is_test, sizeof is_test, 1, w->a[TEST].f);
    }
}

static void measure(struct writing *w)
{
    const struct sites *s = w->s;
    const struct examples *first = &s->data[0].train;
    w->x_dim = first->x_dim;
    w->y_dim = first->y_dim ? first->y_dim : 1;
    w->n_rows = s->test.n_rows;
    for (size_t i = 0; i < s->n; i++)
        w->n_rows += s->data[i].train.n_rows + s->data[i].test.n_rows;
}

static enum tacit_err write_all(struct writing *w, const char *folder)
{
    const struct sites *s = w->s;
    const struct {
        const char *name, *type;
        size_t width;
    } all[N_ARRAYS] = {{"x.npy", "<f4", w->x_dim},
                       {"y.npy", "<f4", w->y_dim},
                       {"client.npy", "<i8", 1},
                       {"test.npy", "|u1", 1}};
    TRY(file_mkdirs(folder, 0755));
    for (int i = 0; i < N_ARRAYS; i++)
        TRY(array_open(&w->a[i], folder, all[i].name, all[i].type, w->n_rows,
                       all[i].width));
    for (size_t i = 0; i < s->n; i++) {
        put_rows(w, &s->data[i].train, (int64_t)i, 0);
        put_rows(w, &s->data[i].test, (int64_t)i, 1);
    }
    put_rows(w, &s->test, -1, 1);
    for (int i = 0; i < N_ARRAYS; i++) TRY(array_close(&w->a[i]));
    /* Whenever this ends, no array of an earlier call stands beside new ones.
     */
    for (int i = 0; i < N_ARRAYS; i++) remove(w->a[i].path);
    for (int i = 0; i < N_ARRAYS; i++) TRY(array_name(&w->a[i]));
    return TACIT_OK;
}

static enum tacit_err write_sites(struct writing *w, const char *folder)
{
    measure(w);
    enum tacit_err err = write_all(w, folder);
    for (int i = 0; i < N_ARRAYS; i++) {
        if (w->a[i].f) fclose(w->a[i].f);
        if (*w->a[i].part) remove(w->a[i].part);
    }
    return err;
}

static enum tacit_err deal(const struct options *o, const struct plan *plan,
                           struct sites *out)
{
    const char *data = options_value(o, "data");
    if (plan->task == PLAN_RETRIEVER)
        return fail(TACIT_UNSUPPORTED,
                    "a retriever learns from documents, not from rows");
    struct estimate e;
    struct estimate_case c = {.plan = plan,
                              .n_clients = plan->sim.clients,
                              .n_threads = 1};
    if (data) TRY(estimate_files(data, &c.data_bytes));
    TRY(estimate_memory(&c, &e));
    TRY(estimate_fits(&c, &e, memory_free()));
    return data ? sites_load(plan, data, out) : sites_invent(plan, out);
}

static enum tacit_err tell(const struct options *o, const struct writing *w,
                           const char *folder)
{
    if (options_flag(o, "json"))
        return json_print_ok(stdout,
                             json_pack("{s:s, s:I, s:I, s:I}", "out", folder,
                                       "clients", (json_int_t)w->s->n, "rows",
                                       (json_int_t)w->n_rows, "inputs",
                                       (json_int_t)w->x_dim));
    printf("%s: x.npy, y.npy, client.npy, test.npy; %zu rows of %zu clients\n",
           folder, w->n_rows, w->s->n);
    return TACIT_OK;
}

enum tacit_err sim_data(const struct options *o)
{
    const char *out = options_value(o, "out");
    struct plan *plan = NULL;
    struct buf text;
    struct sites sites = {0};
    struct writing w = {.s = &sites};
    if (!out) out = "sim-data";
    enum tacit_err err = sim_plan_text(o, &text);
    if (!err)
        err = plan_parse(o->args[0], (const char *)text.data, text.len, &plan);
    if (!err) err = deal(o, plan, &sites);
    if (!err) err = write_sites(&w, out);
    if (!err) err = tell(o, &w, out);
    sites_release(&sites);
    plan_free(plan);
    buf_release(&text);
    return err;
}
