#include "retrieval/words_scan.h"

#include <stdlib.h>
#include <string.h>

#include "retrieval/postings.h"
#include "retrieval/stem.h"
#include "retrieval/words_rank.h"

enum { WAITING = 2000 };

/* A row whose length is not known yet. */
struct waiting {
    struct words_held row;
    double most; /* its score, if it were as short as can be */
};

struct scan {
    struct postings *p; /* owned */
    struct words_ranking rank;
    uint8_t term[POSTINGS_TOKENS_MAX]; /* of each token */
    size_t n_tokens;
    size_t n_words; /* of the term that is being read */
    enum tacit_err err;
    uint64_t n_held[QUESTION_TERMS_MAX]; /* rows */
    struct arena a;
    struct waiting *list; /* [WAITING] arena, with what stands in them */
    const struct waiting **order; /* [WAITING] arena */
    size_t n_waiting;
};

/* ---- tokens ---------------------------------------------------------------
 */

static int on_token(void *ctx, int flags, const char *token, int n, int first,
                    int end)
{
    struct scan *s = ctx;
    (void)first, (void)end;
    s->n_words += !(flags & FTS5_TOKEN_COLOCATED);
    s->err = postings_add(s->p, token, (size_t)n);
    if (s->err) return SQLITE_ABORT;
    s->term[s->n_tokens++] = (uint8_t)s->rank.n_terms;
    return SQLITE_OK;
}

/* Each term's stems, one to a language; LIMIT where there is more to a term. */
static enum tacit_err add_terms(struct scan *s, const fts5_tokenizer *t,
                                Fts5Tokenizer *self)
{
    const struct words_query *q = s->rank.q;
    for (; s->rank.n_terms < q->n_terms; s->rank.n_terms++) {
        const char *term = q->term[s->rank.n_terms];
        s->n_words = 0;
        int rc = t->xTokenize(self, s, FTS5_TOKENIZE_QUERY, term,
                              (int)strlen(term), on_token);
        if (s->err) return s->err;
        if (rc != SQLITE_OK) return fail(TACIT_NOMEM, "out of memory");
        if (s->n_words > 1) return fail(TACIT_LIMIT, "more than a word");
    }
    return TACIT_OK;
}

static enum tacit_err read_terms(struct scan *s, struct db *db)
{
    fts5_api *api;
    fts5_tokenizer t;
    void *shared = NULL;
    Fts5Tokenizer *self = NULL;
    TRY(stem_fts5(db, &api));
    int rc = api->xFindTokenizer(api, "tacit", &shared, &t);
    if (rc == SQLITE_OK) rc = t.xCreate(shared, NULL, 0, &self);
    TRY(db_error(db, rc, "cannot find the tokenizer"));
    enum tacit_err err = add_terms(s, &t, self);
    t.xDelete(self);
    return err;
}

/* ---- rows -----------------------------------------------------------------
 */

/* Row `at` of a window, which is zeroed there; 0: it holds no term. */
static int take_row(const struct scan *s, struct postings_window *w, size_t at,
                    struct words_held *row)
{
    row->id = w->first + (int64_t)at;
    int holds = 0;
    row->n_words_min = 0;
    for (size_t i = 0; i < s->rank.n_terms; i++) row->f[i] = 0;
    for (size_t t = 0; t < s->n_tokens; t++) {
        struct posting *one = &w->list[t][at];
        if (!one->held) continue;
        row->f[s->term[t]] += one->held;
        if (one->reach > row->n_words_min) row->n_words_min = one->reach;
        *one = (struct posting){0, 0};
        holds = 1;
    }
    return holds;
}

static enum tacit_err count_row(struct scan *s, const struct words_held *row)
{
    for (size_t i = 0; i < s->rank.n_terms; i++) s->n_held[i] += row->f[i] > 0;
    return TACIT_OK;
}

static int by_most(const void *a, const void *b)
{
    const struct waiting *const *x = a, *const *y = b;
    return ((*x)->most < (*y)->most) - ((*x)->most > (*y)->most);
}

/* To look a length up takes longer than all else of a row. Those that wait are
 * ranked from the most promising on: soon the others need no length. */
static enum tacit_err rank_waiting(struct scan *s)
{
    double most;
    uint64_t n_words;
    for (size_t i = 0; i < s->n_waiting; i++) s->order[i] = &s->list[i];
    qsort(s->order, s->n_waiting, sizeof *s->order, by_most);
    for (size_t i = 0; i < s->n_waiting; i++) {
        const struct words_held *row = &s->order[i]->row;
        if (!words_rank_needs(&s->rank, row, &most)) continue;
        TRY(postings_length(s->p, row->id, &n_words));
        words_rank_take(&s->rank, row, (double)n_words);
    }
    s->n_waiting = 0;
    return TACIT_OK;
}

static enum tacit_err rank_row(struct scan *s, const struct words_held *row)
{
    if (!words_rank_lets(&s->rank, row->id) ||
        !words_rank_needs(&s->rank, row, &s->list[s->n_waiting].most))
        return TACIT_OK;
    return ++s->n_waiting == WAITING ? rank_waiting(s) : TACIT_OK;
}

typedef enum tacit_err on_row(struct scan *s, const struct words_held *row);

static enum tacit_err take_window(struct scan *s, struct postings_window *w,
                                  on_row *on)
{
    for (size_t i = 0; i < POSTINGS_WINDOW / 64; i++)
        for (uint64_t bits = w->there[i]; bits; bits &= bits - 1) {
            size_t at = 64 * i + (size_t)__builtin_ctzll(bits);
            struct words_held *row = &s->list[s->n_waiting].row;
            if (take_row(s, w, at, row)) TRY(on(s, row));
        }
    return TACIT_OK;
}

static enum tacit_err go_through(struct scan *s, enum postings_depth depth,
                                 on_row *on)
{
    struct postings_window *w;
    TRY(postings_begin(s->p, depth));
    TRY(postings_next(s->p, &w));
    while (w) {
        TRY(take_window(s, w, on));
        TRY(postings_next(s->p, &w));
    }
    return TACIT_OK;
}

/* Room for rows that wait, and one that is read. */
static enum tacit_err make_room(struct scan *s)
{
    double *f = NULL;
    size_t n = s->rank.n_terms;
    TRY(arena_alloc_raw(&s->a, WAITING, sizeof *s->list, &s->list));
    TRY(arena_alloc_raw(&s->a, WAITING, sizeof *s->order, &s->order));
    TRY(arena_alloc_raw(&s->a, WAITING * n, sizeof *f, &f));
    for (size_t i = 0; i < WAITING; i++) s->list[i].row.f = f + i * n;
    return TACIT_OK;
}

/* How many rows hold each term is known before the first is ranked. */
static enum tacit_err run(struct scan *s)
{
    uint64_t n_rows, n_words;
    TRY(postings_totals(s->p, &n_rows, &n_words));
    TRY(make_room(s));
    TRY(go_through(s, POSTINGS_ROWS, count_row));
    words_rank_scale(&s->rank, (double)n_rows, (double)n_words);
    for (size_t i = 0; i < s->rank.n_terms; i++)
        words_rank_term(&s->rank, i, (double)n_rows, (double)s->n_held[i]);
    TRY(go_through(s, POSTINGS_PLACES, rank_row));
    return rank_waiting(s);
}

enum tacit_err words_scan(struct db *db, struct words_query *q, int *is_done)
{
    struct scan s = {.p = NULL};
    *is_done = 0;
    if (q->n_terms == 0) return TACIT_OK;
    TRY(postings_open(db, words_weight, &s.p));
    if (!s.p) return TACIT_OK;
    words_rank_begin(&s.rank, q);
    arena_init(&s.a, 0);
    enum tacit_err err = read_terms(&s, db);
    int is_ours = !err;
    if (!err) err = run(&s);
    postings_close(s.p);
    arena_release(&s.a);
    words_rank_end(&s.rank);
    if (is_ours || err != TACIT_LIMIT) {
        *is_done = !err;
        return err;
    }
    err_clear();
    return TACIT_OK;
}
