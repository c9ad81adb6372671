/* Commands for documents: init, add, ls, rm. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "client/cli.h"
#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/tick.h"
#include "common/base/utf8.h"
#include "retrieval/corpus.h"

/* Without opening the store, which may want a passphrase again. */
static enum tacit_err keys_of(const char *home, char print[KEYS_FINGERPRINT])
{
    char path[DEVICE_PATH_MAX];
    struct keys k;
    TRY(file_join(path, sizeof path, home, "keys"));
    TRY(keys_load(&k, path));
    keys_fingerprint(print, k.sign_public);
    keys_release(&k);
    return TACIT_OK;
}

enum tacit_err cli_init(const struct options *o)
{
    char home[DEVICE_PATH_MAX], print[KEYS_FINGERPRINT];
    char key[STORE_PLACE_MAX + 16];
    struct store_source source;
    TRY(file_home(home, sizeof home, options_value(o, "home"), "TACIT_HOME",
                  "tacit"));
    TRY(cli_key_source(options_value(o, "key"), &source));
    TRY(device_init_with(home, &source, options_value(o, "passphrase")));
    TRY(keys_of(home, print));
    TRY(store_source_of(home, &source));
    store_source_text(&source, key, sizeof key);
    if (cli_json(o))
        return json_print_ok(stdout,
                             json_pack("{s:s, s:s, s:s}", "home", home,
                                       "fingerprint", print, "key", key));
    printf("home         %s\nfingerprint  %s\nstore        %s%s\n", home, print,
           source.kind ? "sealed; " : "", key);
    cli_hint(o,
             "Next: `tacit add FOLDER`, then `tacit ask \"…\"`. What this "
             "device allows stands in %s/policy.yaml.",
             home);
    return TACIT_OK;
}

/* ---- add ---------------------------------------------------------------- */

struct adding {
    const struct options *o;
    struct corpus *corpus;
    struct progress progress;
    int walking; /* below a folder: files of other kinds are passed over */
    size_t n_seen, n_total, n_added, n_replaced, n_unchanged, n_skipped,
        n_failed, n_removed, n_passages;
    json_t *failed;    /* with --json */
    unsigned first_id; /* of the first failure */
    char first[512];
};

static void note_failure(struct adding *a, const char *path)
{
    const struct err_code *c = err_code_find(err_id());
    char code[16], shown[CORPUS_PATH_MAX];
    utf8_printable(shown, sizeof shown, path);
    snprintf(code, sizeof code, "TACIT-E%04u", err_id());
    if (a->n_failed++ == 0) {
        a->first_id = err_id();
        snprintf(a->first, sizeof a->first, "%s", err_message());
    }
    if (a->failed)
        json_array_append_new(a->failed, json_pack("{s:s, s:s, s:s}", "path",
                                                   shown, "code", code,
                                                   "message", err_message()));
    else
        options_print_error(stderr, "tacit", c ? c->err : TACIT_IO);
    err_clear();
}

/* A full disk or a damaged store stops everything; a file does not. */
static int stops_all(enum tacit_err err)
{
    return err == TACIT_NOMEM ||
           (err == TACIT_IO && err_id() != E_DOCUMENT_UNREADABLE) ||
           err_id() == E_STORE_BUSY || err_id() == E_STORE_DAMAGED;
}

static enum tacit_err add_one(const char *path, void *ctx)
{
    struct adding *a = ctx;
    enum corpus_outcome outcome;
    size_t n_chunks = 0;
    if (cli_interrupted())
        return fail_as(E_INTERRUPTED, "stopped; %zu documents are indexed",
                       a->n_added + a->n_replaced + a->n_unchanged);
    const char *name = strrchr(path, '/');
    progress_update(&a->progress, a->n_seen++, name ? name + 1 : path);
    enum tacit_err err = corpus_add(a->corpus, path, &outcome, &n_chunks);
    if (err && a->walking && err_id() == E_DOCUMENT_KIND) {
        a->n_skipped++;
        err_clear();
        return TACIT_OK;
    }
    if (err) {
        if (stops_all(err)) return err;
        progress_end(&a->progress);
        note_failure(a, path);
        return TACIT_OK;
    }
    a->n_passages += n_chunks;
    a->n_added += outcome == CORPUS_ADDED;
    a->n_replaced += outcome == CORPUS_REPLACED;
    a->n_unchanged += outcome == CORPUS_UNCHANGED;
    return TACIT_OK;
}

static enum tacit_err count_one(const char *path, void *ctx)
{
    size_t *n = ctx;
    (void)path;
    ++*n;
    return TACIT_OK;
}

static enum tacit_err add_path(struct adding *a, const char *name)
{
    char path[CORPUS_PATH_MAX];
    struct stat st;
    size_t n_removed = 0;
    TRY(cli_full_path(name, path, sizeof path));
    a->walking = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    if (!a->walking) return add_one(path, a);
    TRY(file_walk(path, add_one, a));
    TRY(corpus_prune(a->corpus, path, &n_removed));
    a->n_removed += n_removed;
    return TACIT_OK;
}

static enum tacit_err print_added(struct adding *a)
{
    if (cli_json(a->o))
        return json_print_ok(stdout,
                             json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:O}",
                                       "added", (json_int_t)a->n_added,
                                       "replaced", (json_int_t)a->n_replaced,
                                       "unchanged", (json_int_t)a->n_unchanged,
                                       "removed", (json_int_t)a->n_removed,
                                       "skipped", (json_int_t)a->n_skipped,
                                       "passages", (json_int_t)a->n_passages,
                                       "failed", a->failed));
    printf("%zu added, %zu replaced, %zu unchanged, %zu removed; %zu passages",
           a->n_added, a->n_replaced, a->n_unchanged, a->n_removed,
           a->n_passages);
    if (a->n_skipped) printf("; %zu files of other kinds", a->n_skipped);
    if (a->n_failed) printf("; %zu could not be read", a->n_failed);
    putchar('\n');
    return TACIT_OK;
}

static enum tacit_err add_all(struct adding *a)
{
    const struct options *o = a->o;
    for (int i = 0; i < o->n_args; i++) {
        char path[CORPUS_PATH_MAX];
        TRY(cli_full_path(o->args[i], path, sizeof path));
        if (file_walk(path, count_one, &a->n_total)) err_clear();
    }
    progress_begin(&a->progress, cli_progress(o), "indexing", "files",
                   a->n_total);
    enum tacit_err err = TACIT_OK;
    for (int i = 0; !err && i < o->n_args; i++) err = add_path(a, o->args[i]);
    progress_update(&a->progress, a->n_seen, NULL);
    progress_end(&a->progress);
    return err;
}

enum tacit_err cli_add(const struct options *o)
{
    struct device d;
    struct encoder *encoder = NULL;
    struct adding a = {.o = o};
    TRY(cli_open(o, &d));
    cli_catch_interrupt();
    if (cli_json(o)) a.failed = json_array();
    enum tacit_err err = encoder_new(&encoder);
    if (!err) err = corpus_open(&d.db, encoder, &a.corpus);
    if (!err) err = add_all(&a);
    size_t n_good = a.n_added + a.n_replaced + a.n_unchanged;
    /* Several were asked for: the others count, and the exit code tells. */
    if (!err && a.n_failed && n_good == 0 && !a.failed)
        err = fail_as(a.first_id, "nothing could be added");
    else if (!err && a.n_failed && n_good == 0)
        err = fail_as(a.first_id, "nothing could be added: %s", a.first);
    else if (!err)
        err = print_added(&a);
    corpus_close(a.corpus);
    encoder_free(encoder);
    device_close(&d);
    json_decref(a.failed);
    if (err || !a.n_failed) return err;
    fflush(stdout);
    exit(TACIT_EXIT_FAILED);
}

/* ---- ls, rm ------------------------------------------------------------- */

struct listing {
    json_t *list;
    int header;
};

static enum tacit_err list_one(const struct corpus_document *doc, void *ctx)
{
    struct listing *l = ctx;
    char size[32], when[21];
    tick_iso8601(doc->added_s, when);
    if (l->list) {
        json_array_append_new(l->list,
                              json_pack("{s:s, s:s, s:s, s:I, s:I, s:s}",
                                        "path", doc->path, "title", doc->title,
                                        "kind", doc->kind, "bytes",
                                        (json_int_t)doc->size_bytes, "passages",
                                        (json_int_t)doc->n_chunks, "added",
                                        when));
        return TACIT_OK;
    }
    if (!l->header++)
        printf("%8s %10s %-10s %s\n", "PASSAGES", "SIZE", "KIND", "DOCUMENT");
    printf("%8" PRId64 " %10s %-10s %s\n", doc->n_chunks,
           cli_size((uint64_t)doc->size_bytes, size), doc->kind, doc->path);
    return TACIT_OK;
}

static enum tacit_err with_corpus(const struct options *o, struct device *d,
                                  struct encoder **e, struct corpus **c)
{
    TRY(cli_open(o, d));
    enum tacit_err err = encoder_new(e);
    if (!err) err = corpus_open(&d->db, *e, c);
    if (!err) return TACIT_OK;
    encoder_free(*e);
    device_close(d);
    return err;
}

enum tacit_err cli_ls(const struct options *o)
{
    struct device d;
    struct encoder *e = NULL;
    struct corpus *c = NULL;
    struct listing l = {0};
    TRY(with_corpus(o, &d, &e, &c));
    if (cli_json(o)) l.list = json_array();
    enum tacit_err err = corpus_list(c, list_one, &l);
    if (!err && l.list)
        err = json_print_ok(stdout, json_pack("{s:O}", "documents", l.list));
    else if (!err && !l.header)
        cli_hint(o, "No documents yet: `tacit add FOLDER`.");
    json_decref(l.list);
    corpus_close(c);
    encoder_free(e);
    device_close(&d);
    return err;
}

enum tacit_err cli_rm(const struct options *o)
{
    struct device d;
    struct encoder *e = NULL;
    struct corpus *c = NULL;
    size_t total = 0;
    TRY(with_corpus(o, &d, &e, &c));
    enum tacit_err err = TACIT_OK;
    for (int i = 0; !err && i < o->n_args; i++) {
        char path[CORPUS_PATH_MAX];
        size_t n = 0;
        err = cli_full_path(o->args[i], path, sizeof path);
        if (!err) err = corpus_remove(c, path, &n);
        if (!err && n == 0)
            err = fail(TACIT_NOTFOUND,
                       "%s: no such document; `tacit ls` lists "
                       "them",
                       o->args[i]);
        total += n;
    }
    if (!err && cli_json(o))
        err = json_print_ok(stdout,
                            json_pack("{s:I}", "removed", (json_int_t)total));
    else if (!err)
        printf("%zu removed\n", total);
    corpus_close(c);
    encoder_free(e);
    device_close(&d);
    return err;
}
