/* Commands that read documents: init, add, reindex. */
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "client/cli.h"
#include "client/embedding.h"
#include "client/folders.h"
#include "client/generator.h"
#include "client/intake.h"
#include "client/watch.h"
#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/plural.h"
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

/* ---- add, reindex ------------------------------------------------------- */

enum { WATCH_WAIT_MS = 500, FULL_MS_MIN = 1000, FULL_MS_MAX = 16000 };

struct adding {
    const struct options *o;
    struct device d;
    struct encoder *encoder;
    struct intake intake;
    struct progress progress;
    struct watch *watch; /* owned; NULL without --watch */
    size_t n_seen, n_total;
    size_t n_forgotten; /* replaced or removed, and not in prompts any more */
    json_t *failed, *notes; /* with --json */
    unsigned first_id;      /* of the first failure */
    char first[512];
    int is_watching; /* the first round is done */
    int full_ms;     /* so long the disk is waited for, when it is full */
};

static int is_stopped(void *ctx)
{
    (void)ctx;
    return cli_interrupted();
}

static void note_before(const char *path, void *ctx)
{
    struct adding *a = ctx;
    const char *name = strrchr(path, '/');
    if (!a->is_watching)
        progress_update(&a->progress, a->n_seen++, name ? name + 1 : path);
}

/* What a person should know of a path. */
static void say_note(struct adding *a, const char *path, const char *note)
{
    char shown[CORPUS_PATH_MAX];
    utf8_printable(shown, sizeof shown, path);
    if (a->notes) {
        json_array_append_new(a->notes, json_pack("{s:s, s:s}", "path", shown,
                                                  "note", note));
        return;
    }
    progress_end(&a->progress);
    cli_hint(a->o, "%s: %s", shown, note);
}

static void note_after(const char *path, enum corpus_outcome outcome, void *ctx)
{
    static const char *const done[] = {[CORPUS_ADDED] = "added",
                                       [CORPUS_UNCHANGED] = NULL,
                                       [CORPUS_REPLACED] = "replaced"};
    struct adding *a = ctx;
    const char *left_out = corpus_note(a->intake.corpus);
    char shown[CORPUS_PATH_MAX];
    utf8_printable(shown, sizeof shown, path);
    if (*left_out) say_note(a, path, left_out);
    if (a->is_watching && done[outcome])
        cli_hint(a->o, "%-8s %s", done[outcome], shown);
}

static void note_failure(const char *path, enum tacit_err err, void *ctx)
{
    struct adding *a = ctx;
    char code[16], shown[CORPUS_PATH_MAX];
    utf8_printable(shown, sizeof shown, path);
    snprintf(code, sizeof code, "TACIT-E%04u", err_id());
    progress_end(&a->progress);
    if (!a->first_id) {
        a->first_id = err_id();
        snprintf(a->first, sizeof a->first, "%s", err_message());
    }
    if (a->failed)
        json_array_append_new(a->failed, json_pack("{s:s, s:s, s:s}", "path",
                                                   shown, "code", code,
                                                   "message", err_message()));
    else
        options_print_error(stderr, "tacit", err);
}

static void note_link(const char *path, const char *to, void *ctx)
{
    char target[CORPUS_PATH_MAX], note[CORPUS_PATH_MAX + 256];
    utf8_printable(target, sizeof target, to);
    snprintf(note, sizeof note,
             "not read: a link to %s, which is in no folder that was added; "
             "--follow reads all that links of this folder lead to",
             target);
    say_note(ctx, path, note);
}

/* Of a folder that is not watched; a watched one has been told of. */
static void note_away(const char *path, void *ctx)
{
    struct adding *a = ctx;
    if (!a->watch) say_note(a, path, folders_why_away);
}

static void note_there(const char *path, int is_there, void *ctx)
{
    say_note(ctx, path, is_there ? "back" : folders_why_away);
}

static enum tacit_err count_one(const char *path, void *ctx)
{
    size_t *n = ctx;
    (void)path;
    ++*n;
    return TACIT_OK;
}

static enum tacit_err print_added(struct adding *a)
{
    const struct intake *k = &a->intake;
    if (cli_json(a->o))
        return json_print_ok(
            stdout,
            json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:O, s:O}", "added",
                      (json_int_t)k->n_added, "replaced",
                      (json_int_t)k->n_replaced, "unchanged",
                      (json_int_t)k->n_unchanged, "removed",
                      (json_int_t)k->n_removed, "skipped",
                      (json_int_t)k->n_skipped, "links", (json_int_t)k->n_links,
                      "passages", (json_int_t)k->n_passages, "failed",
                      a->failed, "notes", a->notes));
    printf("%zu added, %zu replaced, %zu unchanged, %zu removed; %zu passage%s",
           k->n_added, k->n_replaced, k->n_unchanged, k->n_removed,
           k->n_passages, plural_s(k->n_passages));
    if (k->n_skipped)
        printf("; %zu file%s of other kinds", k->n_skipped,
               plural_s(k->n_skipped));
    if (k->n_links)
        printf("; %zu link%s out of the folders", k->n_links,
               plural_s(k->n_links));
    if (k->n_failed) printf("; %zu could not be read", k->n_failed);
    putchar('\n');
    return TACIT_OK;
}

static void adding_close(struct adding *a)
{
    corpus_close(a->intake.corpus);
    encoder_free(a->encoder);
    device_close(&a->d);
    a->intake.corpus = NULL;
    a->encoder = NULL;
}

static enum tacit_err open_corpus(struct adding *a)
{
    TRY(embedding_open(&a->d, &a->encoder));
    return corpus_open(&a->d.db, a->encoder, &a->intake.corpus);
}

/* Again where it failed, if it comes to that. */
static enum tacit_err adding_open(struct adding *a)
{
    TRY(cli_open(a->o, &a->d));
    cli_catch_interrupt(); /* it may have asked for a passphrase */
    enum tacit_err err = open_corpus(a);
    if (err) adding_close(a);
    return err;
}

static void adding_init(struct adding *a, const struct options *o)
{
    *a = (struct adding){.o = o};
    if (cli_json(o)) {
        a->failed = json_array();
        a->notes = json_array();
    }
    a->intake = (struct intake){.ctx = a,
                                .is_stopped = is_stopped,
                                .before = note_before,
                                .after = note_after,
                                .failed = note_failure,
                                .away = note_away,
                                .leads_out = note_link,
                                .db = &a->d.db};
}

/* Prompts hold what documents said. */
static void forget_prompts(struct adding *a)
{
    size_t n_gone = a->intake.n_replaced + a->intake.n_removed;
    if (n_gone > a->n_forgotten) generator_forget(&a->d);
    a->n_forgotten = n_gone;
}

static enum tacit_err adding_end(struct adding *a, enum tacit_err err)
{
    const struct intake *k = &a->intake;
    size_t n_failed = k->n_failed;
    size_t n_good = k->n_added + k->n_replaced + k->n_unchanged;
    /* Several were asked for: the others count, and the exit code tells. */
    if (!err && n_failed && n_good == 0 && !a->failed)
        err = fail_as(a->first_id, "nothing could be added");
    else if (!err && n_failed && n_good == 0)
        err = fail_as(a->first_id, "nothing could be added: %s", a->first);
    else if (!err)
        err = print_added(a);
    if (a->d.db.sql) forget_prompts(a);
    watch_free(a->watch);
    adding_close(a);
    json_decref(a->failed);
    json_decref(a->notes);
    if (err || !n_failed) return err;
    fflush(stdout);
    exit(TACIT_EXIT_FAILED);
}

/* Before the first file is read, so that no change is missed. */
static enum tacit_err watch_given(struct adding *a, const char *folder)
{
    int64_t device = 0;
    if (!a->watch) {
        TRY(watch_new(&a->watch));
        watch_tell(a->watch, note_there, a);
    }
    TRY(folders_device(&a->d.db, folder, &device));
    enum tacit_err err = watch_folder(a->watch, folder, device);
    if (err_id() != E_WATCH_LIMIT) return err;
    if (!cli_json(a->o)) options_print_error(stderr, "tacit", err);
    err_clear();
    return TACIT_OK;
}

/* A folder is remembered; a file is the person's to add again. */
static enum tacit_err remember(struct adding *a, const char *path)
{
    char folder[FOLDER_PATH_MAX];
    struct stat st;
    int is_folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    int is_watch = options_flag(a->o, "watch");
    if (!is_folder && is_watch)
        return fail_as(E_USAGE, "%s: only folders can be watched", path);
    if (!is_folder) return TACIT_OK;
    TRY(folders_path(path, folder));
    TRY(folders_remember(&a->d.db, folder,
                         options_flag(a->o, "follow") ? FOLDER_ALL_LINKS
                                                      : FOLDER_LINKS_INSIDE,
                         tick_wall_s()));
    return is_watch ? watch_given(a, folder) : TACIT_OK;
}

static enum tacit_err remember_given(struct adding *a)
{
    const struct options *o = a->o;
    a->n_total = 0;
    for (int i = 0; i < o->n_args; i++) {
        char path[CORPUS_PATH_MAX];
        TRY(cli_full_path(o->args[i], path, sizeof path));
        TRY(remember(a, path));
        if (file_walk(path, count_one, &a->n_total)) err_clear();
    }
    return TACIT_OK;
}

static enum tacit_err add_given(struct adding *a)
{
    const struct options *o = a->o;
    progress_begin(&a->progress, cli_progress(o), "indexing", "files",
                   a->n_total);
    enum tacit_err err = TACIT_OK;
    for (int i = 0; !err && i < o->n_args; i++) {
        char path[CORPUS_PATH_MAX];
        err = cli_full_path(o->args[i], path, sizeof path);
        if (!err) err = intake_path(&a->intake, path);
    }
    progress_update(&a->progress, a->n_seen, NULL);
    progress_end(&a->progress);
    return err;
}

static enum tacit_err change_one(const char *path, void *ctx)
{
    struct adding *a = ctx;
    size_t n = a->intake.n_removed;
    TRY(intake_changed(&a->intake, path));
    if (a->intake.n_removed > n) {
        char shown[CORPUS_PATH_MAX];
        utf8_printable(shown, sizeof shown, path);
        cli_hint(a->o, "%-8s %s", "removed", shown);
    }
    return TACIT_OK;
}

/* A full disk stays full for a while: it is tried again, more and more seldom.
 */
static void wait_for_room(struct adding *a, enum tacit_err err)
{
    if (!a->full_ms && !cli_json(a->o))
        options_print_error(stderr, "tacit", err);
    if (!a->full_ms)
        cli_hint(a->o, "What is indexed is kept; this goes on when there is "
                       "room again.");
    err_clear();
    a->full_ms = a->full_ms ? 2 * a->full_ms : FULL_MS_MIN;
    if (a->full_ms > FULL_MS_MAX) a->full_ms = FULL_MS_MAX;
    for (int ms = 0; ms < a->full_ms && !cli_interrupted(); ms += WATCH_WAIT_MS)
        poll(NULL, 0, WATCH_WAIT_MS);
}

static enum tacit_err take_changed(struct adding *a)
{
    enum tacit_err err = watch_take(a->watch, change_one, a);
    if (err && err_id() == E_DISK_FULL) {
        wait_for_room(a, err); /* what is left stays noted */
        return TACIT_OK;
    }
    if (!err && a->full_ms) cli_hint(a->o, "There is room again.");
    if (!err) a->full_ms = 0;
    return err;
}

/* The first round broke off at a full disk: all is looked at again. */
static enum tacit_err note_given(struct adding *a)
{
    for (int i = 0; i < a->o->n_args; i++) {
        char path[CORPUS_PATH_MAX], folder[FOLDER_PATH_MAX];
        TRY(cli_full_path(a->o->args[i], path, sizeof path));
        TRY(folders_path(path, folder));
        TRY(watch_note(a->watch, folder));
    }
    return TACIT_OK;
}

/* Until Ctrl-C, which is how one ends it. */
static enum tacit_err go_on(struct adding *a)
{
    enum tacit_err err = TACIT_OK;
    a->is_watching = 1;
    cli_hint(a->o, "watching; Ctrl-C ends it");
    while (!err && !cli_interrupted()) {
        int is_due = 0;
        err = watch_wait(a->watch, -1, WATCH_WAIT_MS, &is_due);
        if (!err && is_due) err = take_changed(a);
        forget_prompts(a);
        /* Another program writes for long: what is noted stays noted. */
        if (err_id() == E_STORE_BUSY || err_id() == E_INTERRUPTED) {
            err_clear();
            err = TACIT_OK;
        }
    }
    return err;
}

/* Documents elsewhere that another version has made. */
static enum tacit_err offer_reindex(struct adding *a)
{
    struct corpus_counts n;
    if (cli_progress(a->o) == PROGRESS_QUIET) return TACIT_OK;
    TRY(corpus_count(a->intake.corpus, &n));
    if (n.n_stale)
        cli_hint(a->o,
                 "%" PRId64 " document%s indexed by another version: "
                 "`tacit reindex` reads %s again.",
                 n.n_stale, n.n_stale == 1 ? " was" : "s were",
                 n.n_stale == 1 ? "it" : "them");
    return TACIT_OK;
}

/* Whoever watches waits for room before the first round as well. */
static enum tacit_err begin_patiently(struct adding *a,
                                      enum tacit_err (*step)(struct adding *))
{
    enum tacit_err err = step(a);
    while (err_id() == E_DISK_FULL && options_flag(a->o, "watch") &&
           !cli_interrupted()) {
        wait_for_room(a, err);
        err = step(a);
    }
    return err;
}

enum tacit_err cli_add(const struct options *o)
{
    struct adding a;
    adding_init(&a, o);
    enum tacit_err err = begin_patiently(&a, adding_open);
    if (!err) err = begin_patiently(&a, remember_given);
    if (!err) err = add_given(&a);
    if (err && err_id() == E_DISK_FULL && a.watch) {
        wait_for_room(&a, err);
        err = note_given(&a);
    }
    if (!err) err = offer_reindex(&a);
    if (!err && a.watch) err = go_on(&a);
    return adding_end(&a, err);
}

static enum tacit_err reindex_all(struct adding *a, const struct buf *paths,
                                  size_t n)
{
    enum tacit_err err = TACIT_OK;
    progress_begin(&a->progress, cli_progress(a->o), "reading again",
                   "documents", n);
    const char *path = (const char *)paths->data;
    for (size_t i = 0; !err && i < n; i++, path += strlen(path) + 1)
        err = intake_stored(&a->intake, path);
    progress_update(&a->progress, a->n_seen, NULL);
    progress_end(&a->progress);
    return err;
}

/* Each document is one transaction, and one that is done is not stale any
 * more: so this goes on where it was interrupted. */
enum tacit_err cli_reindex(const struct options *o)
{
    struct adding a;
    struct buf paths;
    size_t n = 0;
    buf_init(&paths, 0);
    adding_init(&a, o);
    enum tacit_err err = adding_open(&a);
    if (!err) err = corpus_stale(a.intake.corpus, &paths, &n);
    if (!err && n == 0)
        cli_hint(o, "Nothing to read again: all is as this version reads it.");
    if (!err) err = reindex_all(&a, &paths, n);
    buf_release(&paths);
    return adding_end(&a, err);
}
