#include "retrieval/cite.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Whether some number from 1 to n begins with these digits. */
static int may_begin(unsigned number, unsigned n)
{
    return number >= 1 && number <= n;
}

int cite_follow(struct cite_state *s, unsigned n_passages, const char *bytes,
                size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char c = bytes[i];
        if (c == '[') {
            *s = (struct cite_state){.is_open = 1};
        } else if (s->is_open && is_digit(c)) {
            s->number = s->number * 10 + (unsigned)(c - '0');
            if (!may_begin(s->number, n_passages)) return 0;
            s->is_citation = 1;
        } else if (s->is_citation && strchr(", ;-", c) && c) {
            s->number = 0;
        } else {
            *s = (struct cite_state){0};
        }
    }
    return 1;
}

/* ---- tokens ------------------------------------------------------------- */

struct spelt {
    uint32_t id, from, n;
};

/* Only a token with a digit can name a passage; one with a bracket can do so
 * wherever it comes. */
struct cite_guard {
    struct spelt *list; /* [n] with a digit; those with a bracket first */
    size_t n, n_brackets;
    struct buf bytes;
};

void cite_guard_free(struct cite_guard *g)
{
    if (!g) return;
    buf_release(&g->bytes);
    free(g->list);
    free(g);
}

static int has_digit(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (is_digit(s[i])) return 1;
    return 0;
}

static void note(struct cite_guard *g, uint32_t id, size_t from)
{
    const char *s = (const char *)g->bytes.data + from;
    size_t n = g->bytes.len - from;
    if (!n || !has_digit(s, n)) {
        g->bytes.len = from;
        return;
    }
    const struct spelt x = {id, (uint32_t)from, (uint32_t)n};
    if (memchr(s, '[', n)) {
        g->list[g->n++] = g->list[g->n_brackets];
        g->list[g->n_brackets++] = x;
    } else {
        g->list[g->n++] = x;
    }
}

enum tacit_err cite_guard_new(const struct vocab *v, struct cite_guard **out)
{
    struct cite_guard *g = calloc(1, sizeof *g);
    size_t n = vocab_size(v);
    if (!g) return fail(TACIT_NOMEM, "no memory for citations");
    buf_init(&g->bytes, 0);
    g->list = calloc(n + 1, sizeof *g->list);
    for (size_t i = 0; g->list && i < n; i++) {
        size_t from = g->bytes.len;
        vocab_piece(v, (int32_t)i, &g->bytes);
        if (g->bytes.err) break;
        note(g, (uint32_t)i, from);
    }
    enum tacit_err err = g->list ? buf_end(&g->bytes)
                                 : fail(TACIT_NOMEM, "no memory for citations");
    if (err) {
        cite_guard_free(g);
        return err;
    }
    *out = g;
    return TACIT_OK;
}

void cite_forbid(const struct cite_guard *g, const struct cite_state *s,
                 unsigned n_passages, float *logits)
{
    size_t n = s->is_open ? g->n : g->n_brackets;
    for (size_t i = 0; i < n; i++) {
        const struct spelt *x = &g->list[i];
        struct cite_state then = *s;
        if (!cite_follow(&then, n_passages,
                         (const char *)g->bytes.data + x->from, x->n))
            logits[x->id] = -INFINITY;
    }
}

/* ---- reading ------------------------------------------------------------ */

static void set(uint64_t *cited, unsigned from, unsigned to)
{
    for (unsigned i = from; i >= 1 && i <= to && i <= 64; i++)
        *cited |= (uint64_t)1 << (i - 1);
}

size_t cite_read(const char *text, size_t n, uint64_t *cited)
{
    unsigned number = 0, from = 0;
    uint64_t all = 0;
    if (n < 3 || text[0] != '[' || !is_digit(text[1])) return 0;
    for (size_t i = 1; i < n && i < CITE_BYTES_MAX; i++) {
        char c = text[i];
        if (is_digit(c)) {
            number = number > 999 ? number : number * 10 + (unsigned)(c - '0');
            continue;
        }
        if (number && from > number)
            set(&all, number, from);
        else if (number)
            set(&all, from ? from : number, number);
        from = c == '-' ? number : 0;
        number = 0;
        if (c == ']') {
            *cited |= all;
            return i + 1;
        }
        if (!strchr(", ;-", c) || !c) return 0;
    }
    return 0;
}
