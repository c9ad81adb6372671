/*
 * judged: queries, judgements and runs as the retrieval community keeps them.
 *
 *   corpus.jsonl    {"_id": "4983", "title": "…", "text": "…"}
 *   queries.jsonl   {"_id": "1", "text": "…"}
 *   qrels/test.tsv  query-id <TAB> corpus-id <TAB> score, a header line (BEIR)
 *   qrels.trec      query 0 document grade                        (TREC)
 *   run             query Q0 document rank score name             (TREC)
 *
 * A run is ordered as trec_eval orders it: larger score first (as 32-bit
 * floats), then the document id that is later in order of bytes; the rank that
 * stands in the file counts nothing.
 */
#ifndef TACIT_RETRIEVAL_JUDGED_H
#define TACIT_RETRIEVAL_JUDGED_H

#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/err.h"

enum {
    JUDGED_ROWS_MAX = 1 << 22,
    JUDGED_BYTES_MAX = 512 << 20,
    JUDGED_LINE_MAX = 8 << 20, /* of a corpus */
    JUDGED_GRADE_MAX = 1000
};

/* All text is in the arena of the reader. */
struct judged_query {
    const char *id, *text;
};
struct judged_queries {
    struct judged_query *list; /* in order of the file */
    size_t n;
};

struct judged_row {
    const char *query, *document;
    int grade;
};
struct judged_qrels {
    struct judged_row *list; /* by query, then document, each once */
    size_t n;
};

struct judged_place {
    const char *query, *document;
    float score;
};
struct judged_run {
    struct judged_place *list; /* by query, then as ranked */
    size_t n;
};

/* From n bytes; `name` is for messages. E_JUDGED_SYNTAX names the line; also
 * when a pair stands twice. LIMIT. */
TACIT_CHECKED enum tacit_err judged_queries_parse(const char *name,
                                                  const char *text, size_t n,
                                                  struct arena *a,
                                                  struct judged_queries *out);
TACIT_CHECKED enum tacit_err judged_qrels_parse(const char *name,
                                                const char *text, size_t n,
                                                struct arena *a,
                                                struct judged_qrels *out);
TACIT_CHECKED enum tacit_err judged_run_parse(const char *name,
                                              const char *text, size_t n,
                                              struct arena *a,
                                              struct judged_run *out);
/* The same from a file. NOTFOUND, IO. */
TACIT_CHECKED enum tacit_err judged_queries_read(const char *path,
                                                 struct arena *a,
                                                 struct judged_queries *out);
TACIT_CHECKED enum tacit_err judged_qrels_read(const char *path,
                                               struct arena *a,
                                               struct judged_qrels *out);
TACIT_CHECKED enum tacit_err judged_run_read(const char *path, struct arena *a,
                                             struct judged_run *out);

/* The rows of one query, or n = 0. */
struct judged_rows {
    const struct judged_row *list;
    size_t n;
};
struct judged_rows judged_of(const struct judged_qrels *q, const char *query);
/* The grade of a document among them; 0 when it was not judged. */
int judged_grade(struct judged_rows rows, const char *document);
/* Bring a run's places into their order: by query, then best first; of equal
 * scores the later name, as trec_eval does. */
void judged_run_sort(struct judged_run *r);
/* The places of one query in a run. */
struct judged_places {
    const struct judged_place *list;
    size_t n;
};
struct judged_places judged_run_of(const struct judged_run *r,
                                   const char *query);

/* The documents of a corpus.jsonl one by one, borrowed during the visit; a
 * visit error ends it. bytes: read so far. */
struct judged_document {
    const char *id, *title, *text;
    size_t bytes;
};
TACIT_CHECKED enum tacit_err judged_corpus_read(
    const char *path,
    enum tacit_err (*visit)(const struct judged_document *d, void *ctx),
    void *ctx);

#endif
