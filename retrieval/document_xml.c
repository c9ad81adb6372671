#include "retrieval/document_xml.h"

#include <expat.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/codes.h"
#include "retrieval/document.h"
#include "retrieval/entity.h"

enum {
    SPACE_MAX = 256,   /* bytes of a namespace; longer ones are not ours */
    CLOCK_EVERY = 4096 /* calls between two looks at the clock */
};
#define SPACE_MARK '|'

struct reading {
    XML_Parser parser;
    const struct xml_events *events;
    void *ctx;
    const char *part;
    unsigned depth;
    uint64_t n_calls;
    int64_t deadline_ns;
    enum tacit_err err;
};

/* ---- memory ---------------------------------------------------------------
 * The parser's calls have no context, so what they may use stands here. */

static _Thread_local size_t memory_used;

struct head {
    _Alignas(16) size_t n;
};

static void *take(size_t n)
{
    if (n > XML_MEMORY_MAX - memory_used) return NULL;
    struct head *h = malloc(sizeof *h + n);
    if (!h) return NULL;
    h->n = n;
    memory_used += n;
    return h + 1;
}

static void give(void *p)
{
    if (!p) return;
    struct head *h = (struct head *)p - 1;
    memory_used -= h->n;
    free(h);
}

static void *take_again(void *p, size_t n)
{
    if (!p) return take(n);
    struct head *h = (struct head *)p - 1;
    if (n > h->n && n - h->n > XML_MEMORY_MAX - memory_used) return NULL;
    size_t was = h->n;
    struct head *moved = realloc(h, sizeof *h + n);
    if (!moved) return NULL;
    moved->n = n;
    memory_used = memory_used - was + n;
    return moved + 1;
}

/* ---- events ---------------------------------------------------------------
 */

static int64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void stop(struct reading *r, enum tacit_err err)
{
    if (err && !r->err) {
        r->err = err;
        XML_StopParser(r->parser, XML_FALSE);
    }
}

static int goes_on(struct reading *r)
{
    if (r->err) return 0;
    if (++r->n_calls % CLOCK_EVERY || cpu_ns() <= r->deadline_ns) return 1;
    stop(r, fail_as(E_DOCUMENT_MARKUP, "part %.80s takes too long to read",
                    r->part));
    return 0;
}

/* "space|local" in two; `space` [SPACE_MAX] keeps the first. */
static struct xml_name split(const char *whole, char *space)
{
    const char *mark = strrchr(whole, SPACE_MARK);
    size_t n = mark ? (size_t)(mark - whole) : 0;
    space[0] = '\0';
    if (n >= SPACE_MAX) n = 0;
    memcpy(space, whole, n);
    space[n] = '\0';
    return (struct xml_name){space, mark ? mark + 1 : whole};
}

static void on_start(void *ctx, const XML_Char *name, const XML_Char **atts)
{
    struct reading *r = ctx;
    char space[SPACE_MAX];
    if (!goes_on(r)) return;
    if (++r->depth > DOCUMENT_DEPTH_MAX) {
        stop(r, fail_as(E_DOCUMENT_NESTING,
                        "part %.80s is nested more than %d deep", r->part,
                        DOCUMENT_DEPTH_MAX));
        return;
    }
    stop(r, r->events->start(r->ctx, split(name, space), atts));
}

static void on_end(void *ctx, const XML_Char *name)
{
    struct reading *r = ctx;
    char space[SPACE_MAX];
    if (!goes_on(r)) return;
    r->depth--;
    stop(r, r->events->end(r->ctx, split(name, space)));
}

static void on_text(void *ctx, const XML_Char *text, int n)
{
    struct reading *r = ctx;
    if (!goes_on(r) || !r->events->text) return;
    stop(r, r->events->text(r->ctx, text, (size_t)n));
}

static void on_entity_declaration(void *ctx, const XML_Char *name,
                                  int is_parameter, const XML_Char *value,
                                  int n, const XML_Char *base,
                                  const XML_Char *system,
                                  const XML_Char *public_id,
                                  const XML_Char *notation)
{
    struct reading *r = ctx;
    (void)name, (void)is_parameter, (void)value, (void)n, (void)base;
    (void)system, (void)public_id, (void)notation;
    stop(r, fail_as(E_DOCUMENT_MARKUP,
                    "part %.80s declares entities, which no document needs",
                    r->part));
}

static void on_unknown_entity(void *ctx, const XML_Char *name, int is_parameter)
{
    struct reading *r = ctx;
    char whole[48], utf8[ENTITY_UTF8_MAX];
    if (is_parameter || !goes_on(r) || !r->events->text) return;
    int n = snprintf(whole, sizeof whole, "&%s;", name);
    if (n <= 0 || (size_t)n >= sizeof whole) return;
    size_t k = entity_decode(whole, (size_t)n, utf8);
    if (k) stop(r, r->events->text(r->ctx, utf8, k));
}

/* ---- the part -------------------------------------------------------------
 */

static enum tacit_err run(struct reading *r, const void *bytes, size_t n)
{
    XML_SetUserData(r->parser, r);
    XML_SetElementHandler(r->parser, on_start, on_end);
    XML_SetCharacterDataHandler(r->parser, on_text);
    XML_SetEntityDeclHandler(r->parser, on_entity_declaration);
    XML_SetSkippedEntityHandler(r->parser, on_unknown_entity);
    XML_SetParamEntityParsing(r->parser, XML_PARAM_ENTITY_PARSING_NEVER);
    if (XML_Parse(r->parser, bytes, (int)n, 1) == XML_STATUS_OK) return r->err;
    if (r->err) return r->err;
    enum XML_Error why = XML_GetErrorCode(r->parser);
    if (why == XML_ERROR_NO_MEMORY)
        return fail_as(E_DOCUMENT_MARKUP,
                       "part %.80s needs too much memory to read", r->part);
    return fail_as(E_DOCUMENT_DAMAGED, "part %.80s, line %lu: %s", r->part,
                   (unsigned long)XML_GetCurrentLineNumber(r->parser),
                   XML_ErrorString(why));
}

enum tacit_err xml_read(const char *part, const void *bytes, size_t n,
                        const struct xml_events *events, void *ctx)
{
    static const XML_Memory_Handling_Suite memory = {take, take_again, give};
    static const XML_Char mark[] = {SPACE_MARK, '\0'};
    struct reading r = {.events = events, .ctx = ctx, .part = part};
    if (n > INT_MAX)
        return fail_as(E_DOCUMENT_MARKUP, "part %.80s is too large", part);
    r.deadline_ns = cpu_ns() + (int64_t)XML_CPU_MS_MAX * 1000000;
    r.parser = XML_ParserCreate_MM(NULL, &memory, mark);
    if (!r.parser) return fail(TACIT_NOMEM, "out of memory");
    enum tacit_err err = run(&r, bytes, n);
    XML_ParserFree(r.parser);
    return err;
}

const char *xml_attribute(const char **atts, const char *local)
{
    for (size_t i = 0; atts[i]; i += 2) {
        const char *mark = strrchr(atts[i], SPACE_MARK);
        if (strcmp(mark ? mark + 1 : atts[i], local) == 0) return atts[i + 1];
    }
    return NULL;
}

int xml_is(struct xml_name name, const char *space, const char *local)
{
    return strcmp(name.local, local) == 0 && strstr(name.space, space) != NULL;
}
