#include "client/shown.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "client/cli.h"
#include "common/base/plural.h"
#include "common/base/terminal.h"
#include "common/base/utf8.h"
#include "retrieval/corpus.h"
#include "retrieval/language.h"

enum { SNIPPET_BYTES = 240, SNIPPET_BEFORE = 60, STARTS_MAX = 64, INDENT = 4 };

/* Bytes of a path as they stand in a file:// link. */
static void print_encoded(const char *path)
{
    for (; *path; path++)
        if (isalnum((unsigned char)*path) || strchr("/-._~", *path))
            putchar(*path);
        else
            printf("%%%02X", (unsigned char)*path);
}

/* A path that a terminal can open with a click. */
void shown_path(const char *path)
{
    char shown[CORPUS_PATH_MAX];
    int is_link = isatty(STDOUT_FILENO) && progress_colour(STDOUT_FILENO);
    utf8_printable(shown, sizeof shown, path);
    if (is_link) {
        printf("\033]8;;file://");
        print_encoded(path);
        printf("\033\\");
    }
    printf("%s%s", shown, is_link ? "\033]8;;\033\\" : "");
}

void shown_place(const char *path, struct shown_range pages,
                 struct shown_range lines)
{
    shown_path(path);
    if (pages.first && pages.last > pages.first)
        printf(":page %" PRIu32 "-%" PRIu32 "\n", pages.first, pages.last);
    else if (pages.first)
        printf(":page %" PRIu32 "\n", pages.first);
    else
        printf(":%" PRIu32 "-%" PRIu32 "\n", lines.first, lines.last);
}

/* Where a word begins in [from, to) as a term does, or to. Endings may differ:
 * a term of five letters and more has two of them to spare. */
static size_t find_term(const char *s, size_t from, size_t to, const char *term)
{
    size_t n = strlen(term);
    if (n > 4) n = n - 2 > 4 ? n - 2 : 4;
    for (size_t i = from; i + n <= to; i++) {
        unsigned char before = i ? (unsigned char)s[i - 1] : ' ';
        if (!isalnum(before) && before < 0x80 &&
            strncasecmp(s + i, term, n) == 0)
            return i;
    }
    return to;
}

static size_t count_terms(const struct search_hit *h, size_t from,
                          const struct question *q)
{
    size_t n = 0, to = from + SNIPPET_BYTES;
    if (to > h->text_len) to = h->text_len;
    for (size_t i = 0; i < q->n_terms; i++)
        n += find_term(h->text, from, to, q->term[i]) < to;
    return n;
}

/* A little before a word, between two others. */
static size_t begin_before(const char *s, size_t at)
{
    size_t from = at > SNIPPET_BEFORE ? at - SNIPPET_BEFORE : 0;
    if (from == 0) return 0;
    while (from < at && s[from - 1] != ' ' && s[from - 1] != '\n') from++;
    return from;
}

static size_t best_begin(const struct search_hit *h, const struct question *q)
{
    size_t best = 0, n_best = count_terms(h, 0, q);
    for (size_t i = 0; i < q->n_terms; i++) {
        size_t at = find_term(h->text, 0, h->text_len, q->term[i]);
        for (int k = 0; at < h->text_len && k < STARTS_MAX; k++) {
            size_t from = begin_before(h->text, at);
            size_t n = count_terms(h, from, q);
            if (n > n_best) {
                n_best = n;
                best = from;
            }
            at = find_term(h->text, at + 1, h->text_len, q->term[i]);
        }
    }
    return best;
}

void shown_snippet(const struct search_hit *h, const struct question *q)
{
    size_t from = best_begin(h, q), to = from + SNIPPET_BYTES;
    if (to > h->text_len) to = h->text_len;
    while (to < h->text_len && to > from && (h->text[to] & 0xc0) == 0x80) to--;
    char text[SNIPPET_BYTES + 1];
    memcpy(text, h->text + from, to - from);
    text[to - from] = '\0';
    for (char *end = text; (end = strchr(end, '\n'));) *end = ' ';
    terminal_say(stdout, INDENT, "%s%s%s", from ? "…" : "", text,
                 to < h->text_len ? "…" : "");
}

double shown_ms(int64_t ns)
{
    return (double)ns / 1e6;
}

json_t *shown_report_json(const struct search_report *r)
{
    json_t *terms = json_array(), *languages = json_array();
    for (size_t i = 0; i < r->question.n_terms; i++)
        json_array_append_new(terms, json_string(r->question.term[i]));
    for (unsigned i = 0; i < N_LANGUAGES; i++)
        if (r->languages & 1u << i)
            json_array_append_new(languages, json_string(language_code(i)));
    return json_pack("{s:o, s:I, s:o, s:s, s:f, s:I, s:I, s:I, s:I}", "terms",
                     terms, "terms_left_out", (json_int_t)r->question.n_cut,
                     "languages", languages, "fused_by",
                     r->is_by_scores ? "scores" : "ranks", "weight_of_vectors",
                     r->weight, "matching", (json_int_t)r->n_matching,
                     "candidates", (json_int_t)r->n_candidates, "reranked",
                     (json_int_t)r->n_reread, "reranked_in_part",
                     (json_int_t)r->n_reread_cut);
}

json_t *shown_timings_json(const struct search_report *r)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "filter_ms",
                     shown_ms(r->filter_ns), "embed_ms", shown_ms(r->embed_ns),
                     "words_ms", shown_ms(r->words_ns), "vectors_ms",
                     shown_ms(r->vectors_ns), "fuse_ms", shown_ms(r->fuse_ns),
                     "read_ms", shown_ms(r->read_ns), "reranker_ms",
                     shown_ms(r->reread_ns));
}

void shown_search(const struct search_report *r)
{
    printf("terms:");
    for (size_t i = 0; i < r->question.n_terms; i++)
        printf(" %s", r->question.term[i]);
    printf("; stemmed as");
    for (unsigned i = 0; i < N_LANGUAGES; i++)
        if (r->languages & 1u << i) printf(" %s", language_code(i));
    printf("\n%zu passage%s one; %zu candidate%s, fused by %s, weight of "
           "the vectors %.2f\n",
           r->n_matching, r->n_matching == 1 ? " holds" : "s hold",
           r->n_candidates, plural_s(r->n_candidates),
           r->is_by_scores ? "scores" : "ranks", r->weight);
    printf("filter %.2f, embed %.2f, words %.2f, vectors %.2f, fuse %.2f, read "
           "%.2f ms\n",
           shown_ms(r->filter_ns), shown_ms(r->embed_ns), shown_ms(r->words_ns),
           shown_ms(r->vectors_ns), shown_ms(r->fuse_ns), shown_ms(r->read_ns));
    if (r->n_reread)
        printf("%zu read again by the reranker, %zu of them in part, in %.1f "
               "ms\n",
               r->n_reread, r->n_reread_cut, shown_ms(r->reread_ns));
}

static void write_rank(char out[16], int rank)
{
    snprintf(out, 16, "-");
    if (rank) snprintf(out, 16, "#%d", rank);
}

void shown_hit(const struct search_hit *h, int is_by_scores)
{
    char words[16], vectors[16], share[32] = "", before[64] = "";
    write_rank(words, h->rank_words);
    write_rank(vectors, h->rank_vectors);
    if (is_by_scores)
        snprintf(share, sizeof share, ", %.0f %% by words", 100 * h->share);
    if (h->rank_before)
        snprintf(before, sizeof before, "; reranker %.3f, before it #%d",
                 h->rerank, h->rank_before);
    terminal_say(stdout, INDENT,
                 "words %s (BM25 %.2f), vectors %s (cosine %.3f), score "
                 "%.4f%s%s",
                 words, h->words, vectors, (double)h->cosine, h->score, share,
                 before);
}

void shown_cut(const struct options *o, const struct search_report *r)
{
    if (r->question.n_cut)
        cli_hint(o, "The question is long: %zu of its words were left out.",
                 r->question.n_cut);
}

static json_t *also_json(const struct search_hit *h)
{
    json_t *list = json_array();
    for (size_t i = 0; i < h->n_also && i < SEARCH_ALSO_MAX; i++)
        json_array_append_new(list, json_string(h->also[i]));
    return list;
}

json_t *shown_hit_json(const struct search_hit *h)
{
    json_t *o =
        json_pack("{s:s, s:s, s:s, s:s, s:[i, i], s:[I, I], s:f, s:f, s:s%}",
                  "path", h->path, "title", h->title, "heading", h->heading,
                  "kind", h->kind, "lines", (int)h->line_first,
                  (int)h->line_last, "bytes", (json_int_t)h->byte_first,
                  (json_int_t)h->byte_end, "score", h->score, "cosine",
                  (double)h->cosine, "text", h->text, h->text_len);
    json_t *why =
        json_pack("{s:[i, i], s:f, s:i, s:i, s:I, s:o, s:I}", "pages",
                  (int)h->page_first, (int)h->page_last, "bm25", h->words,
                  "rank_words", h->rank_words, "rank_vectors", h->rank_vectors,
                  "passages", (json_int_t)h->n_joined, "also_in", also_json(h),
                  "also_in_documents", (json_int_t)h->n_also);
    if (o && why) json_object_update(o, why);
    json_decref(why);
    if (o && h->rank_before) {
        json_object_set_new(o, "rerank_score", json_real(h->rerank));
        json_object_set_new(o, "rank_before_rerank",
                            json_integer(h->rank_before));
    }
    return o;
}

json_t *shown_citation_json(const struct answer_citation *c)
{
    return json_pack("{s:i, s:s, s:s, s:s, s:[i, i], s:[i, i], s:[I, I], s:s}",
                     "number", c->number, "path", c->path, "title", c->title,
                     "heading", c->heading, "pages", (int)c->page_first,
                     (int)c->page_last, "lines", (int)c->line_first,
                     (int)c->line_last, "bytes", (json_int_t)c->byte_first,
                     (json_int_t)c->byte_end, "snippet", c->snippet);
}

/* Chance that a passage is about the question. */
static double about(const struct answer_passage *p)
{
    return 1 / (1 + exp(-p->relevance.log_odds));
}

json_t *shown_passage_json(const struct answer_passage *p)
{
    json_t *o = shown_hit_json(p->hit);
    json_t *why =
        json_pack("{s:f, s:f, s:{s:f, s:f, s:f, s:f, s:f, s:f}, s:i}",
                  "confidence", p->confidence, "log_odds", p->log_odds,
                  "evidence", "sentence", p->relevance.sentence, "passage",
                  p->relevance.passage, "cosine", p->relevance.cosine, "gain",
                  p->relevance.gain, "about", about(p), "answers",
                  p->relevance.answers, "citation", p->citation);
    if (o && why) json_object_update(o, why);
    json_decref(why);
    return o;
}

void shown_passages(const struct answer *a)
{
    putchar('\n');
    shown_search(&a->report);
    printf("needed confidence %.2f\n", a->threshold);
    for (size_t i = 0; i < a->n_passages; i++) {
        const struct answer_passage *p = &a->passages[i];
        const struct search_hit *h = p->hit;
        printf("%2zu. %s%s%s", i + 1, h->title, *h->heading ? " > " : "",
               h->heading);
        if (p->citation) printf(" [%d]", p->citation);
        putchar('\n');
        shown_hit(h, a->report.is_by_scores);
        terminal_say(stdout, INDENT,
                     "confidence %.2f: about the question %.2f, answers it "
                     "%.2f; of its words the best sentence holds %.2f, the "
                     "passage %.2f; moved by training %.2f",
                     p->confidence, about(p), p->relevance.answers,
                     p->relevance.sentence, p->relevance.passage,
                     p->relevance.gain);
    }
}

void shown_source(const struct answer_citation *c)
{
    printf("[%d] %s%s%s\n    ", c->number, c->title, *c->heading ? " > " : "",
           c->heading);
    shown_place(c->path, (struct shown_range){c->page_first, c->page_last},
                (struct shown_range){c->line_first, c->line_last});
}
