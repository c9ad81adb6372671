#include "common/base/yaml_edit.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "common/base/codes.h"

enum { DEPTH_MAX = 32, PATHS_MAX = 256, WORD_MAX = 64 };

/* A value in the text, told once its end is known. Offsets are bytes. */
struct node {
    const char *path;
    yaml_event_type_t type; /* SCALAR, MAPPING_START, SEQUENCE_START */
    size_t start, end;      /* of what it is written with */
    size_t column;          /* block mapping: of its keys */
    int is_flow, is_empty;
    const char *value; /* scalar */
};

/* A mapping or sequence that is open. */
struct frame {
    struct node node;
    size_t path_len; /* of its own path */
    size_t n_entries;
    int wants_value; /* mapping: a key was read */
};

struct scan {
    const char *name, *text;
    size_t n;
    struct frame stack[DEPTH_MAX];
    size_t depth;
    char path[YAML_PATH_MAX];
    size_t path_len;
    size_t at_char, at_byte; /* one known pair, to count on from */
    size_t last_end;         /* of the last token with text of its own */
    void (*visit)(void *ctx, const struct node *node);
    void *ctx;
};

/* libyaml counts characters; texts are edited in bytes. */
static size_t byte_of(struct scan *s, size_t character)
{
    if (character < s->at_char) {
        s->at_char = 0;
        s->at_byte =
            s->n >= 3 && memcmp(s->text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    }
    while (s->at_char < character && s->at_byte < s->n) {
        s->at_byte++;
        while (s->at_byte < s->n &&
               ((unsigned char)s->text[s->at_byte] & 0xc0) == 0x80)
            s->at_byte++;
        s->at_char++;
    }
    return s->at_byte;
}

static enum tacit_err too_deep(const struct scan *s)
{
    return fail_as(E_YAML_VALUE, "%s: nested too deep", s->name);
}

/* Put the key, or the number, of the next value behind the path. */
static enum tacit_err extend_path(struct scan *s, const char *key, size_t entry)
{
    size_t left = sizeof s->path - s->path_len;
    int n = entry ? snprintf(s->path + s->path_len, left, "[%zu]", entry)
                  : snprintf(s->path + s->path_len, left, "%s%s",
                             s->path_len ? "." : "", key ? key : "");
    if (n < 0 || (size_t)n >= left) return too_deep(s);
    s->path_len += (size_t)n;
    return TACIT_OK;
}

/* A value is complete: back to the path of what holds it. */
static void close_value(struct scan *s)
{
    struct frame *f = s->depth ? &s->stack[s->depth - 1] : NULL;
    s->path_len = f ? f->path_len : 0;
    s->path[s->path_len] = '\0';
    if (f) f->wants_value = 0;
}

static enum tacit_err on_key(struct scan *s, struct frame *f,
                             const yaml_event_t *e)
{
    if (e->type != YAML_SCALAR_EVENT)
        return fail_as(E_YAML_VALUE, "%s:%zu: a key is one word", s->name,
                       e->start_mark.line + 1);
    if (f->n_entries++ == 0) {
        f->node.column = e->start_mark.column;
        f->node.is_empty = 0;
    }
    f->wants_value = 1;
    return extend_path(s, (const char *)e->data.scalar.value, 0);
}

static enum tacit_err on_open(struct scan *s, const yaml_event_t *e)
{
    if (s->depth == DEPTH_MAX) return too_deep(s);
    int is_map = e->type == YAML_MAPPING_START_EVENT;
    s->stack[s->depth++] =
        (struct frame){.node = {.type = e->type,
                                .start = byte_of(s, e->start_mark.index),
                                .is_empty = 1,
                                .is_flow = is_map
                                               ? e->data.mapping_start.style ==
                                                     YAML_FLOW_MAPPING_STYLE
                                               : e->data.sequence_start.style ==
                                                     YAML_FLOW_SEQUENCE_STYLE},
                       .path_len = s->path_len};
    return TACIT_OK;
}

static void on_close(struct scan *s, const yaml_event_t *e)
{
    struct frame *f = &s->stack[--s->depth];
    if (f->node.is_flow) s->last_end = byte_of(s, e->end_mark.index);
    f->node.end = s->last_end;
    s->path_len = f->path_len;
    s->path[s->path_len] = '\0';
    f->node.path = s->path;
    s->visit(s->ctx, &f->node);
    close_value(s);
}

static void on_scalar(struct scan *s, const yaml_event_t *e)
{
    int is_alias = e->type == YAML_ALIAS_EVENT;
    s->last_end = byte_of(s, e->end_mark.index);
    const struct node node = {.path = s->path,
                              .type = YAML_SCALAR_EVENT,
                              .start = byte_of(s, e->start_mark.index),
                              .end = s->last_end,
                              .value =
                                  is_alias
                                      ? (const char *)e->data.alias.anchor
                                      : (const char *)e->data.scalar.value};
    s->visit(s->ctx, &node);
    close_value(s);
}

static enum tacit_err on_event(struct scan *s, const yaml_event_t *e)
{
    struct frame *f = s->depth ? &s->stack[s->depth - 1] : NULL;
    int is_value = e->type == YAML_SCALAR_EVENT ||
                   e->type == YAML_ALIAS_EVENT ||
                   e->type == YAML_MAPPING_START_EVENT ||
                   e->type == YAML_SEQUENCE_START_EVENT;
    if (e->type == YAML_MAPPING_END_EVENT || e->type == YAML_SEQUENCE_END_EVENT)
        on_close(s, e);
    if (!is_value) return TACIT_OK;
    int in_map = f && f->node.type == YAML_MAPPING_START_EVENT;
    if (in_map && !f->wants_value) return on_key(s, f, e);
    if (f && !in_map) TRY(extend_path(s, NULL, ++f->n_entries));
    if (e->type == YAML_MAPPING_START_EVENT ||
        e->type == YAML_SEQUENCE_START_EVENT)
        return on_open(s, e);
    on_scalar(s, e);
    return TACIT_OK;
}

static enum tacit_err scan(struct scan *s)
{
    yaml_parser_t parser;
    yaml_event_t event;
    enum tacit_err err = TACIT_OK;
    if (!yaml_parser_initialize(&parser))
        return fail(TACIT_NOMEM, "out of memory");
    yaml_parser_set_input_string(&parser, (const unsigned char *)s->text, s->n);
    s->at_char = SIZE_MAX; /* unknown yet */
    for (int done = 0; !err && !done;) {
        if (!yaml_parser_parse(&parser, &event)) {
            err =
                fail_as(E_YAML_SYNTAX, "%s:%zu:%zu: not valid YAML: %s",
                        s->name, parser.problem_mark.line + 1,
                        parser.problem_mark.column + 1,
                        parser.problem ? parser.problem : "it cannot be read");
            break;
        }
        done = event.type == YAML_STREAM_END_EVENT;
        err = on_event(s, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return err;
}

/* ---- setting ------------------------------------------------------------ */

struct search {
    const char *path;
    struct node found, nearest; /* nearest: the deepest mapping on the way */
    size_t nearest_len;
    int is_found, has_nearest;
    char blocked[YAML_PATH_MAX]; /* what is on the way and holds no keys */
};

static void look(void *ctx, const struct node *node)
{
    struct search *s = ctx;
    size_t n = strlen(node->path);
    if (strcmp(node->path, s->path) == 0) {
        s->found = *node;
        s->is_found = 1;
        return;
    }
    if (strncmp(node->path, s->path, n) != 0) return;
    if (n && s->path[n] != '.' && s->path[n] != '[') return;
    if (node->type == YAML_SEQUENCE_START_EVENT) return;
    if (node->type == YAML_SCALAR_EVENT) {
        snprintf(s->blocked, sizeof s->blocked, "%s", node->path);
    } else if (!s->has_nearest || n > s->nearest_len) {
        s->nearest = *node;
        s->nearest_len = n;
        s->has_nearest = 1;
    }
}

/* "attack: {kind: nan}" for what is missing of the path; at and length of the
 * value in out. */
static void put_missing(struct buf *out, const char *rest, const char *value,
                        size_t *at)
{
    size_t n_open = 0;
    for (;;) {
        size_t k = strcspn(rest, ".");
        buf_printf(out, "%.*s: ", (int)k, rest);
        rest += k;
        if (!*rest) break;
        rest++;
        buf_printf(out, "{");
        n_open++;
    }
    *at = out->len;
    buf_printf(out, "%s", value);
    while (n_open-- > 0) buf_printf(out, "}");
}

/* Behind a value and the comment beside it. A literal block ends where the next
 * line begins. */
static size_t line_end(const char *text, size_t n, size_t at)
{
    if (at > 0 && text[at - 1] == '\n') return at;
    while (at < n && text[at] != '\n') at++;
    return at;
}

static void insert(const char *text, size_t n, const struct search *s,
                   const char *value, struct buf *out, size_t *at)
{
    const struct node *m = &s->nearest;
    const char *rest = s->path + s->nearest_len;
    if (*rest == '.') rest++;
    size_t split = m->is_flow ? m->end - 1 : line_end(text, n, m->end);
    int starts_line = split > 0 && text[split - 1] == '\n';
    buf_put(out, text, split);
    if (m->is_flow && !m->is_empty) buf_printf(out, ", ");
    if (!m->is_flow)
        buf_printf(out, "%s%*s", starts_line ? "" : "\n", (int)m->column, "");
    put_missing(out, rest, value, at);
    if (!m->is_flow && starts_line) buf_printf(out, "\n");
    buf_put(out, text + split, n - split);
}

static enum tacit_err check_value(const char *path, const char *value)
{
    size_t n = strlen(value);
    if (n == 0 || n >= YAML_VALUE_MAX)
        return fail_as(E_YAML_VALUE, "%s: a value of 1 to %d bytes is wanted",
                       path, YAML_VALUE_MAX - 1);
    if (strchr("*&!", *value))
        return fail_as(E_YAML_VALUE,
                       "%s: the value begins with '%c'; put it in quotes", path,
                       *value);
    for (size_t i = 0; i < n; i++)
        if (iscntrl((unsigned char)value[i]))
            return fail_as(E_YAML_VALUE, "%s: the value is one line of text",
                           path);
    return TACIT_OK;
}

/* The text holds exactly this value at path, and not a part of it or more. */
static enum tacit_err check_set(const char *path, const char *value,
                                const struct buf *out, size_t from, size_t at)
{
    struct search found = {.path = path};
    struct scan s = {.name = path,
                     .text = (const char *)out->data + from,
                     .n = out->len - from,
                     .visit = look,
                     .ctx = &found};
    enum tacit_err err = scan(&s);
    if (!err && found.is_found && found.found.start == at - from &&
        found.found.end == at - from + strlen(value))
        return TACIT_OK;
    err_clear();
    return fail_as(E_YAML_VALUE,
                   "%s: \"%s\" is not one value; text with ': ', '#' or "
                   "brackets goes in quotes",
                   path, value);
}

enum tacit_err yaml_set(const char *name, const char *text, size_t n,
                        const char *path, const char *value, struct buf *out)
{
    struct search found = {.path = path};
    struct scan s = {
        .name = name, .text = text, .n = n, .visit = look, .ctx = &found};
    size_t from = out->len, at = 0;
    TRY(check_value(path, value));
    TRY(scan(&s));
    if (found.is_found) {
        buf_put(out, text, found.found.start);
        if (found.found.start == found.found.end) buf_printf(out, " ");
        at = out->len;
        buf_printf(out, "%s", value);
        buf_put(out, text + found.found.end, n - found.found.end);
    } else if (found.blocked[0] || !found.has_nearest ||
               strchr(path + found.nearest_len, '[')) {
        return fail_as(E_YAML_VALUE, "%s: %s%s there is no such entry", name,
                       found.blocked[0] ? found.blocked : path,
                       found.blocked[0] ? " holds no keys;" : ":");
    } else {
        insert(text, n, &found, value, out, &at);
    }
    TRY(buf_end(out));
    enum tacit_err err = check_set(path, value, out, from, at);
    if (err) out->len = from;
    return err;
}

/* ---- leaves ------------------------------------------------------------- */

struct leaves {
    void (*visit)(void *ctx, const char *path, const char *value);
    void *ctx;
};

static void leaf(void *ctx, const struct node *node)
{
    struct leaves *l = ctx;
    if (node->value) l->visit(l->ctx, node->path, node->value);
}

enum tacit_err yaml_leaves(const char *name, const char *text, size_t n,
                           void (*visit)(void *ctx, const char *path,
                                         const char *value),
                           void *ctx)
{
    struct leaves l = {visit, ctx};
    struct scan s = {
        .name = name, .text = text, .n = n, .visit = leaf, .ctx = &l};
    return scan(&s);
}

/* ---- what a schema knows ------------------------------------------------ */

static const cyaml_schema_field_t *field_of(const cyaml_schema_value_t *v,
                                            const char *key, size_t n)
{
    if (v->type != CYAML_MAPPING) return NULL;
    for (const cyaml_schema_field_t *f = v->mapping.fields; f->key; f++)
        if (strlen(f->key) == n && memcmp(f->key, key, n) == 0) return f;
    return NULL;
}

static int knows(const cyaml_schema_value_t *v, const char *path)
{
    for (;;) {
        size_t n = strcspn(path, ".[");
        const cyaml_schema_field_t *f = field_of(v, path, n);
        if (!f) return 0;
        v = &f->value;
        path += n;
        if (*path == '[') {
            size_t digits = strspn(path + 1, "0123456789");
            if (!digits || path[1 + digits] != ']') return 0;
            if (v->type != CYAML_SEQUENCE) return 0;
            v = v->sequence.entry;
            path += digits + 2;
        }
        if (!*path) return 1;
        if (*path++ != '.') return 0;
    }
}

struct paths {
    char text[PATHS_MAX][WORD_MAX];
    const char *list[PATHS_MAX];
    size_t n;
};

/* A schema is a constant of the program: its depth is bounded. */
static void list_paths(const cyaml_schema_value_t *v, const char *prefix,
                       struct paths *p)
{
    if (v->type != CYAML_MAPPING) return;
    for (const cyaml_schema_field_t *f = v->mapping.fields; f->key; f++) {
        if (p->n == PATHS_MAX) return;
        char *own = p->text[p->n];
        snprintf(own, WORD_MAX, "%s%s%s", prefix, *prefix ? "." : "", f->key);
        p->list[p->n++] = own;
        list_paths(&f->value, own, p);
    }
}

/* Where the last word of the path stands as it is, then where nearly so. */
static const char *nearest_path(const struct paths *p, const char *path)
{
    const char *dot = strrchr(path, '.'), *word = dot ? dot + 1 : path;
    const char *near = yaml_nearest(path, p->list, p->n);
    for (size_t pass = 0; !near && pass < 2; pass++)
        for (size_t i = 0; !near && i < p->n; i++) {
            const char *tail = strrchr(p->list[i], '.');
            tail = tail ? tail + 1 : p->list[i];
            if (pass == 0 ? strcmp(tail, word) == 0
                          : yaml_nearest(word, &tail, 1) != NULL)
                near = p->list[i];
        }
    return near;
}

enum tacit_err yaml_known(const cyaml_schema_value_t *schema, const char *path)
{
    if (*path && strlen(path) < YAML_PATH_MAX && knows(schema, path))
        return TACIT_OK;
    struct paths *p = calloc(1, sizeof *p);
    if (!p) return fail(TACIT_NOMEM, "out of memory");
    list_paths(schema, "", p);
    const char *near = nearest_path(p, path);
    enum tacit_err err =
        near ? fail_as(E_YAML_KEY, "unknown key \"%s\"; did you mean \"%s\"?",
                       path, near)
             : fail_as(E_YAML_KEY, "unknown key \"%s\"", path);
    free(p);
    return err;
}
