#include "common/base/yaml.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "common/base/buf.h"
#include "common/base/codes.h"
#include "common/base/utf8.h"
#include "common/base/yaml_strict.h"

enum { WORD_MAX = 64, NEAR_ENOUGH = 3, PLACES_MAX = 16, PATH_BYTES = 256 };

/* One line of libcyaml's backtrace. */
struct place {
    char key[WORD_MAX]; /* "" for the inside of a mapping and for entries */
    unsigned entry;     /* 1, 2, … in a list; 0 otherwise */
    unsigned line;
};

/* What libcyaml reports, line by line: first the fault, then a backtrace from
 * the innermost place outwards. */
struct report {
    char fault[256];
    struct place places[PLACES_MAX];
    size_t n_places;
};

static void on_log(cyaml_log_t level, void *ctx, const char *fmt, va_list ap)
{
    struct report *r = ctx;
    char line[256];
    (void)level;
    vsnprintf(line, sizeof line, fmt, ap);
    line[strcspn(line, "\n")] = '\0';
    const char *text = strncmp(line, "Load: ", 6) == 0 ? line + 6 : line;
    if (strncmp(text, "Backtrace:", 10) == 0) return;
    const char *at = strstr(text, "(line: ");
    if (strncmp(text, "  in ", 5) != 0 || !at) {
        if (!r->fault[0]) snprintf(r->fault, sizeof r->fault, "%s", text);
        return;
    }
    if (r->n_places == PLACES_MAX) return;
    struct place *p = &r->places[r->n_places++];
    sscanf(at, "(line: %u", &p->line);
    if (sscanf(text, "  in sequence entry '%u'", &p->entry) != 1)
        sscanf(text, "  in mapping field '%63[^']", p->key);
}

/* "data.columns[2].name" of the places from number `from` outwards. */
static void put_path(char out[PATH_BYTES], const struct report *r, size_t from)
{
    struct buf b;
    buf_init(&b, PATH_BYTES - 1);
    for (size_t i = r->n_places; i-- > from;) {
        const struct place *p = &r->places[i];
        if (p->entry)
            buf_printf(&b, "[%u]", p->entry);
        else if (p->key[0])
            buf_printf(&b, "%s%s", b.len ? "." : "", p->key);
    }
    snprintf(out, PATH_BYTES, "%.*s", (int)b.len,
             b.len ? (const char *)b.data : "");
    buf_release(&b);
}

size_t yaml_distance(const char *a, const char *b)
{
    size_t rows[3][WORD_MAX + 1]; /* of a[i - 2], a[i - 1] and a[i] */
    size_t na = strnlen(a, WORD_MAX), nb = strnlen(b, WORD_MAX);
    for (size_t j = 0; j <= nb; j++) rows[0][j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t *row = rows[i % 3], *last = rows[(i - 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t best = last[j - 1] + (a[i - 1] != b[j - 1]);
            if (last[j] + 1 < best) best = last[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
                a[i - 2] == b[j - 1] && rows[(i - 2) % 3][j - 2] + 1 < best)
                best = rows[(i - 2) % 3][j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[na % 3][nb];
}

/* Does one begin with the other, where that says something? */
static int goes_on(const char *a, const char *b)
{
    size_t n = 0;
    while (a[n] && a[n] == b[n]) n++;
    return n > NEAR_ENOUGH && (!a[n] || !b[n]);
}

const char *yaml_nearest(const char *word, const char *const *candidates,
                         size_t n)
{
    const char *best = NULL;
    size_t best_distance = NEAR_ENOUGH + 1;
    for (size_t i = 0; i < n; i++) {
        size_t d = yaml_distance(word, candidates[i]);
        /* "lr" must not be taken for "cp", nor "foo" for "from": half of it
         * has to agree. */
        if (d >= best_distance || 2 * d > strlen(word)) continue;
        best = candidates[i];
        best_distance = d;
    }
    for (size_t i = 0; !best && i < n; i++)
        if (goes_on(word, candidates[i])) best = candidates[i];
    return best;
}

static int is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-';
}

/* Offset of "key:" at or after `from`, outside comments, or n. */
static size_t find_key(const char *text, size_t n, size_t from, const char *key)
{
    size_t k = strlen(key);
    for (size_t i = from; i + k < n; i++) {
        int begins = i == 0 || !is_word(text[i - 1]);
        if (begins && memcmp(text + i, key, k) == 0 && text[i + k] == ':')
            return i;
        if (text[i] == '#' && (i == 0 || isspace((unsigned char)text[i - 1])))
            while (i < n && text[i] != '\n') i++;
    }
    return n;
}

static unsigned line_of(const char *text, size_t offset)
{
    unsigned line = 1;
    for (size_t i = 0; i < offset; i++) line += text[i] == '\n';
    return line;
}

unsigned yaml_line(const char *text, size_t n, const char *path)
{
    char key[WORD_MAX];
    size_t at = 0;
    for (int depth = 0; *path; depth++) {
        size_t k = strcspn(path, ".[");
        snprintf(key, sizeof key, "%.*s", (int)k, path);
        at = find_key(text, n, at, key);
        /* The first key of a path stands at the start of its line. */
        while (depth == 0 && at < n && at > 0 && text[at - 1] != '\n')
            at = find_key(text, n, at + 1, key);
        if (at == n) return 0;
        path += k;
        path += strcspn(path, ".");
        if (*path) path++;
    }
    return line_of(text, at);
}

/* libcyaml does not say where a syntax error stands; libyaml does. */
static enum tacit_err explain_syntax(const char *name, const char *text,
                                     size_t n)
{
    yaml_parser_t parser;
    yaml_event_t event;
    int done = 0, ok = 1;
    if (!yaml_parser_initialize(&parser))
        return fail(TACIT_NOMEM, "out of memory");
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, n);
    while (!done && (ok = yaml_parser_parse(&parser, &event))) {
        done = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    /* What can be read now was in want of memory before. */
    enum tacit_err err =
        ok || parser.error == YAML_MEMORY_ERROR
            ? fail(TACIT_NOMEM, "out of memory")
            : fail_as(E_YAML_SYNTAX, "%s:%zu:%zu: not valid YAML: %s", name,
                      parser.problem_mark.line + 1,
                      parser.problem_mark.column + 1,
                      parser.problem ? parser.problem : "it cannot be read");
    yaml_parser_delete(&parser);
    return err;
}

/* libcyaml's words for a value that does not fit, and ours. */
static const struct {
    const char *theirs, *ours;
} value_faults[] = {
    {"Invalid INT value", "not a whole number"},
    {"Invalid UINT value", "not a whole number"},
    {"Invalid FLOAT value", "not a number"},
    {"Invalid BOOL value", "neither true nor false"},
    {"Expecting INT", "a whole number belongs here"},
    {"Expecting UINT", "a whole number belongs here"},
    {"Expecting FLOAT", "a number belongs here"},
    {"Expecting BOOL", "true or false belongs here"},
    {"Expecting STRING", "one text belongs here"},
    {"Expecting MAPPING", "keys with values belong here"},
    {"Expecting SEQUENCE", "a list in [ ] belongs here"},
    {"Insufficient entries", "too few entries"},
    {"Excessive entries", "too many entries"},
    {"STRING length <", "the text is too short"},
    {"STRING length >", "the text is too long"},
};

static enum tacit_err explain_value(const char *name, const struct report *r,
                                    cyaml_err_t e)
{
    char path[PATH_BYTES], bounds[48] = "";
    const char *words = r->fault[0] ? r->fault : cyaml_strerror(e);
    unsigned line = r->n_places ? r->places[0].line : 1;
    put_path(path, r, 0);
    for (size_t i = 0; i < sizeof value_faults / sizeof *value_faults; i++) {
        const char *theirs = value_faults[i].theirs;
        if (strncmp(words, theirs, strlen(theirs)) != 0) continue;
        unsigned limit, got;
        if (sscanf(words + strlen(theirs), " (%u of %u", &got, &limit) == 2)
            snprintf(bounds, sizeof bounds, " (%u, the limit is %u)", got,
                     limit);
        else if (sscanf(words, "STRING length %*c %u", &limit) == 1)
            snprintf(bounds, sizeof bounds, " (the limit is %u bytes)", limit);
        words = value_faults[i].ours;
        break;
    }
    if (e == CYAML_ERR_ALIAS) words = "a reference (*name) may not stand here";
    return fail_as(E_YAML_VALUE, "%s:%u: %s%s%s%s", name, line ? line : 1, path,
                   path[0] ? ": " : "", words, bounds);
}

/* "---" or "..." at the start of a line always ends a document, even inside a
 * text. */
static int is_marker(const char *line, size_t n, const char *marker)
{
    return n >= 3 && memcmp(line, marker, 3) == 0 &&
           (n == 3 || isspace((unsigned char)line[3]));
}

/* Text of one document, or a message: libcyaml would not look at a second. */
static enum tacit_err check_text(const char *name, const char *text, size_t n)
{
    size_t bad = utf8_find_bad(text, n);
    int begun = 0, ended = 0;
    if (bad < n)
        return fail_as(E_YAML_SYNTAX, "%s:%u: not UTF-8 text (byte %zu)", name,
                       line_of(text, bad), bad);
    for (size_t i = 0, next; i < n; i = next) {
        const char *line = text + i;
        const char *stop = memchr(line, '\n', n - i);
        size_t len = stop ? (size_t)(stop - line) : n - i, blank = 0;
        next = i + len + 1;
        if (is_marker(line, len, "...")) {
            ended = 1;
            continue;
        }
        while (blank < len && isspace((unsigned char)line[blank])) blank++;
        if (blank == len || line[blank] == '#' || line[0] == '%') continue;
        if (ended || (begun && is_marker(line, len, "---")))
            return fail_as(E_YAML_SYNTAX,
                           "%s:%u: a second document begins; a file holds one",
                           name, line_of(text, i));
        begun = 1;
    }
    return TACIT_OK;
}

static enum tacit_err explain(const char *name, const char *text, size_t n,
                              const struct report *r, cyaml_err_t e)
{
    if (e == CYAML_ERR_OOM || e == CYAML_ERR_LIBYAML_PARSER_INIT)
        return fail(TACIT_NOMEM, "out of memory");
    if (e == CYAML_ERR_LIBYAML_PARSER) return explain_syntax(name, text, n);
    return explain_value(name, r, e);
}

enum tacit_err yaml_load(const char *name, const char *text, size_t n,
                         const cyaml_schema_value_t *schema, void **out)
{
    struct faults f = {0};
    void *data = NULL;
    TRY(yaml_load_all(name, text, n, schema, &f, &data));
    enum tacit_err err = faults_end(&f);
    if (err)
        yaml_unload(schema, data);
    else
        *out = data;
    return err;
}

enum tacit_err yaml_load_all(const char *name, const char *text, size_t n,
                             const cyaml_schema_value_t *schema,
                             struct faults *f, void **out)
{
    struct report r = {0};
    cyaml_config_t config = {.log_fn = on_log,
                             .log_ctx = &r,
                             .mem_fn = cyaml_mem,
                             .log_level = CYAML_LOG_WARNING,
                             .flags = CYAML_CFG_NO_ALIAS |
                                      CYAML_CFG_IGNORE_UNKNOWN_KEYS};
    cyaml_data_t *data = NULL;
    if (n > YAML_BYTES_MAX)
        return fail(TACIT_LIMIT, "%s: %zu bytes, the limit is %d", name, n,
                    YAML_BYTES_MAX);
    TRY(check_text(name, text, n));
    TRY(yaml_check_strict(name, text, n, schema, f));
    cyaml_err_t e =
        cyaml_load_data((const uint8_t *)text, n, &config, schema, &data, NULL);
    /* What was collected says it better. */
    if (e != CYAML_OK && f->n > 0) return faults_end(f);
    if (e != CYAML_OK) return explain(name, text, n, &r, e);
    if (!data) return fail_as(E_YAML_SYNTAX, "%s: the file is empty", name);
    *out = data;
    return TACIT_OK;
}

void yaml_unload(const cyaml_schema_value_t *schema, void *value)
{
    cyaml_config_t config = {.mem_fn = cyaml_mem, .log_level = CYAML_LOG_ERROR};
    if (value) cyaml_free(&config, schema, value, 0);
}
