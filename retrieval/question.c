#include "retrieval/question.h"

#include <string.h>

#include "common/base/buf.h"
#include "common/base/codes.h"
#include "common/model/tokenizer.h"
#include "retrieval/search.h"

/* Cut what an apostrophe appends: "hospital's", "they've". FTS5 would read two
 * words that must stand together. */
static void cut_suffix(char *word)
{
    char *at = strrchr(word, '\'');
    size_t width = 1;
    char *curly = strstr(word, "\xe2\x80\x99");
    if (curly && (!at || curly > at)) at = curly, width = 3;
    if (at && at != word && strlen(at + width) <= 2) *at = '\0';
}

static void add_term(struct question *q, const char *term)
{
    for (size_t i = 0; i < q->n_terms; i++)
        if (strcmp(q->term[i], term) == 0) return;
    if (q->n_terms < QUESTION_TERMS_MAX)
        q->term[q->n_terms++] = term;
    else
        q->n_cut++;
}

static void put_quoted(struct buf *b, const char *term)
{
    buf_put_u8(b, '"');
    for (const char *p = term; *p; p++) {
        if (*p == '"') buf_put_u8(b, '"');
        buf_put_u8(b, (uint8_t)*p);
    }
    buf_put_u8(b, '"');
}

static enum tacit_err finish(struct arena *a, struct buf *b, const char **out)
{
    char *copy = NULL;
    enum tacit_err err = buf_end(b);
    if (!err) err = arena_strdup(a, (const char *)b->data, b->len, &copy);
    buf_release(b);
    if (err) return err;
    *out = copy;
    return TACIT_OK;
}

enum tacit_err question_quote(struct arena *a, const char *term,
                              const char **out)
{
    struct buf b;
    buf_init(&b, 0);
    put_quoted(&b, term);
    return finish(a, &b, out);
}

/* Two capitals side by side: "WHO" is a name, "Who" begins a sentence. */
static int has_capitals(const char *text)
{
    for (; *text; text++)
        if (text[0] >= 'A' && text[0] <= 'Z' && text[1] >= 'A' &&
            text[1] <= 'Z')
            return 1;
    return 0;
}

enum tacit_err question_read(struct arena *a, const char *text,
                             struct question *out)
{
    struct question q = {.text = text};
    struct word *words = NULL;
    size_t n_words = 0, n = strnlen(text, SEARCH_QUERY_MAX + 1), n_strong = 0;
    struct buf b;
    if (n > SEARCH_QUERY_MAX)
        return fail_as(E_QUESTION_LIMIT,
                       "the question is longer than %d bytes; ask in a "
                       "sentence or two",
                       SEARCH_QUERY_MAX);
    TRY(tokenizer_words(a, text, n, &words, &n_words));
    for (size_t i = 0; i < n_words; i++) n_strong += !word_is_weak(&words[i]);
    q.names_nothing = n_strong == 0 && !has_capitals(text);
    for (size_t i = 0; i < n_words; i++) {
        char *copy = NULL;
        if (n_strong && word_is_weak(&words[i])) continue;
        TRY(arena_strdup(a, words[i].text, strlen(words[i].text), &copy));
        cut_suffix(copy);
        add_term(&q, copy);
    }
    if (q.n_terms == 0)
        return fail_as(E_QUESTION_EMPTY, "the question holds no word");
    buf_init(&b, 0);
    for (size_t i = 0; i < q.n_terms; i++) {
        if (i) buf_put(&b, " OR ", 4);
        put_quoted(&b, q.term[i]);
    }
    TRY(finish(a, &b, &q.fts));
    *out = q;
    return TACIT_OK;
}
