/* tacit doctor: look at everything that can be wrong with a device, and say
 * what to do about it. */
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "client/cli.h"
#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/tick.h"
#include "common/wire/session.h"
#include "retrieval/corpus.h"
#include "retrieval/vecindex.h"
#include "retrieval/words.h"

enum {
    CALL_MS = 5000,
    ROOM_MIN_MIB = 100,
    RECALL_QUERIES = 100,
    RECALL_K = 10
};

struct examination {
    const struct options *o;
    struct device *d;
    json_t *list;
    int n_bad;
};

/* One finding: what was looked at, and the recorded failure if there is one. */
static void note(struct examination *x, const char *what, enum tacit_err err,
                 const char *fine)
{
    char code[16] = "";
    if (err) snprintf(code, sizeof code, "TACIT-E%04u", err_id());
    const char *text = err ? err_message() : fine;
    x->n_bad += err != TACIT_OK;
    if (cli_json(x->o))
        json_array_append_new(x->list,
                              json_pack("{s:s, s:b, s:s, s:s}", "check", what,
                                        "ok", err == TACIT_OK, "text", text,
                                        "code", code));
    else
        printf("%-4s %-12s %s%s%s%s\n", err ? "BAD" : "ok", what, text,
               err ? " (" : "", code, err ? ")" : "");
    err_clear();
}

static enum tacit_err check_store(struct device *d)
{
    sqlite3_stmt *st = NULL;
    int has = 0;
    TRY(db_query(&d->db, &st, "PRAGMA integrity_check(1)", ""));
    enum tacit_err err = db_step(&d->db, st, &has);
    const unsigned char *text = !err && has ? sqlite3_column_text(st, 0) : NULL;
    if (!err && (!text || strcmp((const char *)text, "ok") != 0))
        err = fail_as(E_STORE_DAMAGED,
                      "%s is damaged: restore it from a backup", d->db.path);
    db_finish(st);
    return err;
}

/* A finding that is no fault: the person may have wanted it so. */
static const char *describe_seal(struct device *d, char out[STORE_PLACE_MAX])
{
    struct store_source s;
    char key[STORE_PLACE_MAX];
    if (store_source_of(d->home, &s)) {
        err_clear();
        return "unknown";
    }
    store_source_text(&s, key, sizeof key);
    if (s.kind == STORE_PLAIN)
        return "not sealed: whoever copies tacit.db can read it; `tacit key "
               "file` seals it";
    snprintf(out, STORE_PLACE_MAX, "sealed; %.400s%s", key,
             s.kind == STORE_FILE && s.place[0] != '/'
                 ? " in the home: whoever copies the whole home has it too"
                 : "");
    return out;
}

static enum tacit_err check_indexes(struct device *d)
{
    struct encoder *e = NULL;
    struct corpus *c = NULL;
    struct corpus_counts n = {0};
    enum tacit_err err = encoder_new(&e);
    if (!err) err = corpus_open(&d->db, e, &c);
    if (!err) err = corpus_count(c, &n);
    if (!err && (n.n_chunks != n.n_fts || n.n_chunks != n.n_vectors))
        err = fail(TACIT_FORMAT,
                   "%lld passages, %lld in the word index, %lld vectors: add "
                   "the documents again",
                   (long long)n.n_chunks, (long long)n.n_fts,
                   (long long)n.n_vectors);
    if (!err && n.n_stale)
        err = fail(TACIT_STATE,
                   "%lld documents were indexed by another version: `tacit "
                   "reindex` reads them again",
                   (long long)n.n_stale);
    if (!err) err = words_check(&d->db);
    corpus_close(c);
    encoder_free(e);
    return err;
}

/* Check a table of vectors; one that is damaged is made anew, and checked
 * again. */
static enum tacit_err check_table(struct device *d, const char *name,
                                  struct ivf_report *r, int *is_new)
{
    *is_new = 0;
    TRY(vecindex_check(d->db.sql, "main", name, r));
    if (!r->problems) return TACIT_OK;
    TRY(vecindex_rebuild(d->db.sql, "main", name));
    *is_new = 1;
    TRY(vecindex_check(d->db.sql, "main", name, r));
    if (!r->problems) return TACIT_OK;
    return fail_as(E_INDEX_DAMAGED, "%s: %s", name, r->first);
}

static void note_table(struct examination *x, const char *name)
{
    char text[512] = "";
    int is_new = 0;
    struct ivf_report r = {0};
    struct vecindex_recall m = {0};
    enum tacit_err err = check_table(x->d, name, &r, &is_new);
    if (!err)
        err = vecindex_measure(x->d->db.sql, "main", name, RECALL_QUERIES,
                               RECALL_K, &m);
    if (!err)
        snprintf(text, sizeof text,
                 "%.99s%s: %llu vectors in %llu lists; recall@%zu %.3f by %zu "
                 "queries, %.2f ms each, %.2f ms exactly",
                 name, is_new ? " was damaged and made anew" : "",
                 (unsigned long long)r.rows, (unsigned long long)r.lists, m.k,
                 m.recall, m.n_queries, m.search_ms, m.exact_ms);
    note(x, "index", err, text);
}

/* The name of table i of vectors; *has = 0 behind the last. */
static enum tacit_err table_name(struct device *d, int i, char name[256],
                                 int *has)
{
    sqlite3_stmt *st = NULL;
    TRY(db_query(&d->db, &st,
                 "SELECT name FROM sqlite_master WHERE type = 'table' AND sql"
                 " LIKE 'CREATE VIRTUAL TABLE%USING tacit_vec%' ORDER BY name"
                 " LIMIT 1 OFFSET ?",
                 "i", (int64_t)i));
    enum tacit_err err = db_step(&d->db, st, has);
    if (!err && *has)
        snprintf(name, 256, "%s", (const char *)sqlite3_column_text(st, 0));
    db_finish(st);
    return err;
}

/* Every table of vectors in tacit.db. */
static void note_tables(struct examination *x)
{
    char name[256];
    int has = 1, i = 0;
    enum tacit_err err = vecindex_register(x->d->db.sql);
    for (; !err && has; i++) {
        err = table_name(x->d, i, name, &has);
        if (!err && has) note_table(x, name);
    }
    if (err || i == 1) note(x, "index", err, "there is no table of vectors");
}

static enum tacit_err check_ledger(struct device *d)
{
    uint64_t bad = 0;
    TRY(ledger_walk(&d->db, NULL, NULL, &bad));
    if (!bad) return TACIT_OK;
    return fail_as(E_LEDGER_BROKEN, "row %llu does not fit the chain",
                   (unsigned long long)bad);
}

static enum tacit_err check_policy(struct device *d)
{
    struct policy p;
    TRY(device_policy(d, &p));
    for (size_t i = 0; i < p.n_sources; i++)
        if (access(p.sources[i].path, R_OK) != 0)
            return fail(TACIT_IO, "source %s: %s cannot be read",
                        p.sources[i].name, p.sources[i].path);
    return TACIT_OK;
}

static enum tacit_err check_room(struct device *d)
{
    struct statvfs v;
    if (statvfs(d->home, &v) != 0)
        return fail(TACIT_IO, "%s: cannot tell the free room", d->home);
    uint64_t mib = (uint64_t)v.f_bavail * v.f_frsize >> 20;
    if (mib >= ROOM_MIN_MIB) return TACIT_OK;
    return fail_as(E_DISK_FULL, "%s: %llu MiB are free, %d are wanted", d->home,
                   (unsigned long long)mib, ROOM_MIN_MIB);
}

/* A clock before the last thing that was written here is wrong. */
static enum tacit_err check_clock(struct device *d)
{
    int64_t last = 0, now = tick_wall_s();
    TRY(db_int(&d->db, &last,
               "SELECT max(coalesce((SELECT max(time_s) FROM ledger), 0),"
               " coalesce((SELECT max(added_s) FROM document), 0))",
               ""));
    if (now >= last) return TACIT_OK;
    return fail(TACIT_STATE,
                "the clock is %lld s behind what was written here before",
                (long long)(last - now));
}

static enum tacit_err check_coordinator(struct device *d)
{
    struct link_client_config link = {.keys = &d->keys};
    struct wire_session *s = NULL;
    struct message *m = calloc(2, sizeof *m);
    struct buf storage;
    if (!m) return fail(TACIT_NOMEM, "no memory to look at the coordinator");
    buf_init(&storage, 0);
    memcpy(link.coordinator, d->federation.coordinator_dh, KEYS_PUBLIC);
    m[0].type = MSG_BLOB_GET; /* of no blob: the answer proves the session */
    enum tacit_err err = session_open(d->federation.address, &link, &s);
    if (!err) err = session_call(s, &m[0], &m[1], &storage, CALL_MS);
    if (err_id() == E_DEFAULT_NOTFOUND) {
        err_clear();
        err = TACIT_OK;
    }
    session_close(s);
    buf_release(&storage);
    free(m);
    return err;
}

enum tacit_err cli_doctor(const struct options *o)
{
    struct device d;
    struct examination x = {.o = o, .d = &d};
    char seal[STORE_PLACE_MAX];
    TRY(cli_open(o, &d));
    if (cli_json(o)) x.list = json_array();
    note(&x, "keys", TACIT_OK, "made here, readable by this user only");
    note(&x, "store", check_store(&d), "tacit.db is whole");
    note(&x, "seal", TACIT_OK, describe_seal(&d, seal));
    note(&x, "indexes", check_indexes(&d), "words and vectors agree");
    if (options_flag(o, "index")) note_tables(&x);
    note(&x, "ledger", check_ledger(&d), "the chain is whole");
    note(&x, "policy", check_policy(&d), "policy.yaml and its files are fine");
    note(&x, "room", check_room(&d), "the disk has room");
    note(&x, "clock", check_clock(&d), "not behind the store");
    if (d.joined)
        note(&x, "coordinator", check_coordinator(&d),
             "it answers, and holds the pinned key");
    else
        note(&x, "coordinator", TACIT_OK, "none: this device has not joined");
    device_close(&d);
    enum tacit_err err = TACIT_OK;
    if (cli_json(o))
        err = json_print_ok(stdout, json_pack("{s:b, s:o}", "ok", x.n_bad == 0,
                                              "checks", x.list));
    if (err || x.n_bad == 0) return err;
    fflush(stdout);
    exit(TACIT_EXIT_FAILED);
}
