#include "retrieval/doubt.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

#include "retrieval/doubt_weights.h"

enum { WORD_BYTES_MAX = 31 };

static int is_word_byte(char c)
{
    return (signed char)c < 0 || isalnum((unsigned char)c) || c == '\'';
}

/* Next word of text[n] at or behind *i in lower case; 0 at the end. */
static int next_word(const char *text, size_t n, size_t *i, char *word)
{
    size_t len = 0;
    while (*i < n && !is_word_byte(text[*i])) ++*i;
    if (*i >= n) return 0;
    for (; *i < n && is_word_byte(text[*i]); ++*i)
        if (len < WORD_BYTES_MAX)
            word[len++] = (char)tolower((unsigned char)text[*i]);
    word[len] = '\0';
    return 1;
}

static int is_negation(const char *word)
{
    static const char *const words[] = {"not",     "no",     "never",
                                        "none",    "cannot", "without",
                                        "neither", "nor",    "unable",
                                        "fail",    "fails",  "failed",
                                        "least",   "lack",   "lacks"};
    size_t n = strlen(word);
    if (n > 3 && strcmp(word + n - 3, "n't") == 0) return 1;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i], word) == 0) return 1;
    return 0;
}

/* Words of a text, and whether one of them denies. */
static size_t count_words(const char *text, size_t n, int *denies)
{
    char word[WORD_BYTES_MAX + 1];
    size_t count = 0, i = 0;
    *denies = 0;
    while (next_word(text, n, &i, word)) {
        count++;
        *denies |= is_negation(word);
    }
    return count;
}

int doubt_denies(const char *text, size_t n)
{
    int denies;
    count_words(text, n, &denies);
    return denies;
}

int doubt_is_name(const char *text, const char *term)
{
    char word[WORD_BYTES_MAX + 1];
    size_t n = strlen(text), i = 0, k = strlen(term);
    for (size_t count = 0; next_word(text, n, &i, word); count++) {
        size_t len = strlen(word);
        if (count && len <= i && strncmp(word, term, k) == 0 &&
            isupper((unsigned char)text[i - len]))
            return 1;
    }
    return 0;
}

static int has_digit(const char *term)
{
    return term[strcspn(term, "0123456789")] != '\0';
}

/* Which terms stand in the sentence or its headings, and anywhere in the
 * passage. */
static void find_held(const struct inquiry *q, const struct passage *p,
                      const struct chunk_sentence *at, int *in_sentence,
                      int *in_passage)
{
    for (size_t i = 0; i < p->n_marks; i++) {
        const struct evidence_mark *m = &p->marks[i];
        if (m->term >= q->question.n_terms) continue;
        in_passage[m->term] = 1;
        if (m->column != COLUMN_TEXT ||
            (m->first >= at->text_first && m->end <= at->text_end))
            in_sentence[m->term] = 1;
    }
}

static void measure_terms(const struct inquiry *q, const struct passage *p,
                          const struct chunk_sentence *at, double *x)
{
    int in_sentence[QUESTION_TERMS_MAX] = {0};
    int in_passage[QUESTION_TERMS_MAX] = {0};
    find_held(q, p, at, in_sentence, in_passage);
    for (size_t t = 0; t < q->question.n_terms; t++) {
        const char *term = q->question.term[t];
        double share = q->weight_sum > 0 ? q->weight[t] / q->weight_sum : 0;
        if (in_sentence[t])
            x[DOUBT_SENTENCE] += share;
        else if (share > x[DOUBT_MISSING])
            x[DOUBT_MISSING] = share;
        if (in_passage[t])
            x[DOUBT_PASSAGE] += share;
        else if (has_digit(term))
            x[DOUBT_NUMBER] = 1;
        else if (doubt_is_name(q->question.text, term))
            x[DOUBT_NAME] = 1;
    }
}

void doubt_signs(const struct inquiry *q, const struct passage *p, size_t best,
                 double *x)
{
    const struct chunk_sentence *at = &p->sentences[best];
    const char *text = q->question.text;
    int asks_not, says_not;
    memset(x, 0, N_DOUBTS * sizeof *x);
    measure_terms(q, p, at, x);
    x[DOUBT_TERMS] = (double)q->question.n_terms;
    x[DOUBT_WORDS] = (double)count_words(text, strlen(text), &asks_not);
    count_words(p->hit->text + at->text_first, at->text_end - at->text_first,
                &says_not);
    x[DOUBT_NEGATED] = asks_not && !says_not;
}

double doubt_chance(const double *x)
{
    double log_odds = doubt_weights[N_DOUBTS];
    for (size_t i = 0; i < N_DOUBTS; i++) log_odds += doubt_weights[i] * x[i];
    return 1 / (1 + exp(-log_odds));
}
