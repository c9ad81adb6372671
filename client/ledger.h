/*
 * ledger: everything that ever left this device, as a hash chain in the
 * device's store. A row is durable BEFORE the first byte of the update leaves,
 * so that the ledger is never below what was spent; an update that then fails
 * on the way stays debited. Behind a broken chain nothing is debited any more.
 *
 *   hash_i = BLAKE2b("tacit ledger v1" | hash_{i-1} | fields of row i)
 *
 * The fields stand in the order of struct ledger_row, little-endian, strings
 * behind their length (16 bits); a row with noise says "tacit ledger v2" and
 * ends in noise, sample and delta. Its epsilon is spent once the row is
 * written.
 *
 * Threat: an operator who edits, removes or puts in rows is seen; one who cuts
 * rows off at the end or replaces the whole file
 * is not (the last hash can be written down elsewhere: `tacit audit` prints
 * it).
 */
#ifndef TACIT_CLIENT_LEDGER_H
#define TACIT_CLIENT_LEDGER_H

#include <stdint.h>

#include "client/policy.h"
#include "common/base/db.h"
#include "common/base/digest.h"
#include "common/base/err.h"

struct ledger_row {
    uint64_t id; /* 1, 2, … without a gap */
    int64_t time_s;
    char plan[PLAN_NAME_MAX];
    struct digest plan_hash;
    struct digest model_hash; /* of the model the update starts from */
    uint32_t round, attempt;
    uint8_t session[32];
    uint64_t bytes;    /* of the masked input */
    double norm;       /* L2, before clipping */
    double clip;       /* bound it was clipped to */
    uint32_t weight;   /* 1 … 65535, inside the sum */
    uint32_t n_coords; /* ring coordinates */
    uint32_t ring_bits;
    uint32_t min_cohort; /* it is only readable in a sum of at least so many */
    double noise;        /* of the sum, times the clip of one row; 0: none */
    double sample;       /* chance that a row was in it; 0 without noise */
    double delta;        /* that the plan's epsilon is stated at */
    struct digest previous, hash;
};

/* Tables, appended to the device's migrations. */
enum { LEDGER_N_FIRST = 1, LEDGER_N_MIGRATIONS = 2 };
extern const char *const ledger_migrations[LEDGER_N_MIGRATIONS];

/* Append: fills id, previous and hash; durable on return. FORMAT
 * (E_LEDGER_BROKEN) when the chain is broken: names the first row at fault. */
TACIT_CHECKED enum tacit_err ledger_debit(struct db *db,
                                          struct ledger_row *row);
TACIT_CHECKED enum tacit_err ledger_spent(struct db *db, int64_t now_s,
                                          struct policy_spent *out);
/* What the rows with noise come to; plan NULL: uploads stays 0. FORMAT
 * (E_LEDGER_BROKEN) behind a broken chain. */
TACIT_CHECKED enum tacit_err ledger_epsilon(struct db *db, int64_t now_s,
                                            const struct digest *plan,
                                            struct policy_epsilon *out);
/* Visit every row in order and check the chain. *first_bad is the id at which
 * the first row was changed, removed or put in, 0 when the chain is whole.
 * visit may be NULL. */
TACIT_CHECKED enum tacit_err ledger_walk(
    struct db *db,
    enum tacit_err (*visit)(const struct ledger_row *row, void *ctx), void *ctx,
    uint64_t *first_bad);

#endif
