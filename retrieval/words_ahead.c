#include "retrieval/words_ahead.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"

enum {
    SLOTS = 4,
    BATCH_BYTES = 64 << 10,    /* passages that are handed over together */
    BATCH_BYTES_MAX = 1 << 20, /* with the last of them, which is any */
    AHEAD_BYTES = 16 << 20,    /* of texts in one adoption */
    AHEAD_TOKENS = 3 << 20     /* the same; as many as that have few letters */
};

struct words_ahead {
    struct db *db;               /* borrowed */
    struct words_gather *gather; /* owned; NULL until needed */
    int64_t last;                /* id that was given last; 0 = none */
    int64_t n, bytes;            /* given */
    int is_full;                 /* of tokens, when that was asked last */
    int is_spoilt;               /* it cannot be all that was written */
    int is_running, has_failed;  /* the second thread; what came of it */
    pthread_t thread;            /* while it is running */
    pthread_mutex_t lock;        /* of what follows */
    pthread_cond_t changed;      /* one of the counts, or is_last */
    size_t n_filled, n_taken;    /* batches; slot = count % SLOTS */
    size_t n_tokens;             /* that are gathered */
    int is_last;                 /* no batch follows */
    struct buf slot[SLOTS];      /* owned by the writer until filled, by the
                                    thread until taken */
};

/* ---- the second thread ----------------------------------------------------
 */

/* The oldest batch that is filled, waiting for it; NULL: there are no more. */
static struct buf *wait_for_batch(struct words_ahead *w)
{
    pthread_mutex_lock(&w->lock);
    while (w->n_taken == w->n_filled && !w->is_last)
        pthread_cond_wait(&w->changed, &w->lock);
    struct buf *b =
        w->n_taken < w->n_filled ? &w->slot[w->n_taken % SLOTS] : NULL;
    pthread_mutex_unlock(&w->lock);
    return b;
}

static void hand_back(struct words_ahead *w)
{
    size_t n = words_gather_tokens(w->gather);
    pthread_mutex_lock(&w->lock);
    w->n_tokens = n;
    w->n_taken++;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static enum tacit_err gather_one(struct words_ahead *w, struct reader *r)
{
    struct text column[WORDS_COLUMNS];
    int64_t id = (int64_t)reader_u64(r);
    for (int i = 0; i < WORDS_COLUMNS; i++) column[i].n = reader_u32(r);
    for (int i = 0; i < WORDS_COLUMNS; i++) {
        column[i].s = (const char *)reader_take(r, column[i].n);
        if (!column[i].s) return fail(TACIT_INTERNAL, "a batch is cut");
    }
    return words_gather_add(w->gather, id, column);
}

static enum tacit_err gather_batch(struct words_ahead *w, const struct buf *b)
{
    struct reader r;
    reader_init(&r, b->data, b->len);
    while (r.left) TRY(gather_one(w, &r));
    return TACIT_OK;
}

static void *run(void *ctx)
{
    struct words_ahead *w = ctx;
    struct buf *b;
    enum tacit_err err = TACIT_OK;
    words_gather_clear(w->gather);
    while ((b = wait_for_batch(w))) {
        if (!err) err = gather_batch(w, b);
        hand_back(w);
    }
    if (!err) err = words_gather_end(w->gather);
    if (err) err_clear(); /* then the writer does it, and fails by itself */
    w->has_failed = err != TACIT_OK;
    return NULL;
}

/* ---- it begins and ends ---------------------------------------------------
 */

/* Signals are for the threads that wait for them. */
static int create_thread(struct words_ahead *w)
{
    sigset_t all, was;
    sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &was)) return 0;
    int rc = pthread_create(&w->thread, NULL, run, w);
    pthread_sigmask(SIG_SETMASK, &was, NULL);
    return rc == 0;
}

static void start(struct words_ahead *w)
{
    if (!w->gather && words_gather_new(w->db, WORDS_PAGE_BYTES, &w->gather)) {
        err_clear();
        w->is_spoilt = 1;
        return;
    }
    w->n_filled = w->n_taken = 0;
    w->n_tokens = 0;
    w->is_last = w->has_failed = 0;
    w->is_running = create_thread(w);
    if (!w->is_running) w->is_spoilt = 1;
}

static void stop(struct words_ahead *w)
{
    if (!w->is_running) return;
    pthread_mutex_lock(&w->lock);
    w->is_last = 1;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    w->is_running = 0;
    if (w->has_failed) w->is_spoilt = 1;
}

enum tacit_err words_ahead_new(struct db *db, struct words_ahead **out)
{
    struct words_ahead *w = calloc(1, sizeof *w);
    if (!w) return fail(TACIT_NOMEM, "out of memory");
    w->db = db;
    pthread_mutex_init(&w->lock, NULL); /* neither fails on Linux */
    pthread_cond_init(&w->changed, NULL);
    for (int i = 0; i < SLOTS; i++) buf_init(&w->slot[i], BATCH_BYTES_MAX);
    *out = w;
    return TACIT_OK;
}

void words_ahead_begin(struct words_ahead *w)
{
    stop(w);
    for (int i = 0; i < SLOTS; i++) buf_clear(&w->slot[i]);
    w->n_filled = w->n_taken = 0;
    w->last = w->n = w->bytes = 0;
    w->is_spoilt = w->is_full = 0;
}

void words_ahead_free(struct words_ahead *w)
{
    if (!w) return;
    stop(w);
    words_gather_free(w->gather);
    for (int i = 0; i < SLOTS; i++) buf_release(&w->slot[i]);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

/* ---- the writer -----------------------------------------------------------
 */

/* The batch that is being filled is handed over; then there is room for
 * another. */
static void hand_over(struct words_ahead *w)
{
    pthread_mutex_lock(&w->lock);
    w->n_filled++;
    pthread_cond_signal(&w->changed);
    while (w->n_filled - w->n_taken == SLOTS)
        pthread_cond_wait(&w->changed, &w->lock);
    w->is_full = w->n_tokens >= AHEAD_TOKENS;
    pthread_mutex_unlock(&w->lock);
    buf_clear(&w->slot[w->n_filled % SLOTS]);
}

static enum tacit_err put(struct buf *b, const struct words_text *t)
{
    size_t n_title = strlen(t->title), n_heading = strlen(t->heading);
    if (n_title > BATCH_BYTES_MAX || n_heading > BATCH_BYTES_MAX ||
        t->text_len > BATCH_BYTES_MAX)
        return fail(TACIT_LIMIT, "too long a text");
    buf_put_u64(b, (uint64_t)t->id);
    buf_put_u32(b, (uint32_t)n_title);
    buf_put_u32(b, (uint32_t)n_heading);
    buf_put_u32(b, (uint32_t)t->text_len);
    buf_put(b, t->title, n_title);
    buf_put(b, t->heading, n_heading);
    buf_put(b, t->text, t->text_len);
    return buf_end(b);
}

void words_ahead_give(struct words_ahead *w, const struct words_text *t)
{
    if (t->id <= w->last) w->is_spoilt = 1; /* a part was undone */
    w->last = t->id;
    if (w->is_spoilt) return;
    struct buf *b = &w->slot[w->n_filled % SLOTS];
    size_t had = b->len;
    if (put(b, t)) {
        err_clear();
        w->is_spoilt = 1;
        return;
    }
    w->n++;
    w->bytes += (int64_t)(b->len - had);
    if (b->len < BATCH_BYTES) return;
    if (!w->is_running) start(w);
    if (w->is_running) hand_over(w);
}

int words_ahead_is_full(const struct words_ahead *w)
{
    return w->bytes >= AHEAD_BYTES || w->is_full;
}

/* Whether just those passages are there that were given. */
static enum tacit_err compare(const struct words_ahead *w, int64_t first,
                              int64_t *is_same)
{
    return db_int(w->db, is_same,
                  "SELECT count(*) = ?2 AND min(id) = ?1 AND max(id) = ?3"
                  " FROM chunk WHERE id >= ?1",
                  "iii", first, w->n, w->last);
}

enum tacit_err words_ahead_adopt(struct words_ahead *w, int64_t first,
                                 int *are_in)
{
    int64_t is_same = 0;
    enum tacit_err err = TACIT_OK;
    *are_in = 0;
    if (w->is_running && w->slot[w->n_filled % SLOTS].len) hand_over(w);
    int was_running = w->is_running;
    stop(w);
    if (was_running && !w->is_spoilt) err = compare(w, first, &is_same);
    if (!err && is_same) err = words_adopt(w->db, w->gather, are_in);
    words_ahead_begin(w);
    return err;
}
