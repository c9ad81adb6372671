#include "retrieval/squad.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/json.h"

struct loading {
    const char *name;
    struct arena *a;
    struct squad *out;
};

static enum tacit_err refuse(const struct loading *l, const char *what)
{
    return fail_as(E_JUDGED_SYNTAX, "%s: not SQuAD's JSON: %s", l->name, what);
}

static enum tacit_err text_of(const struct loading *l, const json_t *o,
                              const char *key, const char **out)
{
    char *copy = NULL;
    const json_t *value = json_object_get(o, key);
    if (!json_is_string(value)) return refuse(l, key);
    TRY(arena_strdup(l->a, json_string_value(value), json_string_length(value),
                     &copy));
    *out = copy;
    return TACIT_OK;
}

static const json_t *list_of(const json_t *o, const char *key)
{
    const json_t *list = json_object_get(o, key);
    return json_is_array(list) ? list : NULL;
}

/* How many paragraphs and questions there are; SIZE_MAX: too many. */
static void count(const json_t *data, size_t *n_paragraphs, size_t *n_questions)
{
    *n_paragraphs = *n_questions = 0;
    for (size_t i = 0; i < json_array_size(data); i++) {
        const json_t *p = list_of(json_array_get(data, i), "paragraphs");
        *n_paragraphs += json_array_size(p);
        for (size_t k = 0; k < json_array_size(p); k++)
            *n_questions +=
                json_array_size(list_of(json_array_get(p, k), "qas"));
    }
}

static enum tacit_err add_question(struct loading *l, const json_t *o)
{
    struct squad_question *q = &l->out->questions[l->out->n_questions];
    const json_t *answers = list_of(o, "answers");
    const char **texts = NULL;
    size_t n = json_is_true(json_object_get(o, "is_impossible"))
                   ? 0
                   : json_array_size(answers);
    TRY(text_of(l, o, "id", &q->id));
    TRY(text_of(l, o, "question", &q->text));
    TRY(arena_alloc(l->a, n + 1, sizeof *texts, &texts));
    for (size_t i = 0; i < n; i++)
        TRY(text_of(l, json_array_get(answers, i), "text", &texts[i]));
    q->answers = texts;
    q->n_answers = n;
    q->paragraph = l->out->n_paragraphs;
    l->out->n_questions++;
    return TACIT_OK;
}

static enum tacit_err add_article(struct loading *l, const json_t *article)
{
    const json_t *list = list_of(article, "paragraphs");
    const char *title = "";
    if (!list) return refuse(l, "paragraphs");
    TRY(text_of(l, article, "title", &title));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *o = json_array_get(list, i);
        const json_t *questions = list_of(o, "qas");
        struct squad_paragraph *p = &l->out->paragraphs[l->out->n_paragraphs];
        if (!questions) return refuse(l, "qas");
        TRY(text_of(l, o, "context", &p->text));
        p->title = title;
        p->article = l->out->n_articles;
        for (size_t k = 0; k < json_array_size(questions); k++)
            TRY(add_question(l, json_array_get(questions, k)));
        l->out->n_paragraphs++;
    }
    l->out->n_articles++;
    return TACIT_OK;
}

static enum tacit_err load(struct loading *l, const json_t *root)
{
    const json_t *data = list_of(root, "data");
    size_t n_paragraphs, n_questions;
    if (!data) return refuse(l, "data");
    count(data, &n_paragraphs, &n_questions);
    if (n_paragraphs > SQUAD_ROWS_MAX || n_questions > SQUAD_ROWS_MAX)
        return refuse(l, "more than a million questions");
    TRY(arena_alloc(l->a, n_paragraphs + 1, sizeof *l->out->paragraphs,
                    &l->out->paragraphs));
    TRY(arena_alloc(l->a, n_questions + 1, sizeof *l->out->questions,
                    &l->out->questions));
    for (size_t i = 0; i < json_array_size(data); i++)
        TRY(add_article(l, json_array_get(data, i)));
    return TACIT_OK;
}

enum tacit_err squad_parse(const char *name, const char *text, size_t n,
                           struct arena *a, struct squad *out)
{
    struct squad found = {0};
    struct loading l = {name, a, &found};
    json_t *root = NULL;
    enum tacit_err err = json_parse(text, n, &root);
    if (err && err != TACIT_NOMEM) {
        err_clear();
        return refuse(&l, "no valid JSON");
    }
    if (!err) err = load(&l, root);
    json_decref(root);
    if (!err) *out = found;
    return err;
}

enum tacit_err squad_read(const char *path, struct arena *a, struct squad *out)
{
    struct buf b;
    buf_init(&b, 0);
    enum tacit_err err = file_read(path, SQUAD_BYTES_MAX, &b);
    if (!err) err = squad_parse(path, (const char *)b.data, b.len, a, out);
    buf_release(&b);
    return err;
}
