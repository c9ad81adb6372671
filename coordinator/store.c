/* store: the file, the federation, invites and members. Plans, rounds and
 * models are in store_rounds.c. */
#include "coordinator/store.h"

#include <stdio.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/file.h"
#include "coordinator/store_read.h"

static const char *const migrations[] = {
    "CREATE TABLE federation("
    "  one INTEGER PRIMARY KEY CHECK(one = 1),"
    "  name TEXT NOT NULL, listen TEXT NOT NULL, address TEXT NOT NULL,"
    "  bound TEXT NOT NULL DEFAULT '', created_s INTEGER NOT NULL);"
    "CREATE TABLE invites("
    "  token_id INTEGER PRIMARY KEY, psk BLOB NOT NULL, name TEXT NOT NULL,"
    "  approve INTEGER NOT NULL, created_s INTEGER NOT NULL,"
    "  expires_s INTEGER NOT NULL, used_s INTEGER NOT NULL DEFAULT 0,"
    "  used_by BLOB);"
    "CREATE TABLE members("
    "  id BLOB PRIMARY KEY, name TEXT NOT NULL, identity BLOB NOT NULL UNIQUE,"
    "  dh BLOB NOT NULL UNIQUE, software TEXT NOT NULL,"
    "  state INTEGER NOT NULL, enrolled_s INTEGER NOT NULL,"
    "  changed_s INTEGER NOT NULL, last_seen_s INTEGER NOT NULL);"
    "CREATE TABLE plans("
    "  seq INTEGER PRIMARY KEY AUTOINCREMENT, hash BLOB NOT NULL UNIQUE,"
    "  name TEXT NOT NULL, n_rounds INTEGER NOT NULL,"
    "  submitted_s INTEGER NOT NULL);"
    "CREATE TABLE rounds("
    "  n INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  plan BLOB NOT NULL REFERENCES plans(hash),"
    "  round INTEGER NOT NULL, attempt INTEGER NOT NULL,"
    "  session BLOB NOT NULL UNIQUE, state TEXT NOT NULL,"
    "  code INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '',"
    "  started_s INTEGER NOT NULL, duration_ms INTEGER NOT NULL DEFAULT 0,"
    "  n_invited INTEGER NOT NULL DEFAULT 0,"
    "  n_advertised INTEGER NOT NULL DEFAULT 0,"
    "  n_inputs INTEGER NOT NULL DEFAULT 0,"
    "  weight REAL NOT NULL DEFAULT 0,"
    "  m0 REAL NOT NULL DEFAULT 0, m1 REAL NOT NULL DEFAULT 0,"
    "  m2 REAL NOT NULL DEFAULT 0, m3 REAL NOT NULL DEFAULT 0,"
    "  bytes_in INTEGER NOT NULL DEFAULT 0,"
    "  bytes_out INTEGER NOT NULL DEFAULT 0, model BLOB);"
    "CREATE INDEX rounds_plan ON rounds(plan, round);"
    "CREATE TABLE models("
    "  plan BLOB NOT NULL REFERENCES plans(hash), version INTEGER NOT NULL,"
    "  round INTEGER NOT NULL, hash BLOB NOT NULL, parent BLOB NOT NULL,"
    "  bytes INTEGER NOT NULL, n_clients INTEGER NOT NULL,"
    "  created_s INTEGER NOT NULL, session BLOB NOT NULL,"
    "  signature BLOB NOT NULL, PRIMARY KEY(plan, version)) WITHOUT ROWID;"
    "CREATE INDEX models_session ON models(session);",
    /* What strategies add: their scalars, devices' own models, their state. */
    "ALTER TABLE rounds ADD COLUMN m4 REAL NOT NULL DEFAULT 0;"
    "ALTER TABLE rounds ADD COLUMN m5 REAL NOT NULL DEFAULT 0;"
    "ALTER TABLE rounds ADD COLUMN m6 REAL NOT NULL DEFAULT 0;"
    "ALTER TABLE models ADD COLUMN state BLOB;",
    /* Several sums in one round, or at once; in which order they ended. */
    "ALTER TABLE rounds ADD COLUMN part INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE rounds ADD COLUMN base INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE rounds ADD COLUMN ended INTEGER NOT NULL DEFAULT 0;"
    "UPDATE rounds SET base = round - 1;"
    "UPDATE rounds SET ended = n WHERE state <> 'running';"
    "CREATE INDEX rounds_ended ON rounds(ended);",
};

enum tacit_err store_open(struct store *s, const char *home, enum db_mode mode)
{
    char path[512];
    TRY(file_join(path, sizeof path, home, "coordinator.db"));
    return db_open(&s->db, path, mode, migrations,
                   sizeof migrations / sizeof migrations[0]);
}

void store_close(struct store *s)
{
    db_close(&s->db);
}

enum tacit_err store_changes(struct store *s, int64_t *out)
{
    return db_int(&s->db, out, "PRAGMA data_version", "");
}

/* ---- reading columns ---------------------------------------------------- */

enum tacit_err store_blob(sqlite3_stmt *st, int col, void *out, size_t n)
{
    const void *p = sqlite3_column_blob(st, col);
    if (!p || sqlite3_column_bytes(st, col) != (int)n)
        return fail(TACIT_FORMAT, "coordinator.db: %s has a wrong size",
                    sqlite3_column_name(st, col));
    memcpy(out, p, n);
    return TACIT_OK;
}

void store_text(sqlite3_stmt *st, int col, char *out, size_t cap)
{
    const unsigned char *p = sqlite3_column_text(st, col);
    snprintf(out, cap, "%s", p ? (const char *)p : "");
}

enum tacit_err store_each(struct store *s, sqlite3_stmt *st, store_row_fn *row,
                          void *ctx)
{
    enum tacit_err err = TACIT_OK;
    int has_row = 1;
    while (err == TACIT_OK && has_row) {
        err = db_step(&s->db, st, &has_row);
        if (err == TACIT_OK && has_row) err = row(ctx, st);
    }
    db_finish(st);
    return err;
}

/* One change in its own transaction. */
static enum tacit_err finish_write(struct store *s, enum tacit_err err)
{
    if (err == TACIT_OK) err = db_commit(&s->db);
    if (err != TACIT_OK) db_rollback(&s->db);
    return err;
}

/* ---- federation --------------------------------------------------------- */

enum tacit_err store_federation_set(struct store *s,
                                    const struct store_federation *f,
                                    int64_t now_s)
{
    int64_t n = 0;
    TRY(db_int(&s->db, &n, "SELECT count(*) FROM federation", ""));
    if (n) return fail(TACIT_STATE, "%s is initialised already", s->db.path);
    return db_run(
        &s->db,
        "INSERT INTO federation(one, name, listen, address, created_s)"
        " VALUES(1, ?, ?, ?, ?)",
        "sssi", f->name, f->listen, f->address, now_s);
}

enum tacit_err store_federation(struct store *s, struct store_federation *out)
{
    sqlite3_stmt *st = NULL;
    int has_row = 0;
    TRY(db_query(&s->db, &st,
                 "SELECT name, listen, address, bound FROM federation", ""));
    enum tacit_err err = db_step(&s->db, st, &has_row);
    if (err == TACIT_OK && !has_row)
        err = fail_as(E_NOT_INITIALISED, "%s has no federation; run `init`",
                      s->db.path);
    if (err == TACIT_OK) {
        store_text(st, 0, out->name, sizeof out->name);
        store_text(st, 1, out->listen, sizeof out->listen);
        store_text(st, 2, out->address, sizeof out->address);
        store_text(st, 3, out->bound, sizeof out->bound);
    }
    db_finish(st);
    return err;
}

enum tacit_err store_bound_set(struct store *s, const char *address)
{
    return db_run(&s->db, "UPDATE federation SET bound = ?", "s", address);
}

/* ---- invites ------------------------------------------------------------ */

enum tacit_err store_invite_add(struct store *s, const struct store_invite *i,
                                int64_t now_s)
{
    return db_run(&s->db,
                  "INSERT INTO invites(token_id, psk, name, approve, created_s,"
                  " expires_s) VALUES(?, ?, ?, ?, ?, ?)",
                  "ibsiii", (int64_t)i->token_id, i->psk, sizeof i->psk,
                  i->name, (int64_t)i->approve, now_s, i->expires_s);
}

enum tacit_err store_invite_find(struct store *s, uint64_t token_id,
                                 struct store_invite *out)
{
    sqlite3_stmt *st = NULL;
    int has_row = 0;
    TRY(db_query(&s->db, &st,
                 "SELECT psk, name, approve, expires_s, used_s FROM invites"
                 " WHERE token_id = ?",
                 "i", (int64_t)token_id));
    enum tacit_err err = db_step(&s->db, st, &has_row);
    if (err == TACIT_OK && !has_row)
        err = fail(TACIT_NOTFOUND, "no invite %016llx",
                   (unsigned long long)token_id);
    struct store_invite i = {.token_id = token_id};
    if (err == TACIT_OK) err = store_blob(st, 0, i.psk, sizeof i.psk);
    if (err == TACIT_OK) {
        store_text(st, 1, i.name, sizeof i.name);
        i.approve = sqlite3_column_int(st, 2);
        i.expires_s = sqlite3_column_int64(st, 3);
        i.used_s = sqlite3_column_int64(st, 4);
        *out = i;
    }
    db_finish(st);
    return err;
}

struct invite_visit {
    store_invite_fn *fn;
    void *ctx;
};

static enum tacit_err invite_row(void *ctx, sqlite3_stmt *st)
{
    struct invite_visit *v = ctx;
    struct store_invite i = {.token_id = (uint64_t)sqlite3_column_int64(st, 0),
                             .approve = sqlite3_column_int(st, 2),
                             .expires_s = sqlite3_column_int64(st, 3)};
    store_text(st, 1, i.name, sizeof i.name);
    return v->fn(v->ctx, &i);
}

enum tacit_err store_invites(struct store *s, store_invite_fn *fn, void *ctx)
{
    sqlite3_stmt *st = NULL;
    TRY(db_query(&s->db, &st,
                 "SELECT token_id, name, approve, expires_s FROM invites"
                 " WHERE used_s = 0 ORDER BY name, created_s",
                 ""));
    return store_each(s, st, invite_row, &(struct invite_visit){fn, ctx});
}

/* ---- members ------------------------------------------------------------ */

static const char *const state_names[] = {"pending", "approved", "revoked",
                                          "left"};

const char *store_member_state_name(enum member_state m)
{
    return (unsigned)m <= MEMBER_LEFT ? state_names[m] : "?";
}

static enum tacit_err member_read(sqlite3_stmt *st, struct store_member *m)
{
    memset(m, 0, sizeof *m);
    TRY(store_blob(st, 0, m->id, sizeof m->id));
    store_text(st, 1, m->name, sizeof m->name);
    TRY(store_blob(st, 2, m->identity, sizeof m->identity));
    TRY(store_blob(st, 3, m->dh, sizeof m->dh));
    store_text(st, 4, m->software, sizeof m->software);
    int state = sqlite3_column_int(st, 5);
    if (state < MEMBER_PENDING || state > MEMBER_LEFT)
        return fail(TACIT_FORMAT, "coordinator.db: member state %d", state);
    m->state = (enum member_state)state;
    m->enrolled_s = sqlite3_column_int64(st, 6);
    m->last_seen_s = sqlite3_column_int64(st, 7);
    return TACIT_OK;
}

#define MEMBER_COLUMNS                                                         \
 "SELECT id, name, identity, dh, software, state, enrolled_s, last_seen_s"     \
 " FROM members "

static enum tacit_err member_find(struct store *s, const uint8_t *id,
                                  struct store_member *out)
{
    sqlite3_stmt *st = NULL;
    int has_row = 0;
    TRY(db_query(&s->db, &st, MEMBER_COLUMNS "WHERE id = ?", "b", id,
                 (size_t)KEYS_ID));
    enum tacit_err err = db_step(&s->db, st, &has_row);
    if (err == TACIT_OK && !has_row)
        err = fail(TACIT_NOTFOUND, "no such member");
    if (err == TACIT_OK) err = member_read(st, out);
    db_finish(st);
    return err;
}

/* Was the token used by this very device? */
static enum tacit_err enrol_again(struct store *s, uint64_t token_id,
                                  struct store_member *m)
{
    int64_t same = 0;
    struct store_member known;
    TRY(db_int(&s->db, &same,
               "SELECT count(*) FROM invites JOIN members ON id = used_by"
               " WHERE token_id = ? AND id = ? AND identity = ? AND dh = ?",
               "ibbb", (int64_t)token_id, m->id, sizeof m->id, m->identity,
               sizeof m->identity, m->dh, sizeof m->dh));
    if (!same)
        return fail_as(E_INVITE_USED, "this invite was used by another device");
    TRY(member_find(s, m->id, &known));
    *m = known;
    return TACIT_OK;
}

static enum tacit_err enrol_write(struct store *s, uint64_t token_id,
                                  int64_t now_s, struct store_member *m)
{
    struct store_invite invite;
    struct store_member known;
    TRY(store_invite_find(s, token_id, &invite));
    if (invite.used_s) return enrol_again(s, token_id, m);
    if (now_s >= invite.expires_s)
        return fail_as(E_INVITE_EXPIRED, "the invite for %s has expired",
                       invite.name);
    memcpy(m->name, invite.name, sizeof m->name);
    m->state = invite.approve ? MEMBER_APPROVED : MEMBER_PENDING;
    m->enrolled_s = m->last_seen_s = now_s;
    /* A device that was revoked needs the operator's word again. */
    enum tacit_err err = member_find(s, m->id, &known);
    if (err == TACIT_OK && known.state == MEMBER_REVOKED)
        m->state = MEMBER_PENDING;
    if (err != TACIT_OK && err != TACIT_NOTFOUND) return err;
    err_clear();
    TRY(db_run(&s->db,
               "INSERT INTO members VALUES(?,?,?,?,?,?,?,?,?)"
               " ON CONFLICT(id) DO UPDATE SET name = excluded.name,"
               " dh = excluded.dh, software = excluded.software,"
               " state = excluded.state, changed_s = excluded.changed_s",
               "bsbbsiiii", m->id, sizeof m->id, m->name, m->identity,
               sizeof m->identity, m->dh, sizeof m->dh, m->software,
               (int64_t)m->state, now_s, now_s, now_s));
    return db_run(&s->db,
                  "UPDATE invites SET used_s = ?, used_by = ?"
                  " WHERE token_id = ?",
                  "ibi", now_s, m->id, sizeof m->id, (int64_t)token_id);
}

enum tacit_err store_enrol(struct store *s, uint64_t token_id, int64_t now_s,
                           struct store_member *m)
{
    TRY(db_begin(&s->db));
    return finish_write(s, enrol_write(s, token_id, now_s, m));
}

struct member_visit {
    store_member_fn *fn;
    void *ctx;
};

static enum tacit_err member_row(void *ctx, sqlite3_stmt *st)
{
    struct member_visit *v = ctx;
    struct store_member m;
    TRY(member_read(st, &m));
    return v->fn(v->ctx, &m);
}

enum tacit_err store_members(struct store *s, store_member_fn *fn, void *ctx)
{
    sqlite3_stmt *st = NULL;
    TRY(db_query(&s->db, &st, MEMBER_COLUMNS "ORDER BY name, id", ""));
    return store_each(s, st, member_row, &(struct member_visit){fn, ctx});
}

/* Nobody of that name has joined: whether an invite waits for it. */
static enum tacit_err member_missing(struct store *s, const char *who)
{
    int64_t waiting = 0;
    TRY(db_int(&s->db, &waiting,
               "SELECT count(*) FROM invites WHERE name = ? AND used_s = 0",
               "s", who));
    if (waiting)
        return fail(TACIT_NOTFOUND,
                    "`%.64s` is invited and has not joined yet: run `tacit "
                    "join` with its link on the device first",
                    who);
    return fail(TACIT_NOTFOUND,
                "no member is called `%.64s`; `members` lists them", who);
}

enum tacit_err store_member_set(struct store *s, const char *who,
                                enum member_state state, int64_t now_s, int *n)
{
    TRY(db_run(&s->db,
               "UPDATE members SET state = ?, changed_s = ?"
               " WHERE (name = ? OR lower(hex(id)) = lower(?))"
               " AND state <> ?",
               "iissi", (int64_t)state, now_s, who, who, (int64_t)MEMBER_LEFT));
    int changed = sqlite3_changes(s->db.sql);
    if (changed == 0) return member_missing(s, who);
    *n = changed;
    return TACIT_OK;
}

enum tacit_err store_leave(struct store *s, const uint8_t id[KEYS_ID],
                           int64_t now_s)
{
    return db_run(&s->db,
                  "UPDATE members SET state = ?, changed_s = ? WHERE id = ?"
                  " AND state <> ?",
                  "iibi", (int64_t)MEMBER_LEFT, now_s, id, (size_t)KEYS_ID,
                  (int64_t)MEMBER_REVOKED);
}

enum tacit_err store_seen(struct store *s, const struct store_seen *list,
                          size_t n)
{
    TRY(db_begin(&s->db));
    enum tacit_err err = TACIT_OK;
    for (size_t i = 0; err == TACIT_OK && i < n; i++)
        err = db_run(&s->db, "UPDATE members SET last_seen_s = ? WHERE id = ?",
                     "ib", list[i].seen_s, list[i].id, sizeof list[i].id);
    return finish_write(s, err);
}
