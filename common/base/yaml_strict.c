#include "common/base/yaml_strict.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#include "common/base/codes.h"

enum { DEPTH_MAX = 16, PATH_BYTES = 256 }; /* schemas are ours: shallow */

/* A mapping or list that is open. */
struct level {
    const cyaml_schema_value_t *schema;
    const cyaml_schema_field_t *field; /* of a mapping: the key just read */
    unsigned entry;                    /* of a list: 1, 2, … */
};

struct walk {
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

static const cyaml_schema_field_t *field_called(
    const cyaml_schema_value_t *mapping, const char *key)
{
    const cyaml_schema_field_t *f = mapping->mapping.fields;
    while (f->key && strcmp(f->key, key) != 0) f++;
    return f->key ? f : NULL;
}

/* The schema of the value that begins now; NULL where none is known. */
static const cyaml_schema_value_t *begin_value(struct walk *w,
                                               const cyaml_schema_value_t *root)
{
    if (w->depth == 0) return root;
    struct level *l = &w->levels[w->depth - 1];
    if (!l->schema) return NULL;
    if (l->schema->type == CYAML_MAPPING)
        return l->field ? &l->field->value : NULL;
    l->entry++;
    return l->schema->sequence.entry;
}

static void end_value(struct walk *w)
{
    if (w->depth > 0) w->levels[w->depth - 1].field = NULL;
}

static int expects_key(const struct walk *w)
{
    if (w->depth == 0) return 0;
    const struct level *l = &w->levels[w->depth - 1];
    return l->schema && l->schema->type == CYAML_MAPPING && !l->field;
}

static enum tacit_err take_scalar(struct walk *w, const char *name,
                                  const yaml_event_t *event,
                                  const cyaml_schema_value_t *root)
{
    const char *text = (const char *)event->data.scalar.value;
    if (expects_key(w)) {
        struct level *l = &w->levels[w->depth - 1];
        l->field = field_called(l->schema, text);
        return TACIT_OK;
    }
    const cyaml_schema_value_t *schema = begin_value(w, root);
    const char *fault = schema ? fault_of(schema->type, text) : NULL;
    if (fault) {
        char path[PATH_BYTES];
        put_path(path, w);
        return fail_as(E_YAML_VALUE, "%s:%zu: %s: %s", name,
                       event->start_mark.line + 1, path, fault);
    }
    end_value(w);
    return TACIT_OK;
}

static enum tacit_err take_event(struct walk *w, const char *name,
                                 const yaml_event_t *event,
                                 const cyaml_schema_value_t *root)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT: return take_scalar(w, name, event, root);
    case YAML_MAPPING_START_EVENT:
    case YAML_SEQUENCE_START_EVENT: {
        const cyaml_schema_value_t *schema = begin_value(w, root);
        if (w->depth == DEPTH_MAX)
            return fail_as(E_YAML_VALUE, "%s:%zu: nested too deeply", name,
                           event->start_mark.line + 1);
        w->levels[w->depth++] = (struct level){.schema = schema};
        return TACIT_OK;
    }
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        w->depth--;
        end_value(w);
        return TACIT_OK;
    default: return TACIT_OK;
    }
}

enum tacit_err yaml_check_strict(const char *name, const char *text, size_t n,
                                 const cyaml_schema_value_t *schema)
{
    yaml_parser_t parser;
    yaml_event_t event;
    struct walk w = {.depth = 0};
    enum tacit_err err = TACIT_OK;
    if (!yaml_parser_initialize(&parser))
        return fail(TACIT_NOMEM, "out of memory");
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, n);
    for (int done = 0; !err && !done;) {
        /* libcyaml has read the same bytes, so only memory can be missing. */
        if (!yaml_parser_parse(&parser, &event)) {
            err = fail(TACIT_NOMEM, "out of memory");
            break;
        }
        err = take_event(&w, name, &event, schema);
        done = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return err;
}
