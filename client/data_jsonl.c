#include "client/data_jsonl.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/json.h"
#include "common/base/utf8.h"

/* One line: a run of tokens of one client. */
struct piece {
    uint32_t client;
    size_t first, n; /* tokens */
};

struct reading {
    const char *name, *key; /* of the client in a line */
    size_t line;            /* 1-based */
    struct buf tokens;      /* one byte each, all lines */
    struct buf pieces;      /* struct piece */
    json_t *numbers;        /* client -> number */
    int has_client;         /* -1 until the first line has said it */
};

static enum tacit_err take_client(struct reading *r, json_t *object,
                                  struct piece *out)
{
    json_t *value = json_object_get(object, r->key);
    const char *name = json_string_value(value);
    if (r->has_client < 0) r->has_client = value != NULL;
    if (r->has_client != (name != NULL))
        return fail_as(E_DATA_VALUE,
                       "%s:%zu: all lines name their \"%s\" as text, or none "
                       "does",
                       r->name, r->line, r->key);
    if (!name) return TACIT_OK;
    json_t *number = json_object_get(r->numbers, name);
    size_t n = json_object_size(r->numbers);
    if (!number) {
        if (n == POOLED_CLIENTS_MAX)
            return fail(TACIT_LIMIT, "%s: over %d clients", r->name,
                        POOLED_CLIENTS_MAX);
        number = json_integer((json_int_t)n);
        if (json_object_set_new(r->numbers, name, number) != 0)
            return fail(TACIT_NOMEM, "%s: out of memory", r->name);
    }
    out->client = (uint32_t)json_integer_value(number);
    return TACIT_OK;
}

static void put_tokens(struct reading *r, const char *text, size_t n,
                       struct piece *out)
{
    out->first = r->tokens.len;
    for (size_t at = 0; at < n;) {
        uint32_t c = 0;
        size_t bytes = utf8_next(text + at, n - at, &c);
        buf_put_u8(&r->tokens, (uint8_t)jsonl_token(c));
        at += bytes ? bytes : 1;
    }
    buf_put_u8(&r->tokens, JSONL_OTHER); /* the newline between two texts */
    out->n = r->tokens.len - out->first;
}

static enum tacit_err take_object(struct reading *r, json_t *object)
{
    struct piece piece = {0};
    json_t *text = json_object_get(object, "text");
    if (!json_is_object(object))
        return fail_as(E_DATA_KIND, "%s:%zu: not a JSON object", r->name,
                       r->line);
    if (!json_is_string(text))
        return fail_as(E_DATA_VALUE, "%s:%zu: no \"text\" that is text",
                       r->name, r->line);
    TRY(take_client(r, object, &piece));
    put_tokens(r, json_string_value(text), json_string_length(text), &piece);
    buf_put(&r->pieces, &piece, sizeof piece);
    TRY(buf_end(&r->tokens));
    return buf_end(&r->pieces);
}

static int is_empty(const char *line, size_t n)
{
    size_t i = 0;
    while (i < n && (line[i] == ' ' || line[i] == '\t' || line[i] == '\r')) i++;
    return i == n;
}

static enum tacit_err take_line(struct reading *r, const char *line, size_t n,
                                int is_last)
{
    json_t *object = NULL;
    if (is_empty(line, n)) return TACIT_OK;
    if (n > JSONL_LINE_MAX)
        return fail(TACIT_LIMIT, "%s:%zu: %zu bytes; a line may have %d",
                    r->name, r->line, n, JSONL_LINE_MAX);
    enum tacit_err err = json_parse(line, n, &object);
    if (err == TACIT_FORMAT) {
        err_clear();
        /* A whole last line would end in its brace. */
        return is_last && line[n - 1] != '}'
                   ? fail_as(E_DATA_ENDS,
                             "%s:%zu: the file ends early, inside a line",
                             r->name, r->line)
                   : fail_as(E_DATA_KIND, "%s:%zu: not one JSON object",
                             r->name, r->line);
    }
    if (!err) err = take_object(r, object);
    json_decref(object);
    return err;
}

static enum tacit_err take_lines(struct reading *r, const struct buf *bytes)
{
    const char *p = (const char *)bytes->data, *end = p + bytes->len;
    while (p < end) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        r->line++;
        TRY(take_line(r, p, (size_t)((stop ? stop : end) - p), !stop));
        p = stop ? stop + 1 : end;
    }
    if (r->pieces.len == 0)
        return fail_as(E_DATA_ENDS, "%s: no line of text", r->name);
    return TACIT_OK;
}

/* ---- windows ------------------------------------------------------------ */

static int compare_client(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    if (x->client != y->client) return x->client < y->client ? -1 : 1;
    return x->first < y->first ? -1 : x->first > y->first;
}

/* Tokens in the order of clients; totals [n_clients]. */
static enum tacit_err gather(struct reading *r, size_t n_clients,
                             struct arena *a, uint8_t **tokens, size_t **totals)
{
    size_t n = r->pieces.len / sizeof(struct piece), at = 0;
    struct piece *pieces = NULL;
    TRY(arena_alloc(a, n, sizeof *pieces, &pieces));
    TRY(arena_alloc(a, n_clients, sizeof **totals, totals));
    TRY(arena_alloc_raw(a, r->tokens.len, 1, tokens));
    memcpy(pieces, r->pieces.data, n * sizeof *pieces);
    qsort(pieces, n, sizeof *pieces, compare_client);
    for (size_t i = 0; i < n; i++) {
        memcpy(*tokens + at, r->tokens.data + pieces[i].first, pieces[i].n);
        at += pieces[i].n;
        (*totals)[pieces[i].client] += pieces[i].n;
    }
    return TACIT_OK;
}

/* Windows of n tokens: the last one needs a next. The newline behind a client's
 * last text is no text. */
static size_t windows(size_t n, size_t length)
{
    return n > 1 ? (n - 2) / length : 0;
}

static void cut(const uint8_t *tokens, size_t n_rows, size_t length,
                uint32_t client, size_t first, struct pooled *out)
{
    for (size_t row = 0; row < n_rows; row++) {
        const uint8_t *from = tokens + row * length;
        float *x = out->x + (first + row) * length;
        float *y = out->y + (first + row) * length;
        for (size_t i = 0; i < length; i++) {
            x[i] = from[i];
            y[i] = from[i + 1];
        }
        if (out->client) out->client[first + row] = client;
    }
}

static enum tacit_err name_clients(const struct reading *r, struct pooled *p)
{
    const char *name;
    json_t *number;
    p->n_clients = json_object_size(r->numbers);
    TRY(arena_alloc(&p->arena, p->n_rows + 1, sizeof *p->client, &p->client));
    TRY(arena_alloc(&p->arena, p->n_clients, sizeof *p->client_name,
                    &p->client_name));
    json_object_foreach(r->numbers, name, number)
    {
        char *copy = NULL;
        TRY(arena_strdup(&p->arena, name, strlen(name), &copy));
        p->client_name[json_integer_value(number)] = copy;
    }
    return TACIT_OK;
}

static enum tacit_err make_rows(struct reading *r, size_t length,
                                struct arena *a, struct pooled *out)
{
    struct pooled p;
    uint8_t *tokens = NULL;
    size_t *totals = NULL, n_rows = 0, row = 0;
    size_t n = r->has_client > 0 ? json_object_size(r->numbers) : 1;
    TRY(gather(r, n, a, &tokens, &totals));
    for (size_t i = 0; i < n; i++) n_rows += windows(totals[i], length);
    if (n_rows == 0)
        return fail_as(E_DATA_SHAPE,
                       "%s: no client has the %zu characters that a window of "
                       "data.length %zu takes",
                       r->name, length + 1, length);
    TRY(pooled_new(r->name, n_rows, length, length, &p));
    enum tacit_err err = r->has_client > 0 ? name_clients(r, &p) : TACIT_OK;
    for (size_t i = 0; !err && i < n; i++) {
        size_t k = windows(totals[i], length);
        cut(tokens, k, length, (uint32_t)i, row, &p);
        tokens += totals[i];
        row += k;
    }
    if (err)
        pooled_release(&p);
    else
        *out = p;
    return err;
}

enum tacit_err jsonl_parse(const struct plan *plan, const char *name,
                           const struct buf *bytes, struct pooled *out)
{
    const char *key = plan->sim.column[0] ? plan->sim.column : "client";
    struct reading r = {.name = name, .key = key, .has_client = -1};
    struct arena a;
    arena_init(&a, 0);
    buf_init(&r.tokens, 0);
    buf_init(&r.pieces, 0);
    r.numbers = json_object();
    enum tacit_err err =
        r.numbers ? take_lines(&r, bytes) : fail(TACIT_NOMEM, "out of memory");
    if (!err) err = make_rows(&r, plan->length, &a, out);
    json_decref(r.numbers);
    buf_release(&r.tokens);
    buf_release(&r.pieces);
    arena_release(&a);
    return err;
}
