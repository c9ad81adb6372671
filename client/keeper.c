#include "client/keeper.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#ifdef __GLIBC__
# include <malloc.h>
#endif

#include "client/embedding.h"
#include "client/folders.h"
#include "client/generator.h"
#include "client/intake.h"
#include "client/watch.h"
#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/log.h"

enum { LOOK_MS = 5000 };

struct keeper {
    struct device d; /* shares the daemon's store */
    struct watch *watch;
    struct buf folders; /* as they were listed last */
    int wake;           /* eventfd */
    atomic_int stop;
    pthread_t thread;
};

static int is_stopped(void *ctx)
{
    struct keeper *k = ctx;
    return atomic_load(&k->stop);
}

/* What went wrong is said; the folders are looked at again anyway. */
static void say(const char *event)
{
    log_event(LOG_WARN, event, "code=E%04u reason=\"%s\"", err_id(),
              err_message());
    err_clear();
}

static void say_failed(const char *path, enum tacit_err err, void *ctx)
{
    (void)path; /* the reason names it */
    (void)err;
    (void)ctx;
    say("document_failed");
}

static void say_link(const char *path, const char *to, void *ctx)
{
    (void)ctx;
    log_event(LOG_WARN, "link_not_followed", "path=\"%s\" to=\"%s\"", path, to);
}

static void say_there(const char *path, int is_there, void *ctx)
{
    (void)ctx;
    log_event(is_there ? LOG_INFO : LOG_WARN,
              is_there ? "folder_back" : "folder_away", "path=\"%s\"", path);
}

/* ---- folders ------------------------------------------------------------ */

static int holds(const struct buf *paths, const char *path)
{
    for (size_t at = 0; at < paths->len;) {
        const char *one = (const char *)paths->data + at;
        if (strcmp(one, path) == 0) return 1;
        at += strlen(one) + 1;
    }
    return 0;
}

static enum tacit_err follow(struct keeper *k, const char *path)
{
    int64_t device = 0;
    if (watch_has(k->watch, path)) return TACIT_OK;
    TRY(folders_device(&k->d.db, path, &device));
    enum tacit_err err = watch_folder(k->watch, path, device);
    if (err_id() == E_WATCH_LIMIT) {
        say("watch_limit");
        err = TACIT_OK;
    }
    /* One that is not there now may be on a disk that is not plugged in. */
    return err || !file_exists(path) ? err : watch_note(k->watch, path);
}

/* The list of folders may have changed: `tacit add` and `tacit rm` are other
 * processes. */
static enum tacit_err look_at_folders(struct keeper *k)
{
    struct buf now;
    buf_init(&now, 0);
    enum tacit_err err = folders_list(&k->d.db, &now);
    for (size_t at = 0; !err && at < now.len;) {
        const char *path = (const char *)now.data + at;
        err = follow(k, path);
        at += strlen(path) + 1;
    }
    for (size_t at = 0; !err && at < k->folders.len;) {
        const char *path = (const char *)k->folders.data + at;
        if (!holds(&now, path)) watch_forget(k->watch, path);
        at += strlen(path) + 1;
    }
    if (err) {
        buf_release(&now);
        return err;
    }
    buf_release(&k->folders);
    k->folders = now;
    return TACIT_OK;
}

/* ---- documents ---------------------------------------------------------- */

static enum tacit_err visit(const char *path, void *ctx)
{
    return intake_changed(ctx, path);
}

static enum tacit_err index_changed(struct keeper *k, struct intake *in)
{
    struct encoder *encoder = NULL;
    struct corpus *corpus = NULL;
    enum tacit_err err = embedding_open(&k->d, &encoder);
    if (!err) err = corpus_open(&k->d.db, encoder, &corpus);
    in->corpus = corpus;
    if (!err) err = watch_take(k->watch, visit, in);
    corpus_close(corpus);
    encoder_free(encoder);
#ifdef __GLIBC__
    malloc_trim(0);
#endif
    return err;
}

static enum tacit_err take(struct keeper *k)
{
    struct intake in = {.ctx = k,
                        .is_stopped = is_stopped,
                        .failed = say_failed,
                        .leads_out = say_link,
                        .db = &k->d.db};
    enum tacit_err err = index_changed(k, &in);
    if (in.n_added || in.n_replaced || in.n_removed || in.n_failed)
        log_event(LOG_INFO, "indexed",
                  "added=%zu replaced=%zu removed=%zu failed=%zu", in.n_added,
                  in.n_replaced, in.n_removed, in.n_failed);
    if (in.n_replaced || in.n_removed) generator_forget(&k->d);
    if (is_stopped(k) || err_id() == E_STORE_BUSY) {
        err_clear(); /* what is left stays noted */
        return TACIT_OK;
    }
    return err;
}

static enum tacit_err turn(struct keeper *k)
{
    int is_due = 0;
    TRY(look_at_folders(k));
    TRY(watch_wait(k->watch, k->wake, LOOK_MS, &is_due));
    return is_due ? take(k) : TACIT_OK;
}

static void *run(void *ctx)
{
    struct keeper *k = ctx;
    while (!is_stopped(k)) {
        struct pollfd wake = {.fd = k->wake, .events = POLLIN};
        if (!turn(k)) continue;
        if (err_id() != E_STORE_BUSY) say("indexing_failed");
        err_clear();
        /* A full disk stays full for a while. */
        poll(&wake, 1, LOOK_MS);
    }
    return NULL;
}

static void release(struct keeper *k)
{
    watch_free(k->watch);
    buf_release(&k->folders);
    if (k->wake >= 0) close(k->wake);
    device_close(&k->d);
    free(k);
}

static enum tacit_err start(struct keeper *k, const struct device *d)
{
    TRY(device_share(d, &k->d));
    k->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (k->wake < 0) return fail(TACIT_IO, "eventfd: %s", strerror(errno));
    TRY(watch_new(&k->watch));
    watch_tell(k->watch, say_there, k);
    if (pthread_create(&k->thread, NULL, run, k))
        return fail(TACIT_NOMEM, "no thread to watch folders");
    return TACIT_OK;
}

enum tacit_err keeper_start(const struct device *d, struct keeper **out)
{
    struct keeper *k = calloc(1, sizeof *k);
    if (!k) return fail(TACIT_NOMEM, "no memory to watch folders");
    k->wake = -1;
    buf_init(&k->folders, 0);
    enum tacit_err err = start(k, d);
    if (err)
        release(k);
    else
        *out = k;
    return err;
}

void keeper_stop(struct keeper *k)
{
    if (!k) return;
    atomic_store(&k->stop, 1);
    ssize_t n = write(k->wake, &(uint64_t){1}, sizeof(uint64_t));
    (void)n; /* at worst it wakes by itself, within LOOK_MS */
    pthread_join(k->thread, NULL);
    release(k);
}
