#include "retrieval/search_read.h"

#include <string.h>

#include "common/base/sorted.h"
#include "retrieval/chunker.h"
#include "retrieval/corpus_state.h"
#include "retrieval/filter.h"
#include "retrieval/places.h"
#include "retrieval/twin.h"

enum { BY_WORDS, BY_VECTORS };
enum { PRINTS_MAX = 9 }; /* of a hit: its own, and of what is near it */

/* A hit while passages join it. */
struct joining {
    struct search_hit hit; /* of the best of them */
    int64_t first, last;   /* chunk ids */
    int64_t document;
    uint8_t print[TWIN_PRINT]; /* of the best of them */
    int has_print;
    uint8_t near[PRINTS_MAX][TWIN_PRINT]; /* of what is folded into it */
    size_t n_near;
};

static enum tacit_err copy_column(struct arena *a, sqlite3_stmt *st, int col,
                                  const char **out)
{
    char *copy = NULL;
    const char *s = (const char *)sqlite3_column_text(st, col);
    TRY(arena_strdup(a, s ? s : "", (size_t)sqlite3_column_bytes(st, col),
                     &copy));
    *out = copy;
    return TACIT_OK;
}

/* "A\x1fB" -> "A > B". */
static enum tacit_err show_heading(struct arena *a, const char **heading)
{
    const char *from = *heading;
    char *shown = NULL;
    size_t n = 0;
    TRY(arena_alloc(a, 3 * strlen(from) + 1, 1, &shown));
    for (const char *p = from; *p; p++) {
        if (*p != CHUNK_HEADING_MARK) {
            shown[n++] = *p;
            continue;
        }
        memcpy(shown + n, " > ", 3);
        n += 3;
    }
    *heading = shown;
    return TACIT_OK;
}

int search_hit_place(const struct search_hit *h, uint32_t *first, uint32_t *end)
{
    uint32_t at = 0;
    if (h->n_rows == 0) return 1;
    for (size_t i = 0; i < h->n_rows; i++) {
        const struct filter_row *r = &h->rows[i];
        if (*first >= r->first && *end <= r->end) {
            *first = *first - r->first + at;
            *end = *end - r->first + at;
            return 1;
        }
        at += r->end - r->first + 1;
    }
    return 0;
}

/* Of a passage of rows, those that the filter lets through. */
static enum tacit_err keep_rows(struct arena *a, const struct filter *f,
                                struct search_hit *h)
{
    struct filter_row *rows = NULL;
    char *text = NULL;
    size_t n = 0;
    TRY(arena_alloc(a, CHUNK_SENTENCES_MAX, sizeof *rows, &rows));
    size_t n_rows = filter_rows(f, h->kind, h->text, h->text_len, rows,
                                CHUNK_SENTENCES_MAX);
    if (n_rows == 0) return TACIT_OK;
    TRY(arena_alloc(a, h->text_len + 2, 1, &text));
    for (size_t i = 0; i < n_rows; i++) {
        size_t len = rows[i].end - rows[i].first;
        if (i) text[n++] = '\n';
        memcpy(text + n, h->text + rows[i].first, len);
        n += len;
    }
    h->rows = rows;
    h->n_rows = n_rows;
    h->text = text;
    h->text_len = n;
    return TACIT_OK;
}

/* Pages stand with the sentences (places.h); so do lines and bytes of rows. */
static enum tacit_err read_places(sqlite3_stmt *st, struct search_hit *h)
{
    struct chunk_sentence list[CHUNK_SENTENCES_MAX];
    size_t n = 0, n_kept = 0;
    TRY(places_decode(sqlite3_column_blob(st, 11),
                      (size_t)sqlite3_column_bytes(st, 11), h->whole_len, list,
                      &n));
    for (size_t i = 0; i < n; i++)
        if (search_hit_place(h, &list[i].text_first, &list[i].text_end))
            list[n_kept++] = list[i];
    if (n_kept == 0) return TACIT_OK;
    const struct place *first = &list[0].place, *last = &list[n_kept - 1].place;
    h->page_first = first->page_first;
    h->page_last = last->page_last;
    if (h->n_rows == 0) return TACIT_OK;
    h->byte_first = first->byte_first;
    h->byte_end = last->byte_end;
    h->line_first = first->line_first;
    h->line_last = last->line_last;
    return TACIT_OK;
}

static enum tacit_err fill(struct arena *a, const struct filter *f,
                           sqlite3_stmt *st, struct search_hit *h)
{
    TRY(copy_column(a, st, 0, &h->path));
    TRY(copy_column(a, st, 1, &h->title));
    TRY(copy_column(a, st, 2, &h->heading));
    TRY(copy_column(a, st, 3, &h->text));
    TRY(copy_column(a, st, 8, &h->kind));
    TRY(show_heading(a, &h->heading));
    h->text_len = h->whole_len = (size_t)sqlite3_column_bytes(st, 3);
    h->byte_first = (uint64_t)sqlite3_column_int64(st, 4);
    h->byte_end = (uint64_t)sqlite3_column_int64(st, 5);
    h->line_first = (uint32_t)sqlite3_column_int64(st, 6);
    h->line_last = (uint32_t)sqlite3_column_int64(st, 7);
    h->added_s = sqlite3_column_int64(st, 9);
    TRY(keep_rows(a, f, h));
    return read_places(st, h);
}

static enum tacit_err read_one(struct corpus *c, const struct filter *filter,
                               struct arena *a, sqlite3_stmt *st,
                               const struct fused *f, struct joining *j,
                               int *found)
{
    sqlite3_reset(st);
    sqlite3_bind_int64(st, 1, f->id);
    TRY(db_step(c->db, st, found));
    if (!*found) return TACIT_OK;
    TRY(fill(a, filter, st, &j->hit));
    j->document = sqlite3_column_int64(st, 10);
    const void *print = sqlite3_column_blob(st, 12);
    j->has_print = print && sqlite3_column_bytes(st, 12) == TWIN_PRINT;
    if (j->has_print) memcpy(j->print, print, TWIN_PRINT);
    j->first = j->last = f->id;
    j->hit.chunk_id = f->id;
    j->hit.score = f->score;
    j->hit.words = f->words;
    j->hit.share = f->share;
    j->hit.cosine = (float)f->cosine;
    j->hit.rank_words = f->rank[BY_WORDS];
    j->hit.rank_vectors = f->rank[BY_VECTORS];
    j->hit.n_joined = 1;
    return TACIT_OK;
}

/* Where the text of passage `id` begins that does not stand in the passage
 * before it, which ends at byte `end` of the file. */
static enum tacit_err skip_overlap(struct corpus *c, int64_t id,
                                   size_t text_len, uint64_t end, size_t *out)
{
    struct chunk_sentence list[CHUNK_SENTENCES_MAX];
    sqlite3_stmt *st;
    int has_row = 0;
    size_t n = 0;
    TRY(db_query(c->db, &st, "SELECT sentences FROM chunk WHERE id = ?", "i",
                 id));
    enum tacit_err err = db_step(c->db, st, &has_row);
    if (!err && has_row)
        err = places_decode(sqlite3_column_blob(st, 0),
                            (size_t)sqlite3_column_bytes(st, 0), text_len, list,
                            &n);
    db_finish(st);
    *out = 0;
    for (size_t i = 0; i < n && list[i].place.byte_first < end; i++)
        *out = list[i].text_end;
    return err;
}

/* `early` stands right before `late`: their text as one. */
static enum tacit_err join_texts(struct corpus *c, struct arena *a,
                                 const struct search_hit *early,
                                 const struct search_hit *late, int64_t late_id,
                                 struct search_hit *out)
{
    size_t skip = 0;
    char *text = NULL;
    TRY(skip_overlap(c, late_id, late->text_len, early->byte_end, &skip));
    while (skip < late->text_len && strchr(" \n", late->text[skip])) skip++;
    size_t n = late->text_len - skip;
    TRY(arena_alloc(a, early->text_len + n + 2, 1, &text));
    memcpy(text, early->text, early->text_len);
    text[early->text_len] = '\n';
    memcpy(text + early->text_len + 1, late->text + skip, n);
    out->text = text;
    out->text_len = early->text_len + 1 + n;
    out->byte_first = early->byte_first;
    out->byte_end = late->byte_end;
    out->line_first = early->line_first;
    out->line_last = late->line_last;
    out->page_first = early->page_first;
    out->page_last = late->page_last;
    return TACIT_OK;
}

static enum tacit_err join(struct corpus *c, struct arena *a, struct joining *j,
                           const struct joining *more)
{
    struct search_hit hit = j->hit;
    if (more->first == j->last + 1) {
        TRY(join_texts(c, a, &j->hit, &more->hit, more->first, &hit));
        j->last = more->last;
    } else {
        /* j begins with its own first passage, whatever joined behind. */
        TRY(join_texts(c, a, &more->hit, &j->hit, j->first, &hit));
        j->first = more->first;
    }
    hit.n_joined = j->hit.n_joined + more->hit.n_joined;
    j->hit = hit;
    return TACIT_OK;
}

static int may_join(const struct joining *j, const struct joining *more)
{
    return j->document == more->document && !j->hit.n_rows &&
           !more->hit.n_rows && j->hit.n_joined < SEARCH_JOINED_MAX &&
           (more->first == j->last + 1 || more->last == j->first - 1) &&
           strcmp(j->hit.heading, more->hit.heading) == 0;
}

/* *hit: where it is the best passage; NULL: it joined, or there is no room. */
static enum tacit_err place(struct corpus *c, const struct search_query *q,
                            struct arena *a, const struct joining *one,
                            struct joining *list, size_t *n,
                            struct joining **hit)
{
    *hit = NULL;
    for (size_t i = 0; q->neighbours == SEARCH_JOINED && i < *n; i++)
        if (may_join(&list[i], one)) return join(c, a, &list[i], one);
    if (*n == q->limit) return TACIT_OK;
    list[*n] = *one;
    *hit = &list[(*n)++];
    return TACIT_OK;
}

/* ---- equal passages ----------------------------------------------------- */

/* A passage that has been read. */
struct read {
    uint8_t print[TWIN_PRINT];
    int has_print;
    const char *title, *heading;
    const uint32_t *words; /* [n_words] arena */
    size_t n_words;
    struct joining *hit; /* that it is the best passage of; or NULL */
};

struct seen {
    struct read *list;
    size_t n;
};

static enum tacit_err describe(struct arena *a, const struct joining *j,
                               struct read *out)
{
    const char *slash = strrchr(j->hit.path, '/');
    uint32_t *words = NULL;
    TRY(arena_alloc(a, j->hit.text_len + 1, sizeof *words, &words));
    *out = (struct read){.has_print = j->has_print,
                         .title = j->hit.title,
                         .heading = j->hit.heading,
                         .words = words};
    if (strcmp(out->title, slash ? slash + 1 : j->hit.path) == 0)
        out->title = "";
    memcpy(out->print, j->print, TWIN_PRINT);
    out->n_words = twin_words(j->hit.text, j->hit.text_len, words);
    return TACIT_OK;
}

/* The better passage that shows what this one says; NULL: it is new. */
static const struct read *find_better(const struct seen *s,
                                      const struct read *r)
{
    if (!r->has_print) return NULL; /* shelved texts are each their own */
    for (size_t i = 0; i < s->n; i++) {
        const struct read *b = &s->list[i];
        if (!b->has_print) continue;
        if (memcmp(b->print, r->print, TWIN_PRINT) == 0) return b;
        if (strcmp(b->title, r->title) == 0 &&
            strcmp(b->heading, r->heading) == 0 &&
            twin_holds(b->words, b->n_words, r->words, r->n_words))
            return b;
    }
    return NULL;
}

static int has_near(const struct joining *j, const uint8_t *print)
{
    for (size_t i = 0; i < j->n_near; i++)
        if (memcmp(j->near[i], print, TWIN_PRINT) == 0) return 1;
    return 0;
}

/* Remember whose passages are folded into a hit. */
static void note_near(struct joining *hit, const struct read *r)
{
    if (hit && r->has_print && hit->n_near < PRINTS_MAX &&
        !has_near(hit, r->print))
        memcpy(hit->near[hit->n_near++], r->print, TWIN_PRINT);
}

static int is_allowed(const int64_t *only, size_t n_only, int64_t id)
{
    return !only || sorted_find(only, n_only, id) < n_only;
}

static int is_named(const struct search_hit *h, const char *path)
{
    size_t n = h->n_also < SEARCH_ALSO_MAX ? h->n_also : SEARCH_ALSO_MAX;
    for (size_t i = 0; i < n; i++)
        if (strcmp(h->also[i], path) == 0) return 1;
    return 0;
}

static enum tacit_err find_holders(struct corpus *c, struct arena *a,
                                   const struct search_found *from,
                                   const uint8_t *print, struct joining *j)
{
    sqlite3_stmt *st;
    int has_row = 0;
    int64_t last = -1;
    struct search_hit *h = &j->hit;
    TRY(db_query(c->db, &st,
                 "SELECT path, chunk.id, document_id"
                 " FROM chunk JOIN document ON document.id = document_id"
                 " WHERE print = ? AND document_id <> ? ORDER BY path",
                 "bi", (const void *)print, (size_t)TWIN_PRINT, j->document));
    enum tacit_err err = db_step(c->db, st, &has_row);
    while (!err && has_row) {
        int64_t document = sqlite3_column_int64(st, 2);
        const char *path = (const char *)sqlite3_column_text(st, 0);
        if (document != last && path && !is_named(h, path) &&
            is_allowed(from->only, from->n_only, sqlite3_column_int64(st, 1))) {
            if (h->n_also < SEARCH_ALSO_MAX)
                err = copy_column(a, st, 0, &h->also[h->n_also]);
            h->n_also++;
            last = document;
        }
        if (!err) err = db_step(c->db, st, &has_row);
    }
    db_finish(st);
    return err;
}

/* The other documents that hold the best passage of a hit, or what is folded
 * into it. */
static enum tacit_err find_others(struct corpus *c, struct arena *a,
                                  const struct search_found *from,
                                  struct joining *j)
{
    TRY(arena_alloc(a, SEARCH_ALSO_MAX, sizeof *j->hit.also, &j->hit.also));
    for (size_t i = 0; i < j->n_near; i++)
        TRY(find_holders(c, a, from, j->near[i], j));
    return TACIT_OK;
}

/* One candidate that was read: a hit, a part of one, or in one already. */
static enum tacit_err take(struct corpus *c, const struct search_query *q,
                           struct arena *a, const struct joining *one,
                           struct seen *seen, struct joining *list,
                           size_t *n_list)
{
    struct read r;
    TRY(describe(a, one, &r));
    const struct read *better = find_better(seen, &r);
    if (better) {
        note_near(better->hit, &r);
        return TACIT_OK;
    }
    TRY(place(c, q, a, one, list, n_list, &r.hit));
    note_near(r.hit, &r);
    seen->list[seen->n++] = r;
    return TACIT_OK;
}

/* Hits from the candidates, best first. */
static enum tacit_err read_all(struct corpus *c, const struct search_query *q,
                               struct arena *a, struct search_found *from,
                               struct joining *list, size_t *n_list)
{
    sqlite3_stmt *st = NULL;
    struct seen seen = {0};
    /* A few beyond the limit may still join. */
    size_t n_read = q->limit * (q->neighbours == SEARCH_JOINED ? 2 : 1);
    TRY(arena_alloc(a, n_read + 1, sizeof *seen.list, &seen.list));
    TRY(db_query(c->db, &st,
                 "SELECT path, title, heading, text, byte_first, byte_end,"
                 " line_first, line_last, kind, added_s, document_id,"
                 " sentences, print"
                 " FROM chunk JOIN document ON document.id = document_id"
                 " WHERE chunk.id = ?",
                 ""));
    enum tacit_err err = TACIT_OK;
    for (size_t i = 0; !err && i < from->n && seen.n < n_read; i++) {
        struct joining one = {0};
        int found = 0;
        err = read_one(c, q->filter, a, st, &from->fused[i], &one, &found);
        if (!err && found) err = take(c, q, a, &one, &seen, list, n_list);
    }
    db_finish(st);
    from->n_different = seen.n;
    return err;
}

enum tacit_err search_read(struct corpus *c, const struct search_query *q,
                           struct arena *a, struct search_found *from,
                           struct search_hit **hits, size_t *n_hits)
{
    struct joining *list = NULL;
    struct search_hit *out = NULL;
    size_t n_list = 0;
    TRY(arena_alloc(a, q->limit, sizeof *list, &list));
    TRY(arena_alloc(a, q->limit, sizeof *out, &out));
    TRY(read_all(c, q, a, from, list, &n_list));
    for (size_t i = 0; i < n_list; i++) {
        TRY(find_others(c, a, from, &list[i]));
        out[i] = list[i].hit;
    }
    *hits = out;
    *n_hits = n_list;
    return TACIT_OK;
}
