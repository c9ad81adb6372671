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
#include "retrieval/chunker.h"
#include "retrieval/corpus_state.h"
#include "retrieval/document.h"
#include "retrieval/embedder.h"
#include "retrieval/evidence.h"
#include "retrieval/places.h"
#include "retrieval/twin.h"
#include "retrieval/words.h"

enum {
    CHUNKS_MAX = 1 << 17,            /* of one document */
    SCRATCH_BYTES_MAX = 64 << 20,    /* of one embedding */
    DOCUMENTS_MAX_IN_WRITE = 1 << 20 /* that one removal may name */
};
_Static_assert((int)CHUNK_HEADING_MAX == (int)CORPUS_HEADING_MAX, "one limit");

enum tacit_err corpus_open(struct db *db, const struct encoder *encoder,
                           struct corpus **out)
{
    TRY(words_open(db));
    TRY(evidence_register(db));
    struct corpus *c = calloc(1, sizeof *c);
    if (!c) return fail(TACIT_NOMEM, "out of memory");
    c->db = db;
    c->encoder = encoder;
    encoder_version(encoder, c->enc_version);
    arena_init(&c->scratch, SCRATCH_BYTES_MAX);
    *out = c;
    return TACIT_OK;
}

void corpus_close(struct corpus *c)
{
    if (!c) return;
    flatindex_free(c->vectors);
    arena_release(&c->scratch);
    free(c);
}

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

struct passages {
    struct buf vectors; /* f32 [n, ENCODER_DIM] */
    size_t n;
    struct buf changes; /* struct vector_change: what was, then what is */
};

static void passages_init(struct passages *p)
{
    *p = (struct passages){0};
    buf_init(&p->vectors, (size_t)CHUNKS_MAX * ENCODER_DIM * sizeof(float));
    buf_init(&p->changes, 0);
}

static void passages_release(struct passages *p)
{
    buf_release(&p->vectors);
    buf_release(&p->changes);
}

static const float *vector_at(const struct passages *p, size_t i)
{
    const void *at = p->vectors.data + i * ENCODER_DIM * sizeof(float);
    return at;
}

static void note_change(struct passages *p, int64_t chunk_id, const float *v)
{
    struct vector_change change = {chunk_id, v};
    buf_put(&p->changes, &change, sizeof change);
}

static void follow(struct corpus *c, const struct passages *p, int64_t epoch)
{
    const void *changes = p->changes.data;
    corpus_vectors_follow(c, epoch, changes,
                          p->changes.len / sizeof(struct vector_change));
}

/* Embed every chunk. This takes the time of an addition, so it is done before
 * the store is locked. */
static enum tacit_err embed_all(struct corpus *c, const struct document *d,
                                struct passages *p)
{
    struct chunker k;
    struct chunk chunk;
    chunker_init(&k, d);
    while (chunker_next(&k, &chunk)) {
        float v[ENCODER_DIM];
        struct text text = {
            .s = (const char *)d->text.data + chunk.text_first,
            .n = chunk.text_end - chunk.text_first,
        };
        if (p->n == CHUNKS_MAX)
            return fail_as(E_DOCUMENT_TOO_LARGE,
                           "more than %d passages; split the file", CHUNKS_MAX);
        TRY(embedder_passage(c->encoder, &c->scratch, d->title, chunk.heading,
                             text, v));
        buf_put(&p->vectors, v, sizeof v);
        p->n++;
    }
    return buf_end(&p->vectors);
}

/* Delete a document's rows everywhere; within a write. */
static enum tacit_err delete_rows(struct corpus *c, int64_t document_id,
                                  struct passages *p)
{
    static const char *const statements[] = {
        "INSERT INTO chunk_fts(chunk_fts, rowid, title, heading, text)"
        " SELECT 'delete', id, title, heading, text FROM chunk_content"
        " WHERE id IN (SELECT id FROM chunk WHERE document_id = ?)",
        "DELETE FROM vector WHERE chunk_id IN"
        " (SELECT id FROM chunk WHERE document_id = ?)",
        "DELETE FROM chunk WHERE document_id = ?",
        "DELETE FROM document WHERE id = ?",
    };
    sqlite3_stmt *st;
    int has_row = 0;
    TRY(db_query(c->db, &st, "SELECT id FROM chunk WHERE document_id = ?", "i",
                 document_id));
    enum tacit_err err = db_step(c->db, st, &has_row);
    while (!err && has_row) {
        note_change(p, sqlite3_column_int64(st, 0), NULL);
        err = db_step(c->db, st, &has_row);
    }
    db_finish(st);
    for (size_t i = 0; !err && i < sizeof statements / sizeof *statements; i++)
        err = db_run(c->db, statements[i], "i", document_id);
    return err;
}

/* The four statements of a passage, prepared once for a document. */
struct writer {
    struct db *db;
    sqlite3_stmt *chunk, *fts, *vector;
    const char *title; /* "" when it is only the file's name */
};

static void writer_finish(struct writer *w)
{
    db_finish(w->chunk);
    db_finish(w->fts);
    db_finish(w->vector);
}

static enum tacit_err writer_begin(struct writer *w, struct db *db)
{
    *w = (struct writer){.db = db};
    enum tacit_err err = db_query(
        db, &w->chunk,
        "INSERT INTO chunk(document_id, heading, text, byte_first, byte_end,"
        " line_first, line_last, sentences, print)"
        " VALUES(?,?,?,?,?,?,?,?,?)",
        "");
    if (!err)
        err = db_query(db, &w->fts,
                       "INSERT INTO chunk_fts(rowid, title, heading, text)"
                       " VALUES(?,?,?,?)",
                       "");
    if (!err)
        err = db_query(db, &w->vector, "INSERT INTO vector VALUES(?,?,?)", "");
    if (err) writer_finish(w);
    return err;
}

static enum tacit_err step(struct db *db, sqlite3_stmt *st)
{
    int has_row;
    TRY(db_step(db, st, &has_row));
    sqlite3_reset(st);
    return TACIT_OK;
}

static enum tacit_err write_chunk(struct writer *w, const struct corpus *c,
                                  const struct document *d, int64_t document_id,
                                  const struct chunk *chunk, const float *v,
                                  int64_t *id)
{
    const char *text = (const char *)d->text.data + chunk->text_first;
    int n = (int)(chunk->text_end - chunk->text_first);
    uint8_t print[TWIN_PRINT];
    struct buf sentences;
    twin_print(w->title, chunk->heading,
               (const char *)d->text.data + chunk->own_first,
               chunk->text_end - chunk->own_first, print);
    buf_init(&sentences, PLACES_BYTES_MAX);
    places_encode(&sentences, chunk);
    enum tacit_err err = buf_end(&sentences);
    sqlite3_bind_int64(w->chunk, 1, document_id);
    sqlite3_bind_text(w->chunk, 2, chunk->heading, -1, SQLITE_STATIC);
    sqlite3_bind_text(w->chunk, 3, text, n, SQLITE_STATIC);
    sqlite3_bind_int64(w->chunk, 4, (int64_t)chunk->place.byte_first);
    sqlite3_bind_int64(w->chunk, 5, (int64_t)chunk->place.byte_end);
    sqlite3_bind_int64(w->chunk, 6, chunk->place.line_first);
    sqlite3_bind_int64(w->chunk, 7, chunk->place.line_last);
    sqlite3_bind_blob64(w->chunk, 8, sentences.len ? sentences.data : NULL,
                        sentences.len, SQLITE_STATIC);
    if (!sentences.len) sqlite3_bind_zeroblob(w->chunk, 8, 0);
    sqlite3_bind_blob(w->chunk, 9, print, (int)sizeof print, SQLITE_STATIC);
    if (!err) err = step(w->db, w->chunk);
    buf_release(&sentences);
    if (err) return err;
    *id = sqlite3_last_insert_rowid(w->db->sql);
    sqlite3_bind_int64(w->fts, 1, *id);
    sqlite3_bind_text(w->fts, 2, d->title, -1, SQLITE_STATIC);
    sqlite3_bind_text(w->fts, 3, chunk->heading, -1, SQLITE_STATIC);
    sqlite3_bind_text(w->fts, 4, text, n, SQLITE_STATIC);
    TRY(step(w->db, w->fts));
    sqlite3_bind_int64(w->vector, 1, *id);
    sqlite3_bind_text(w->vector, 2, c->enc_version, -1, SQLITE_STATIC);
    sqlite3_bind_blob(w->vector, 3, v, ENCODER_DIM * (int)sizeof(float),
                      SQLITE_STATIC);
    return step(w->db, w->vector);
}

static enum tacit_err write_chunks(struct corpus *c, const char *path,
                                   const struct document *d,
                                   int64_t document_id, struct passages *p)
{
    struct chunker k;
    struct chunk chunk;
    struct writer w;
    TRY(writer_begin(&w, c->db));
    const char *name = strrchr(path, '/');
    w.title = strcmp(d->title, name ? name + 1 : path) ? d->title : "";
    enum tacit_err err = TACIT_OK;
    chunker_init(&k, d);
    for (size_t i = 0; !err && i < p->n && chunker_next(&k, &chunk); i++) {
        int64_t id = 0;
        err = write_chunk(&w, c, d, document_id, &chunk, vector_at(p, i), &id);
        note_change(p, id, vector_at(p, i));
    }
    writer_finish(&w);
    return err;
}

/* What the store knows of a path; id 0 when nothing. */
struct known {
    int64_t id, n_chunks, n_current;
    int is_same; /* the hash is equal, and so is what makes passages of it */
};

static enum tacit_err look_up(struct corpus *c, const char *path,
                              const struct digest *hash, struct known *out)
{
    sqlite3_stmt *st;
    int has_row = 0;
    *out = (struct known){0};
    TRY(db_query(c->db, &st,
                 "SELECT id, n_chunks, hash = ?2 AND made_by = ?4,"
                 " (SELECT count(*) FROM chunk JOIN vector"
                 "  ON vector.chunk_id = chunk.id"
                 "  WHERE chunk.document_id = document.id"
                 "  AND vector.enc_version = ?3)"
                 " FROM document WHERE path = ?1",
                 "sbsi", path, (const void *)hash->b, sizeof hash->b,
                 c->enc_version, (int64_t)CHUNKER_VERSION));
    enum tacit_err err = db_step(c->db, st, &has_row);
    if (!err && has_row)
        *out = (struct known){.id = sqlite3_column_int64(st, 0),
                              .n_chunks = sqlite3_column_int64(st, 1),
                              .is_same = sqlite3_column_int(st, 2),
                              .n_current = sqlite3_column_int64(st, 3)};
    db_finish(st);
    return err;
}

/* Everything of one document, between BEGIN and COMMIT. */
static enum tacit_err write_document(struct corpus *c, const char *path,
                                     const struct document *d,
                                     const struct digest *hash,
                                     struct passages *p, struct known *was,
                                     int64_t *epoch)
{
    TRY(look_up(c, path, hash, was));
    if (was->id) TRY(delete_rows(c, was->id, p));
    TRY(db_run(c->db,
               "INSERT INTO document(path, title, kind, hash, size_bytes,"
               " n_chunks, added_s, made_by, note)"
               " VALUES(?,?,?,?,?,?,?,?,?)",
               "sssbiiiis", path, d->title, document_kind(d),
               (const void *)hash->b, sizeof hash->b, (int64_t)d->file_bytes,
               (int64_t)p->n, tick_wall_s(), (int64_t)CHUNKER_VERSION,
               d->note));
    TRY(write_chunks(c, path, d, sqlite3_last_insert_rowid(c->db->sql), p));
    TRY(buf_end(&p->changes));
    return corpus_next_epoch(c, epoch);
}

static enum tacit_err replace(struct corpus *c, const char *path,
                              struct document *d, const struct digest *hash,
                              enum corpus_outcome *outcome, size_t *n_chunks)
{
    struct passages p;
    struct known was = {0};
    int64_t epoch = 0;
    passages_init(&p);
    enum tacit_err err = document_parse(d);
    if (!err) err = embed_all(c, d, &p);
    if (!err) err = db_begin(c->db);
    if (!err) {
        err = write_document(c, path, d, hash, &p, &was, &epoch);
        if (!err) err = db_commit(c->db);
        if (err) db_rollback(c->db);
    }
    if (!err) {
        follow(c, &p, epoch);
        snprintf(c->note, sizeof c->note, "%s", d->note);
        *outcome = was.id ? CORPUS_REPLACED : CORPUS_ADDED;
        *n_chunks = p.n;
    }
    passages_release(&p);
    return err;
}

enum tacit_err corpus_add(struct corpus *c, const char *path,
                          enum corpus_outcome *outcome, size_t *n_chunks)
{
    char known_as[CORPUS_PATH_MAX];
    struct document d;
    struct digest hash;
    struct known was;
    c->note[0] = '\0';
    TRY(corpus_path(path, known_as));
    TRY(document_open(&d, known_as));
    hash = d.hash;
    enum tacit_err err = look_up(c, known_as, &hash, &was);
    int is_current = was.id && was.is_same && was.n_current == was.n_chunks;
    if (!err && is_current) {
        *outcome = CORPUS_UNCHANGED;
        *n_chunks = (size_t)was.n_chunks;
    } else if (!err) {
        err = replace(c, known_as, &d, &hash, outcome, n_chunks);
    }
    document_release(&d);
    return err;
}

const char *corpus_note(const struct corpus *c)
{
    return c->note;
}

/* ---- removal --------------------------------------------------------------
 */

enum which { WHICH_ALL, WHICH_GONE };

static int is_gone(const char *path)
{
    struct stat st;
    return stat(path, &st) != 0 && (errno == ENOENT || errno == ENOTDIR);
}

/* Ids of the documents at or below path, into ids (int64_t). */
static enum tacit_err find_below(struct corpus *c, const char *path,
                                 enum which which, struct buf *ids)
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
        if (which == WHICH_ALL || (at && is_gone(at)))
            buf_put(ids, &id, sizeof id);
        err = db_step(c->db, st, &has_row);
    }
    db_finish(st);
    return err ? err : buf_end(ids);
}

static enum tacit_err delete_found(struct corpus *c, const char *path,
                                   enum which which, struct buf *ids,
                                   struct passages *p, int64_t *epoch)
{
    TRY(find_below(c, path, which, ids));
    for (size_t i = 0; i < ids->len / sizeof(int64_t); i++) {
        int64_t id;
        memcpy(&id, ids->data + i * sizeof id, sizeof id);
        TRY(delete_rows(c, id, p));
    }
    TRY(buf_end(&p->changes));
    return corpus_next_epoch(c, epoch);
}

static enum tacit_err remove_below(struct corpus *c, const char *path,
                                   enum which which, size_t *n_removed)
{
    char known_as[CORPUS_PATH_MAX];
    struct passages p;
    struct buf ids;
    int64_t epoch = 0;
    TRY(corpus_path(path, known_as));
    passages_init(&p);
    buf_init(&ids, DOCUMENTS_MAX_IN_WRITE * sizeof(int64_t));
    enum tacit_err err = db_begin(c->db);
    if (!err) {
        err = delete_found(c, known_as, which, &ids, &p, &epoch);
        if (!err) err = db_commit(c->db);
        if (err) db_rollback(c->db);
    }
    if (!err) {
        follow(c, &p, epoch);
        *n_removed = ids.len / sizeof(int64_t);
    }
    buf_release(&ids);
    passages_release(&p);
    return err;
}

enum tacit_err corpus_remove(struct corpus *c, const char *path,
                             size_t *n_removed)
{
    return remove_below(c, path, WHICH_ALL, n_removed);
}

enum tacit_err corpus_prune(struct corpus *c, const char *folder,
                            size_t *n_removed)
{
    return remove_below(c, folder, WHICH_GONE, n_removed);
}
