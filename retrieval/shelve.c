#include "retrieval/shelve.h"

#include <string.h>

#include "common/base/digest.h"
#include "common/base/tick.h"
#include "retrieval/chunker.h"
#include "retrieval/corpus_state.h"
#include "retrieval/embedder.h"
#include "retrieval/places.h"
#include "retrieval/sentence.h"

/* The sentences of a text; the last one takes what is left. */
static void cut(const char *text, size_t n, struct chunk *out)
{
    enum language language = language_guess(text, n);
    *out = (struct chunk){.text_end = n};
    for (size_t at = 0; at < n;) {
        size_t len = sentence_length(language, text + at, n - at);
        size_t end = at + len;
        if (out->n_sentences + 1 == CHUNK_SENTENCES_MAX) end = n;
        size_t last = end;
        while (last > at && strchr(" \t\r\n", text[last - 1])) last--;
        if (last > at)
            out->sentence[out->n_sentences++] = (struct chunk_sentence){
                .text_first = (uint32_t)at,
                .text_end = (uint32_t)last,
                .place = {.byte_first = at,
                          .byte_end = last,
                          .line_first = 1,
                          .line_last = 1},
            };
        at = end;
    }
}

static enum tacit_err write_rows(struct corpus *c, const char *path,
                                 const char *title, const char *text, size_t n,
                                 const float *v)
{
    struct digest hash;
    struct chunk chunk;
    struct buf places;
    digest_of(&hash, text, n);
    cut(text, n, &chunk);
    buf_init(&places, 0);
    places_encode(&places, &chunk);
    enum tacit_err err = buf_end(&places);
    if (!err)
        err = db_run(c->db,
                     "INSERT INTO document(path, title, kind, hash, size_bytes,"
                     " n_chunks, added_s) VALUES(?, ?, 'text', ?, ?, 1, ?)",
                     "ssbii", path, title, (const void *)hash.b, sizeof hash.b,
                     (int64_t)n, tick_wall_s());
    int64_t document = sqlite3_last_insert_rowid(c->db->sql);
    if (!err)
        err = db_run(c->db,
                     "INSERT INTO chunk(document_id, heading, text, byte_first,"
                     " byte_end, line_first, line_last, sentences)"
                     " VALUES(?, '', ?, 0, ?, 1, 1, ?)",
                     "isib", document, text, (int64_t)n,
                     (const void *)places.data, places.len);
    buf_release(&places);
    if (err) return err;
    int64_t id = sqlite3_last_insert_rowid(c->db->sql);
    TRY(db_run(c->db,
               "INSERT INTO chunk_fts(rowid, title, heading, text)"
               " VALUES(?, ?, '', ?)",
               "iss", id, title, text));
    return db_run(c->db, "INSERT INTO vector VALUES(?, ?, ?)", "isb", id,
                  c->enc_version, (const void *)v, ENCODER_DIM * sizeof *v);
}

enum tacit_err shelve_text(struct corpus *c, const char *path,
                           const char *title, const char *text)
{
    float v[ENCODER_DIM];
    struct text whole = {text, strlen(text)};
    TRY(embedder_passage(c->encoder, &c->scratch, title, "", whole, v));
    return write_rows(c, path, title, text, whole.n, v);
}

enum tacit_err shelve_end(struct corpus *c)
{
    int64_t epoch;
    return corpus_next_epoch(c, &epoch);
}
