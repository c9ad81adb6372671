/*
 * Which conditions of a statement the table takes over (xBestIndex).
 *
 *   embedding MATCH ?     a nearest search, which also takes: k, LIMIT, OFFSET,
 *                         recall, probes, exact, rowid IN (…), conditions on
 *                         filter columns and partition keys; distance < ?
 *   rowid = ?             a point
 *   else                  a scan by rowid
 *
 * A single rowid = ? is left to SQLite beside MATCH: in a join it would make of
 * "the k nearest, and their names" one search for each name.
 */
#include <string.h>

#include "retrieval/vecindex_table.h"

#define COST_NEAREST 1e3
#define COST_SCAN    1e7
/* Older ones keep LIMIT to themselves where there is a MATCH. */
enum { LIMIT_PASSED_ON = 3041000 };
enum { ROWS_NEAREST = 10, ROWS_SCAN = 1000000, FILTERS_TAKEN_MAX = 15 };

/* The plan while it is made. */
struct planning {
    struct vecindex_table *t;
    sqlite3_index_info *info;
    sqlite3_str *terms;
    int n_terms, n_filters;
    int limit, offset; /* constraint, -1 = none */
    bool has_match, has_k;
    bool leaves_some;   /* SQLite tests something behind the search */
    const char *unused; /* a column that only a search knows */
    bool is_partial;    /* SQLite asks about a part of the conditions */
};

static char compare_of(int op)
{
    switch (op) {
    case SQLITE_INDEX_CONSTRAINT_EQ: return COMPARE_EQ;
    case SQLITE_INDEX_CONSTRAINT_IS: return COMPARE_IS;
    case SQLITE_INDEX_CONSTRAINT_NE: return COMPARE_NE;
    case SQLITE_INDEX_CONSTRAINT_LT: return COMPARE_LT;
    case SQLITE_INDEX_CONSTRAINT_LE: return COMPARE_LE;
    case SQLITE_INDEX_CONSTRAINT_GT: return COMPARE_GT;
    case SQLITE_INDEX_CONSTRAINT_GE: return COMPARE_GE;
    case SQLITE_INDEX_CONSTRAINT_ISNULL: return COMPARE_NULL;
    case SQLITE_INDEX_CONSTRAINT_ISNOTNULL: return COMPARE_VALUE;
    default: return 0;
    }
}

/* Constraint i becomes the next argument of xFilter. */
static void take(struct planning *p, int i, char what, char how, int at)
{
    sqlite3_str_appendf(p->terms, "%c%c%c", what, how, '0' + at);
    p->info->aConstraintUsage[i].argvIndex = ++p->n_terms;
    p->info->aConstraintUsage[i].omit = 1;
}

/* A statement that has no plan, whatever the order of its tables. SQLite asks
 * first about all of its conditions, then maybe about parts of them, which are
 * only ruled out. */
static int refuse(struct planning *p, const char *what)
{
    if (p->is_partial) return SQLITE_CONSTRAINT;
    sqlite3_free(p->t->base.zErrMsg);
    p->t->base.zErrMsg = sqlite3_mprintf("%s: %s", p->t->name, what);
    return SQLITE_ERROR;
}

static const char *const hidden_names[HIDDEN_N] = {"",       "distance",
                                                   "k",      "recall",
                                                   "probes", "exact"};

/* A first look: what is asked for at all. */
static int survey(struct planning *p)
{
    const sqlite3_index_info *info = p->info;
    for (int i = 0; i < info->nConstraint; i++) {
        int column = info->aConstraint[i].iColumn;
        int op = info->aConstraint[i].op;
        int hidden = column - p->t->args.n_columns;
        bool is_limit = op == SQLITE_INDEX_CONSTRAINT_LIMIT ||
                        op == SQLITE_INDEX_CONSTRAINT_OFFSET;
        if (!info->aConstraint[i].usable) p->is_partial = true;
        if (is_limit) {
            if (op == SQLITE_INDEX_CONSTRAINT_LIMIT)
                p->limit = i;
            else
                p->offset = i;
        } else if (op == SQLITE_INDEX_CONSTRAINT_MATCH &&
                   column == p->t->args.vector) {
            if (p->has_match) return refuse(p, "one MATCH to a search");
            if (!info->aConstraint[i].usable) return SQLITE_CONSTRAINT;
            p->has_match = true;
        } else if (hidden >= HIDDEN_DISTANCE && hidden < HIDDEN_N) {
            p->unused = hidden_names[hidden];
        }
    }
    return SQLITE_OK;
}

/* k = ?, recall = ? …; distance < ? cuts what was found. */
static int take_hidden(struct planning *p, int i, int hidden)
{
    static const char what[HIDDEN_N] = {0,           TERM_DISTANCE, TERM_K,
                                        TERM_RECALL, TERM_PROBES,   TERM_EXACT};
    const struct sqlite3_index_constraint *c = &p->info->aConstraint[i];
    char how = compare_of(c->op);
    if (hidden == HIDDEN_COMMAND) {
        p->leaves_some = true;
        return SQLITE_OK;
    }
    if (hidden == HIDDEN_DISTANCE) {
        if (c->usable && (how == COMPARE_LT || how == COMPARE_LE))
            take(p, i, TERM_DISTANCE, how, 0);
        else
            p->leaves_some = true;
        return SQLITE_OK;
    }
    if (!c->usable) return SQLITE_CONSTRAINT;
    if (how != COMPARE_EQ || sqlite3_vtab_in(p->info, i, -1))
        return refuse(p, "k, recall, probes and exact are set with =");
    if (hidden == HIDDEN_K) p->has_k = true;
    take(p, i, what[hidden], how, 0);
    return SQLITE_OK;
}

static void take_column(struct planning *p, int i,
                        const struct vecindex_column *column)
{
    const struct sqlite3_index_constraint *c = &p->info->aConstraint[i];
    char how = compare_of(c->op);
    if (column->kind == VECINDEX_VECTOR &&
        c->op == SQLITE_INDEX_CONSTRAINT_MATCH) {
        take(p, i, TERM_MATCH, COMPARE_EQ, 0);
        return;
    }
    const char *collation = sqlite3_vtab_collation(p->info, i);
    bool is_ours =
        column->kind == VECINDEX_FILTER || column->kind == VECINDEX_KEY;
    if (!c->usable || !how || !is_ours ||
        (column->type == VECINDEX_TEXT && collation &&
         sqlite3_stricmp(collation, "BINARY") != 0) ||
        p->n_filters == FILTERS_TAKEN_MAX) {
        p->leaves_some = true;
        return;
    }
    p->n_filters++;
    if (how == COMPARE_EQ && sqlite3_vtab_in(p->info, i, 1)) how = COMPARE_IN;
    take(p, i, column->kind == VECINDEX_KEY ? TERM_KEY : TERM_FILTER, how,
         column->at);
}

static int take_constraint(struct planning *p, int i)
{
    const struct sqlite3_index_constraint *c = &p->info->aConstraint[i];
    int n = p->t->args.n_columns;
    if (i == p->limit || i == p->offset) return SQLITE_OK;
    if (c->iColumn < 0) {
        if (c->usable && c->op == SQLITE_INDEX_CONSTRAINT_EQ &&
            sqlite3_vtab_in(p->info, i, 1))
            take(p, i, TERM_ROWID, COMPARE_IN, 0);
        else
            p->leaves_some = true;
    } else if (c->iColumn >= n) {
        return take_hidden(p, i, c->iColumn - n);
    } else {
        take_column(p, i, &p->t->args.column[c->iColumn]);
    }
    return SQLITE_OK;
}

/* LIMIT is k only where it counts what the search returns, in its order. */
static int take_limit(struct planning *p)
{
    const sqlite3_index_info *info = p->info;
    if (p->limit < 0 && sqlite3_libversion_number() < LIMIT_PASSED_ON)
        return refuse(p, "MATCH needs k = … (an SQLite before 3.41 does not "
                         "tell LIMIT)");
    if (p->limit < 0) return refuse(p, "MATCH needs k = … or LIMIT");
    if (!info->aConstraint[p->limit].usable ||
        (p->offset >= 0 && !info->aConstraint[p->offset].usable))
        return SQLITE_CONSTRAINT;
    if (p->leaves_some)
        return refuse(p, "LIMIT cannot tell how many to search for, because a "
                         "condition is tested behind the search: say k = …");
    if (info->nOrderBy && !info->orderByConsumed)
        return refuse(p, "LIMIT cannot tell how many to search for in another "
                         "order than by distance: say k = …");
    take(p, p->limit, TERM_LIMIT, COMPARE_EQ, 0);
    info->aConstraintUsage[p->limit].omit = 0;
    if (p->offset >= 0) {
        take(p, p->offset, TERM_OFFSET, COMPARE_EQ, 0);
        info->aConstraintUsage[p->offset].omit = 0;
    }
    return SQLITE_OK;
}

static int plan_nearest(struct planning *p)
{
    sqlite3_index_info *info = p->info;
    for (int i = 0; i < info->nConstraint; i++) {
        int rc = take_constraint(p, i);
        if (rc) return rc;
    }
    info->orderByConsumed =
        info->nOrderBy == 1 && !info->aOrderBy[0].desc &&
        info->aOrderBy[0].iColumn == p->t->args.n_columns + HIDDEN_DISTANCE;
    if (!p->has_k) {
        int rc = take_limit(p);
        if (rc) return rc;
    }
    info->idxNum = PLAN_NEAREST;
    info->estimatedCost = COST_NEAREST;
    info->estimatedRows = ROWS_NEAREST;
    return SQLITE_OK;
}

static int plan_scan(struct planning *p)
{
    sqlite3_index_info *info = p->info;
    if (p->unused) {
        char what[64];
        sqlite3_snprintf(sizeof what, what, "%s is of a search: it needs MATCH",
                         p->unused);
        return refuse(p, what);
    }
    info->idxNum = PLAN_SCAN;
    info->estimatedCost = COST_SCAN;
    info->estimatedRows = ROWS_SCAN;
    info->orderByConsumed = info->nOrderBy == 1 && !info->aOrderBy[0].desc &&
                            info->aOrderBy[0].iColumn < 0;
    int n = info->nConstraint;
    for (int i = 0; i < n; i++) {
        const struct sqlite3_index_constraint *c = &info->aConstraint[i];
        if (c->iColumn >= 0 || !c->usable ||
            c->op != SQLITE_INDEX_CONSTRAINT_EQ)
            continue;
        take(p, i, TERM_ROWID, COMPARE_EQ, 0);
        info->idxNum = PLAN_POINT;
        info->idxFlags = SQLITE_INDEX_SCAN_UNIQUE;
        info->estimatedCost = 1;
        info->estimatedRows = 1;
        info->orderByConsumed = 1;
        return SQLITE_OK;
    }
    /* SQLite tests bounds itself, too: any value that is no integer is its. */
    for (int i = 0; i < n; i++) {
        const struct sqlite3_index_constraint *c = &info->aConstraint[i];
        char how = compare_of(c->op);
        if (c->iColumn >= 0 || !c->usable || i == p->limit || i == p->offset ||
            !how || !strchr("<[>]", how))
            continue;
        take(p, i, TERM_ROWID, how, 0);
        info->aConstraintUsage[i].omit = 0;
        info->estimatedCost /= 2;
        info->estimatedRows /= 2;
    }
    return SQLITE_OK;
}

int vecindex_plan(sqlite3_vtab *vtab, sqlite3_index_info *info)
{
    struct vecindex_table *t = (struct vecindex_table *)vtab;
    struct planning p = {.t = t, .info = info, .limit = -1, .offset = -1};
    int rc = survey(&p);
    if (rc) return rc;
    p.terms = sqlite3_str_new(t->db);
    rc = p.has_match ? plan_nearest(&p) : plan_scan(&p);
    if (!rc) rc = sqlite3_str_errcode(p.terms);
    char *terms = sqlite3_str_finish(p.terms);
    if (rc) {
        sqlite3_free(terms);
        return rc;
    }
    info->idxStr = terms;
    info->needToFreeIdxStr = terms != NULL;
    return SQLITE_OK;
}
