/* fleet: what it carries from round to round. One walk over it serves both
 * directions, so that what is written is what is read. All numbers are
 * little-endian; a vector's length follows from the plan, never from the
 * bytes. */
#include "sims/fleet_parts.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/task/task.h"

enum { SEAT_BYTES = 256, SUM_BYTES = 1024, ROUND_BYTES = 512 };

/* ---- a round that may be undone ----------------------------------------- */

static void mark_release(struct fleet_mark *m)
{
    free(m->level);
    free(m->level_ms);
    free(m->flying);
}

static void *copy_of(const void *p, size_t bytes)
{
    void *copy = malloc(bytes ? bytes : 1);
    if (copy && bytes) memcpy(copy, p, bytes);
    return copy;
}

enum tacit_err fleet_mark(const struct fleet *f, struct fleet_mark *out)
{
    size_t n = f->c.n_clients;
    struct fleet_mark m = {.version = f->version.version,
                           .n_begun = f->n_begun,
                           .now_ms = f->now_ms,
                           .n_flying = f->n_flying};
    int batteries = f->c.plan->sim.battery > 0;
    m.flying = copy_of(f->flying, f->n_flying * sizeof *f->flying);
    if (batteries) {
        m.level = copy_of(f->level, n * sizeof *f->level);
        m.level_ms = copy_of(f->level_ms, n * sizeof *f->level_ms);
    }
    if (!m.flying || (batteries && (!m.level || !m.level_ms))) {
        mark_release(&m);
        return fail(TACIT_NOMEM, "%zu clients", n);
    }
    *out = m;
    return TACIT_OK;
}

static int was_flying(const struct fleet_mark *m, const struct sum *s)
{
    for (size_t i = 0; i < m->n_flying; i++)
        if (m->flying[i] == s) return 1;
    return 0;
}

static void undo_sums(struct fleet *f, struct fleet_mark *m)
{
    for (size_t i = 0; i < f->n_flying; i++)
        if (!was_flying(m, f->flying[i])) fleet_sum_free(f->flying[i]);
    for (size_t i = 0; i < f->n_landed; i++)
        if (!was_flying(m, f->landed[i])) fleet_sum_free(f->landed[i]);
    free(f->flying);
    f->flying = m->flying;
    f->n_flying = m->n_flying;
    m->flying = NULL;
}

void fleet_mark_end(struct fleet *f, struct fleet_mark *m, int undo)
{
    size_t n = f->c.n_clients;
    if (undo) {
        f->now_ms = m->now_ms;
        f->n_begun = m->n_begun;
        if (m->level) memcpy(f->level, m->level, n * sizeof *f->level);
        if (m->level) memcpy(f->level_ms, m->level_ms, n * sizeof *f->level_ms);
        undo_sums(f, m);
    } else {
        for (size_t i = 0; i < f->n_landed; i++) fleet_sum_free(f->landed[i]);
    }
    f->n_landed = 0;
    mark_release(m);
}

enum tacit_err fleet_tell_room(struct fleet *f)
{
    if (f->n_told < f->told_room) return TACIT_OK;
    size_t n = f->told_room ? 2 * f->told_room : 64;
    struct fleet_round *told = realloc(f->told, n * sizeof *told);
    if (!told) return fail(TACIT_NOMEM, "%zu rounds", n);
    f->told = told;
    f->told_room = n;
    return TACIT_OK;
}

/* ---- both directions ---------------------------------------------------- */

struct io {
    struct fleet *f;
    struct buf *out;     /* writing; or NULL */
    struct reader *in;   /* reading; or NULL */
    enum tacit_err err;  /* sticky: NOMEM, FORMAT */
    const char *strange; /* what cannot be */
};

static void want(struct io *x, int holds, const char *what)
{
    if (holds || x->err) return;
    x->err = TACIT_FORMAT;
    x->strange = what;
}

static void u8(struct io *x, uint8_t *v)
{
    if (x->out)
        buf_put_u8(x->out, *v);
    else
        *v = reader_u8(x->in);
}

static void u32(struct io *x, uint32_t *v)
{
    if (x->out)
        buf_put_u32(x->out, *v);
    else
        *v = reader_u32(x->in);
}

static void u64(struct io *x, uint64_t *v)
{
    if (x->out)
        buf_put_u64(x->out, *v);
    else
        *v = reader_u64(x->in);
}

static void number(struct io *x, int *v) /* 0 … 255 */
{
    uint8_t b = (uint8_t)*v;
    u8(x, &b);
    *v = b;
}

static void count(struct io *x, unsigned *v)
{
    uint32_t n = *v;
    u32(x, &n);
    *v = n;
}

static void size(struct io *x, size_t *v)
{
    uint64_t n = *v;
    u64(x, &n);
    *v = (size_t)n;
}

/* Time by a clock that starts at 0 and never comes near the end of the type. */
static void time_ms(struct io *x, int64_t *v)
{
    uint64_t n = (uint64_t)*v;
    u64(x, &n);
    *v = (int64_t)n;
    want(x, *v >= 0 && *v < INT64_MAX / 4, "a time");
}

static void real(struct io *x, double *v)
{
    uint64_t bits;
    memcpy(&bits, v, sizeof bits);
    u64(x, &bits);
    memcpy(v, &bits, sizeof bits);
}

/* Vectors are long: one call for all of it. */
static void floats(struct io *x, float *v, size_t n)
{
    if (x->out) {
        uint8_t *p = buf_extend(x->out, n * sizeof *v);
        for (size_t i = 0; p && i < n; i++) {
            uint32_t bits;
            memcpy(&bits, &v[i], sizeof bits);
            le32_store(p + 4 * i, bits);
        }
        return;
    }
    const uint8_t *p = reader_take(x->in, n * sizeof *v);
    for (size_t i = 0; p && i < n; i++) {
        uint32_t bits = le32_load(p + 4 * i);
        memcpy(&v[i], &bits, sizeof bits);
    }
}

/* A vector that may be absent; memory is taken once its bytes are there. */
static void vector(struct io *x, float **v, size_t n)
{
    uint8_t has = *v != NULL;
    u8(x, &has);
    want(x, has <= 1, "a flag");
    if (!has || x->err || n == 0) return;
    if (x->in) {
        want(x, !x->in->err && x->in->left / sizeof **v >= n, "its length");
        if (x->err) return;
        *v = malloc(n * sizeof **v);
        if (!*v) x->err = TACIT_NOMEM;
    }
    if (*v) floats(x, *v, n);
}

/* ---- sums under way ----------------------------------------------------- */

static void mean(struct io *x, struct ring_mean *m)
{
    u32(x, &m->n_clients);
    u64(x, &m->weight);
    for (int i = 0; i < RING_METRICS_MAX; i++) real(x, &m->metrics[i]);
}

/* What is still read of a seat once its sum was run. */
static void seat(struct io *x, struct sum *s, struct seat *a)
{
    const struct aggregate *l = x->f->learned;
    int err = (int)a->err;
    size(x, &a->client);
    number(x, &a->attacks);
    number(x, &a->trusted);
    number(x, &a->in_sum);
    number(x, &a->trains);
    number(x, &err);
    real(x, &a->loss);
    time_ms(x, &a->offset_ms[HANDSET_INPUT]);
    mean(x, &a->mean);
    vector(x, &a->row, l->n * l->strategy->n_up);
    vector(x, &a->next_state, l->n * l->strategy->n_client);
    want(x, a->client < x->f->c.n_clients, "a client");
    want(x, err >= TACIT_OK && err <= TACIT_INTERNAL, "an error");
    want(x, s->singles || !a->row, "an update");
    a->err = (enum tacit_err)err;
}

static void sum(struct io *x, struct sum *s)
{
    const struct fleet *f = x->f;
    const struct aggregate *l = f->learned;
    u32(x, &s->round);
    count(x, &s->attempt);
    count(x, &s->group);
    u32(x, &s->goal);
    time_ms(x, &s->start_ms);
    time_ms(x, &s->end_ms);
    u32(x, &s->base_version);
    count(x, &s->n_invited);
    count(x, &s->n_inputs);
    number(x, &s->agreed);
    number(x, &s->singles);
    number(x, &s->committed);
    mean(x, &s->mean);
    vector(x, &s->update, l->n * l->strategy->n_up);
    size(x, &s->n_seats);
    want(x, s->base_version <= f->version.version, "a version");
    want(x, !s->committed || s->singles || s->update, "a mean");
    want(x, s->singles == f->c.plan->secagg_off, "its kind");
    want(x, s->n_seats <= task_invite_max(f->c.plan), "a cohort");
    if (x->in && !x->err) {
        s->seats = calloc(s->n_seats ? s->n_seats : 1, sizeof *s->seats);
        if (!s->seats) x->err = TACIT_NOMEM;
    }
    for (size_t i = 0; !x->err && i < s->n_seats; i++) seat(x, s, &s->seats[i]);
    if (x->err && !s->seats) s->n_seats = 0;
}

static void sums(struct io *x)
{
    struct fleet *f = x->f;
    size_t n = f->n_flying;
    size(x, &n);
    want(x, n <= f->c.plan->strategy.concurrent, "buffers under way");
    if (x->err || n == 0) return;
    if (x->in) {
        f->flying = calloc(n, sizeof *f->flying);
        if (!f->flying) x->err = TACIT_NOMEM;
    }
    for (size_t i = 0; !x->err && i < n; i++) {
        if (x->in) {
            struct sum *s = calloc(1, sizeof *s);
            if (!s) {
                x->err = TACIT_NOMEM;
                return;
            }
            s->f = f;
            f->flying[f->n_flying++] = s;
        }
        sum(x, f->flying[i]);
    }
}

/* ---- clients, model, rounds --------------------------------------------- */

static void client(struct io *x, size_t i)
{
    struct fleet *f = x->f;
    const struct aggregate *l = f->learned;
    struct select_client *c = &f->clients[i];
    real(x, &c->loss);
    time_ms(x, &c->duration_ms);
    floats(x, &f->level[i], 1);
    time_ms(x, &f->level_ms[i]);
    vector(x, &f->kept[i], l->n * l->strategy->n_client);
    want(x, f->level[i] >= 0 && f->level[i] <= 1, "a battery");
    want(x, isfinite(c->loss), "a loss");
}

static void learned(struct io *x)
{
    struct fleet *f = x->f;
    struct aggregate *l = f->learned;
    struct models_version *v = &f->version;
    u32(x, &v->version);
    u32(x, &v->n_clients);
    for (size_t i = 0; i < DIGEST_BYTES; i++) u8(x, &v->parent_hash.b[i]);
    v->round = v->version;
    floats(x, l->file.flat, l->file.n_flat);
    floats(x, l->state.flat, l->state.n_flat);
    want(x, v->version <= f->c.plan->rounds, "a version");
    for (size_t i = 0; x->in && i < l->file.n_flat; i++)
        want(x, isfinite(l->file.flat[i]), "a weight");
}

static void told(struct io *x, struct fleet_round *r)
{
    uint64_t wall = (uint64_t)r->wall_ms;
    u32(x, &r->round);
    count(x, &r->n_attempts);
    count(x, &r->n_invited);
    count(x, &r->n_inputs);
    count(x, &r->n_attackers);
    real(x, &r->loss_before);
    real(x, &r->loss_after);
    real(x, &r->metric);
    number(x, &r->has_metric);
    real(x, &r->personal);
    number(x, &r->has_personal);
    u32(x, &r->staleness);
    real(x, &r->pooled.loss);
    real(x, &r->pooled.metric);
    size(x, &r->pooled.n_rows);
    number(x, &r->has_pooled);
    size(x, &r->spread.n);
    double *spread[] = {&r->spread.mean, &r->spread.sd,     &r->spread.low,
                        &r->spread.high, &r->spread.median, &r->spread.worst};
    for (size_t i = 0; i < sizeof spread / sizeof *spread; i++)
        real(x, spread[i]);
    real(x, &r->backdoor);
    number(x, &r->has_backdoor);
    u64(x, &r->bytes_up);
    u64(x, &r->bytes_down);
    real(x, &r->energy_j);
    time_ms(x, &r->virtual_ms);
    u64(x, &wall);
    r->wall_ms = (int64_t)wall;
}

static void all(struct io *x)
{
    struct fleet *f = x->f;
    size_t n = f->n_told;
    learned(x);
    time_ms(x, &f->now_ms);
    u32(x, &f->n_begun);
    for (size_t i = 0; !x->err && i < f->c.n_clients; i++) client(x, i);
    sums(x);
    size(x, &n);
    want(x, n == f->version.version, "rounds told");
    for (size_t i = 0; !x->err && i < n; i++) {
        if (x->in) x->err = fleet_tell_room(f);
        if (x->in && !x->err) f->told[f->n_told++] = (struct fleet_round){0};
        if (!x->err) told(x, &f->told[i]);
    }
}

/* ---- outside ------------------------------------------------------------ */

uint64_t fleet_save_max(const struct fleet *f)
{
    const struct aggregate *l = f->learned;
    uint64_t n = l->n * sizeof(float);
    uint64_t kept = l->strategy->n_client * n, sent = l->strategy->n_up * n;
    uint64_t per_sum =
        SUM_BYTES + sent +
        (uint64_t)task_invite_max(f->c.plan) * (SEAT_BYTES + sent + kept);
    return (l->file.n_flat + l->state.n_flat) * sizeof(float) +
           f->c.n_clients * (SEAT_BYTES + kept) +
           f->c.plan->strategy.concurrent * per_sum +
           (uint64_t)f->c.plan->rounds * ROUND_BYTES + SUM_BYTES;
}

/* Room for what is large, so that the buffer does not grow by doubling. */
static size_t large(const struct fleet *f)
{
    const struct aggregate *l = f->learned;
    size_t n = (l->file.n_flat + l->state.n_flat) * sizeof(float);
    for (size_t i = 0; i < f->c.n_clients; i++) {
        n += SEAT_BYTES / 4;
        if (f->kept[i]) n += l->n * l->strategy->n_client * sizeof(float);
    }
    return n + f->n_told * ROUND_BYTES / 2;
}

enum tacit_err fleet_save(struct fleet *f, struct buf *out)
{
    struct io x = {.f = f, .out = out};
    if (f->is_torn)
        return fail(TACIT_STATE, "round %u could not be finished",
                    f->version.version);
    size_t was = out->len;
    if (buf_extend(out, large(f))) out->len = was;
    all(&x);
    TRY(buf_end(out));
    return x.err ? fail(TACIT_INTERNAL, "%s would not be read again",
                        x.strange ? x.strange : "something")
                 : TACIT_OK;
}

enum tacit_err fleet_load(struct fleet *f, const uint8_t *bytes, size_t n)
{
    struct reader in;
    struct io x = {.f = f, .in = &in};
    if (f->version.version || f->n_told)
        return fail(TACIT_STATE, "the fleet has run already");
    reader_init(&in, bytes, n);
    all(&x);
    if (x.err == TACIT_NOMEM) return fail(TACIT_NOMEM, "the state of a run");
    TRY(reader_end(&in, "the state of a run"));
    if (x.err)
        return fail(TACIT_FORMAT, "the state of a run: %s cannot be",
                    x.strange ? x.strange : "a value");
    aggregate_loaded(f->learned);
    /* The coordinator's keys are new ones. */
    buf_clear(&f->file);
    return fleet_seal(f, &f->learned->file, &f->version, &f->file);
}

static void add_floats(struct digest_state *d, const float *v, size_t n)
{
    uint8_t has = v != NULL;
    digest_add(d, &has, 1);
    if (v) digest_add(d, v, n * sizeof *v);
}

static void add_examples(const struct fleet *f, struct digest_state *d,
                         const struct examples *e)
{
    uint8_t head[32];
    size_t n = e->n_rows;
    le64_store(head, n);
    le64_store(head + 8, e->x_dim);
    le64_store(head + 16, e->y_dim);
    le64_store(head + 24, e->n_pool);
    digest_add(d, head, sizeof head);
    /* Inputs made from the plan follow from its hash. */
    add_floats(d, f->c.invented ? NULL : e->x, n * e->x_dim);
    add_floats(d, e->y, n * (e->y_dim ? e->y_dim : 1));
    add_floats(d, e->p, n * e->x_dim);
    add_floats(d, e->pool, e->n_pool * e->x_dim);
    if (e->text)
        digest_add(d, e->text->token,
                   e->text->start[n] * sizeof *e->text->token);
}

void fleet_data_hash(struct fleet *f, struct digest *out)
{
    static const struct examples none;
    struct digest_state d;
    if (!f->has_data_hash) {
        digest_begin(&d);
        for (size_t i = 0; i < f->c.n_clients; i++) {
            add_examples(f, &d, &f->c.data[i].train);
            add_examples(f, &d, &f->c.data[i].test);
        }
        add_examples(f, &d, f->c.test ? f->c.test : &none);
        digest_end(&d, &f->data_hash);
        f->has_data_hash = 1;
    }
    *out = f->data_hash;
}

const struct fleet_config *fleet_config(const struct fleet *f)
{
    return &f->c;
}
