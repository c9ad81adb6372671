#include "client/intake.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "client/folders.h"
#include "common/base/codes.h"
#include "common/base/file.h"

/* A full disk or a damaged store stops everything; a file does not. */
static int stops_all(enum tacit_err err)
{
    return err == TACIT_NOMEM ||
           (err == TACIT_IO && err_id() != E_DOCUMENT_UNREADABLE) ||
           err_id() == E_STORE_BUSY || err_id() == E_STORE_DAMAGED ||
           err_id() == E_INDEX_DAMAGED;
}

static int is_stopped(const struct intake *k)
{
    return k->is_stopped && k->is_stopped(k->ctx);
}

/* Whoever writes the file is given time, three times longer than the last. */
static enum tacit_err add_patiently(struct intake *k, const char *path,
                                    enum corpus_outcome *outcome, size_t *n)
{
    static const long pause_ms[] = {100, 300, 900};
    for (size_t i = 0;; i++) {
        enum tacit_err err = corpus_add(k->corpus, path, outcome, n);
        if (!err || err_id() != E_DOCUMENT_CHANGED || is_stopped(k) ||
            i == sizeof pause_ms / sizeof *pause_ms)
            return err;
        err_clear();
        nanosleep(&(struct timespec){.tv_nsec = pause_ms[i] * 1000000}, NULL);
    }
}

/* What a folder holds besides documents: files of kinds that are not read, and
 * programs and data whose names have no ending to tell by. */
static int is_other_kind(const char *path)
{
    const char *slash = strrchr(path, '/');
    return err_id() == E_DOCUMENT_KIND ||
           (err_id() == E_DOCUMENT_BINARY &&
            !strchr(slash ? slash + 1 : path, '.'));
}

/* *out = 1: somebody else's link, to something that nobody added. */
static enum tacit_err leads_out(struct intake *k, const char *path, int *out)
{
    char real[PATH_MAX];
    int may = 0;
    *out = 0;
    if (k->from == INTAKE_GIVEN) return TACIT_OK;
    if (!realpath(path, real)) return TACIT_OK; /* reading it says why */
    if (strcmp(real, path) == 0) return TACIT_OK;
    TRY(folders_may_follow(k->db, path, real, &may));
    *out = !may;
    k->n_links += !may;
    if (!may && k->leads_out) k->leads_out(path, real, k->ctx);
    return TACIT_OK;
}

static enum tacit_err add_one(const char *path, void *ctx)
{
    struct intake *k = ctx;
    enum corpus_outcome outcome = CORPUS_UNCHANGED;
    size_t n_passages = 0;
    int is_out;
    size_t n_done = k->n_added + k->n_replaced + k->n_unchanged;
    if (is_stopped(k))
        return fail_as(E_INTERRUPTED, "stopped after %zu document%s indexed",
                       n_done, n_done == 1 ? ", which is" : "s, which are");
    if (k->before) k->before(path, k->ctx);
    TRY(leads_out(k, path, &is_out));
    if (is_out) return TACIT_OK;
    if (k->disk)
        TRY(folders_found_disk(k->db, path, k->disk, (int64_t)time(NULL)));
    enum tacit_err err = add_patiently(k, path, &outcome, &n_passages);
    if (err && k->from == INTAKE_FOUND && is_other_kind(path)) {
        k->n_skipped++;
        err_clear();
        return TACIT_OK;
    }
    if (err) {
        if (stops_all(err) || corpus_is_broken(k->corpus)) return err;
        k->n_failed++;
        if (k->failed) k->failed(path, err, k->ctx);
        err_clear();
        return TACIT_OK;
    }
    k->n_passages += n_passages;
    k->n_added += outcome == CORPUS_ADDED;
    k->n_replaced += outcome == CORPUS_REPLACED;
    k->n_unchanged += outcome == CORPUS_UNCHANGED;
    if (k->after) k->after(path, outcome, k->ctx);
    return TACIT_OK;
}

static enum tacit_err may_remove(void *ctx, const char *path, int *may)
{
    struct intake *k = ctx;
    int is_away = 0;
    TRY(folders_away(k->db, path, &is_away));
    k->n_kept += (size_t)is_away;
    *may = !is_away;
    return TACIT_OK;
}

/* What was below a folder and is gone from it is dropped. */
static enum tacit_err prune(struct intake *k, const char *folder)
{
    size_t n_removed = 0, n_kept = k->n_kept;
    const struct corpus_prune how = {may_remove, k};
    TRY(corpus_prune(k->corpus, folder, &how, &n_removed));
    k->n_removed += n_removed;
    if (k->n_kept == n_kept) return folders_was_read(k->db, folder);
    if (k->away) k->away(folder, k->ctx);
    return TACIT_OK;
}

enum tacit_err intake_path(struct intake *k, const char *path)
{
    struct stat st;
    int is_folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    k->from = is_folder ? INTAKE_FOUND : INTAKE_GIVEN;
    if (!is_folder) return add_one(path, k);
    corpus_gather(k->corpus);
    k->disk = st.st_dev;
    enum tacit_err err = file_walk(path, add_one, k);
    k->disk = 0;
    /* Also where it was stopped: what was counted is indexed. */
    enum tacit_err late = corpus_settle(k->corpus);
    if (err || late) return err ? err : late;
    return prune(k, path);
}

enum tacit_err intake_stored(struct intake *k, const char *path)
{
    k->from = INTAKE_STORED;
    return add_one(path, k);
}

enum tacit_err intake_changed(struct intake *k, const char *path)
{
    struct stat st, own;
    size_t n_removed = 0;
    int may = 0, is_there = stat(path, &st) == 0;
    int is_gone = !is_there && (errno == ENOENT || errno == ENOTDIR);
    int is_link = lstat(path, &own) == 0 && S_ISLNK(own.st_mode);
    if (is_there && S_ISDIR(st.st_mode) && !is_link) {
        enum tacit_err err = intake_path(k, path);
        if (err != TACIT_NOTFOUND) return err;
        err_clear(); /* it went meanwhile, and its watch tells so */
        return TACIT_OK;
    }
    k->from = INTAKE_FOUND;
    if (is_there && !S_ISREG(st.st_mode)) return TACIT_OK;
    if (!is_gone) return add_one(path, k);
    TRY(may_remove(k, path, &may));
    if (!may) return TACIT_OK;
    TRY(corpus_remove(k->corpus, path, &n_removed));
    k->n_removed += n_removed;
    return TACIT_OK;
}
