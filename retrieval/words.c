#include "retrieval/words.h"

#include <math.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/db_mend.h"
#include "retrieval/filter.h"
#include "retrieval/question.h"
#include "retrieval/stem.h"
#include "retrieval/words_ahead.h"
#include "retrieval/words_merge.h"

#define K1      1.2
#define B       0.75
#define IDF_MIN 1e-6

enum {
    COLUMNS = 3,
    ROOM_BYTES = 16 << 20 /* of the words of one transaction, at most */
};
/* Title, heading, text: a word in a heading says more than one in the text. */
static const double column_weight[COLUMNS] = {1, 3, 1};

static const char pointer_type[] = "tacit-words";

/* One search, while FTS5 goes through the rows. */
struct ranking {
    struct words_query *q;
    int is_ready, n_phrases;
    double idf[QUESTION_TERMS_MAX];
    double mean_words;
};

/* ---- the best so far: a heap whose root is the worst of them -------------
 */

static int is_better(const struct words_hit *a, const struct words_hit *b)
{
    if (a->score != b->score) return a->score > b->score;
    return a->id < b->id;
}

static void sift_down(struct words_hit *h, size_t n, size_t i)
{
    for (;;) {
        size_t worst = i, left = 2 * i + 1, right = left + 1;
        if (left < n && is_better(&h[worst], &h[left])) worst = left;
        if (right < n && is_better(&h[worst], &h[right])) worst = right;
        if (worst == i) return;
        struct words_hit t = h[i];
        h[i] = h[worst];
        h[worst] = t;
        i = worst;
    }
}

static void keep(struct words_query *q, struct words_hit hit)
{
    struct words_hit *h = q->best;
    if (q->n_found == q->n_best) {
        if (!is_better(&hit, &h[0])) return;
        h[0] = hit;
        sift_down(h, q->n_found, 0);
        return;
    }
    size_t i = q->n_found++;
    h[i] = hit;
    for (size_t up; i > 0 && is_better(&h[up = (i - 1) / 2], &h[i]); i = up) {
        struct words_hit t = h[i];
        h[i] = h[up];
        h[up] = t;
    }
}

/* The heap becomes a list, best first. */
static void sort_best(struct words_query *q)
{
    for (size_t n = q->n_found; n > 1; n--) {
        struct words_hit worst = q->best[0];
        q->best[0] = q->best[n - 1];
        q->best[n - 1] = worst;
        sift_down(q->best, n - 1, 0);
    }
}

/* ---- one row -------------------------------------------------------------
 */

static int count_row(const Fts5ExtensionApi *api, Fts5Context *fts, void *ctx)
{
    (void)api, (void)fts;
    ++*(int64_t *)ctx;
    return SQLITE_OK;
}

static int prepare(const Fts5ExtensionApi *api, Fts5Context *fts,
                   struct ranking *r)
{
    sqlite3_int64 n_rows = 0, n_words = 0;
    int rc = api->xRowCount(fts, &n_rows);
    if (rc == SQLITE_OK) rc = api->xColumnTotalSize(fts, -1, &n_words);
    r->n_phrases = api->xPhraseCount(fts);
    if (r->n_phrases > QUESTION_TERMS_MAX) r->n_phrases = QUESTION_TERMS_MAX;
    for (int i = 0; i < r->n_phrases && rc == SQLITE_OK; i++) {
        int64_t n = 0;
        rc = api->xQueryPhrase(fts, i, &n, count_row);
        double held = (double)n;
        r->idf[i] = log(((double)n_rows - held + 0.5) / (held + 0.5));
        if (!(r->idf[i] > IDF_MIN)) r->idf[i] = IDF_MIN;
    }
    r->mean_words = n_rows > 0 ? (double)n_words / (double)n_rows : 1;
    if (!(r->mean_words > 0)) r->mean_words = 1;
    r->is_ready = rc == SQLITE_OK;
    return rc;
}

/* Weighted occurrences of each phrase into f; *most is what the row would
 * score without any length. */
static int count_terms(const Fts5ExtensionApi *api, Fts5Context *fts,
                       const struct ranking *r, double *f, double *most)
{
    *most = 0;
    for (int i = 0; i < r->n_phrases; i++) {
        Fts5PhraseIter it;
        int col = -1, at = 0;
        f[i] = 0;
        int rc = api->xPhraseFirst(fts, i, &it, &col, &at);
        if (rc != SQLITE_OK) return rc;
        for (; col >= 0; api->xPhraseNext(fts, &it, &col, &at))
            f[i] += col < COLUMNS ? column_weight[col] : 0;
        if (f[i] > 0)
            *most += r->idf[i] * f[i] * (K1 + 1) / (f[i] + K1 * (1 - B));
    }
    return SQLITE_OK;
}

static int rank_row(const Fts5ExtensionApi *api, Fts5Context *fts,
                    struct ranking *r)
{
    struct words_query *q = r->q;
    double f[QUESTION_TERMS_MAX], most;
    int n_words = 0, rc = SQLITE_OK;
    int64_t id = api->xRowid(fts);
    if (!r->is_ready) rc = prepare(api, fts, r);
    if (rc != SQLITE_OK) return rc;
    if (q->only && filter_find(q->only, q->n_only, id) == q->n_only)
        return SQLITE_OK;
    q->n_matching++;
    size_t at = filter_find(q->wanted, q->n_wanted, id);
    rc = count_terms(api, fts, r, f, &most);
    if (rc != SQLITE_OK) return rc;
    struct words_hit hit = {id, most};
    if (at == q->n_wanted && q->n_found == q->n_best &&
        !is_better(&hit, &q->best[0]))
        return SQLITE_OK;
    rc = api->xColumnSize(fts, -1, &n_words);
    if (rc != SQLITE_OK) return rc;
    double length = (double)n_words / r->mean_words;
    hit.score = 0;
    for (int i = 0; i < r->n_phrases; i++)
        if (f[i] > 0)
            hit.score += r->idf[i] * f[i] * (K1 + 1) /
                         (f[i] + K1 * (1 - B + B * length));
    if (at < q->n_wanted) q->wanted_score[at] = hit.score;
    if (hit.score > 0) keep(q, hit);
    return SQLITE_OK;
}

static void words_rank(const Fts5ExtensionApi *api, Fts5Context *fts,
                       sqlite3_context *ctx, int n_args, sqlite3_value **args)
{
    struct ranking *r =
        n_args == 1 ? sqlite3_value_pointer(args[0], pointer_type) : NULL;
    if (!r) {
        sqlite3_result_error(ctx, "words_rank() is for tacit alone", -1);
        return;
    }
    int rc = rank_row(api, fts, r);
    if (rc != SQLITE_OK) sqlite3_result_error_code(ctx, rc);
}

enum tacit_err words_search(struct db *db, struct words_query *q)
{
    struct ranking r = {.q = q};
    sqlite3_stmt *st;
    int has_row = 0;
    q->n_found = q->n_matching = 0;
    for (size_t i = 0; i < q->n_wanted; i++) q->wanted_score[i] = 0;
    TRY(db_query(db, &st,
                 "SELECT words_rank(chunk_fts, ?2) FROM chunk_fts"
                 " WHERE chunk_fts MATCH ?1",
                 "s", q->fts));
    enum tacit_err err =
        db_error(db, sqlite3_bind_pointer(st, 2, &r, pointer_type, NULL),
                 "cannot bind");
    if (!err) err = db_step(db, st, &has_row);
    while (!err && has_row) err = db_step(db, st, &has_row);
    db_finish(st);
    sort_best(q);
    return err_id() == E_STORE_DAMAGED
               ? err_context(err, "the word index (`tacit doctor --index`)")
               : err;
}

/* ---- the index -----------------------------------------------------------
 */

enum tacit_err words_languages(struct db *db, uint32_t *out)
{
    uint32_t found = 1u << LANGUAGE_ENGLISH;
    sqlite3_stmt *st;
    TRY(db_query(db, &st,
                 "SELECT 1 FROM chunk_fts WHERE chunk_fts MATCH ?1 LIMIT 1",
                 ""));
    enum tacit_err err = TACIT_OK;
    for (unsigned i = LANGUAGE_ENGLISH + 1; i < N_LANGUAGES && !err; i++) {
        char quoted[STEM_MARK_BYTES + 3] = "\"";
        int has_row = 0;
        stem_mark(i, quoted + 1);
        quoted[STEM_MARK_BYTES + 1] = '"';
        quoted[STEM_MARK_BYTES + 2] = '\0';
        sqlite3_reset(st);
        sqlite3_bind_text(st, 1, quoted, -1, SQLITE_TRANSIENT);
        err = db_step(db, st, &has_row);
        if (!err && has_row) found |= 1u << i;
    }
    db_finish(st);
    if (!err) err = stem_ask_in(db, found);
    if (!err) *out = found;
    return err;
}

static enum tacit_err is_current(struct db *db, int64_t *out)
{
    return db_int(db, out,
                  "SELECT count(*) FROM sqlite_schema WHERE name = 'chunk_fts'"
                  " AND instr(sql, '" STEM_TOKENIZER "') > 0",
                  "");
}

/* FTS5 keeps it with the index, so one look is what this costs from then on. */
static enum tacit_err set_up(struct db *db, const char *key, int64_t value)
{
    int64_t n = 0;
    TRY(db_int(db, &n,
               "SELECT count(*) FROM chunk_fts_config WHERE k = ? AND v = ?",
               "si", key, value));
    if (n) return TACIT_OK;
    return db_run(db, "INSERT INTO chunk_fts(chunk_fts, rank) VALUES(?, ?)",
                  "si", key, value);
}

enum tacit_err words_make_room(struct db *db)
{
    TRY(set_up(db, "hashsize", ROOM_BYTES));
    return set_up(db, "usermerge", WORDS_MERGED);
}

static enum tacit_err make(struct db *db)
{
    TRY(db_exec(db, WORDS_TABLE));
    TRY(words_make_room(db));
    return db_exec(db, "INSERT INTO chunk_fts(chunk_fts) VALUES('rebuild')");
}

static enum tacit_err replace(struct db *db)
{
    int64_t current = 0;
    TRY(is_current(db, &current)); /* another process may have been first */
    if (current) return TACIT_OK;
    TRY(db_exec(db, "DROP TABLE IF EXISTS chunk_fts"));
    return make(db);
}

enum tacit_err words_open(struct db *db)
{
    fts5_api *api;
    int64_t current = 0;
    TRY(stem_register(db));
    TRY(stem_fts5(db, &api));
    TRY(db_error(db,
                 api->xCreateFunction(api, "words_rank", NULL, words_rank,
                                      NULL),
                 "cannot add a function"));
    TRY(is_current(db, &current));
    if (current) return TACIT_OK;
    TRY(db_begin(db));
    enum tacit_err err = replace(db);
    if (!err) err = db_commit(db);
    if (err) db_rollback(db);
    return err;
}

static enum tacit_err integrity(struct db *db)
{
    int64_t n_missing = 0;
    TRY(db_exec(db, "INSERT INTO chunk_fts(chunk_fts, rank)"
                    " VALUES('integrity-check', 1)"));
    TRY(db_int(db, &n_missing,
               "SELECT (SELECT count(*) FROM chunk_content) -"
               " (SELECT count(*) FROM chunk_fts_docsize)",
               ""));
    if (!n_missing) return TACIT_OK;
    return fail_as(E_STORE_DAMAGED, "%lld passages are missing",
                   (long long)n_missing);
}

enum tacit_err words_check(struct db *db)
{
    enum tacit_err err = integrity(db);
    if (!db_may_be_damage(err)) return err;
    err_clear();
    return fail_as(E_STORE_DAMAGED,
                   "the word index is damaged: `tacit doctor --index` makes it "
                   "anew");
}

static enum tacit_err make_in(struct db *db, void *ctx)
{
    (void)ctx;
    return make(db);
}

enum tacit_err words_mend(struct db *db, int *was_damaged)
{
    enum tacit_err err = integrity(db);
    *was_damaged = db_may_be_damage(err);
    if (!*was_damaged) return err;
    err_clear();
    TRY(db_make_anew(db, &(struct db_made){"chunk_fts", make_in, NULL}));
    return words_check(db);
}
