#include "common/base/yaml_strict.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#include "common/base/codes.h"

enum { DEPTH_MAX = 16, PATH_BYTES = 256 }; /* schemas are ours: shallow */

/* A mapping or list that is open. */
struct level {
    const cyaml_schema_value_t *schema; /* NULL: of an unknown key, or amiss */
    const cyaml_schema_field_t *field;  /* of a mapping: the key just read */
    int has_key;                        /* of a mapping: its value is next */
    unsigned entry;                     /* of a list: 1, 2, … */
    unsigned line;                      /* of the key that holds this */
    unsigned key_line;
    uint64_t seen; /* a bit for each field */
};

struct walk {
    const char *name;
    const cyaml_schema_value_t *root;
    struct faults *faults;
    struct level levels[DEPTH_MAX];
    size_t depth;
};

static const char digits[] = "0123456789";

static int is_whole(const char *s)
{
    if (*s == '-' || *s == '+') s++;
    size_t n = strspn(s, digits);
    return n > 0 && s[n] == '\0' && (n == 1 || s[0] != '0');
}

static int is_real(const char *s)
{
    if (*s == '-' || *s == '+') s++;
    size_t whole = strspn(s, digits), part = 0;
    s += whole;
    if (*s == '.') {
        part = strspn(s + 1, digits);
        s += 1 + part;
    }
    if (whole + part == 0) return 0;
    if (*s == 'e' || *s == 'E') {
        s += s[1] == '-' || s[1] == '+' ? 2 : 1;
        if (strspn(s, digits) == 0) return 0;
        s += strspn(s, digits);
    }
    return *s == '\0';
}

static int is_switch(const char *s)
{
    static const char *const words[] = {"true", "false", "yes",
                                        "no",   "on",    "off"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcasecmp(s, words[i]) == 0) return 1;
    return 0;
}

/* What is wrong with text where a value of this type belongs, or NULL. */
static const char *fault_of(cyaml_type_e type, const char *text)
{
    switch (type) {
    case CYAML_INT:
    case CYAML_UINT: return is_whole(text) ? NULL : "not a whole number";
    case CYAML_FLOAT: return is_real(text) ? NULL : "not a number";
    case CYAML_BOOL: return is_switch(text) ? NULL : "neither true nor false";
    default: return NULL;
    }
}

static void put_path(char out[PATH_BYTES], const struct walk *w)
{
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < w->depth && at < PATH_BYTES; i++) {
        const struct level *l = &w->levels[i];
        int n = l->field
                    ? snprintf(out + at, PATH_BYTES - at, "%s%s", at ? "." : "",
                               l->field->key)
                    : snprintf(out + at, PATH_BYTES - at, "[%u]", l->entry);
        if (n > 0) at += (size_t)n;
    }
}

static int is_mapping(const struct level *l)
{
    return l->schema && l->schema->type == CYAML_MAPPING;
}

static int is_list(const cyaml_schema_value_t *v)
{
    return v->type == CYAML_SEQUENCE || v->type == CYAML_SEQUENCE_FIXED;
}

static unsigned line_of(const yaml_event_t *event)
{
    return (unsigned)event->start_mark.line + 1;
}

static int expects_key(const struct walk *w)
{
    if (w->depth == 0) return 0;
    const struct level *l = &w->levels[w->depth - 1];
    return is_mapping(l) && !l->has_key;
}

/* The schema of the value that begins now; NULL where none is known. */
static const cyaml_schema_value_t *begin_value(struct walk *w)
{
    if (w->depth == 0) return w->root;
    struct level *l = &w->levels[w->depth - 1];
    if (!l->schema) return NULL;
    if (is_mapping(l)) return l->field ? &l->field->value : NULL;
    l->entry++;
    return l->schema->sequence.entry;
}

/* A key or a value is over. */
static void end_node(struct walk *w)
{
    if (w->depth == 0) return;
    struct level *l = &w->levels[w->depth - 1];
    l->has_key = is_mapping(l) && !l->has_key;
    if (!l->has_key) l->field = NULL;
}

static enum tacit_err unknown_key(struct walk *w, const struct level *l,
                                  const char *key, unsigned line)
{
    const char *names[64];
    size_t n = 0;
    for (const cyaml_schema_field_t *f = l->schema->mapping.fields;
         f->key && n < 64; f++)
        names[n++] = f->key;
    const char *near = yaml_nearest(key, names, n);
    return faults_take(w->faults,
                       fail_as(E_YAML_KEY, "%s:%u: unknown key \"%.64s\"%s%s%s",
                               w->name, line, key,
                               near ? "; did you mean \"" : "",
                               near ? near : "", near ? "\"?" : ""));
}

static enum tacit_err take_key(struct walk *w, const yaml_event_t *event)
{
    struct level *l = &w->levels[w->depth - 1];
    const char *key = (const char *)event->data.scalar.value;
    const cyaml_schema_field_t *f = l->schema->mapping.fields;
    size_t i = 0;
    while (f[i].key && strcmp(f[i].key, key) != 0) i++;
    l->key_line = line_of(event);
    l->has_key = 1;
    l->field = f[i].key ? &f[i] : NULL;
    if (!l->field) return unknown_key(w, l, key, l->key_line);
    uint64_t bit = (uint64_t)1 << (i & 63);
    int again = (l->seen & bit) != 0;
    l->seen |= bit;
    if (!again) return TACIT_OK;
    return faults_take(w->faults,
                       fail_as(E_YAML_KEY, "%s:%u: the key \"%s\" stands twice",
                               w->name, l->key_line, key));
}

static enum tacit_err take_scalar(struct walk *w, const yaml_event_t *event)
{
    char path[PATH_BYTES];
    if (expects_key(w)) return take_key(w, event);
    const cyaml_schema_value_t *schema = begin_value(w);
    const char *fault =
        schema ? fault_of(schema->type, (const char *)event->data.scalar.value)
               : NULL;
    put_path(path, w);
    end_node(w);
    if (!fault) return TACIT_OK;
    return faults_take(w->faults,
                       fail_as(E_YAML_VALUE, "%s:%u: %s: %s", w->name,
                               line_of(event), path, fault));
}

static enum tacit_err begin_level(struct walk *w, const yaml_event_t *event)
{
    struct level next = {.line = 1};
    int mapping = event->type == YAML_MAPPING_START_EVENT;
    if (w->depth == DEPTH_MAX)
        return fail_as(E_YAML_VALUE, "%s:%u: nested too deeply", w->name,
                       line_of(event));
    /* Where another kind of value belongs, libcyaml says so. */
    const cyaml_schema_value_t *schema = expects_key(w) ? NULL : begin_value(w);
    if (schema && (mapping ? schema->type == CYAML_MAPPING : is_list(schema)))
        next.schema = schema;
    if (w->depth > 0) {
        const struct level *l = &w->levels[w->depth - 1];
        next.line = is_mapping(l) ? l->key_line : line_of(event);
    }
    w->levels[w->depth++] = next;
    return TACIT_OK;
}

static enum tacit_err end_level(struct walk *w)
{
    const struct level l = w->levels[--w->depth];
    char path[PATH_BYTES];
    put_path(path, w);
    end_node(w);
    const cyaml_schema_field_t *f =
        is_mapping(&l) ? l.schema->mapping.fields : NULL;
    for (size_t i = 0; f && f[i].key; i++) {
        if (f[i].value.flags & CYAML_FLAG_OPTIONAL || l.seen & (uint64_t)1
                                                                   << (i & 63))
            continue;
        TRY(faults_take(w->faults,
                        fail_as(E_YAML_KEY,
                                "%s:%u: the key \"%s\" is missing%s%s", w->name,
                                l.line, f[i].key, path[0] ? " in " : "",
                                path)));
    }
    return TACIT_OK;
}

static enum tacit_err take_event(struct walk *w, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT: return take_scalar(w, event);
    case YAML_MAPPING_START_EVENT:
    case YAML_SEQUENCE_START_EVENT: return begin_level(w, event);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT: return end_level(w);
    case YAML_ALIAS_EVENT: end_node(w); return TACIT_OK;
    default: return TACIT_OK;
    }
}

enum tacit_err yaml_check_strict(const char *name, const char *text, size_t n,
                                 const cyaml_schema_value_t *schema,
                                 struct faults *f)
{
    yaml_parser_t parser;
    yaml_event_t event;
    struct walk w = {.name = name, .root = schema, .faults = f};
    enum tacit_err err = TACIT_OK;
    if (!yaml_parser_initialize(&parser))
        return fail(TACIT_NOMEM, "out of memory");
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, n);
    for (int done = 0; !err && !done;) {
        if (!yaml_parser_parse(&parser, &event)) {
            /* What stands behind the place is not to be judged. */
            memset(f, 0, sizeof *f);
            break;
        }
        err = take_event(&w, &event);
        done = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return err;
}
