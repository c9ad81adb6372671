/*
 * shown: what was found, for people and as JSON: places, hits, citations, and
 * why they were found. For the commands that search and answer.
 */
#ifndef TACIT_CLIENT_SHOWN_H
#define TACIT_CLIENT_SHOWN_H

#include "common/base/json.h"
#include "common/base/options.h"
#include "retrieval/answerer.h"

/* "path:12-14", "path:page 3" or "path:page 3-4" where there are pages. A name
 * cannot command the terminal: what it could not show is a '?'. */
struct shown_range {
    uint32_t first, last;
};
void shown_path(const char *path);
void shown_place(const char *path, struct shown_range pages,
                 struct shown_range lines);
/* Where most words of the question stand together, on one line. */
void shown_snippet(const struct search_hit *h, const struct question *q);
double shown_ms(int64_t ns);

/* For people. */
void shown_search(const struct search_report *r);
void shown_hit(const struct search_hit *h, int is_by_scores);
/* Every passage that was looked at, and what became of it. */
void shown_passages(const struct answer *a);
/* "[1] title > heading", and where. */
void shown_source(const struct answer_citation *c);
/* A hint when the question was longer than what is searched for. */
void shown_cut(const struct options *o, const struct search_report *r);

/* As JSON; owned by the caller. */
json_t *shown_report_json(const struct search_report *r);
json_t *shown_timings_json(const struct search_report *r);
json_t *shown_hit_json(const struct search_hit *h);
json_t *shown_citation_json(const struct answer_citation *c);
json_t *shown_passage_json(const struct answer_passage *p);

#endif
