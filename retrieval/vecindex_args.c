#include "retrieval/vecindex_args.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DEFAULT_RECALL 0.95

/* Where in an argument's text we are, and the token that was read last. */
struct scanner {
    const char *at;
    char text[VECINDEX_NAME_MAX]; /* of a word; "" at the end */
    char mark;                    /* one of + = [ ] ( ) or 0 */
    const char *whole;            /* for messages */
};

static enum tacit_err wrong(const struct scanner *s, const char *what)
{
    return fail(TACIT_FORMAT, "tacit_vec: \"%.60s\": %s", s->whole, what);
}

static int is_word(char c)
{
    return isalnum((unsigned char)c) || (unsigned char)c >= 0x80 || c == '_' ||
           c == '.' || c == '-' || c == '$';
}

/* A name in quotes; a doubled closing quote stands for itself. */
static enum tacit_err scan_quoted(struct scanner *s, char open)
{
    char close = open == '[' ? ']' : open;
    size_t n = 0;
    for (s->at++;; s->at++) {
        if (!*s->at) return wrong(s, "a quote is not closed");
        if (*s->at == close) {
            if (s->at[1] != close || close == ']') break;
            s->at++;
        }
        if (n + 1 >= sizeof s->text) return wrong(s, "a name is too long");
        s->text[n++] = *s->at;
    }
    s->at++;
    s->text[n] = '\0';
    if (!n) return wrong(s, "a name is empty");
    return TACIT_OK;
}

static enum tacit_err scan(struct scanner *s)
{
    size_t n = 0;
    s->mark = 0;
    s->text[0] = '\0';
    while (isspace((unsigned char)*s->at)) s->at++;
    if (!*s->at) return TACIT_OK;
    if (*s->at == '"' || *s->at == '`' || *s->at == '\'')
        return scan_quoted(s, *s->at);
    if (!is_word(*s->at)) {
        s->mark = *s->at++;
        return TACIT_OK;
    }
    for (; is_word(*s->at); s->at++) {
        if (n + 1 >= sizeof s->text) return wrong(s, "a name is too long");
        s->text[n++] = *s->at;
    }
    s->text[n] = '\0';
    return TACIT_OK;
}

static int is_end(const struct scanner *s)
{
    return !s->mark && !s->text[0];
}

/* ---- options --------------------------------------------------------------
 */

static enum tacit_err set_recall(struct scanner *s, struct vecindex_args *a)
{
    char *end;
    double v = vecindex_value_number(s->text, &end);
    if (*end || !(v > 0 && v <= 1))
        return wrong(s, "recall is a number over 0, at most 1");
    a->recall = v;
    return TACIT_OK;
}

/* name = value, the name in s->text and the '=' read. */
static enum tacit_err read_option(struct scanner *s, struct vecindex_args *a,
                                  const char *name)
{
    TRY(scan(s));
    if (s->mark || !s->text[0]) return wrong(s, "an option has no value");
    if (strcasecmp(name, "recall") == 0) return set_recall(s, a);
    if (strcasecmp(name, "metric") == 0 ||
        strcasecmp(name, "distance_metric") == 0) {
        if (strcasecmp(s->text, "cosine") == 0)
            a->metric = IVF_COSINE;
        else if (strcasecmp(s->text, "l2") == 0)
            a->metric = IVF_L2;
        else if (strcasecmp(s->text, "dot") == 0)
            a->metric = IVF_DOT;
        else
            return wrong(s, "metric is cosine, l2 or dot");
        return TACIT_OK;
    }
    if (strcasecmp(name, "store") == 0) {
        if (strcasecmp(s->text, "int8") == 0)
            a->rows = IVF_ROWS_INT8;
        else if (strcasecmp(s->text, "f32") == 0)
            a->rows = IVF_ROWS_F32;
        else
            return wrong(s, "store is int8 or f32");
        return TACIT_OK;
    }
    return wrong(s, "the options are metric, store and recall");
}

/* ---- columns --------------------------------------------------------------
 */

static enum tacit_err read_dimensions(struct scanner *s,
                                      struct vecindex_args *a)
{
    char *end;
    TRY(scan(s));
    long n = strtol(s->text, &end, 10);
    if (s->mark || !s->text[0] || *end)
        return wrong(s, "a vector column is `name float[N]`");
    if (n < 1 || n > IVF_DIM_MAX)
        return fail(TACIT_SHAPE,
                    "tacit_vec: \"%.60s\": a vector has 1 to %d numbers",
                    s->whole, IVF_DIM_MAX);
    a->dim = (uint32_t)n;
    TRY(scan(s));
    return s->mark == ']' ? TACIT_OK
                          : wrong(s, "a vector column is `name float[N]`");
}

static enum tacit_err read_vector(struct scanner *s, struct vecindex_args *a,
                                  struct vecindex_column *c)
{
    if (strcasecmp(s->text, "float") != 0 && strcasecmp(s->text, "f32") != 0)
        return wrong(s, "vectors are float[N]; `store=int8` keeps them in "
                        "bytes");
    if (a->dim) return wrong(s, "a table has one vector column");
    TRY(scan(s));
    TRY(read_dimensions(s, a));
    c->kind = VECINDEX_VECTOR;
    a->vector = a->n_columns;
    TRY(scan(s));
    while (!is_end(s)) {
        char name[VECINDEX_NAME_MAX];
        memcpy(name, s->text, sizeof name);
        TRY(scan(s));
        if (s->mark != '=') return wrong(s, "options are name=value");
        TRY(read_option(s, a, name));
        TRY(scan(s));
    }
    return TACIT_OK;
}

static enum tacit_err read_type(struct scanner *s, struct vecindex_column *c)
{
    static const struct {
        const char *name;
        enum vecindex_type type;
    } types[] = {{"int", VECINDEX_INT},     {"integer", VECINDEX_INT},
                 {"bigint", VECINDEX_INT},  {"boolean", VECINDEX_INT},
                 {"bool", VECINDEX_INT},    {"real", VECINDEX_REAL},
                 {"double", VECINDEX_REAL}, {"float", VECINDEX_REAL},
                 {"text", VECINDEX_TEXT}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcasecmp(s->text, types[i].name) == 0) {
            c->type = types[i].type;
            return TACIT_OK;
        }
    return wrong(s, "the type of such a column is int, real or text");
}

/* `type filter` or `type partition key`, the type in s->text. */
static enum tacit_err read_scalar(struct scanner *s, struct vecindex_args *a,
                                  struct vecindex_column *c)
{
    TRY(read_type(s, c));
    TRY(scan(s));
    if (strcasecmp(s->text, "filter") == 0) {
        c->kind = VECINDEX_FILTER;
        c->at = a->n_filters++;
        if (a->n_filters > VECINDEX_FILTERS_MAX)
            return fail(TACIT_LIMIT, "tacit_vec: over %d filter columns",
                        VECINDEX_FILTERS_MAX);
    } else if (strcasecmp(s->text, "partition") == 0) {
        TRY(scan(s));
        if (strcasecmp(s->text, "key") != 0)
            return wrong(s, "a partition is `name int partition key`");
        if (c->type == VECINDEX_REAL)
            return wrong(s, "a partition key is int or text");
        c->kind = VECINDEX_KEY;
        c->at = a->n_keys++;
        if (a->n_keys > VECINDEX_KEYS_MAX)
            return fail(TACIT_LIMIT, "tacit_vec: over %d partition keys",
                        VECINDEX_KEYS_MAX);
    } else {
        return wrong(s, "say `filter` or `partition key` behind the type, or "
                        "`+name` for a column that is only kept");
    }
    TRY(scan(s));
    return is_end(s) ? TACIT_OK : wrong(s, "it ends too late");
}

/* `+name`, then any type. */
static enum tacit_err read_aux(struct scanner *s, struct vecindex_args *a,
                               struct vecindex_column *c)
{
    while (isspace((unsigned char)*s->at)) s->at++;
    if (strlen(s->at) >= sizeof c->declared)
        return wrong(s, "the type is too long");
    for (const char *p = s->at; *p; p++)
        if (!is_word(*p) && !isspace((unsigned char)*p) && !strchr("(),", *p))
            return wrong(s, "the type of a column is letters and digits");
    memcpy(c->declared, s->at, strlen(s->at) + 1);
    c->kind = VECINDEX_AUX;
    c->type = VECINDEX_ANY;
    c->at = a->n_aux++;
    if (a->n_aux > VECINDEX_AUX_MAX)
        return fail(TACIT_LIMIT, "tacit_vec: over %d auxiliary columns",
                    VECINDEX_AUX_MAX);
    return TACIT_OK;
}

static const char *const reserved[] = {"distance", "k",      "recall",
                                       "probes",   "exact",  "rowid",
                                       "oid",      "_rowid_"};

int vecindex_args_has_name(const struct vecindex_args *a, const char *name)
{
    for (int i = 0; i < a->n_columns; i++)
        if (strcasecmp(a->column[i].name, name) == 0) return 1;
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        if (strcasecmp(reserved[i], name) == 0) return 1;
    return 0;
}

static enum tacit_err read_argument(const char *table, const char *text,
                                    struct vecindex_args *a)
{
    struct scanner s = {.at = text, .whole = text};
    struct vecindex_column c = {0};
    while (isspace((unsigned char)*s.at)) s.at++;
    int is_aux = *s.at == '+';
    s.at += is_aux;
    while (isspace((unsigned char)*s.at)) s.at++;
    TRY(*s.at == '[' ? scan_quoted(&s, '[') : scan(&s));
    if (s.mark || !s.text[0])
        return wrong(&s, "an argument is a column or an option");
    memcpy(c.name, s.text, sizeof c.name);
    if (!is_aux) {
        TRY(scan(&s));
        if (s.mark == '=') {
            TRY(read_option(&s, a, c.name));
            TRY(scan(&s));
            return is_end(&s) ? TACIT_OK : wrong(&s, "it ends too late");
        }
    }
    if (vecindex_args_has_name(a, c.name) || strcasecmp(c.name, table) == 0)
        return wrong(&s, "this name is taken");
    if (a->n_columns == VECINDEX_COLUMNS_MAX)
        return fail(TACIT_LIMIT, "tacit_vec: over %d columns",
                    VECINDEX_COLUMNS_MAX);
    if (is_aux) {
        TRY(read_aux(&s, a, &c));
    } else {
        const char *next = s.at;
        while (isspace((unsigned char)*next)) next++;
        TRY(*next == '[' ? read_vector(&s, a, &c) : read_scalar(&s, a, &c));
    }
    a->column[a->n_columns++] = c;
    return TACIT_OK;
}

enum tacit_err vecindex_args_parse(const char *table, int n,
                                   const char *const *text,
                                   struct vecindex_args *out)
{
    memset(out, 0, sizeof *out);
    out->recall = DEFAULT_RECALL;
    if (strlen(table) >= VECINDEX_NAME_MAX)
        return fail(TACIT_LIMIT,
                    "tacit_vec: a table's name has at most %d "
                    "bytes",
                    VECINDEX_NAME_MAX - 1);
    struct vecindex_args a = *out;
    for (int i = 0; i < n; i++) TRY(read_argument(table, text[i], &a));
    if (!a.dim)
        return fail(TACIT_FORMAT, "tacit_vec: no vector column: write `name "
                                  "float[N]`");
    *out = a;
    return TACIT_OK;
}

const struct vecindex_column *vecindex_args_column(
    const struct vecindex_args *a, enum vecindex_kind kind, int at)
{
    for (int i = 0; i < a->n_columns; i++)
        if (a->column[i].kind == kind && a->column[i].at == at)
            return &a->column[i];
    return NULL;
}
