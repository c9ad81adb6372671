#include "retrieval/corpus.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/codes.h"
#include "common/base/digest.h"
#include "common/base/tick.h"
#include "common/base/utf8.h"
#include "retrieval/corpus_state.h"
#include "retrieval/embedder.h"
#include "retrieval/evidence.h"
#include "retrieval/prepared.h"
#include "retrieval/twin.h"
#include "retrieval/words.h"

enum {
    SCRATCH_BYTES_MAX = 64 << 20,     /* of one embedding */
    DOCUMENTS_MAX_IN_WRITE = 1 << 20, /* that one removal may name */
    GATHER_DOCUMENTS_MAX = 128,       /* of one transaction … */
    GATHER_BYTES_MAX = 8 << 20,       /* … which wait in memory … */
    GATHER_PASSAGES_MAX = 256, /* … for a network, seconds of work … */
    EMBED_PASSAGES = 256,      /* that are embedded together */
    GATHER_NS_MAX = 100 * 1000 * 1000, /* … since the first of them */
    GATHER_FILE_MAX = 1 << 20          /* a larger one keeps none waiting */
};
/* Pages in memory, KiB: while a corpus is open, so that the words and vectors
 * of 100,000 passages stay there between two questions (a page that is read
 * again costs 1.7 us, of a sealed store 8 us); and for what the connection does
 * otherwise. */
#define CACHE_OPEN   "-65536"
#define CACHE_CLOSED "-2000"

_Static_assert((int)CHUNK_HEADING_MAX == (int)CORPUS_HEADING_MAX, "one limit");

static enum tacit_err refuse_path(const char *path)
{
    return fail_as(E_DOCUMENT_PATH,
                   "%s: a path too long, or not UTF-8; rename it", path);
}

/* A removed file has no real path of its own, but its folder may have one: so
 * names move from the end of `head` to `tail` until the head can be resolved.
 */
enum tacit_err corpus_path(const char *path, char *out)
{
    char head[CORPUS_PATH_MAX], real[PATH_MAX];
    size_t n = strlen(path), cut = n;
    if (n == 0 || n >= sizeof head || utf8_find_bad(path, n) < n)
        return refuse_path(path);
    memcpy(head, path, n + 1);
    while (!realpath(cut ? head : ".", real)) {
        if (cut <= 1) return refuse_path(path); /* no "/" or "." */
        while (cut > 1 && head[cut - 1] == '/') cut--;
        while (cut > 0 && head[cut - 1] != '/') cut--;
        head[cut] = '\0';
    }
    const char *tail = path + cut;
    const char *slash = *tail && strcmp(real, "/") != 0 ? "/" : "";
    int len = snprintf(head, sizeof head, "%s%s%s", real, slash, tail);
    if (len < 0 || (size_t)len >= sizeof head ||
        utf8_find_bad(head, (size_t)len) < (size_t)len)
        return refuse_path(path);
    while (len > 1 && head[len - 1] == '/') head[--len] = '\0';
    memcpy(out, head, (size_t)len + 1);
    return TACIT_OK;
}

/* ---- one document to be written -------------------------------------------
 */

static const float *vector_at(const struct corpus *c, const struct prepared *p,
                              size_t i)
{
    const void *at = p->vectors.data + i * c->dim * sizeof(float);
    return at;
}

static enum tacit_err write_chunks(struct corpus *c, const struct prepared *p,
                                   int64_t document_id)
{
    const struct document *d = &p->d;
    uint8_t print[TWIN_PRINT];
    const char *slash = strrchr(p->path, '/');
    const char *name = slash ? slash + 1 : p->path;
    const char *own = strcmp(d->title, name) ? d->title : "";
    const char *text = (const char *)d->text.data;
    struct corpus_row row = {.document_id = document_id,
                             .title = d->title,
                             .print = print};
    for (size_t i = 0; i < p->n; i++) {
        const struct passage *one = prepared_passage(p, i);
        row.heading = prepared_heading(p, one);
        row.place = one->place;
        row.places = p->places.data + one->places;
        row.n_places = one->n_places;
        row.text = text + one->text_first;
        row.text_len = one->text_end - one->text_first;
        row.v = vector_at(c, p, i);
        twin_print(own, row.heading, text + one->own_first,
                   one->text_end - one->own_first, print);
        TRY(corpus_write(c, &row));
    }
    return TACIT_OK;
}

/* What the store knows of a path; id 0 when nothing. */
struct known {
    int64_t id, n_chunks;
    int is_same; /* the hash is equal, and so is what makes passages of it */
};

static enum tacit_err look_up(struct corpus *c, const char *path,
                              const struct digest *hash, struct known *out)
{
    sqlite3_stmt *st;
    int has_row = 0;
    *out = (struct known){0};
    TRY(corpus_statement(c, CORPUS_DOCUMENT_FIND, &st));
    sqlite3_bind_text(st, 1, path, -1, SQLITE_STATIC);
    sqlite3_bind_blob(st, 2, hash->b, (int)sizeof hash->b, SQLITE_STATIC);
    sqlite3_bind_int64(st, 3, CHUNKER_VERSION);
    sqlite3_bind_text(st, 4, c->enc_version, -1, SQLITE_STATIC);
    enum tacit_err err = db_step(c->db, st, &has_row);
    if (!err && has_row)
        *out = (struct known){.id = sqlite3_column_int64(st, 0),
                              .n_chunks = sqlite3_column_int64(st, 1),
                              .is_same = sqlite3_column_int(st, 2)};
    corpus_done(c, CORPUS_DOCUMENT_FIND);
    return err;
}

static enum tacit_err write_document(struct corpus *c, struct prepared *p)
{
    struct known was;
    sqlite3_stmt *st;
    TRY(look_up(c, p->path, &p->d.hash, &was));
    p->outcome = was.id ? CORPUS_REPLACED : CORPUS_ADDED;
    if (was.id) TRY(corpus_erase(c, was.id));
    TRY(corpus_statement(c, CORPUS_DOCUMENT_ADD, &st));
    sqlite3_bind_text(st, 1, p->path, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 2, p->d.title, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 3, document_kind(&p->d), -1, SQLITE_STATIC);
    sqlite3_bind_blob(st, 4, p->d.hash.b, (int)sizeof p->d.hash.b,
                      SQLITE_STATIC);
    sqlite3_bind_int64(st, 5, (int64_t)p->d.file_bytes);
    sqlite3_bind_int64(st, 6, (int64_t)p->n);
    sqlite3_bind_int64(st, 7, tick_wall_s());
    sqlite3_bind_int64(st, 8, CHUNKER_VERSION);
    sqlite3_bind_text(st, 9, p->d.note, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 10, c->enc_version, -1, SQLITE_STATIC);
    TRY(corpus_run(c, CORPUS_DOCUMENT_ADD));
    return write_chunks(c, p, sqlite3_last_insert_rowid(c->db->sql));
}

/* ---- documents of one transaction -----------------------------------------
 */

static void drop_gathered(struct corpus *c)
{
    while (c->first) {
        struct prepared *p = c->first;
        c->first = p->next;
        prepared_free(p);
    }
    c->last = NULL;
    c->n_gathered = c->gathered_bytes = c->gathered_passages = 0;
}

static void roll_back(struct corpus *c)
{
    db_rollback(c->db);
    corpus_forget(c);
}

static enum tacit_err write_all(struct corpus *c)
{
    for (struct prepared *p = c->first; p; p = p->next)
        TRY(write_document(c, p));
    return corpus_end(c);
}

static int is_enough(const struct corpus *c)
{
    return !c->is_gathering || c->n_gathered >= GATHER_DOCUMENTS_MAX ||
           c->gathered_bytes >= GATHER_BYTES_MAX ||
           (c->gathered_passages >= GATHER_PASSAGES_MAX &&
            !encoder_is_built_in(c->encoder)) ||
           tick_ns() - c->gathered_since_ns >= GATHER_NS_MAX;
}

static enum tacit_err flush(struct corpus *c);

/* ---- their vectors, before the store is locked ---------------------------
 */

/* A network embeds the documents of a transaction together; the built-in
 * encoder, which gains nothing by it, each when it is read. */
static int is_at_once(const struct corpus *c)
{
    return encoder_is_built_in(c->encoder);
}

/* Passages that are embedded together, of one document or of several. Those
 * that wait do not wait for a long document. */
struct window {
    struct embedder_text texts[EMBED_PASSAGES];
    struct prepared *of[EMBED_PASSAGES];
    size_t n;
    float *v; /* [EMBED_PASSAGES, dim] */
};

static enum tacit_err embed_window(struct corpus *c, struct window *w)
{
    TRY(embedder_passages(c->encoder, &c->scratch, w->texts, w->n, w->v));
    for (size_t i = 0; i < w->n; i++)
        buf_put(&w->of[i]->vectors, w->v + i * c->dim, c->dim * sizeof *w->v);
    w->n = 0;
    return TACIT_OK;
}

static enum tacit_err embed_document(struct corpus *c, struct prepared *p,
                                     struct window *w)
{
    const struct document *d = &p->d;
    for (size_t i = 0; i < p->n; i++) {
        const struct passage *one = prepared_passage(p, i);
        w->texts[w->n] =
            (struct embedder_text){.title = d->title,
                                   .heading = prepared_heading(p, one),
                                   .text = {(const char *)d->text.data +
                                                one->text_first,
                                            one->text_end - one->text_first}};
        w->of[w->n++] = p;
        if (w->n == EMBED_PASSAGES) TRY(embed_window(c, w));
        if (is_at_once(c) && c->first && is_enough(c)) TRY(flush(c));
    }
    return TACIT_OK;
}

/* Of a document and of those behind it. */
static enum tacit_err embed_list(struct corpus *c, struct prepared *first)
{
    struct window *w = malloc(sizeof *w);
    enum tacit_err err = TACIT_OK;
    if (w) w->v = malloc((size_t)EMBED_PASSAGES * c->dim * sizeof *w->v);
    if (!w || !w->v) err = fail(TACIT_NOMEM, "no memory to embed passages");
    if (w) w->n = 0;
    for (struct prepared *p = first; !err && p; p = p->next)
        err = embed_document(c, p, w);
    if (!err) err = embed_window(c, w);
    for (struct prepared *p = first; !err && p; p = p->next)
        err = buf_end(&p->vectors);
    if (w) free(w->v);
    free(w);
    return err;
}

/* Write what is prepared; on failure none of it is. */
static enum tacit_err write_gathered(struct corpus *c)
{
    if (!c->first) return TACIT_OK;
    enum tacit_err err = is_at_once(c) ? TACIT_OK : embed_list(c, c->first);
    if (!err) err = db_begin(c->db);
    if (!err) {
        err = write_all(c);
        if (!err) err = db_commit(c->db);
        if (err) roll_back(c);
    }
    c->is_broken = err != TACIT_OK;
    return err;
}

static enum tacit_err flush(struct corpus *c)
{
    enum tacit_err err = write_gathered(c);
    drop_gathered(c);
    return err;
}

static int is_gathered(const struct corpus *c, const char *path)
{
    for (const struct prepared *p = c->first; p; p = p->next)
        if (strcmp(p->path, path) == 0) return 1;
    return 0;
}

static void gather(struct corpus *c, struct prepared *p)
{
    if (!c->first) c->gathered_since_ns = tick_ns();
    if (c->last)
        c->last->next = p;
    else
        c->first = p;
    c->last = p;
    c->n_gathered++;
    c->gathered_passages += p->n;
    c->gathered_bytes += p->d.file.len + p->d.made.len + p->d.text.len +
                         p->n * c->dim * sizeof(float);
}

void corpus_gather(struct corpus *c)
{
    c->is_gathering = 1;
}

enum tacit_err corpus_settle(struct corpus *c)
{
    c->is_gathering = 0;
    enum tacit_err err = flush(c);
    corpus_rest(c);
    return err;
}

int corpus_is_broken(const struct corpus *c)
{
    return c->is_broken;
}

static enum tacit_err cut(struct corpus *c, struct prepared *p)
{
    if (!c->sizes.target) {
        enum tacit_err err = embedder_sizes(c->encoder, &c->sizes);
        c->is_broken = err != TACIT_OK;
        if (err) return err;
    }
    return prepared_cut(p, &c->sizes);
}

/* Read it, then embed and write it with those that are gathered, or later. */
static enum tacit_err add_changed(struct corpus *c, struct prepared *p,
                                  enum corpus_outcome *outcome,
                                  size_t *n_chunks)
{
    enum tacit_err err =
        p->d.file_bytes > GATHER_FILE_MAX ? flush(c) : TACIT_OK;
    if (!err) err = document_parse(&p->d);
    if (!err) err = cut(c, p);
    if (!err && is_at_once(c)) err = embed_list(c, p);
    if (err) {
        prepared_free(p);
        return err;
    }
    gather(c, p);
    int is_due = is_enough(c);
    if (is_due) err = write_gathered(c);
    snprintf(c->note, sizeof c->note, "%s", p->d.note);
    *outcome = p->outcome;
    *n_chunks = p->n;
    if (is_due) drop_gathered(c);
    return err;
}

enum tacit_err corpus_add(struct corpus *c, const char *path,
                          enum corpus_outcome *outcome, size_t *n_chunks)
{
    struct prepared *p;
    struct known was = {0};
    c->note[0] = '\0';
    TRY(prepared_new(path, c->dim, &p));
    enum tacit_err err = is_gathered(c, p->path) ? flush(c) : TACIT_OK;
    if (!err) err = look_up(c, p->path, &p->d.hash, &was);
    if (!err && !(was.id && was.is_same)) {
        p->outcome = was.id ? CORPUS_REPLACED : CORPUS_ADDED;
        return add_changed(c, p, outcome, n_chunks);
    }
    prepared_free(p);
    if (err) return err;
    *outcome = CORPUS_UNCHANGED;
    *n_chunks = (size_t)was.n_chunks;
    return TACIT_OK;
}

const char *corpus_note(const struct corpus *c)
{
    return c->note;
}

/* ---- open and close ------------------------------------------------------
 */

static void forget(void *c)
{
    corpus_forget(c);
}

enum tacit_err corpus_open(struct db *db, const struct encoder *encoder,
                           struct corpus **out)
{
    TRY(words_open(db));
    TRY(evidence_register(db));
    TRY(db_exec(db, "PRAGMA cache_size = " CACHE_OPEN));
    struct corpus *c = calloc(1, sizeof *c);
    if (!c) return fail(TACIT_NOMEM, "out of memory");
    c->db = db;
    c->encoder = encoder;
    c->dim = encoder_dim(encoder);
    encoder_version(encoder, c->enc_version);
    arena_init(&c->scratch, SCRATCH_BYTES_MAX);
    sqlite3_rollback_hook(db->sql, forget, c);
    *out = c;
    return TACIT_OK;
}

void corpus_close(struct corpus *c)
{
    if (!c) return;
    sqlite3_rollback_hook(c->db->sql, NULL, NULL);
    corpus_rest(c);
    for (int i = 0; i < CORPUS_STMTS; i++) db_finish(c->stmt[i]);
    drop_gathered(c);
    /* Without a message: an earlier failure may be on its way. */
    (void)sqlite3_exec(c->db->sql, "PRAGMA cache_size = " CACHE_CLOSED, NULL,
                       NULL, NULL);
    sqlite3_db_release_memory(c->db->sql);
    span_reader_free(c->reader);
    arena_release(&c->scratch);
    free(c);
}

/* ---- removal --------------------------------------------------------------
 */

/* Which documents below a path: all, or those whose files are gone. */
struct which {
    int is_gone;
    const struct corpus_prune *prune; /* or NULL */
};

/* Also when a folder bears its name now. */
static int is_gone(const char *path)
{
    struct stat st;
    if (stat(path, &st) == 0) return !S_ISREG(st.st_mode);
    return errno == ENOENT || errno == ENOTDIR;
}

static enum tacit_err is_chosen(const struct which *which, const char *path,
                                int *out)
{
    *out = path && (!which->is_gone || is_gone(path));
    if (!*out || !which->prune) return TACIT_OK;
    return which->prune->may_remove(which->prune->ctx, path, out);
}

/* Ids of the documents at or below path, into ids (int64_t). */
static enum tacit_err find_below(struct corpus *c, const char *path,
                                 const struct which *which, struct buf *ids)
{
    char from[CORPUS_PATH_MAX + 1], to[CORPUS_PATH_MAX + 1];
    sqlite3_stmt *st;
    int has_row = 0;
    const char *slash = strcmp(path, "/") == 0 ? "" : "/";
    snprintf(from, sizeof from, "%s%s", path, slash);
    snprintf(to, sizeof to, "%s%s", path, slash);
    to[strlen(to) - 1] = '/' + 1; /* the first path behind the folder */
    TRY(db_query(c->db, &st,
                 "SELECT id, path FROM document WHERE path = ?1"
                 " OR (path >= ?2 AND path < ?3)",
                 "sss", path, from, to));
    enum tacit_err err = db_step(c->db, st, &has_row);
    while (!err && has_row) {
        int64_t id = sqlite3_column_int64(st, 0);
        const char *at = (const char *)sqlite3_column_text(st, 1);
        int chosen = 0;
        err = is_chosen(which, at, &chosen);
        if (chosen) buf_put(ids, &id, sizeof id);
        if (!err) err = db_step(c->db, st, &has_row);
    }
    db_finish(st);
    return err ? err : buf_end(ids);
}

static enum tacit_err delete_found(struct corpus *c, const char *path,
                                   const struct which *which, struct buf *ids)
{
    TRY(find_below(c, path, which, ids));
    for (size_t i = 0; i < ids->len / sizeof(int64_t); i++) {
        int64_t id;
        memcpy(&id, ids->data + i * sizeof id, sizeof id);
        TRY(corpus_erase(c, id));
    }
    return corpus_end(c);
}

static enum tacit_err remove_below(struct corpus *c, const char *path,
                                   const struct which *which, size_t *n_removed)
{
    char known_as[CORPUS_PATH_MAX];
    struct buf ids;
    TRY(corpus_path(path, known_as));
    TRY(flush(c));
    buf_init(&ids, DOCUMENTS_MAX_IN_WRITE * sizeof(int64_t));
    enum tacit_err err = db_begin(c->db);
    if (!err) {
        err = delete_found(c, known_as, which, &ids);
        if (!err) err = db_commit(c->db);
        if (err) roll_back(c);
    }
    if (!err) *n_removed = ids.len / sizeof(int64_t);
    buf_release(&ids);
    return err;
}

enum tacit_err corpus_remove(struct corpus *c, const char *path,
                             size_t *n_removed)
{
    return remove_below(c, path, &(struct which){0}, n_removed);
}

enum tacit_err corpus_prune(struct corpus *c, const char *folder,
                            const struct corpus_prune *prune, size_t *n_removed)
{
    return remove_below(c, folder,
                        &(struct which){.is_gone = 1, .prune = prune},
                        n_removed);
}
