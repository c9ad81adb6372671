/*
 * claims_supported: how often claim.h takes a sentence for supported.
 *
 * Data: PubMedQA's labelled set (shared test data): 1,000 abstracts without
 * their conclusion, and that conclusion in the authors' words. The two shares
 * of claim.c were chosen, of three pairs, on the first 400 by number; the other
 * 600 are measured.
 *
 *   conclusion   each sentence of it against its own abstract: a sentence that
 *                holds, in other words than the passage's
 *   quoted       a sentence of the abstract itself: one that holds
 *   foreign      a conclusion's sentence against the five passages of other
 *                abstracts that search finds for it: one that does not
 *   denied       a quoted sentence with a "not" in it: one that does not
 *   number       a quoted sentence with a number changed: one that does not
 */
#include "tests/check.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "retrieval/claim.h"
#include "retrieval/sentence.h"
#include "tests/bench/bench.h"
#include "tests/retrieval/shelf.h"

enum { CHOSEN_ON = 400, ITEMS = 600, HITS = 5, TEXT_BYTES = 2000 };

static const char file[] = "pubmedqa/ori_pqal.json.gz";

enum kind { CONCLUSION, QUOTED, FOREIGN, DENIED, NUMBER, KINDS };
static const char *const names[KINDS] = {"conclusion", "quoted", "foreign",
                                         "denied", "number"};
static size_t n_seen[KINDS], n_supported[KINDS];

struct item {
    char path[64];
    const char *conclusion;
    char *text; /* of the abstract; owned */
};

static struct shelf s;
static struct item items[ITEMS];

static void judge(enum kind kind, const char *text, size_t n,
                  const struct search_hit *const *hits, size_t n_hits)
{
    struct claim c;
    must(claim_check(s.corpus, &s.a, text, n, hits, n_hits, &c));
    if (!c.is_claim) return;
    n_seen[kind]++;
    n_supported[kind] += c.is_supported != 0;
}

/* Passages for a text: of one document, or of all but it. */
static size_t find(const char *text, size_t n, const char *own, int others,
                   const struct search_hit **out)
{
    char query[TEXT_BYTES];
    struct search_hit *hits = NULL;
    size_t n_hits = 0, k = 0;
    struct filter filter = {.n = 0};
    snprintf(query, sizeof query, "%.*s", (int)n, text);
    struct search_query q = {.text = query, .filter = &filter, .limit = 20};
    char glob[80];
    snprintf(glob, sizeof glob, "*/%s", own);
    if (!others) must(filter_add(&filter, "path", glob, FILTER_LIKE));
    if (search_hybrid(s.corpus, &q, &s.a, &hits, &n_hits)) {
        err_clear();
        return 0;
    }
    for (size_t i = 0; i < n_hits && k < HITS; i++)
        if (!others || !strstr(hits[i].path, own)) out[k++] = &hits[i];
    return k;
}

static void with_denial(const char *text, size_t n, char *out, size_t cap)
{
    static const char *const verbs[] = {" is ",   " are ", " was ",
                                        " were ", " can ", " has "};
    snprintf(out, cap, "%.*s", (int)n, text);
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        char *at = strstr(out, verbs[i]);
        if (!at) continue;
        size_t k = (size_t)(at - out) + strlen(verbs[i]);
        snprintf(out + k, cap - k, "not %.*s", (int)(n - k), text + k);
        return;
    }
    out[0] = '\0';
}

static void with_number(const char *text, size_t n, char *out, size_t cap)
{
    snprintf(out, cap, "%.*s", (int)n, text);
    size_t k = strcspn(out, "123456789");
    if (!out[k])
        out[0] = '\0';
    else
        out[k] = out[k] == '7' ? '4' : '7';
}

static void measure_quotes(const struct item *x,
                           const struct search_hit *const *hits, size_t n_hits)
{
    char changed[TEXT_BYTES];
    const char *at = x->text;
    for (size_t left = strlen(at), k = 0; left && k < 4; k++) {
        size_t n = sentence_length(LANGUAGE_ENGLISH, at, left);
        if (n > 30 && n + 8 < TEXT_BYTES) {
            judge(QUOTED, at, n, hits, n_hits);
            with_denial(at, n, changed, sizeof changed);
            if (*changed) judge(DENIED, changed, strlen(changed), hits, n_hits);
            with_number(at, n, changed, sizeof changed);
            if (*changed) judge(NUMBER, changed, strlen(changed), hits, n_hits);
        }
        at += n;
        left -= n;
    }
}

static void measure(const struct item *x)
{
    const struct search_hit *hits[HITS];
    const char *at = x->conclusion;
    arena_reset(&s.a);
    for (size_t left = strlen(at); left;) {
        size_t n = sentence_length(LANGUAGE_ENGLISH, at, left);
        size_t k = find(at, n, x->path, 0, hits);
        if (k) judge(CONCLUSION, at, n, hits, k);
        k = find(at, n, x->path, 1, hits);
        if (k) judge(FOREIGN, at, n, hits, k);
        at += n;
        left -= n;
    }
    size_t k = find(x->text, 400, x->path, 0, hits);
    if (k) measure_quotes(x, hits, k);
}

static void take(struct item *x, size_t i, const json_t *row)
{
    const json_t *part;
    size_t k;
    struct buf b;
    buf_init(&b, 0);
    json_array_foreach(json_object_get(row, "CONTEXTS"), k, part)
        buf_printf(&b, "%s\n\n", json_string_value(part));
    snprintf(x->path, sizeof x->path, "item%zu.txt", i);
    x->conclusion = json_string_value(json_object_get(row, "LONG_ANSWER"));
    x->text = strdup(buf_cstr(&b));
    shelf_add(&s, x->path, x->text);
    buf_release(&b);
}

int main(void)
{
    const char *path = check_data(file), *key;
    size_t n = 0, n_row = 0, n_items = 0;
    json_t *all = NULL, *row;
    if (!path) {
        fprintf(stderr, "claims_supported: %s is not here\n", file);
        return 0;
    }
    char *text = check_gunzip(path, &n);
    must(json_parse(text, n, &all));
    shelf_new(&s);
    json_object_foreach(all, key, row)
    {
        if (n_row++ < CHOSEN_ON || n_items == ITEMS) continue;
        take(&items[n_items], n_items, row);
        n_items++;
    }
    for (size_t i = 0; i < n_items; i++) measure(&items[i]);
    for (int k = 0; k < KINDS; k++) {
        char name[64];
        snprintf(name, sizeof name, "%s, %zu sentences", names[k], n_seen[k]);
        bench_print(
            &(struct bench_figure){.bench = "claims_supported",
                                   .name = name,
                                   .unit = "share",
                                   .value = n_seen[k] ? (double)n_supported[k] /
                                                            (double)n_seen[k]
                                                      : 0});
    }
    for (size_t i = 0; i < n_items; i++) free(items[i].text);
    shelf_free(&s);
    json_decref(all);
    free(text);
    return 0;
}
