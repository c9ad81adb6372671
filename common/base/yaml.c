#include "common/base/yaml.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { WORD_MAX = 64, NEAR_ENOUGH = 3, SCHEMA_DEPTH_MAX = 16 };

/* What libcyaml reports, line by line: first the fault, then a backtrace from
 * the innermost mapping outwards. */
struct report {
    char fault[256];
    char field[WORD_MAX];  /* innermost field name of the backtrace */
    char parent[WORD_MAX]; /* the field that holds the current mapping */
    unsigned line, column;
    int n_lines;
};

/* Copy what stands between the first two quotes. */
static void quoted(const char *text, char *out)
{
    out[0] = '\0';
    const char *from = strchr(text, '\'');
    const char *to = from ? strchr(from + 1, '\'') : NULL;
    if (to) snprintf(out, WORD_MAX, "%.*s", (int)(to - from - 1), from + 1);
}

static void listen(cyaml_log_t level, void *ctx, const char *fmt, va_list ap)
{
    struct report *r = ctx;
    char line[256];
    (void)level;
    vsnprintf(line, sizeof line, fmt, ap);
    line[strcspn(line, "\n")] = '\0';
    const char *text = strncmp(line, "Load: ", 6) == 0 ? line + 6 : line;
    const char *at = strstr(text, "(line: ");
    if (!r->fault[0]) {
        snprintf(r->fault, sizeof r->fault, "%s", text);
        return;
    }
    if (!at) return;
    if (r->n_lines++ == 0) {
        sscanf(at, "(line: %u, column: %u)", &r->line, &r->column);
        quoted(text, r->field);
    } else if (!r->parent[0] && strstr(text, "mapping field")) {
        quoted(text, r->parent);
    }
}

size_t yaml_distance(const char *a, const char *b)
{
    size_t row[WORD_MAX + 1];
    size_t na = strnlen(a, WORD_MAX), nb = strnlen(b, WORD_MAX);
    for (size_t j = 0; j <= nb; j++) row[j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[nb];
}

const char *yaml_nearest(const char *word, const char *const *candidates,
                         size_t n)
{
    const char *best = NULL;
    size_t best_distance = NEAR_ENOUGH + 1;
    for (size_t i = 0; i < n; i++) {
        size_t d = yaml_distance(word, candidates[i]);
        /* "lr" must not be taken for "cp": something has to agree. */
        if (d >= best_distance || d >= strlen(word)) continue;
        best = candidates[i];
        best_distance = d;
    }
    return best;
}

/* The fields of a mapping, looking through sequences. */
static const cyaml_schema_field_t *mapping_fields(
    const cyaml_schema_value_t *schema)
{
    for (int depth = 0; schema && depth < SCHEMA_DEPTH_MAX; depth++) {
        if (schema->type == CYAML_MAPPING) return schema->mapping.fields;
        if (schema->type != CYAML_SEQUENCE &&
            schema->type != CYAML_SEQUENCE_FIXED)
            return NULL;
        schema = schema->sequence.entry;
    }
    return NULL;
}

/* The fields of the mapping that stands behind the key `parent`, or of the
 * whole file when parent is empty. Schemas are ours and shallow. */
static const cyaml_schema_field_t *find_fields(
    const cyaml_schema_field_t *fields, const char *parent, int depth)
{
    if (!fields || !parent[0]) return fields;
    if (depth == SCHEMA_DEPTH_MAX) return NULL;
    for (const cyaml_schema_field_t *f = fields; f->key; f++) {
        const cyaml_schema_field_t *inner = mapping_fields(&f->value);
        if (!inner) continue;
        if (strcmp(f->key, parent) == 0) return inner;
        const cyaml_schema_field_t *found =
            find_fields(inner, parent, depth + 1);
        if (found) return found;
    }
    return NULL;
}

static const char *nearest_key(const cyaml_schema_value_t *schema,
                               const struct report *r, const char *key)
{
    const char *names[128];
    size_t n = 0;
    const cyaml_schema_field_t *f =
        find_fields(mapping_fields(schema), r->parent, 0);
    for (; f && f->key && n < 128; f++) names[n++] = f->key;
    return yaml_nearest(key, names, n);
}

/* libcyaml gives the place before an unexpected key; the key itself stands on
 * this line or a later one. */
static unsigned key_line(const char *text, size_t n, unsigned from,
                         const char *key)
{
    size_t k = strlen(key);
    unsigned line = 1;
    for (size_t i = 0; i + k < n; i++) {
        int begins =
            i == 0 || !strchr("abcdefghijklmnopqrstuvwxyz_", text[i - 1]);
        if (line >= from && begins && memcmp(text + i, key, k) == 0 &&
            text[i + k] == ':')
            return line;
        if (text[i] == '\n') line++;
    }
    return from;
}

static enum tacit_err explain(const char *name, const char *text, size_t n,
                              const cyaml_schema_value_t *schema,
                              const struct report *r, cyaml_err_t e)
{
    static const char unexpected[] = "Unexpected key: ";
    static const char repeated[] = "Mapping field already seen: ";
    static const char missing[] = "Missing required mapping field: ";
    if (e == CYAML_ERR_OOM) return fail(TACIT_NOMEM, "out of memory");
    if (strncmp(r->fault, unexpected, sizeof unexpected - 1) == 0) {
        const char *key = r->fault + sizeof unexpected - 1;
        const char *near = nearest_key(schema, r, key);
        return fail(TACIT_FORMAT, "%s:%u: unknown key \"%s\"%s%s%s", name,
                    key_line(text, n, r->line, key), key,
                    near ? "; did you mean \"" : "", near ? near : "",
                    near ? "\"?" : "");
    }
    if (strncmp(r->fault, repeated, sizeof repeated - 1) == 0) {
        const char *key = r->fault + sizeof repeated - 1;
        return fail(TACIT_FORMAT, "%s:%u: the key \"%s\" stands twice", name,
                    key_line(text, n, r->line + 1, key), key);
    }
    if (strncmp(r->fault, missing, sizeof missing - 1) == 0)
        return fail(TACIT_FORMAT, "%s: the key \"%s\" is missing%s%s%s", name,
                    r->fault + sizeof missing - 1,
                    r->parent[0] ? " under \"" : "", r->parent,
                    r->parent[0] ? "\"" : "");
    return fail(TACIT_FORMAT, "%s:%u: %s%s%s", name, r->line,
                r->field[0] ? r->field : "", r->field[0] ? ": " : "",
                r->fault[0] ? r->fault : cyaml_strerror(e));
}

enum tacit_err yaml_load(const char *name, const char *text, size_t n,
                         const cyaml_schema_value_t *schema, void **out)
{
    struct report r = {0};
    cyaml_config_t config = {.log_fn = listen,
                             .log_ctx = &r,
                             .mem_fn = cyaml_mem,
                             .log_level = CYAML_LOG_WARNING,
                             .flags = CYAML_CFG_NO_ALIAS};
    cyaml_data_t *data = NULL;
    if (n > YAML_BYTES_MAX)
        return fail(TACIT_LIMIT, "%s: %zu bytes, the limit is %d", name, n,
                    YAML_BYTES_MAX);
    cyaml_err_t e =
        cyaml_load_data((const uint8_t *)text, n, &config, schema, &data, NULL);
    if (e != CYAML_OK) return explain(name, text, n, schema, &r, e);
    if (!data) return fail(TACIT_FORMAT, "%s: the file is empty", name);
    *out = data;
    return TACIT_OK;
}

void yaml_unload(const cyaml_schema_value_t *schema, void *value)
{
    cyaml_config_t config = {.mem_fn = cyaml_mem, .log_level = CYAML_LOG_ERROR};
    if (value) cyaml_free(&config, schema, value, 0);
}
