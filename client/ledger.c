#include "client/ledger.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/codes.h"

const char *const ledger_migrations[LEDGER_N_MIGRATIONS] = {
    "CREATE TABLE ledger("
    " id INTEGER PRIMARY KEY, time_s INTEGER NOT NULL, plan TEXT NOT NULL,"
    " plan_hash BLOB NOT NULL, model_hash BLOB NOT NULL,"
    " round INTEGER NOT NULL, attempt INTEGER NOT NULL,"
    " session BLOB NOT NULL, bytes INTEGER NOT NULL, norm REAL NOT NULL,"
    " clip REAL NOT NULL, weight INTEGER NOT NULL, n_coords INTEGER NOT NULL,"
    " ring_bits INTEGER NOT NULL, min_cohort INTEGER NOT NULL,"
    " previous BLOB NOT NULL, hash BLOB NOT NULL) STRICT;",
    "CREATE TABLE ledger_noise("
    " id INTEGER PRIMARY KEY, noise REAL NOT NULL, sample REAL NOT NULL,"
    " delta REAL NOT NULL) STRICT;"};

#define COLUMNS                                                                \
 "id, time_s, plan, plan_hash, model_hash, round, attempt, session, bytes, "   \
 "norm, clip, weight, n_coords, ring_bits, min_cohort, previous, hash"

static void put_f64(struct buf *b, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    buf_put_u64(b, bits);
}

static int has_noise(const struct ledger_row *r)
{
    return r->noise > 0 || r->noise < 0 || isnan(r->noise);
}

static enum tacit_err row_hash(const struct ledger_row *r, struct digest *out)
{
    struct buf b;
    buf_init(&b, 0);
    buf_put_str(&b, has_noise(r) ? "tacit ledger v2" : "tacit ledger v1");
    buf_put(&b, r->previous.b, DIGEST_BYTES);
    buf_put_u64(&b, r->id);
    buf_put_u64(&b, (uint64_t)r->time_s);
    buf_put_str(&b, r->plan);
    buf_put(&b, r->plan_hash.b, DIGEST_BYTES);
    buf_put(&b, r->model_hash.b, DIGEST_BYTES);
    buf_put_u32(&b, r->round);
    buf_put_u32(&b, r->attempt);
    buf_put(&b, r->session, sizeof r->session);
    buf_put_u64(&b, r->bytes);
    put_f64(&b, r->norm);
    put_f64(&b, r->clip);
    buf_put_u32(&b, r->weight);
    buf_put_u32(&b, r->n_coords);
    buf_put_u32(&b, r->ring_bits);
    buf_put_u32(&b, r->min_cohort);
    if (has_noise(r)) {
        put_f64(&b, r->noise);
        put_f64(&b, r->sample);
        put_f64(&b, r->delta);
    }
    enum tacit_err err = buf_end(&b);
    if (!err) digest_of(out, b.data, b.len);
    buf_release(&b);
    return err;
}

static int take_bytes(sqlite3_stmt *st, int column, void *out, int n)
{
    const void *bytes = sqlite3_column_blob(st, column);
    int ok = bytes && sqlite3_column_bytes(st, column) == n;
    if (ok) memcpy(out, bytes, (size_t)n);
    return ok;
}

static int take_u32(sqlite3_stmt *st, int column, uint32_t *out)
{
    int64_t v = sqlite3_column_int64(st, column);
    *out = (uint32_t)v;
    return v >= 0 && v <= UINT32_MAX;
}

static int take_name(sqlite3_stmt *st, int column, char out[PLAN_NAME_MAX])
{
    const unsigned char *s = sqlite3_column_text(st, column);
    int n = snprintf(out, PLAN_NAME_MAX, "%s", s ? (const char *)s : "");
    return n < PLAN_NAME_MAX && n == sqlite3_column_bytes(st, column);
}

/* 0 when a value does not fit its field: what is cut to fit might hash right
 * again. */
static int read_row(sqlite3_stmt *st, struct ledger_row *r)
{
    memset(r, 0, sizeof *r);
    r->id = (uint64_t)sqlite3_column_int64(st, 0);
    r->time_s = sqlite3_column_int64(st, 1);
    int ok = take_name(st, 2, r->plan);
    ok &= take_bytes(st, 3, r->plan_hash.b, DIGEST_BYTES);
    ok &= take_bytes(st, 4, r->model_hash.b, DIGEST_BYTES);
    ok &= take_u32(st, 5, &r->round);
    ok &= take_u32(st, 6, &r->attempt);
    ok &= take_bytes(st, 7, r->session, sizeof r->session);
    r->bytes = (uint64_t)sqlite3_column_int64(st, 8);
    r->norm = sqlite3_column_double(st, 9);
    r->clip = sqlite3_column_double(st, 10);
    ok &= take_u32(st, 11, &r->weight);
    ok &= take_u32(st, 12, &r->n_coords);
    ok &= take_u32(st, 13, &r->ring_bits);
    ok &= take_u32(st, 14, &r->min_cohort);
    ok &= take_bytes(st, 15, r->previous.b, DIGEST_BYTES);
    ok &= take_bytes(st, 16, r->hash.b, DIGEST_BYTES);
    r->noise = sqlite3_column_double(st, 17);
    r->sample = sqlite3_column_double(st, 18);
    r->delta = sqlite3_column_double(st, 19);
    return ok;
}

/* Where a walk along the chain stands. */
struct chain {
    uint64_t id, first_bad; /* of the last row; 0 = none */
    struct digest hash;     /* of the last row */
};

/* Does r follow the last row, and hash to what it says? */
static enum tacit_err follow(struct chain *c, const struct ledger_row *r,
                             int whole)
{
    struct digest want;
    TRY(row_hash(r, &want));
    int ok = whole && r->id == c->id + 1 &&
             digest_equal(&r->previous, &c->hash) &&
             digest_equal(&r->hash, &want);
    if (!ok && !c->first_bad) c->first_bad = c->id + 1;
    c->id = r->id;
    c->hash = r->hash;
    return TACIT_OK;
}

static enum tacit_err walk(struct db *db,
                           enum tacit_err (*visit)(const struct ledger_row *row,
                                                   void *ctx),
                           void *ctx, struct chain *c)
{
    sqlite3_stmt *st = NULL;
    int has = 0;
    memset(c, 0, sizeof *c);
    TRY(db_query(db, &st,
                 "SELECT " COLUMNS ", noise, sample, delta"
                 " FROM ledger LEFT JOIN ledger_noise USING(id) ORDER BY id",
                 ""));
    enum tacit_err err;
    while (!(err = db_step(db, st, &has)) && has) {
        struct ledger_row r;
        int whole = read_row(st, &r);
        err = follow(c, &r, whole);
        if (!err && visit) err = visit(&r, ctx);
        if (err) break;
    }
    db_finish(st);
    return err;
}

static enum tacit_err append(struct db *db, struct ledger_row *r)
{
    struct chain c;
    TRY(walk(db, NULL, NULL, &c));
    if (c.first_bad)
        return fail_as(E_LEDGER_BROKEN, "row %llu was changed or removed",
                       (unsigned long long)c.first_bad);
    r->id = c.id + 1;
    r->previous = c.hash;
    TRY(row_hash(r, &r->hash));
    if (has_noise(r))
        TRY(db_run(db, "INSERT INTO ledger_noise VALUES(?,?,?,?)", "iddd",
                   (int64_t)r->id, r->noise, r->sample, r->delta));
    return db_run(db,
                  "INSERT INTO ledger(" COLUMNS
                  ") VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                  "iisbbiibiddiiiibb", (int64_t)r->id, r->time_s, r->plan,
                  (const void *)r->plan_hash.b, (size_t)DIGEST_BYTES,
                  (const void *)r->model_hash.b, (size_t)DIGEST_BYTES,
                  (int64_t)r->round, (int64_t)r->attempt,
                  (const void *)r->session, sizeof r->session,
                  (int64_t)r->bytes, r->norm, r->clip, (int64_t)r->weight,
                  (int64_t)r->n_coords, (int64_t)r->ring_bits,
                  (int64_t)r->min_cohort, (const void *)r->previous.b,
                  (size_t)DIGEST_BYTES, (const void *)r->hash.b,
                  (size_t)DIGEST_BYTES);
}

enum tacit_err ledger_debit(struct db *db, struct ledger_row *row)
{
    TRY(db_begin(db));
    enum tacit_err err = append(db, row);
    if (!err) err = db_commit(db);
    if (err) db_rollback(db);
    return err;
}

enum tacit_err ledger_spent(struct db *db, int64_t now_s,
                            struct policy_spent *out)
{
    int64_t all = 0, today = 0;
    TRY(db_int(db, &all, "SELECT count(*) FROM ledger", ""));
    /* Rows from the future count, too: a clock set back gives nothing away. */
    TRY(db_int(db, &today, "SELECT count(*) FROM ledger WHERE time_s > ?", "i",
               now_s - POLICY_DAY_S));
    *out = (struct policy_spent){(uint64_t)all, (uint64_t)today};
    return TACIT_OK;
}

struct adding {
    int64_t now_s;
    const struct digest *plan;
    struct policy_epsilon *to;
    /* Rows like the last one, not added yet: most are alike. */
    double noise, sample;
    uint64_t n, n_today;
};

static void add_alike(struct adding *x)
{
    account_add(&x->to->all, x->sample, x->noise, x->n);
    account_add(&x->to->today, x->sample, x->noise, x->n_today);
    x->n = x->n_today = 0;
}

static enum tacit_err add_epsilon(const struct ledger_row *r, void *ctx)
{
    struct adding *x = ctx;
    if (!has_noise(r)) {
        x->to->open++;
        return TACIT_OK;
    }
    x->to->noised++;
    if (x->plan && digest_equal(&r->plan_hash, x->plan)) x->to->uploads++;
    if (r->noise < x->noise || r->noise > x->noise || r->sample < x->sample ||
        r->sample > x->sample)
        add_alike(x);
    x->noise = r->noise;
    x->sample = r->sample;
    x->n++;
    x->n_today += r->time_s > x->now_s - POLICY_DAY_S;
    return TACIT_OK;
}

enum tacit_err ledger_epsilon(struct db *db, int64_t now_s,
                              const struct digest *plan,
                              struct policy_epsilon *out)
{
    struct chain c;
    struct adding x = {.now_s = now_s, .plan = plan, .to = out};
    memset(out, 0, sizeof *out);
    TRY(walk(db, add_epsilon, &x, &c));
    add_alike(&x);
    if (!c.first_bad) return TACIT_OK;
    return fail_as(E_LEDGER_BROKEN, "row %llu was changed or removed",
                   (unsigned long long)c.first_bad);
}

enum tacit_err ledger_walk(struct db *db,
                           enum tacit_err (*visit)(const struct ledger_row *row,
                                                   void *ctx),
                           void *ctx, uint64_t *first_bad)
{
    struct chain c;
    TRY(walk(db, visit, ctx, &c));
    *first_bad = c.first_bad;
    return TACIT_OK;
}
