/*
 * squad: questions with their answers and the paragraphs they are asked about,
 * in the JSON of SQuAD 1.1 and 2.0 (arXiv 1606.05250, 1806.03822):
 *
 *   {"data": [{"title": …, "paragraphs": [{"context": …, "qas": [
 *      {"id": …, "question": …, "answers": [{"text": …}],
 *       "is_impossible": false}]}]}]}
 *
 * Where the answers begin is not read: the texts are enough to score.
 */
#ifndef TACIT_RETRIEVAL_SQUAD_H
#define TACIT_RETRIEVAL_SQUAD_H

#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/err.h"

enum { SQUAD_BYTES_MAX = 64 << 20, SQUAD_ROWS_MAX = 1 << 20 };

struct squad_paragraph {
    const char *title, *text;
    size_t article;
};

struct squad_question {
    const char *id, *text;
    const char *const *answers; /* [n_answers]; 0 = nothing answers it */
    size_t n_answers;
    size_t paragraph; /* index */
};

/* All in the arena. */
struct squad {
    struct squad_paragraph *paragraphs;
    struct squad_question *questions;
    size_t n_paragraphs, n_questions, n_articles;
};

/* From n bytes; `name` is for messages. E_JUDGED_SYNTAX names what is missing.
 */
TACIT_CHECKED enum tacit_err squad_parse(const char *name, const char *text,
                                         size_t n, struct arena *a,
                                         struct squad *out);
TACIT_CHECKED enum tacit_err squad_read(const char *path, struct arena *a,
                                        struct squad *out);

#endif
