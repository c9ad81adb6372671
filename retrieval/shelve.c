#include "retrieval/shelve.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/tick.h"
#include "retrieval/chunker.h"
#include "retrieval/corpus_state.h"
#include "retrieval/embedder.h"
#include "retrieval/places.h"
#include "retrieval/sentence.h"

/* The sentences of a text; the last one takes what is left. */
static void find_sentences(const char *text, size_t n, struct chunk *out)
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

enum tacit_err shelve_cut(const char *text, struct shelve_cut *out)
{
    struct chunk chunk;
    size_t n = strlen(text);
    digest_of(&out->hash, text, n);
    find_sentences(text, n, &chunk);
    buf_init(&out->places, PLACES_BYTES_MAX);
    places_encode(&out->places, &chunk);
    return buf_end(&out->places);
}

void shelve_cut_release(struct shelve_cut *cut)
{
    buf_release(&cut->places);
}

static enum tacit_err add_document(struct corpus *c,
                                   const struct shelve_row *row,
                                   const struct digest *hash)
{
    sqlite3_stmt *st;
    TRY(corpus_statement(c, CORPUS_DOCUMENT_ADD, &st));
    sqlite3_bind_text(st, 1, row->path, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 2, row->title, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 3, "text", -1, SQLITE_STATIC);
    sqlite3_bind_blob(st, 4, hash->b, (int)sizeof hash->b, SQLITE_STATIC);
    sqlite3_bind_int64(st, 5, (int64_t)strlen(row->text));
    sqlite3_bind_int64(st, 6, 1);
    sqlite3_bind_int64(st, 7, tick_wall_s());
    sqlite3_bind_int64(st, 8, 0); /* no chunker made it */
    sqlite3_bind_text(st, 9, "", -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 10, c->enc_version, -1, SQLITE_STATIC);
    return corpus_run(c, CORPUS_DOCUMENT_ADD);
}

enum tacit_err shelve_vector(struct corpus *c, const struct shelve_row *row,
                             const struct shelve_cut *cut, const float *v)
{
    size_t n = strlen(row->text);
    enum tacit_err err = add_document(c, row, &cut->hash);
    if (err == TACIT_STATE) {
        err_clear();
        return fail_as(E_JUDGED_SYNTAX, "\"%.80s\" is the id of two texts",
                       row->path);
    }
    if (err) return err;
    return corpus_write(
        c, &(struct corpus_row){
               .document_id = sqlite3_last_insert_rowid(c->db->sql),
               .title = row->title,
               .text = row->text,
               .text_len = n,
               .heading = "",
               .place = {.byte_end = n, .line_first = 1, .line_last = 1},
               .places = cut->places.data,
               .n_places = cut->places.len,
               .v = v});
}

/* One that is cut here. */
static enum tacit_err cut_and_write(struct corpus *c,
                                    const struct shelve_row *row,
                                    const float *v)
{
    struct shelve_cut cut;
    enum tacit_err err = shelve_cut(row->text, &cut);
    if (!err) err = shelve_vector(c, row, &cut, v);
    shelve_cut_release(&cut);
    return err;
}

enum tacit_err shelve_text(struct corpus *c, const char *path,
                           const char *title, const char *text)
{
    const struct shelve_row one = {path, title, text};
    return shelve_texts(c, &one, 1);
}

enum tacit_err shelve_texts(struct corpus *c, const struct shelve_row *rows,
                            size_t n)
{
    struct embedder_text *list = calloc(n + 1, sizeof *list);
    float *v = calloc(n * c->dim + 1, sizeof *v);
    enum tacit_err err = TACIT_OK;
    if (!list || !v) err = fail(TACIT_NOMEM, "no memory for %zu texts", n);
    for (size_t i = 0; !err && i < n; i++)
        list[i] = (struct embedder_text){rows[i].title,
                                         "",
                                         {rows[i].text, strlen(rows[i].text)}};
    if (!err) err = embedder_passages(c->encoder, &c->scratch, list, n, v);
    for (size_t i = 0; !err && i < n; i++)
        err = cut_and_write(c, &rows[i], v + i * c->dim);
    free(list);
    free(v);
    return err;
}

enum tacit_err shelve_end(struct corpus *c)
{
    return corpus_end(c);
}
