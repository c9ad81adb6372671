/*
 * page: a strict reader of the HTML that sims/report.c writes: every tag is
 * closed in order, attributes are quoted, no '<', '>' or '&' stands bare, all
 * bytes are UTF-8, and nothing outside the page is named.
 */
#ifndef TACIT_TESTS_SIMS_PAGE_H
#define TACIT_TESTS_SIMS_PAGE_H

#include <ctype.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/utf8.h"

enum { PAGE_DEPTH_MAX = 32, PAGE_TAG_MAX = 16 };

struct page {
    const char *at, *end;
    char open[PAGE_DEPTH_MAX][PAGE_TAG_MAX];
    size_t depth, n_tags;
};

static inline void page_wrong(const struct page *p, const char *why)
{
    size_t left = (size_t)(p->end - p->at);
    fail_msg("%s at: %.*s", why, (int)(left < 60 ? left : 60), p->at);
}

/* At '&': one of the five entities that the report uses. */
static inline void page_entity(struct page *p)
{
    static const char *const known[] = {"&amp;", "&lt;", "&gt;", "&quot;",
                                        "&#39;"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t n = strlen(known[i]);
        if ((size_t)(p->end - p->at) < n) continue;
        if (memcmp(p->at, known[i], n) != 0) continue;
        p->at += n;
        return;
    }
    page_wrong(p, "a bare &");
}

/* NAME="VALUE" after a space. */
static inline void page_attribute(struct page *p)
{
    const char *name = p->at;
    while (isalpha((unsigned char)*p->at) || *p->at == '-') p->at++;
    if (p->at == name || p->at[0] != '=' || p->at[1] != '"')
        page_wrong(p, "no attribute");
    if (name[0] == 'o' && name[1] == 'n') page_wrong(p, "a handler");
    for (p->at += 2; *p->at != '"'; p->at++)
        if (*p->at == '<' || *p->at == '>' || p->at == p->end)
            page_wrong(p, "an open attribute");
    p->at++;
}

static inline void page_tag(struct page *p)
{
    char name[PAGE_TAG_MAX] = "";
    size_t n = 0;
    int closes = p->at[1] == '/';
    p->at += 1 + closes;
    if (strncmp(p->at, "!doctype html>", 14) == 0) {
        p->at += 14;
        return;
    }
    while (n + 1 < sizeof name && isalnum((unsigned char)*p->at))
        name[n++] = *p->at++;
    if (n == 0) page_wrong(p, "no tag");
    p->n_tags++;
    while (*p->at == ' ') {
        p->at++;
        page_attribute(p);
    }
    int alone = *p->at == '/' || strcmp(name, "meta") == 0;
    if (*p->at == '/') p->at++;
    if (*p->at++ != '>') page_wrong(p, "an open tag");
    if (closes && (p->depth == 0 || strcmp(p->open[--p->depth], name) != 0))
        page_wrong(p, "closed out of order");
    if (closes || alone) return;
    if (p->depth == PAGE_DEPTH_MAX) page_wrong(p, "too deep");
    memcpy(p->open[p->depth++], name, sizeof name);
}

static inline void page_refers_to_nothing(const char *text)
{
    static const char *const words[] = {"http:",   "https:",  "//",
                                        "src=",    "href",    "url(",
                                        "@import", "<script", "<link",
                                        "<iframe", "<object"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strstr(text, words[i])) fail_msg("the page holds %s", words[i]);
}

/* Number of tags of a page that holds all of the above. */
static inline size_t page_check(struct buf *out)
{
    const char *text = buf_cstr(out);
    size_t n = out->len;
    struct page p = {.at = text, .end = text + n};
    check(strlen(text) == n);
    check(utf8_find_bad(text, n) == n);
    page_refers_to_nothing(text);
    while (p.at < p.end) {
        int in_style = p.depth && strcmp(p.open[p.depth - 1], "style") == 0;
        if (*p.at == '<' && (!in_style || p.at[1] == '/'))
            page_tag(&p);
        else if (*p.at == '&')
            page_entity(&p);
        else if (*p.at == '>' && !in_style)
            page_wrong(&p, "a bare >");
        else
            p.at++;
    }
    check(p.depth == 0);
    check(strncmp(text, "<!doctype html>", 15) == 0);
    return p.n_tags;
}

#endif
