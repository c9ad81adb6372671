/*
 * question: what a person typed -> search terms and an FTS5 expression.
 *
 *   "May I use the contributors' patents?"  ->  use, contributors, patents
 *                                           ->  "use" OR "contributors" OR …
 *
 * Every term is a folded word of the tokenizer in double quotes, so nothing
 * that is typed can become FTS5 syntax. Function words are dropped, unless the
 * question has no others.
 */
#ifndef TACIT_RETRIEVAL_QUESTION_H
#define TACIT_RETRIEVAL_QUESTION_H

#include "common/base/arena.h"
#include "common/base/err.h"

enum { QUESTION_TERMS_MAX = 64 };

struct question {
    const char *text;
    const char *term[QUESTION_TERMS_MAX]; /* arena, each once */
    size_t n_terms, n_cut;                /* n_cut: left out */
    int names_nothing; /* function words alone, none in capitals as "IT" is */
    const char *fts;   /* arena; phrase i is term i */
};

/* Read a question of at most SEARCH_QUERY_MAX bytes (`text` is borrowed).
 * E_QUESTION_EMPTY without any word, E_QUESTION_LIMIT. Terms over
 * QUESTION_TERMS_MAX are left out. */
TACIT_CHECKED enum tacit_err question_read(struct arena *a, const char *text,
                                           struct question *out);
/* One term as an FTS5 string into out (arena). */
TACIT_CHECKED enum tacit_err question_quote(struct arena *a, const char *term,
                                            const char **out);

#endif
