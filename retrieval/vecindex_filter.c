/*
 * A nearest search: the arguments of xFilter, as the plan named them, become a
 * query of ivf.
 *
 *   condition ──> interval or set of words, tested inside the scan
 *            └──> where texts share a word: the text itself, of the few rows
 *                 that would be returned
 *   keys     ──> partitions, searched one by one; the best of all are kept
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "retrieval/vecindex_table.h"

enum { CONDITIONS_MAX = 32, FEW_IDS = 1000 };

/* A column compared with a value, or with one of several (IN). */
struct condition {
    const struct vecindex_column *column;
    char how;
    sqlite3_value *value;     /* borrowed */
    sqlite3_value **value_in; /* [n_in] owned copies */
    size_t n_in;
    int64_t *words; /* [n_in] owned */
};

struct search {
    struct vecindex_table *t;
    struct ivf_term terms[IVF_TERMS_MAX];
    struct ivf_filter filter;
    struct ivf_query query;
    struct condition keys[CONDITIONS_MAX], filters[CONDITIONS_MAX];
    size_t n_keys, n_filters;
    bool verify[CONDITIONS_MAX]; /* of filters: words cannot decide */
    bool has_nothing;            /* no row can pass */
    int64_t *ids;                /* owned */
    int64_t k, limit, offset;    /* -1 = not given */
    double recall;
    sqlite3_value *cut; /* distance < or <= this; NULL = none */
    char cut_how;
};

static struct condition *conditions_of(struct search *s, int term, size_t **n)
{
    *n = term == TERM_KEY ? &s->n_keys : &s->n_filters;
    return term == TERM_KEY ? s->keys : s->filters;
}

static bool holds(const struct condition *c, sqlite3_stmt *row, int i)
{
    const enum vecindex_type type = c->column->type;
    if (c->how != COMPARE_IN)
        return vecindex_compare_holds(type, row, i, c->how, c->value);
    for (size_t j = 0; j < c->n_in; j++)
        if (vecindex_compare_holds(type, row, i, COMPARE_EQ, c->value_in[j]))
            return true;
    return false;
}

/* ---- words ----------------------------------------------------------------
 */

/* Words that a value bounds: all below it are <= below, all above >= above,
 * and `at` is its own. Without one of its own: below + 1 = above. */
struct bounds {
    int64_t below, at, above;
    bool has_own, is_shared;
};
static const struct bounds over_all = {.below = INT64_MAX, .above = INT64_MAX};

static struct bounds bounds_of_int(int64_t i)
{
    struct bounds b = {.at = i, .has_own = i != VECINDEX_WORD_NULL};
    b.below = i - b.has_own;
    b.above = i < INT64_MAX ? i + 1 : i;
    return b;
}

static struct bounds bounds_of_real(double d)
{
    if (d >= 9223372036854775808.0) return over_all;
    if (d < -9223372036854775808.0) return bounds_of_int(VECINDEX_WORD_NULL);
    double low = floor(d);
    if (low == d) return bounds_of_int((int64_t)d);
    return (struct bounds){.below = (int64_t)low, .above = (int64_t)low + 1};
}

static enum tacit_err bounds_of(enum vecindex_type type, sqlite3_value *v,
                                struct bounds *b)
{
    int kind = type == VECINDEX_TEXT ? sqlite3_value_type(v)
                                     : sqlite3_value_numeric_type(v);
    *b = over_all; /* blobs are over all else, texts over numbers */
    if (kind == SQLITE_BLOB) return TACIT_OK;
    if (type == VECINDEX_TEXT) {
        const unsigned char *s = sqlite3_value_text(v);
        if (!s) return fail(TACIT_NOMEM, "out of memory");
        int64_t word = vecindex_value_text(s, (size_t)sqlite3_value_bytes(v));
        *b = bounds_of_int(word);
        b->is_shared = vecindex_value_is_shared(word);
        return TACIT_OK;
    }
    if (kind == SQLITE_TEXT) return TACIT_OK;
    if (type == VECINDEX_REAL)
        *b = bounds_of_int(vecindex_value_real(sqlite3_value_double(v)));
    else if (kind == SQLITE_FLOAT)
        *b = bounds_of_real(sqlite3_value_double(v));
    else
        *b = bounds_of_int(sqlite3_value_int64(v));
    return TACIT_OK;
}

static enum tacit_err add_term(struct search *s, struct ivf_term term)
{
    if (!term.set && term.lo > term.hi) s->has_nothing = true;
    if (s->filter.n_terms == IVF_TERMS_MAX)
        return fail(TACIT_LIMIT, "%s: over %d conditions", s->t->name,
                    IVF_TERMS_MAX);
    s->terms[s->filter.n_terms++] = term;
    return TACIT_OK;
}

static enum tacit_err add_range(struct search *s, const struct condition *c,
                                int64_t lo, int64_t hi)
{
    return add_term(s, (struct ivf_term){.column = (uint32_t)c->column->at,
                                         .lo = lo,
                                         .hi = hi});
}

/* A value's neighbours in its word pass here, and are told apart later. */
static enum tacit_err add_comparison(struct search *s,
                                     const struct condition *c, struct bounds b)
{
    int64_t first = VECINDEX_WORD_NULL + 1, last = INT64_MAX;
    struct ivf_term other = {.column = (uint32_t)c->column->at,
                             .negate = true,
                             .lo = b.at,
                             .hi = b.at};
    switch (c->how) {
    case COMPARE_EQ:
    case COMPARE_IS:
        if (!b.has_own) s->has_nothing = true;
        return add_range(s, c, b.at, b.at);
    case COMPARE_NE:
        TRY(add_range(s, c, first, last));
        return b.has_own && !b.is_shared ? add_term(s, other) : TACIT_OK;
    case COMPARE_LT:
        return add_range(s, c, first, b.is_shared ? b.at : b.below);
    case COMPARE_LE: return add_range(s, c, first, b.has_own ? b.at : b.below);
    case COMPARE_GT:
        if (!b.has_own && b.above == last) s->has_nothing = true;
        if (b.has_own && b.at == last) s->has_nothing = true;
        return add_range(s, c, b.is_shared ? b.at : b.above, last);
    default:
        if (!b.has_own && b.above == last) s->has_nothing = true;
        return add_range(s, c, b.has_own ? b.at : b.above, last);
    }
}

static int by_value(const void *a, const void *b)
{
    int64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

/* Sort, and keep each once. */
static size_t sort_ints(int64_t *v, size_t n)
{
    size_t kept = 0, rising = 1;
    while (rising < n && v[rising - 1] < v[rising]) rising++;
    if (rising >= n) return n;
    qsort(v, n, sizeof *v, by_value);
    for (size_t i = 0; i < n; i++)
        if (!kept || v[kept - 1] != v[i]) v[kept++] = v[i];
    return kept;
}

static enum tacit_err add_set(struct search *s, struct condition *c,
                              bool *verify)
{
    size_t n = 0;
    c->words = calloc(c->n_in + 1, sizeof *c->words);
    if (!c->words) return fail(TACIT_NOMEM, "out of memory");
    for (size_t i = 0; i < c->n_in; i++) {
        struct bounds b;
        if (sqlite3_value_type(c->value_in[i]) == SQLITE_NULL) continue;
        TRY(bounds_of(c->column->type, c->value_in[i], &b));
        if (!b.has_own) continue;
        c->words[n++] = b.at;
        *verify |= b.is_shared;
    }
    n = sort_ints(c->words, n);
    if (!n) s->has_nothing = true;
    return add_term(s, (struct ivf_term){.column = (uint32_t)c->column->at,
                                         .set = c->words,
                                         .n = n});
}

static enum tacit_err add_filter(struct search *s, struct condition *c,
                                 bool *verify)
{
    struct bounds b;
    int64_t null = VECINDEX_WORD_NULL;
    if (c->how == COMPARE_IN) return add_set(s, c, verify);
    if (c->how == COMPARE_NULL) return add_range(s, c, null, null);
    if (c->how == COMPARE_VALUE) return add_range(s, c, null + 1, INT64_MAX);
    if (sqlite3_value_type(c->value) == SQLITE_NULL) {
        if (c->how == COMPARE_IS) return add_range(s, c, null, null);
        s->has_nothing = true;
        return TACIT_OK;
    }
    TRY(bounds_of(c->column->type, c->value, &b));
    *verify = b.is_shared;
    return add_comparison(s, c, b);
}

/* Whether the texts of a row are what was asked for, not only their words. */
static enum tacit_err verify_texts(void *arg, int64_t id, bool *keep)
{
    struct search *s = arg;
    sqlite3_stmt *st;
    bool has;
    TRY(vecindex_sql_get(s->t, SQL_AUX_READ, &st));
    sqlite3_bind_int64(st, 1, id);
    TRY(vecindex_sql_step(s->t, SQL_AUX_READ, &has));
    *keep = has;
    for (size_t i = 0; i < s->n_filters && *keep; i++)
        if (s->verify[i])
            *keep = holds(&s->filters[i], st,
                          1 + s->t->args.n_keys + s->filters[i].column->at);
    vecindex_sql_reset(s->t, SQL_AUX_READ);
    return TACIT_OK;
}

/* ---- reading the arguments ------------------------------------------------
 */

/* Each value of an IN list. */
typedef enum tacit_err in_fn(void *arg, sqlite3_value *v);

static enum tacit_err each_in(sqlite3_value *list, in_fn *visit, void *arg)
{
    sqlite3_value *v = NULL;
    int rc = sqlite3_vtab_in_first(list, &v);
    while (rc == SQLITE_OK && v) {
        TRY(visit(arg, v));
        rc = sqlite3_vtab_in_next(list, &v);
    }
    if (rc == SQLITE_OK || rc == SQLITE_DONE) return TACIT_OK;
    return fail(rc == SQLITE_NOMEM ? TACIT_NOMEM : TACIT_IO,
                "an IN list cannot be read");
}

/* A growing array: room for one more of `size` behind n. */
static void *grow(void *p, size_t n, size_t size)
{
    if (n & (n - 1)) return p; /* room up to the next power of two */
    return realloc(p, (n ? 2 * n : 1) * size);
}

static enum tacit_err keep_value(void *arg, sqlite3_value *v)
{
    struct condition *c = arg;
    sqlite3_value **in = grow(c->value_in, c->n_in, sizeof *in);
    if (!in) return fail(TACIT_NOMEM, "out of memory");
    c->value_in = in;
    in[c->n_in] = sqlite3_value_dup(v);
    if (!in[c->n_in]) return fail(TACIT_NOMEM, "out of memory");
    c->n_in++;
    return TACIT_OK;
}

static enum tacit_err keep_id(void *arg, sqlite3_value *v)
{
    struct search *s = arg;
    int type = sqlite3_value_numeric_type(v);
    int64_t id = sqlite3_value_int64(v);
    if (type != SQLITE_INTEGER &&
        (type != SQLITE_FLOAT ||
         vecindex_compare_int(id, sqlite3_value_double(v))))
        return TACIT_OK;
    int64_t *ids = grow(s->ids, s->filter.n_ids, sizeof *ids);
    if (!ids) return fail(TACIT_NOMEM, "out of memory");
    s->ids = ids;
    ids[s->filter.n_ids++] = id;
    return TACIT_OK;
}

static enum tacit_err read_ids(struct search *s, sqlite3_value *list)
{
    if (s->filter.ids)
        return fail(TACIT_UNSUPPORTED, "%s: one rowid IN to a search",
                    s->t->name);
    s->ids = calloc(1, sizeof *s->ids);
    if (!s->ids) return fail(TACIT_NOMEM, "out of memory");
    TRY(each_in(list, keep_id, s));
    s->filter.n_ids = sort_ints(s->ids, s->filter.n_ids);
    s->filter.ids = s->ids;
    if (!s->filter.n_ids) s->has_nothing = true;
    return TACIT_OK;
}

static enum tacit_err read_condition(struct search *s, const char *term,
                                     sqlite3_value *v)
{
    size_t *n;
    struct condition *all = conditions_of(s, term[0], &n), *c = &all[*n];
    if (*n == CONDITIONS_MAX)
        return fail(TACIT_LIMIT, "%s: over %d conditions", s->t->name,
                    CONDITIONS_MAX);
    *c =
        (struct condition){.column = vecindex_args_column(&s->t->args,
                                                          term[0] == TERM_KEY
                                                              ? VECINDEX_KEY
                                                              : VECINDEX_FILTER,
                                                          term[2] - '0'),
                           .how = term[1],
                           .value = v};
    if (!c->column) return fail(TACIT_INTERNAL, "%s: a plan", s->t->name);
    (*n)++;
    if (c->how == COMPARE_IN) TRY(each_in(v, keep_value, c));
    if (term[0] == TERM_KEY) return TACIT_OK;
    return add_filter(s, c, &s->verify[*n - 1]);
}

static enum tacit_err read_count(const struct search *s, const char *what,
                                 sqlite3_value *v, int64_t max, int64_t *out)
{
    int64_t n = sqlite3_value_int64(v);
    if (sqlite3_value_numeric_type(v) != SQLITE_INTEGER || n < 0 || n > max)
        return fail(TACIT_LIMIT, "%s: %s is a number from 0 to %lld",
                    s->t->name, what, (long long)max);
    *out = n;
    return TACIT_OK;
}

static enum tacit_err read_term(struct search *s, const char *term,
                                sqlite3_value *v)
{
    int64_t n;
    double d;
    switch (term[0]) {
    case TERM_MATCH: return vecindex_value_vector(s->t, v, s->t->vector);
    case TERM_K: return read_count(s, "k", v, IVF_K_MAX, &s->k);
    case TERM_LIMIT: return read_count(s, "LIMIT", v, IVF_K_MAX, &s->limit);
    case TERM_OFFSET: return read_count(s, "OFFSET", v, IVF_K_MAX, &s->offset);
    case TERM_RECALL:
        d = sqlite3_value_double(v);
        if (!(d > 0 && d <= 1))
            return fail(TACIT_LIMIT, "%s: recall is a number over 0, at most 1",
                        s->t->name);
        s->recall = d;
        return TACIT_OK;
    case TERM_PROBES:
        TRY(read_count(s, "probes", v, INT32_MAX, &n));
        s->query.probes = (uint32_t)n;
        return TACIT_OK;
    case TERM_EXACT:
        TRY(read_count(s, "exact", v, 1, &n));
        s->query.mode = n ? IVF_EXACT : IVF_APPROXIMATE;
        return TACIT_OK;
    case TERM_DISTANCE:
        if (s->cut)
            return fail(TACIT_UNSUPPORTED, "%s: one distance < to a search",
                        s->t->name);
        s->cut = v;
        s->cut_how = term[1];
        return TACIT_OK;
    case TERM_ROWID: return read_ids(s, v);
    default: return read_condition(s, term, v);
    }
}

static enum tacit_err read_k(struct search *s)
{
    int64_t k = s->k;
    if (k < 0) k = s->limit + (s->offset > 0 ? s->offset : 0);
    if (k > IVF_K_MAX)
        return fail(TACIT_LIMIT, "%s: LIMIT and OFFSET are together at most %d",
                    s->t->name, IVF_K_MAX);
    if (k == 0) s->has_nothing = true;
    s->query.k = (size_t)k;
    return TACIT_OK;
}

/* ---- searching ------------------------------------------------------------
 */

static int by_distance(const void *a, const void *b)
{
    const struct ivf_hit *x = a, *y = b;
    if (x->distance != y->distance) return x->distance < y->distance ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

/* Search one partition (NULL = all) and keep the k best of it and of hits. */
static enum tacit_err search_part(struct search *s, const int64_t *part,
                                  struct vecindex_found *f)
{
    size_t n = 0, k = s->query.k;
    struct ivf_hit *hits = realloc(f->hits, (f->n + k) * sizeof *hits);
    if (!hits) return fail(TACIT_NOMEM, "out of memory");
    f->hits = hits;
    s->query.part = part;
    enum tacit_err err =
        ivf_search(s->t->ivf, &s->query, hits + f->n, &n, NULL);
    s->query.part = NULL;
    if (err) return err;
    if (f->n && n) qsort(hits, f->n + n, sizeof *hits, by_distance);
    f->n = f->n + n < k ? f->n + n : k;
    return TACIT_OK;
}

/* Key by key, is each given by one value? Then there is one partition. */
static bool has_all_keys(const struct search *s, sqlite3_value **keys)
{
    for (int i = 0; i < s->t->args.n_keys; i++) keys[i] = NULL;
    for (size_t i = 0; i < s->n_keys; i++) {
        const struct condition *c = &s->keys[i];
        if (c->how != COMPARE_EQ || keys[c->column->at]) return false;
        int type = c->column->type == VECINDEX_INT
                       ? sqlite3_value_numeric_type(c->value)
                       : sqlite3_value_type(c->value);
        if (type !=
            (c->column->type == VECINDEX_INT ? SQLITE_INTEGER : SQLITE_TEXT))
            return false;
        keys[c->column->at] = c->value;
    }
    for (int i = 0; i < s->t->args.n_keys; i++)
        if (!keys[i]) return false;
    return true;
}

/* The partitions that pass. All are looked at: that is few words each. */
static enum tacit_err find_parts(struct search *s, int64_t **parts, size_t *n)
{
    sqlite3_stmt *st;
    bool has;
    TRY(vecindex_sql_get(s->t, SQL_PARTS, &st));
    for (;;) {
        bool keep = true;
        TRY(vecindex_sql_step(s->t, SQL_PARTS, &has));
        if (!has) break;
        for (size_t i = 0; i < s->n_keys && keep; i++)
            keep = holds(&s->keys[i], st, 1 + s->keys[i].column->at);
        if (!keep) continue;
        int64_t *all = grow(*parts, *n, sizeof *all);
        if (!all) return fail(TACIT_NOMEM, "out of memory");
        *parts = all;
        all[(*n)++] = sqlite3_column_int64(st, 0);
    }
    vecindex_sql_reset(s->t, SQL_PARTS);
    return TACIT_OK;
}

/* Whether all partitions may be searched as one: where lists are left out, that
 * is by a rule about the lists of one partition. */
static bool is_complete(const struct search *s)
{
    return s->query.mode == IVF_EXACT || s->recall >= 1 ||
           (s->filter.ids && s->filter.n_ids <= FEW_IDS);
}

static enum tacit_err search_parts(struct search *s, struct vecindex_found *f)
{
    sqlite3_value *keys[VECINDEX_KEYS_MAX];
    int64_t *parts = NULL, part = 0;
    size_t n = 0;
    if (s->t->args.n_keys && !s->n_keys && is_complete(s))
        return search_part(s, NULL, f);
    if (has_all_keys(s, keys)) {
        TRY(vecindex_partition(s->t, keys, VECINDEX_FIND, &part));
        return part ? search_part(s, &part, f) : TACIT_OK;
    }
    enum tacit_err err = find_parts(s, &parts, &n);
    for (size_t i = 0; i < n && !err; i++) err = search_part(s, &parts[i], f);
    free(parts);
    return err;
}

/* Hits are by rising distance: what is cut is their end. */
static void cut_hits(const struct search *s, struct vecindex_found *f)
{
    if (!s->cut) return;
    int type = sqlite3_value_numeric_type(s->cut);
    double d = sqlite3_value_double(s->cut);
    if (type == SQLITE_NULL) f->n = 0;
    if (type != SQLITE_INTEGER && type != SQLITE_FLOAT) return;
    while (f->n) {
        double last = (double)f->hits[f->n - 1].distance;
        if (last < d || (last == d && s->cut_how == COMPARE_LE)) return;
        f->n--;
    }
}

static void release_conditions(struct condition *c, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < c[i].n_in; j++)
            sqlite3_value_free(c[i].value_in[j]);
        free(c[i].value_in);
        free(c[i].words);
    }
}

static enum tacit_err read_terms(struct search *s, const char *plan,
                                 int n_values, sqlite3_value **values)
{
    for (int i = 0; i < n_values; i++)
        TRY(read_term(s, plan + (size_t)i * 3, values[i]));
    s->query.v = s->t->vector;
    s->query.recall = (float)s->recall;
    s->filter.terms = s->terms;
    for (size_t i = 0; i < s->n_filters; i++)
        if (s->verify[i]) s->filter.verify = verify_texts;
    s->filter.arg = s;
    if (s->filter.n_terms || s->filter.ids) s->query.filter = &s->filter;
    return read_k(s);
}

enum tacit_err vecindex_nearest(struct vecindex_table *t, const char *plan,
                                int n_values, sqlite3_value **values,
                                struct vecindex_found *found)
{
    struct search s = {
        .t = t, .k = -1, .limit = -1, .offset = -1, .recall = t->args.recall};
    struct vecindex_found f = {0};
    enum tacit_err err = read_terms(&s, plan, n_values, values);
    if (!err) err = vecindex_ready(t);
    if (!err) err = ivf_check(t->ivf, t->vector);
    if (!err && !s.has_nothing) err = search_parts(&s, &f);
    if (!err) cut_hits(&s, &f);
    release_conditions(s.keys, s.n_keys);
    release_conditions(s.filters, s.n_filters);
    free(s.ids);
    if (err) {
        free(f.hits);
        return err;
    }
    f.k = (int64_t)s.query.k;
    f.recall = s.recall;
    f.probes = s.query.probes;
    f.exact = s.query.mode == IVF_EXACT;
    *found = f;
    return TACIT_OK;
}
