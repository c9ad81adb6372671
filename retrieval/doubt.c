#include "retrieval/doubt.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

#include "retrieval/doubt_weights.h"
#include "retrieval/opposite.h"
#include "retrieval/span.h"

static int is_negation(const char *word)
{
    static const char *const words[] = {"not",     "no",     "never",
                                        "none",    "cannot", "without",
                                        "neither", "nor",    "unable",
                                        "fail",    "fails",  "failed",
                                        "least",   "lack",   "lacks",
                                        "except"};
    size_t n = strlen(word);
    if (n > 3 && strcmp(word + n - 3, "n't") == 0) return 1;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i], word) == 0) return 1;
    return 0;
}

/* Words of a text, and whether one of them denies. */
static size_t count_words(const char *text, size_t n, int *denies)
{
    char word[OPPOSITE_WORD_MAX + 1];
    size_t count = 0, i = 0;
    *denies = 0;
    while (opposite_next_word(text, n, &i, word)) {
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
    char word[OPPOSITE_WORD_MAX + 1];
    size_t n = strlen(text), i = 0, k = strlen(term);
    for (size_t count = 0; opposite_next_word(text, n, &i, word); count++) {
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
    const struct search_hit *hit = p->hit;
    for (size_t t = 0; t < q->question.n_terms; t++) {
        const char *term = q->question.term[t];
        if (!in_sentence[t] && opposite_in(term, hit->text, hit->text_len))
            x[DOUBT_OPPOSITE] = 1;
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

/* ---- what is asked for ---------------------------------------------------
 */

static int is_one_of(const char *const *list, size_t n, const char *word)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i], word) == 0) return 1;
    return 0;
}

static int is_count(const char *word)
{
    static const char *const words[] = {"one",      "two",     "three",
                                        "four",     "five",    "six",
                                        "seven",    "eight",   "nine",
                                        "ten",      "twelve",  "hundred",
                                        "thousand", "million", "half",
                                        "several"};
    return is_one_of(words, sizeof words / sizeof *words, word);
}

static int is_month(const char *word)
{
    static const char *const words[] = {"january", "february", "march",
                                        "april",   "may",      "june",
                                        "july",    "august",   "september",
                                        "october", "november", "december"};
    return is_one_of(words, sizeof words / sizeof *words, word);
}

static int is_reason(const char *word)
{
    static const char *const words[] = {"because", "due", "since",
                                        "to",      "for", "as"};
    return is_one_of(words, sizeof words / sizeof *words, word);
}

/* Whether a word of the sentence could be what is asked for. */
static int is_wanted(enum span_asks asks, const char *word, int is_capital)
{
    switch (asks) {
    case SPAN_WHO:
    case SPAN_WHERE: return is_capital;
    case SPAN_WHEN: return has_digit(word) || (is_month(word) && is_capital);
    case SPAN_COUNT: return has_digit(word) || is_count(word);
    case SPAN_WHY: return is_reason(word);
    default: return 1;
    }
}

static int is_asked(const struct question *q, const char *word)
{
    for (size_t t = 0; t < q->n_terms; t++)
        if (opposite_is_same(q->term[t], word)) return 1;
    return 0;
}

/* Whether the sentence has nothing of the kind that is asked for, but what the
 * question says itself. */
static int lacks_kind(const struct question *q, const char *text, size_t n)
{
    char word[OPPOSITE_WORD_MAX + 1];
    enum span_asks asks = span_asks(q->text);
    size_t i = 0, n_new = 0;
    if (asks == SPAN_WHAT) return 0;
    while (opposite_next_word(text, n, &i, word)) {
        size_t len = strlen(word);
        /* What begins a sentence has a capital anyway. */
        int is_capital =
            n_new > 0 && len <= i && isupper((unsigned char)text[i - len]);
        if (is_asked(q, word)) continue;
        if (is_wanted(asks, word, is_capital)) return 0;
        n_new++;
    }
    return 1;
}

/* How much more of the question the best sentence holds than any other. */
static double margin(const struct inquiry *q, const struct passage *p,
                     size_t best, double most)
{
    double second = 0;
    for (size_t s = 0; s < p->n_sentences; s++) {
        int here[QUESTION_TERMS_MAX] = {0}, all[QUESTION_TERMS_MAX] = {0};
        double share = 0;
        if (s == best) continue;
        find_held(q, p, &p->sentences[s], here, all);
        for (size_t t = 0; t < q->question.n_terms; t++)
            if (here[t] && q->weight_sum > 0)
                share += q->weight[t] / q->weight_sum;
        if (share > second) second = share;
    }
    return most - second;
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
    const char *sentence = p->hit->text + at->text_first;
    size_t n = at->text_end - at->text_first;
    count_words(sentence, n, &says_not);
    x[DOUBT_NEGATED] = asks_not && !says_not;
    x[DOUBT_DENIES] = asks_not;
    x[DOUBT_KIND] = lacks_kind(&q->question, sentence, n);
    x[DOUBT_MARGIN] = margin(q, p, best, x[DOUBT_SENTENCE]);
}

double doubt_chance(const double *x)
{
    double log_odds = doubt_weights[N_DOUBTS];
    for (size_t i = 0; i < N_DOUBTS; i++) log_odds += doubt_weights[i] * x[i];
    return 1 / (1 + exp(-log_odds));
}
