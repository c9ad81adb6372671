/*
 * HTML, by gumbo. The parser is not made for hostile input: it aborts when
 * memory runs out, frees its tree by recursion, and needs quadratic time for
 * some pages. So it gets its memory from a bounded pool of ours that is freed
 * whole (gumbo_destroy_output is never called), and the pool leaves the parse
 * by longjmp when memory or processor time is used up. What is plainly nested
 * too deeply is refused before. The tree is walked with a stack of its own.
 *
 * gumbo decodes entities, so the text of a node is laid beside its source
 * again to find out which bytes it came from.
 */
#include "retrieval/document_html.h"

#include <gumbo.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/codes.h"
#include "common/base/utf8.h"

enum {
    TREE_BYTES_MAX = 512 << 20,
    POOL_BYTES = 1 << 20,
    CPU_MS_MAX = 10000, /* for one document */
    CLOCK_EVERY = 256,  /* allocations between two looks at the clock */
    ESTIMATE_MAX = 4 * DOCUMENT_DEPTH_MAX, /* start tags left open */
    ENTITY_BYTES_MAX = 33,
    MATCH_BYTES = 4 /* that must agree behind an entity */
};

/* ---- memory of one parse --------------------------------------------------
 */

struct pool_block {
    struct pool_block *next;
    _Alignas(16) unsigned char bytes[];
};

struct tree_pool {
    struct pool_block *head;
    size_t used, size; /* of head */
    size_t total;
    uint64_t n_calls;
    int64_t deadline_ns;
    const char *why; /* set when the parse was left */
    jmp_buf leave;
};

static int64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void *pool_take(void *ctx, size_t n)
{
    struct tree_pool *p = ctx;
    size_t need = (n + 15) & ~(size_t)15;
    if (++p->n_calls % CLOCK_EVERY == 0 && cpu_ns() > p->deadline_ns)
        p->why = "broken so badly that reading it takes too long";
    if (need < n || need > TREE_BYTES_MAX - p->total)
        p->why = "markup that needs too much memory";
    if (p->why) longjmp(p->leave, 1);
    if (!p->head || p->size - p->used < need) {
        size_t size = need > POOL_BYTES ? need : POOL_BYTES;
        struct pool_block *b = malloc(sizeof *b + size);
        if (!b) {
            p->why = "out of memory";
            longjmp(p->leave, 1);
        }
        b->next = p->head;
        p->head = b;
        p->size = size;
        p->used = 0;
    }
    void *out = p->head->bytes + p->used;
    p->used += need;
    p->total += need;
    return out;
}

static void pool_keep(void *ctx, void *p)
{
    (void)ctx, (void)p;
}

static void pool_release(struct tree_pool *p)
{
    for (struct pool_block *b = p->head, *next; b; b = next) {
        next = b->next;
        free(b);
    }
}

/* ---- nesting --------------------------------------------------------------
 */

/* Elements that have no end tag, or need none. */
static int is_closed_alone(const char *name, size_t n)
{
    static const char names[] =
        " a area base basefont bgsound body br col colgroup dd dt embed frame "
        "head hr html image img input keygen li link meta nobr optgroup option "
        "p param rb rp rt rtc source tbody td tfoot th thead tr track wbr ";
    char padded[16] = " ";
    if (n > 12) return 0;
    for (size_t i = 0; i < n; i++) padded[1 + i] = (char)(name[i] | 0x20);
    memcpy(padded + 1 + n, " ", 2);
    return strstr(names, padded) != NULL;
}

static int is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* How deep start tags outweigh end tags at most. The parser needs time in the
 * square of the depth, so this estimate comes first; a page that misleads it
 * meets the clock of pool_take(). */
static size_t estimate_depth(const char *s, size_t n)
{
    size_t depth = 0, deepest = 0;
    for (size_t i = 0; i + 1 < n; i++) {
        if (s[i] != '<') continue;
        size_t is_end = s[i + 1] == '/', from = i + 1 + is_end, k = from;
        while (k < n &&
               (is_letter(s[k]) || (k > from && s[k] >= '0' && s[k] <= '9')))
            k++;
        if (k == from || is_closed_alone(s + from, k - from)) continue;
        if (!is_end)
            depth++;
        else if (depth > 0)
            depth--;
        if (depth > deepest) deepest = depth;
    }
    return deepest;
}

static void refuse_depth(struct builder *b)
{
    if (b->err) return;
    b->err = fail_as(E_DOCUMENT_NESTING,
                     "HTML nested more than %d deep; convert it to plain text",
                     DOCUMENT_DEPTH_MAX);
}

/* ---- text beside its source -----------------------------------------------
 */

struct reading {
    struct builder *b;
    size_t first, end; /* of the source */
    unsigned list_depth, pre_depth;
    int in_row, cell_is_due; /* " | " before the next text of the row */
    int has_h1, wants_title;
};

/* Whether text and source may go on like this. */
static int agree(const char *text, size_t n, const char *source, size_t len)
{
    for (size_t i = 0; i < MATCH_BYTES; i++) {
        if (i >= n || i >= len) return i >= n || n == 0;
        if (source[i] == '&' || source[i] == '<' || source[i] == '\r') return 1;
        if (text[i] != source[i]) return 0;
    }
    return 1;
}

static int is_name_byte(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
           (c >= 'A' && c <= 'Z') || c == '#';
}

/* Bytes of source (which begins with '&') that became one character, when
 * `text` [n] follows that character. An entity may lack its ';'. */
static size_t entity_length(const char *source, size_t len, const char *text,
                            size_t n)
{
    size_t longest = 1;
    while (longest < len && longest < ENTITY_BYTES_MAX &&
           is_name_byte(source[longest]))
        longest++;
    if (longest < len && source[longest] == ';') longest++;
    for (size_t k = longest; k > 0; k--)
        if (agree(text, n, source + k, len - k)) return k;
    return longest;
}

/* Text [n] that gumbo made of source [at, at + len). */
static void add_beside(struct builder *b, const char *text, size_t n, size_t at,
                       size_t len)
{
    const char *source = (const char *)b->d->source.data + at;
    for (size_t i = 0, k = 0; i < n && !b->err;) {
        size_t same = 0;
        while (i + same < n && k + same < len && source[k + same] != '&' &&
               text[i + same] == source[k + same])
            same++;
        if (same) {
            builder_source(b, at + k, same);
            i += same;
            k += same;
            continue;
        }
        uint32_t u = 0;
        size_t one = utf8_next(text + i, n - i, &u), gone = 0;
        if (one == 0) one = 1;
        if (k < len && source[k] == '&') {
            gone =
                entity_length(source + k, len - k, text + i + one, n - i - one);
        } else if (k < len && source[k] == '<') {
            const char *close = memchr(source + k, '>', len - k);
            k = close ? (size_t)(close - source) + 1 : len;
            continue; /* a tag that was ignored */
        } else if (k < len && source[k] == '\r') {
            k++;
            continue;
        } else if (k < len && u == 0xfffd) {
            gone = utf8_next(source + k, len - k, NULL); /* not allowed here */
        }
        builder_piece(b, text + i, one, at + k, gone);
        i += one;
        k += gone;
    }
    b->source_at = at + len;
}

static int is_visible(const char *text)
{
    return text[strspn(text, " \t\r\n\f\v")] != '\0';
}

static void add_text(struct reading *r, const GumboText *t)
{
    struct builder *b = r->b;
    uintptr_t base = (uintptr_t)b->d->source.data;
    uintptr_t p = (uintptr_t)t->original_text.data;
    size_t n = strlen(t->text), len = t->original_text.length;
    if (!b->is_open && !is_visible(t->text)) return;
    if (!b->is_open)
        builder_open(b,
                     r->pre_depth    ? BLOCK_CODE
                     : r->list_depth ? BLOCK_ITEM
                                     : BLOCK_PARAGRAPH,
                     r->pre_depth ? 0 : r->list_depth);
    if (r->in_row && r->cell_is_due && is_visible(t->text)) {
        builder_piece(b, " | ", 3, b->source_at, 0);
        r->cell_is_due = 0;
    }
    if (p >= base + r->first && p <= base + r->end && len <= base + r->end - p)
        add_beside(b, t->text, n, (size_t)(p - base), len);
    else
        builder_piece(b, t->text, n, b->source_at, 0);
}

/* ---- the tree -------------------------------------------------------------
 */

enum role {
    ROLE_INLINE,
    ROLE_SKIP,
    ROLE_BLOCK,
    ROLE_BREAK,
    ROLE_HEADING,
    ROLE_LIST,
    ROLE_ITEM,
    ROLE_TABLE,
    ROLE_ROW,
    ROLE_CELL,
    ROLE_PRE
};

static enum role role_of(const GumboElement *e)
{
    if (e->tag_namespace != GUMBO_NAMESPACE_HTML) return ROLE_SKIP;
    switch (e->tag) {
    case GUMBO_TAG_HEAD:
    case GUMBO_TAG_SCRIPT:
    case GUMBO_TAG_STYLE:
    case GUMBO_TAG_NAV:
    case GUMBO_TAG_TEMPLATE:
    case GUMBO_TAG_NOSCRIPT:
    case GUMBO_TAG_NOFRAMES:
    case GUMBO_TAG_IFRAME:
    case GUMBO_TAG_OBJECT:
    case GUMBO_TAG_AUDIO:
    case GUMBO_TAG_VIDEO:
    case GUMBO_TAG_CANVAS:
    case GUMBO_TAG_SELECT:
    case GUMBO_TAG_TEXTAREA:
    case GUMBO_TAG_BUTTON: return ROLE_SKIP;
    case GUMBO_TAG_H1:
    case GUMBO_TAG_H2:
    case GUMBO_TAG_H3:
    case GUMBO_TAG_H4:
    case GUMBO_TAG_H5:
    case GUMBO_TAG_H6: return ROLE_HEADING;
    case GUMBO_TAG_UL:
    case GUMBO_TAG_OL:
    case GUMBO_TAG_MENU: return ROLE_LIST;
    case GUMBO_TAG_LI: return ROLE_ITEM;
    case GUMBO_TAG_TABLE: return ROLE_TABLE;
    case GUMBO_TAG_TR: return ROLE_ROW;
    case GUMBO_TAG_TD:
    case GUMBO_TAG_TH: return ROLE_CELL;
    case GUMBO_TAG_PRE: return ROLE_PRE;
    case GUMBO_TAG_BR:
    case GUMBO_TAG_HR: return ROLE_BREAK;
    case GUMBO_TAG_BODY:
    case GUMBO_TAG_P:
    case GUMBO_TAG_DIV:
    case GUMBO_TAG_SECTION:
    case GUMBO_TAG_ARTICLE:
    case GUMBO_TAG_ASIDE:
    case GUMBO_TAG_HEADER:
    case GUMBO_TAG_FOOTER:
    case GUMBO_TAG_MAIN:
    case GUMBO_TAG_ADDRESS:
    case GUMBO_TAG_BLOCKQUOTE:
    case GUMBO_TAG_FIGURE:
    case GUMBO_TAG_FIGCAPTION:
    case GUMBO_TAG_CAPTION:
    case GUMBO_TAG_DETAILS:
    case GUMBO_TAG_SUMMARY:
    case GUMBO_TAG_FORM:
    case GUMBO_TAG_FIELDSET:
    case GUMBO_TAG_LEGEND:
    case GUMBO_TAG_CENTER:
    case GUMBO_TAG_DL:
    case GUMBO_TAG_DT:
    case GUMBO_TAG_DD: return ROLE_BLOCK;
    default: return ROLE_INLINE;
    }
}

static void add_blank(struct builder *b)
{
    builder_piece(b, " ", 1, b->source_at, 0);
}

static void enter(struct reading *r, const GumboElement *e, enum role role)
{
    struct builder *b = r->b;
    /* A row of short cells is one block. A row that holds a heading, a list
     * or a table only lays out the page. */
    int lays_out = role == ROLE_HEADING || role == ROLE_LIST ||
                   role == ROLE_TABLE || role == ROLE_PRE || role == ROLE_ROW;
    if (r->in_row && lays_out) {
        builder_close(b);
        r->in_row = 0;
    }
    switch (role) {
    case ROLE_HEADING:
        builder_open(b, BLOCK_HEADING, 1 + (unsigned)(e->tag - GUMBO_TAG_H1));
        break;
    case ROLE_LIST:
        r->list_depth++;
        builder_close(b);
        break;
    case ROLE_ROW:
        builder_open(b, BLOCK_ROW, 0);
        r->in_row = 1;
        r->cell_is_due = 0;
        break;
    case ROLE_CELL:
        if (!r->in_row)
            builder_close(b);
        else
            r->cell_is_due = builder_length(b) > 0;
        break;
    case ROLE_PRE:
        r->pre_depth++;
        builder_close(b);
        break;
    case ROLE_BLOCK:
    case ROLE_TABLE:
    case ROLE_ITEM:
        if (r->in_row)
            add_blank(b);
        else
            builder_close(b);
        break;
    case ROLE_BREAK:
        if (b->is_open) add_blank(b);
        break;
    case ROLE_INLINE:
    case ROLE_SKIP: break;
    }
}

static void take_h1(struct reading *r)
{
    const struct document *d = r->b->d;
    if (r->has_h1 || !r->wants_title || d->n_blocks == 0) return;
    const struct block *h = &d->blocks[d->n_blocks - 1];
    if (h->kind != BLOCK_HEADING || h->level != 1) return;
    r->has_h1 = 1;
    document_set_title(r->b->d, (const char *)d->text.data + h->text_first,
                       h->text_end - h->text_first);
}

static void leave(struct reading *r, enum role role)
{
    struct builder *b = r->b;
    switch (role) {
    case ROLE_HEADING:
        builder_close(b);
        take_h1(r);
        break;
    case ROLE_LIST:
        r->list_depth--;
        builder_close(b);
        break;
    case ROLE_PRE:
        r->pre_depth--;
        builder_close(b);
        break;
    case ROLE_ROW:
        r->in_row = 0;
        builder_close(b);
        break;
    case ROLE_BLOCK:
    case ROLE_ITEM:
    case ROLE_TABLE:
        if (r->in_row)
            add_blank(b);
        else
            builder_close(b);
        break;
    case ROLE_CELL:
        if (!r->in_row) builder_close(b);
        break;
    case ROLE_BREAK:
    case ROLE_INLINE:
    case ROLE_SKIP: break;
    }
}

/* <title> lies in the head, which holds no other text. */
static void take_title(struct reading *r, const GumboElement *head)
{
    for (unsigned i = 0; i < head->children.length; i++) {
        const GumboNode *n = head->children.data[i];
        if (n->type != GUMBO_NODE_ELEMENT ||
            n->v.element.tag != GUMBO_TAG_TITLE ||
            n->v.element.children.length == 0)
            continue;
        const GumboNode *t = n->v.element.children.data[0];
        if (t->type != GUMBO_NODE_TEXT) continue;
        document_set_title(r->b->d, t->v.text.text, strlen(t->v.text.text));
        return;
    }
}

struct frame {
    const GumboElement *element;
    unsigned next;
    enum role role;
};

static void walk(struct reading *r, const GumboNode *root)
{
    struct builder *b = r->b;
    struct frame stack[DOCUMENT_DEPTH_MAX];
    size_t depth = 1;
    stack[0] = (struct frame){&root->v.element, 0, ROLE_INLINE};
    while (depth > 0 && !b->err) {
        struct frame *f = &stack[depth - 1];
        if (f->next >= f->element->children.length) {
            leave(r, f->role);
            depth--;
            continue;
        }
        const GumboNode *n = f->element->children.data[f->next++];
        if (n->type == GUMBO_NODE_TEXT || n->type == GUMBO_NODE_WHITESPACE ||
            n->type == GUMBO_NODE_CDATA)
            add_text(r, &n->v.text);
        if (n->type != GUMBO_NODE_ELEMENT) continue;
        const GumboElement *e = &n->v.element;
        enum role role = role_of(e);
        if (e->tag == GUMBO_TAG_HEAD && r->wants_title) take_title(r, e);
        if (role == ROLE_SKIP) continue;
        if (depth == DOCUMENT_DEPTH_MAX) {
            refuse_depth(b);
            return;
        }
        enter(r, e, role);
        stack[depth++] = (struct frame){e, 0, role};
    }
    builder_close(b);
}

static void read_part(struct reading *r, struct tree_pool *pool)
{
    struct builder *b = r->b;
    const char *html = (const char *)b->d->source.data + r->first;
    GumboOptions options = kGumboDefaultOptions;
    options.allocator = pool_take;
    options.deallocator = pool_keep;
    options.userdata = pool;
    options.max_errors = 0;
    if (setjmp(pool->leave)) {
        builder_refuse(b, pool->why);
        return;
    }
    GumboOutput *out =
        gumbo_parse_with_options(&options, html, r->end - r->first);
    if (out && out->root && out->root->type == GUMBO_NODE_ELEMENT)
        walk(r, out->root);
}

static void read_range(struct reading *r)
{
    struct builder *b = r->b;
    if (b->cpu_deadline_ns == 0)
        b->cpu_deadline_ns = cpu_ns() + (int64_t)CPU_MS_MAX * 1000000;
    const char *html = (const char *)b->d->source.data + r->first;
    if (estimate_depth(html, r->end - r->first) > ESTIMATE_MAX) {
        refuse_depth(b);
        return;
    }
    struct tree_pool pool = {.deadline_ns = b->cpu_deadline_ns};
    b->source_at = r->first;
    read_part(r, &pool);
    pool_release(&pool);
    b->source_at = r->end;
}

void document_html_part(struct builder *b, size_t first, size_t end)
{
    struct reading r = {.b = b, .first = first, .end = end};
    read_range(&r);
}

static enum tacit_err read_html(struct builder *b, size_t first, size_t end)
{
    struct reading r = {.b = b, .first = first, .end = end, .wants_title = 1};
    if (b->d->file.len > DOCUMENT_BYTES_MAX)
        builder_note(b, "only the first %d MiB were read, the limit",
                     DOCUMENT_BYTES_MAX >> 20);
    read_range(&r);
    return builder_end(b);
}

const struct document_reader document_html = {
    .kind = "html",
    .endings = " html htm xhtml ",
    .input = INPUT_HTML,
    .read = read_html,
};
