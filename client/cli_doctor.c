/* tacit doctor: look at everything that can be wrong with a device, and say
 * what to do about it. */
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "client/cli.h"
#include "client/embedding.h"
#include "client/networks.h"
#include "common/base/codes.h"
#include "common/base/db_mend.h"
#include "common/base/file.h"
#include "common/base/plural.h"
#include "common/base/terminal.h"
#include "common/base/tick.h"
#include "common/wire/session.h"
#include "retrieval/corpus.h"
#include "retrieval/words.h"

enum { CALL_MS = 5000, ROOM_MIN_MIB = 100, TICK_STEPS = 10000 };

struct examination {
    const struct options *o;
    struct device *d;
    json_t *list;
    struct progress progress; /* of what takes long */
    int n_bad;
};

enum {
    NOTE_COLUMN = 18, /* where what is said of it begins */
    NOTE_BYTES = 1024 /* a message and its code */
};

static void print_note(const char *how, const char *what, const char *text,
                       const char *code)
{
    char line[NOTE_BYTES];
    snprintf(line, sizeof line, "%s%s%s%s", text, *code ? " (" : "", code,
             *code ? ")" : "");
    printf("%-4s %-12s ", how, what);
    terminal_put(stdout, line, NOTE_COLUMN, NOTE_COLUMN);
    putchar('\n');
}

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
        print_note(err ? "BAD" : "ok", what, text, code);
    err_clear();
}

static int tick(void *ctx)
{
    progress_update(ctx, 0, NULL);
    return 0;
}

/* SQLite's own work, of which it does not say how much is left. */
static void begin_work(struct examination *x, const char *label)
{
    progress_begin(&x->progress, cli_progress(x->o), label, NULL, 0);
    sqlite3_progress_handler(x->d->db.sql, TICK_STEPS, tick, &x->progress);
}

static void end_work(struct examination *x)
{
    sqlite3_progress_handler(x->d->db.sql, 0, NULL, NULL);
    progress_end(&x->progress);
}

static enum tacit_err check_store(struct examination *x)
{
    static const char way_out[] = "`tacit doctor --index` makes indexes anew, "
                                  "the rest is restored from a backup";
    enum db_condition condition;
    struct device *d = x->d;
    begin_work(x, "checking the store");
    enum tacit_err err = db_examine(&d->db, &condition);
    end_work(x);
    if (err_id() == E_STORE_DAMAGED) return err_context(err, way_out);
    if (err || condition == DB_WHOLE) return err;
    if (condition == DB_DAMAGED)
        return fail_as(E_STORE_DAMAGED, "%s: %s is damaged", way_out,
                       d->db.path);
    return fail_as(E_STORE_DAMAGED,
                   "%s has pages that belong to nothing: `tacit doctor "
                   "--index` gives them back",
                   d->db.path);
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

/* A passage without words has no vector: which one is missing takes reading
 * those that have none. */
static enum tacit_err check_vectors(struct corpus *c,
                                    const struct corpus_counts *n)
{
    size_t n_lost = 0;
    if (n->n_vectors < n->n_chunks)
        TRY(corpus_mend(c, CORPUS_MEND_COUNT, &n_lost));
    if (!n_lost && n->n_vectors <= n->n_chunks) return TACIT_OK;
    return fail_as(E_INDEX_DAMAGED,
                   "%lld passage%s, %lld vector%s, %zu missing: `tacit doctor "
                   "--index` makes what is missing anew",
                   (long long)n->n_chunks, plural_s(n->n_chunks),
                   (long long)n->n_vectors, plural_s(n->n_vectors), n_lost);
}

static const char comparing[] = "comparing words with passages";

static enum tacit_err check_words(struct examination *x)
{
    /* FTS5 compares its rows inside a change alone, and --index has done so */
    if (x->d->db.is_readonly || options_flag(x->o, "index")) return TACIT_OK;
    begin_work(x, comparing);
    enum tacit_err err = words_check(&x->d->db);
    end_work(x);
    return err;
}

static enum tacit_err check_corpus(struct examination *x, struct corpus *c)
{
    struct corpus_counts n = {0};
    TRY(corpus_count(c, &n));
    if (n.n_chunks != n.n_fts)
        return fail(TACIT_FORMAT,
                    "%lld passage%s, %lld in the word index: `tacit doctor "
                    "--index` makes it anew",
                    (long long)n.n_chunks, plural_s(n.n_chunks),
                    (long long)n.n_fts);
    if (n.n_stale)
        return fail(TACIT_STATE,
                    "%lld document%s indexed by another version: `tacit "
                    "reindex` reads %s again",
                    (long long)n.n_stale, n.n_stale == 1 ? " was" : "s were",
                    n.n_stale == 1 ? "it" : "them");
    TRY(check_vectors(c, &n));
    return check_words(x);
}

/* One line for each piece of work. */
static void show_step(void *ctx, const char *what, const char *unit,
                      uint64_t done, uint64_t total)
{
    struct examination *x = ctx;
    if (x->progress.label != what || done < x->progress.done) {
        progress_end(&x->progress);
        progress_begin(&x->progress, cli_progress(x->o), what, unit, total);
    }
    progress_update(&x->progress, done, NULL);
}

/* Ctrl-C ends the program at once: what is not committed is rolled back, and
 * the next time goes on. */
static void note_vectors(struct examination *x, struct corpus *c)
{
    char text[512] = "", embedded[64] = "";
    struct corpus_examined r = {0};
    const struct corpus_watch watch = {show_step, x};
    enum tacit_err err = corpus_examine(c, &watch, &r);
    progress_end(&x->progress);
    if (r.n_embedded)
        snprintf(embedded, sizeof embedded, "%zu of them embedded again, ",
                 r.n_embedded);
    snprintf(text, sizeof text,
             "%s%llu vector%s, %sin %llu list%s; recall@%zu %.3f by %zu %s, "
             "%.2f ms each, %.2f ms exactly",
             r.was_damaged ? "was damaged and made anew: " : "",
             (unsigned long long)r.n_vectors, plural_s(r.n_vectors), embedded,
             (unsigned long long)r.n_lists, plural_s(r.n_lists), r.k, r.recall,
             r.n_queries, r.n_queries == 1 ? "query" : "queries", r.search_ms,
             r.exact_ms);
    note(x, "index", err, text);
}

static void note_words(struct examination *x)
{
    int was_damaged = 0;
    if (x->d->db.is_readonly) { /* FTS5 compares its rows in a change alone */
        note(x, "words", TACIT_OK,
             "not compared word by word: the store may only be read here");
        return;
    }
    begin_work(x, comparing);
    enum tacit_err err = words_mend(&x->d->db, &was_damaged);
    end_work(x);
    note(x, "words", err,
         was_damaged ? "the word index was damaged and made anew"
                     : "the word index fits the passages");
}

/* Words, vectors and passages; what --index mends is mended first. */
static void note_corpus(struct examination *x)
{
    struct encoder *e = NULL;
    struct corpus *c = NULL;
    enum tacit_err err = embedding_open(x->d, &e);
    if (!err) err = corpus_open(&x->d->db, e, &c);
    if (!err && options_flag(x->o, "index")) {
        note_words(x);
        note_vectors(x, c);
    }
    if (!err) err = check_corpus(x, c);
    note(x, "indexes", err, "words and vectors agree");
    corpus_close(c);
    encoder_free(e);
    if (!options_flag(x->o, "index") || x->d->db.is_readonly) return;
    /* Of what was made anew; the check of the store says if it did not work. */
    begin_work(x, "looking for lost pages");
    if (db_reclaim(&x->d->db)) err_clear();
    end_work(x);
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
    if (err && m[1].type == MSG_ERROR &&
        m[1].u.error.code == E_DEFAULT_NOTFOUND) {
        err_clear();
        err = TACIT_OK;
    }
    session_close(s);
    buf_release(&storage);
    free(m);
    return err;
}

/* Other commands send a person here. */
static enum tacit_err open_examined(const struct options *o, struct device *d)
{
    enum tacit_err err = cli_open_to_read(o, d);
    if (err_id() != E_STORE_DAMAGED) return err;
    return err_context(err, "nothing in it can be mended: restore it from a "
                            "backup, or move the home aside, `tacit init` and "
                            "add the folders again");
}

enum tacit_err cli_doctor(const struct options *o)
{
    struct device d;
    struct examination x = {.o = o, .d = &d};
    char seal[STORE_PLACE_MAX];
    TRY(open_examined(o, &d));
    if (cli_json(o)) x.list = json_array();
    note(&x, "keys", TACIT_OK, "made here, readable by this user only");
    note(&x, "seal", TACIT_OK, describe_seal(&d, seal));
    note_corpus(&x);
    note(&x, "store", check_store(&x),
         d.db.is_readonly ? "tacit.db is whole; it may only be read here"
                          : "tacit.db is whole");
    note(&x, "models", networks_check(&d), "each file is what was imported");
    note(&x, "ledger", check_ledger(&d), "the chain is whole");
    note(&x, "policy", check_policy(&d), "policy.yaml and its files are fine");
    if (!d.db.is_readonly)
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
