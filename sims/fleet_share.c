/* fleet: several processes that run it together. Seats are dealt out in turn;
 * what a process learns of its own is then told to all. */
#include "sims/fleet_parts.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/codes.h"

int fleet_is_mine(const struct fleet *f, size_t i)
{
    return !f->c.peers || i % f->c.peers->size == f->c.peers->rank;
}

enum tacit_err fleet_share_sum(const struct fleet *f, uint32_t *sum, size_t n)
{
    return f->c.peers ? f->c.peers->add(f->c.peers->ctx, sum, n) : TACIT_OK;
}

/* What a seat's own process knows of it. */
struct seat_record {
    double loss;
    struct ring_mean mean;
    enum tacit_err err;
    unsigned err_id;
    unsigned char has_row, has_state;
    char why[256];
};

/* Vectors that only some seats have, of all seats, through one buffer. */
static enum tacit_err share_vector(const struct fleet *f, size_t i, int has,
                                   size_t n, float **v)
{
    if (!has) return TACIT_OK;
    if (!*v) *v = calloc(n, sizeof **v);
    if (!*v) return fail(TACIT_NOMEM, "a vector of seat %zu", i);
    return f->c.peers->merge(f->c.peers->ctx, *v, n * sizeof **v);
}

enum tacit_err fleet_share_seats(struct sum *s)
{
    const struct fleet *f = s->f;
    const struct strategy *st = f->learned->strategy;
    if (!f->c.peers) return TACIT_OK;
    struct seat_record *r = calloc(s->n_seats, sizeof *r);
    if (!r) return fail(TACIT_NOMEM, "%zu seats", s->n_seats);
    for (size_t i = 0; i < s->n_seats; i++) {
        const struct seat *x = &s->seats[i];
        if (!fleet_is_mine(f, i)) continue;
        r[i].loss = x->loss;
        r[i].mean = x->mean;
        r[i].err = x->err;
        r[i].err_id = x->err_id;
        r[i].has_row = x->row != NULL;
        r[i].has_state = x->next_state != NULL;
        snprintf(r[i].why, sizeof r[i].why, "%s", x->why);
    }
    enum tacit_err err =
        f->c.peers->merge(f->c.peers->ctx, r, s->n_seats * sizeof *r);
    for (size_t i = 0; !err && i < s->n_seats; i++) {
        struct seat *x = &s->seats[i];
        x->loss = r[i].loss;
        x->mean = r[i].mean;
        x->err = r[i].err;
        x->err_id = r[i].err_id;
        snprintf(x->why, sizeof x->why, "%s", r[i].why);
        err =
            share_vector(f, i, r[i].has_row, f->learned->n * st->n_up, &x->row);
        if (!err)
            err = share_vector(f, i, r[i].has_state,
                               f->learned->n * st->n_client, &x->next_state);
    }
    free(r);
    return err;
}

enum tacit_err fleet_first_failure(const struct sum *s)
{
    for (size_t i = 0; i < s->n_seats; i++) {
        const struct seat *x = &s->seats[i];
        if (!x->err) continue;
        if (x->err_id == E_INTERRUPTED)
            return fail_as(E_INTERRUPTED, "%s", x->why);
        return fail_as(x->err_id, "round %u, client %zu: %s", s->round,
                       x->client, x->why);
    }
    return TACIT_OK;
}
