/* fleet: the timetable of one sum. It follows coordinator/round.c: a stage
 * closes when everybody asked has answered or is known to be lost, when `goal`
 * inputs are there, or at its deadline, if then enough have answered. */
#include "sims/fleet_parts.h"

#include <stdlib.h>

#include "common/crypto/secagg.h"

/* How a seat leaves a stage. */
enum leaving { SILENT, DONE, GONE };

struct stage {
    struct sum *s;
    enum handset_stage which;
    int64_t open_ms, deadline_ms;
    unsigned want, goal; /* goal 0: none */
    /* out */
    int64_t close_ms;
    unsigned n_done;
    int ok;
};

/* A seat's answer, in the order of arrival; of equal times the lower seat. */
struct arrival {
    int64_t at_ms;
    size_t seat;
    enum leaving how;
};

static int by_time(const void *a, const void *b)
{
    const struct arrival *x = a, *y = b;
    if (x->at_ms != y->at_ms) return x->at_ms < y->at_ms ? -1 : 1;
    return (x->seat > y->seat) - (x->seat < y->seat);
}

static enum leaving leaving_of(const struct seat *x, const struct stage *g)
{
    enum handset_stage v = x->fate.vanishes;
    int here =
        v == g->which || (g->which == HANDSET_INPUT && v == HANDSET_UPLOAD);
    if (!here) return DONE;
    /* Whoever polls again while the round is open is simply asked again. */
    return x->fate.returns && g->which != HANDSET_ADVERT ? GONE : SILENT;
}

/* Does the stage end with this answer? As round.c's advance(): while a round is
 * open others may still come, and a reveal counts until nobody is left. */
static int closes(const struct stage *g, size_t n_waiting)
{
    int enough = g->goal && g->n_done >= g->goal && g->n_done >= g->want;
    if (g->which == HANDSET_ADVERT)
        return n_waiting == 0 && g->n_done >= g->want;
    if (g->which == HANDSET_REVEAL) return enough || n_waiting == 0;
    return enough || n_waiting == 0 || g->n_done + n_waiting < g->want;
}

/* Who of `in` (a flag per seat) answers in time; the others leave `in`. */
static void run_stage(struct stage *g, unsigned char *in, struct arrival *list)
{
    size_t n = 0, n_waiting = 0;
    for (size_t i = 0; i < g->s->n_seats; i++) {
        const struct seat *x = &g->s->seats[i];
        if (!in[i]) continue;
        n_waiting++;
        enum leaving how = leaving_of(x, g);
        int64_t at = g->open_ms + x->offset_ms[g->which];
        in[i] = 0;
        if (how != SILENT && at <= g->deadline_ms && at < x->leaves_ms)
            list[n++] = (struct arrival){at, i, how};
    }
    qsort(list, n, sizeof *list, by_time);
    g->n_done = 0;
    g->close_ms = g->deadline_ms;
    for (size_t i = 0; i < n; i++) {
        n_waiting--;
        if (list[i].how == DONE) {
            in[list[i].seat] = 1;
            g->n_done++;
        }
        if (closes(g, n_waiting)) {
            g->close_ms = list[i].at_ms;
            break;
        }
    }
    g->ok = g->n_done >= g->want;
}

static int64_t rows_of(const struct sum *s, const struct seat *x)
{
    const struct plan *p = s->f->c.plan;
    size_t n = s->f->c.data[x->client].train.n_rows;
    double rows = p->local_epochs ? (double)n * p->local_epochs
                                  : (double)p->local_steps * p->batch;
    if (p->privacy.record) rows = (double)n * p->privacy.sample;
    return (int64_t)(rows * x->fate.work + 0.5);
}

static void set_offsets(struct sum *s)
{
    uint64_t up, down;
    fleet_traffic(s->f, s->n_seats, &up, &down);
    for (size_t i = 0; i < s->n_seats; i++) {
        struct seat *x = &s->seats[i];
        const struct handset *d = &x->device;
        const int64_t *late = x->fate.late_ms;
        int64_t turn = 2 * d->latency_ms;
        x->cost.rows = (double)rows_of(s, x);
        x->offset_ms[HANDSET_POLL] = 0;
        x->offset_ms[HANDSET_ADVERT] =
            handset_down_ms(d, down) + d->latency_ms + late[HANDSET_ADVERT];
        x->offset_ms[HANDSET_SHARES] = turn + late[HANDSET_SHARES];
        x->offset_ms[HANDSET_UPLOAD] = x->offset_ms[HANDSET_INPUT] =
            d->latency_ms + handset_train_ms(d, x->cost.rows) +
            handset_up_ms(d, up) + late[HANDSET_UPLOAD] + late[HANDSET_INPUT];
        x->offset_ms[HANDSET_CONSISTENCY] = turn + late[HANDSET_CONSISTENCY];
        x->offset_ms[HANDSET_REVEAL] = turn + late[HANDSET_REVEAL];
        if (x->trusted && s->singles) continue; /* no network between */
        x->cost.bytes_up = up;
        x->cost.bytes_down = down;
    }
}

/* What was spent by those who did not get to the end. */
static void set_costs(struct sum *s, const unsigned char *shared)
{
    for (size_t i = 0; i < s->n_seats; i++) {
        struct seat *x = &s->seats[i];
        x->trains = shared[i];
        if (!shared[i]) x->cost.rows = 0;
        if (!shared[i] || x->fate.vanishes <= HANDSET_UPLOAD)
            x->cost.bytes_up = 0;
        if (x->fate.vanishes == HANDSET_POLL) x->cost.bytes_down = 0;
    }
}

static void masked(struct sum *s, unsigned char *in, unsigned char *shared,
                   struct arrival *list)
{
    const struct plan *p = s->f->c.plan;
    unsigned u_min = p->min_reports;
    struct stage g = {.s = s,
                      .which = HANDSET_ADVERT,
                      .open_ms = s->start_ms,
                      .want = u_min};
    g.deadline_ms = g.open_ms + p->stage_deadline_ms;
    run_stage(&g, in, list);
    unsigned t = secagg_threshold(g.n_done);
    static const enum handset_stage next[] = {HANDSET_SHARES, HANDSET_INPUT,
                                              HANDSET_CONSISTENCY,
                                              HANDSET_REVEAL};
    for (size_t k = 0; g.ok && k < 4; k++) {
        g.which = next[k];
        g.open_ms = g.close_ms;
        g.deadline_ms =
            g.open_ms + (g.which == HANDSET_INPUT ? p->train_deadline_ms
                                                  : p->stage_deadline_ms);
        g.want = g.which < HANDSET_REVEAL && u_min > t ? u_min : t;
        g.goal = g.which == HANDSET_INPUT    ? s->goal
                 : g.which == HANDSET_REVEAL ? t
                                             : 0;
        if (g.which == HANDSET_INPUT)
            for (size_t i = 0; i < s->n_seats; i++) shared[i] = in[i];
        run_stage(&g, in, list);
        if (g.which != HANDSET_INPUT || !g.ok) continue;
        s->n_inputs = g.n_done;
        for (size_t i = 0; i < s->n_seats; i++) s->seats[i].in_sum = in[i];
    }
    s->agreed = g.ok;
    s->end_ms = g.close_ms;
}

/* Without secure aggregation: one message each. */
static void plain(struct sum *s, unsigned char *in, unsigned char *shared,
                  struct arrival *list)
{
    const struct plan *p = s->f->c.plan;
    struct stage g = {.s = s,
                      .which = HANDSET_INPUT,
                      .open_ms = s->start_ms,
                      .want = p->min_reports,
                      .goal = s->goal};
    g.deadline_ms = g.open_ms + p->train_deadline_ms;
    for (size_t i = 0; i < s->n_seats; i++) {
        struct seat *x = &s->seats[i];
        x->offset_ms[HANDSET_INPUT] += x->offset_ms[HANDSET_ADVERT];
        if (x->trusted) x->offset_ms[HANDSET_INPUT] = 0;
        in[i] &= x->fate.vanishes > HANDSET_SHARES;
        shared[i] = in[i];
    }
    run_stage(&g, in, list);
    for (size_t i = 0; i < s->n_seats; i++) s->seats[i].in_sum = in[i];
    s->n_inputs = g.n_done;
    s->agreed = g.ok;
    s->end_ms = g.close_ms;
}

enum tacit_err fleet_foresee(struct sum *s)
{
    unsigned char *in = calloc(2 * s->n_seats + 1, 1);
    struct arrival *list = calloc(s->n_seats + 1, sizeof *list);
    enum tacit_err err = TACIT_OK;
    if (!in || !list) {
        err = fail(TACIT_NOMEM, "a cohort of %zu", s->n_seats);
    } else {
        unsigned char *shared = in + s->n_seats;
        set_offsets(s);
        s->n_invited = 0;
        for (size_t i = 0; i < s->n_seats; i++) {
            in[i] = s->seats[i].fate.vanishes != HANDSET_POLL;
            s->n_invited += in[i];
        }
        if (s->f->c.plan->secagg_off)
            plain(s, in, shared, list);
        else
            masked(s, in, shared, list);
        set_costs(s, shared);
    }
    free(in);
    free(list);
    return err;
}
