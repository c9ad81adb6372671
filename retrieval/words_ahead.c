#include "retrieval/words_ahead.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"

enum {
    SLOTS = 4,
    BATCH_BYTES = 64 << 10,    /* passages that are handed over together */
    BATCH_BYTES_MAX = 1 << 20, /* with the last of them, which is any */
    AHEAD_BYTES = 16 << 20,    /* of texts in one adoption */
    /* What FTS5 gathers before it sorts and writes: it finds it in the
     * processor's cache, and little is left to do when the write ends. */
    ROOM_BYTES = 4 << 20
};

struct words_ahead {
    struct db made;             /* owned; sql NULL until needed */
    sqlite3_stmt *insert;       /* owned, of made */
    int64_t last;               /* id that was given last; 0 = none */
    int64_t n, bytes;           /* given */
    int is_spoilt;              /* it cannot be all that was written */
    int is_running, has_failed; /* the second thread; what came of it */
    pthread_t thread;           /* while it is running */
    pthread_mutex_t lock;       /* of what follows */
    pthread_cond_t changed;     /* one of the counts, or is_last */
    size_t n_filled, n_taken;   /* batches; slot = count % SLOTS */
    int is_last;                /* no batch follows */
    struct buf slot[SLOTS];     /* owned by the writer until filled, by the
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
    pthread_mutex_lock(&w->lock);
    w->n_taken++;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static enum tacit_err insert_one(struct words_ahead *w, struct reader *r)
{
    int has_row;
    sqlite3_bind_int64(w->insert, 1, (int64_t)reader_u64(r));
    uint32_t n[3];
    for (int i = 0; i < 3; i++) n[i] = reader_u32(r);
    for (int i = 0; i < 3; i++) {
        const char *text = (const char *)reader_take(r, n[i]);
        if (!text) return fail(TACIT_INTERNAL, "a batch is cut");
        sqlite3_bind_text(w->insert, i + 2, text, (int)n[i], SQLITE_STATIC);
    }
    enum tacit_err err = db_step(&w->made, w->insert, &has_row);
    sqlite3_reset(w->insert);
    return err;
}

static enum tacit_err insert_batch(struct words_ahead *w, const struct buf *b)
{
    struct reader r;
    reader_init(&r, b->data, b->len);
    while (r.left) TRY(insert_one(w, &r));
    return TACIT_OK;
}

static void *run(void *ctx)
{
    struct words_ahead *w = ctx;
    struct buf *b;
    enum tacit_err err =
        db_exec(&w->made, "BEGIN; INSERT INTO w(w) VALUES('delete-all')");
    while ((b = wait_for_batch(w))) {
        if (!err) err = insert_batch(w, b);
        hand_back(w);
    }
    if (!err) err = db_exec(&w->made, "COMMIT");
    if (err) err_clear(); /* then the writer does it, and fails by itself */
    w->has_failed = err != TACIT_OK;
    return NULL;
}

/* ---- it begins and ends ---------------------------------------------------
 */

/* Segments are merged in the index, with all others. */
static enum tacit_err open_made(struct words_ahead *w)
{
    char room[96];
    snprintf(room, sizeof room, "INSERT INTO w(w, rank) VALUES('hashsize', %d)",
             (int)ROOM_BYTES);
    TRY(db_open_memory(&w->made));
    TRY(stem_register(&w->made));
    TRY(db_exec(&w->made,
                "CREATE VIRTUAL TABLE w USING fts5(" WORDS_COLUMNS
                ", content='', tokenize='" STEM_TOKENIZER "');"
                "INSERT INTO w(w, rank) VALUES('automerge', 0);"
                "INSERT INTO w(w, rank) VALUES('crisismerge', 1000)"));
    TRY(db_exec(&w->made, room));
    return db_error(&w->made,
                    sqlite3_prepare_v3(w->made.sql,
                                       "INSERT INTO w(rowid, " WORDS_COLUMNS
                                       ") VALUES(?, ?, ?, ?)",
                                       -1, SQLITE_PREPARE_PERSISTENT,
                                       &w->insert, NULL),
                    "cannot index words");
}

static void close_made(struct words_ahead *w)
{
    db_finish(w->insert);
    w->insert = NULL;
    db_close(&w->made);
    w->made = (struct db){0};
}

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
    if (!w->made.sql && open_made(w)) {
        err_clear();
        close_made(w);
        w->is_spoilt = 1;
        return;
    }
    w->n_filled = w->n_taken = 0;
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
    if (!w->has_failed) return;
    close_made(w);
    w->is_spoilt = 1;
}

enum tacit_err words_ahead_new(struct words_ahead **out)
{
    struct words_ahead *w = calloc(1, sizeof *w);
    if (!w) return fail(TACIT_NOMEM, "out of memory");
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
    w->is_spoilt = 0;
}

void words_ahead_free(struct words_ahead *w)
{
    if (!w) return;
    stop(w);
    close_made(w);
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
    return w->bytes >= AHEAD_BYTES;
}

/* Whether just those passages are there that were given. */
static enum tacit_err compare(const struct words_ahead *w, struct db *db,
                              int64_t first, int64_t *is_same)
{
    return db_int(db, is_same,
                  "SELECT count(*) = ?2 AND min(id) = ?1 AND max(id) = ?3"
                  " FROM chunk WHERE id >= ?1",
                  "iii", first, w->n, w->last);
}

enum tacit_err words_ahead_adopt(struct words_ahead *w, struct db *db,
                                 int64_t first, int *are_in)
{
    int64_t is_same = 0;
    enum tacit_err err = TACIT_OK;
    *are_in = 0;
    if (w->is_running && w->slot[w->n_filled % SLOTS].len) hand_over(w);
    int was_running = w->is_running;
    stop(w);
    if (was_running && !w->is_spoilt) err = compare(w, db, first, &is_same);
    if (!err && is_same) err = words_adopt(db, &w->made, are_in);
    words_ahead_begin(w);
    return err;
}
