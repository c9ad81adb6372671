#include "retrieval/span.h"

#include <math.h>
#include <string.h>

#include "common/model/tokenizer.h"
#include "retrieval/span_weights.h"

/* What a question asks for. */
enum asks { WHO, WHEN, WHERE, COUNT, WHY, WHAT, N_ASKS };

/* What a candidate looks like. */
enum looks { NAME, NUMBER, DATE, PLAIN, N_LOOKS };

/* Features, in order of their weights. */
enum {
    F_LOOKS = 0,                               /* [N_ASKS, N_LOOKS] */
    F_WORDS = F_LOOKS + (int)N_ASKS * N_LOOKS, /* one of 1, 2, 3, 4, 5+ */
    F_BEFORE = F_WORDS + 5, /* [WHO … COUNT] of in, by, of, is before it */
    F_OPEN_LEFT = F_BEFORE + 4 * 4, /* a content word stands before */
    F_OPEN_RIGHT,
    F_CUT_NAME, /* a name goes on beyond an end */
    F_ASKED,    /* share of its words that the question has */
    F_NEAR,     /* the question's words, by weight and nearness */
    F_NEAREST,  /* log of the distance to the nearest of them */
    F_COMMA,    /* inside */
    F_CROSSES,  /* a bracket or quote inside without its partner */
    F_FIRST,    /* begins the sentence */
    F_HYPHEN,
    F_QUOTED,  /* stands in quotes */
    F_COUNTED, /* begins with a number, COUNT asked */
    F_REASON,  /* because, to, for before it, WHY asked */
    F_END,
    N_FEATURES
};
_Static_assert((int)N_FEATURES <= (int)SPAN_FEATURES, "room for all features");

enum before { B_IN, B_BY, B_OF, B_IS, B_NONE };

struct token {
    size_t first, end; /* of the passage's text */
    unsigned is_weak : 1, is_name : 1, has_digit : 1, is_year : 1, is_month : 1,
        is_asked : 1, comma_after : 1, stop_after : 1, quote_before : 1,
        quote_after : 1, open_before : 1, close_after : 1;
};

struct reading {
    const struct inquiry *q;
    const struct passage *p;
    struct token t[SPAN_TOKENS_MAX];
    size_t n;
    size_t end; /* of the sentence */
    enum asks asks;
};

/* ---- the question --------------------------------------------------------
 */

static int has_word(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = text; (p = strcasestr(p, word)); p++) {
        int starts =
            p == text || !strchr("abcdefghijklmnopqrstuvwxyz", p[-1] | 32);
        int ends = !p[n] || !strchr("abcdefghijklmnopqrstuvwxyz", p[n] | 32);
        if (starts && ends) return 1;
    }
    return 0;
}

static int has_one(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (has_word(text, *words)) return 1;
    return 0;
}

static enum asks classify(const char *text)
{
    static const char *const count[] = {"how many",   "how much", "how long",
                                        "how old",    "how far",  "how often",
                                        "percentage", "percent",  "what number",
                                        "population", NULL};
    static const char *const when[] = {
        "when",         "what year", "which year", "what date",
        "what century", "what day",  "what month", "what decade",
        "in what year", "what time", NULL};
    static const char *const who[] = {"who",          "whom",        "whose",
                                      "which person", "what person", NULL};
    static const char *const where[] = {"where",         "what city",
                                        "what country",  "which city",
                                        "which country", "what state",
                                        "what region",   NULL};
    static const char *const why[] = {"why", "what caused", "for what reason",
                                      NULL};
    if (has_one(text, count)) return COUNT;
    if (has_one(text, when)) return WHEN;
    if (has_one(text, who)) return WHO;
    if (has_one(text, where)) return WHERE;
    return has_one(text, why) ? WHY : WHAT;
}

/* ---- the sentence --------------------------------------------------------
 */

static int is_letter(char c)
{
    return (signed char)c < 0 || (c >= 'a' && c <= 'z') ||
           (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static int is_month(const char *s, size_t n)
{
    static const char *const months[] = {"January", "February", "March",
                                         "April",   "May",      "June",
                                         "July",    "August",   "September",
                                         "October", "November", "December"};
    for (size_t i = 0; i < sizeof months / sizeof *months; i++)
        if (strlen(months[i]) == n && memcmp(months[i], s, n) == 0) return 1;
    return 0;
}

/* What stands between the token and its neighbours. */
static void look_around(struct token *t, const char *text, size_t from,
                        size_t end, size_t next)
{
    for (size_t i = from; i < t->first; i++) {
        t->quote_before |= text[i] == '"';
        t->open_before |= text[i] == '(' || text[i] == '[';
    }
    for (size_t i = t->end; i < next && i < end; i++) {
        t->comma_after |= text[i] == ',';
        t->stop_after |= strchr(".;:!?", text[i]) != NULL;
        t->quote_after |= text[i] == '"';
        t->close_after |= text[i] == ')' || text[i] == ']';
    }
}

static enum tacit_err describe(struct reading *r, struct arena *scratch,
                               struct token *t)
{
    const char *s = r->p->hit->text + t->first;
    size_t n = t->end - t->first, n_words = 0, n_digits = 0;
    struct word *words = NULL;
    TRY(tokenizer_words(scratch, s, n, &words, &n_words));
    t->is_weak = n_words == 0 || (n_words == 1 && word_is_weak(&words[0]));
    t->is_name = s[0] >= 'A' && s[0] <= 'Z';
    for (size_t i = 0; i < n; i++) n_digits += s[i] >= '0' && s[i] <= '9';
    t->has_digit = n_digits > 0;
    t->is_year = n == 4 && n_digits == 4 && (s[0] == '1' || s[0] == '2');
    t->is_month = is_month(s, n) != 0;
    for (size_t i = 0; i < r->p->n_marks; i++) {
        const struct evidence_mark *m = &r->p->marks[i];
        if (m->column == COLUMN_TEXT && m->first < t->end && m->end > t->first)
            t->is_asked = 1;
    }
    return TACIT_OK;
}

/* Tokens of the sentence: letters and what joins them ("3.5", "re-entry"). */
static enum tacit_err tokenize(struct reading *r, struct arena *scratch,
                               const struct chunk_sentence *at)
{
    const char *text = r->p->hit->text;
    size_t from = at->text_first;
    for (size_t i = from; i < at->text_end && r->n < SPAN_TOKENS_MAX;) {
        size_t end = i;
        if (!is_letter(text[i])) {
            i++;
            continue;
        }
        while (end < at->text_end &&
               (is_letter(text[end]) ||
                (strchr("-.,'", text[end]) && end + 1 < at->text_end &&
                 is_letter(text[end + 1]))))
            end++;
        struct token *t = &r->t[r->n++];
        *t = (struct token){.first = i, .end = end};
        size_t next = end;
        while (next < at->text_end && !is_letter(text[next])) next++;
        look_around(t, text, from, at->text_end, next);
        TRY(describe(r, scratch, t));
        from = end;
        i = next;
    }
    r->end = at->text_end;
    return TACIT_OK;
}

/* ---- candidates ----------------------------------------------------------
 */

static enum looks look(const struct reading *r, size_t i, size_t j)
{
    size_t names = 0, digits = 0, content = 0;
    for (size_t k = i; k <= j; k++) {
        if (r->t[k].is_year || r->t[k].is_month) return DATE;
        digits += r->t[k].has_digit;
        content += !r->t[k].is_weak;
        names += !r->t[k].is_weak && r->t[k].is_name;
    }
    if (digits) return NUMBER;
    return names == content ? NAME : PLAIN;
}

static enum before before(const struct reading *r, size_t i)
{
    static const char *const words[] = {"in at on during", "by", "of from for",
                                        "is was are were be called named"};
    /* An article may stand between. */
    for (size_t back = 1; back <= 2 && back <= i; back++) {
        const struct token *t = &r->t[i - back];
        char word[16] = {0};
        size_t n = t->end - t->first;
        if (n >= sizeof word) return B_NONE;
        memcpy(word, r->p->hit->text + t->first, n);
        for (int b = 0; b < B_NONE; b++)
            if (has_word(words[b], word)) return (enum before)b;
        if (!has_word("the a an", word)) return B_NONE;
    }
    return B_NONE;
}

/* Tokens between [i, j] and token k. */
static size_t distance(size_t i, size_t j, size_t k)
{
    return k < i ? i - k : k > j ? k - j : 0;
}

static void measure_nearness(const struct reading *r, size_t i, size_t j,
                             double *x)
{
    size_t nearest = SPAN_TOKENS_MAX;
    double sum = 0;
    for (size_t k = 0; k < r->n; k++) {
        if (!r->t[k].is_asked || (k >= i && k <= j)) continue;
        size_t d = distance(i, j, k);
        if (d < nearest) nearest = d;
    }
    for (size_t m = 0; m < r->p->n_marks; m++) {
        const struct evidence_mark *e = &r->p->marks[m];
        if (e->column != COLUMN_TEXT || e->term >= r->q->question.n_terms)
            continue;
        for (size_t k = 0; k < r->n; k++)
            if (e->first < r->t[k].end && e->end > r->t[k].first &&
                (k < i || k > j))
                sum += r->q->weight[e->term] / (1 + (double)distance(i, j, k));
    }
    x[F_NEAR] = r->q->weight_sum > 0 ? sum / r->q->weight_sum : 0;
    x[F_NEAREST] = log((double)nearest);
}

static int is_continued(const struct token *a, const struct token *b)
{
    return a->is_name && b->is_name && !a->comma_after && !a->stop_after;
}

static void measure_inside(const struct reading *r, size_t i, size_t j,
                           double *x)
{
    int brackets = 0, quotes = 0;
    for (size_t k = i; k <= j; k++) {
        x[F_ASKED] += r->t[k].is_asked / (double)(j - i + 1);
        if (k < j) {
            x[F_COMMA] += r->t[k].comma_after;
            brackets += r->t[k + 1].open_before - r->t[k].close_after;
            quotes += r->t[k + 1].quote_before | r->t[k].quote_after;
        }
    }
    x[F_CROSSES] = brackets != 0 || quotes % 2 != 0;
    x[F_QUOTED] = r->t[i].quote_before && r->t[j].quote_after;
    x[F_HYPHEN] = memchr(r->p->hit->text + r->t[i].first, '-',
                         r->t[j].end - r->t[i].first) != NULL;
}

static void measure(const struct reading *r, size_t i, size_t j, double *x)
{
    size_t n = j - i + 1;
    enum before b = before(r, i);
    const struct token *left = i ? &r->t[i - 1] : NULL;
    const struct token *right = j + 1 < r->n ? &r->t[j + 1] : NULL;
    x[F_LOOKS + (int)r->asks * N_LOOKS + (int)look(r, i, j)] = 1;
    x[F_WORDS + (n > 5 ? 4 : (int)n - 1)] = 1;
    if (b != B_NONE && (int)r->asks < 4)
        x[F_BEFORE + 4 * (int)r->asks + (int)b] = 1;
    x[F_OPEN_LEFT] = left && !left->is_weak && !left->comma_after &&
                     !r->t[i].open_before && !r->t[i].quote_before;
    x[F_OPEN_RIGHT] = right && !right->is_weak && !r->t[j].comma_after &&
                      !r->t[j].close_after && !r->t[j].quote_after;
    x[F_CUT_NAME] = (left && is_continued(left, &r->t[i])) +
                    (right && is_continued(&r->t[j], right));
    x[F_FIRST] = i == 0;
    x[F_END] = !right;
    x[F_COUNTED] = r->asks == COUNT && r->t[i].has_digit;
    x[F_REASON] = r->asks == WHY && b == B_OF;
    measure_inside(r, i, j, x);
    measure_nearness(r, i, j, x);
}

static int may_answer(const struct reading *r, size_t i, size_t j)
{
    int is_new = 0;
    if (r->t[i].is_weak && !r->t[i].has_digit) return 0;
    if (r->t[j].is_weak && !r->t[j].has_digit) return 0;
    for (size_t k = i; k <= j; k++) {
        is_new |= !r->t[k].is_asked;
        if (k < j && r->t[k].stop_after) return 0;
    }
    return is_new;
}

static void find_chances(struct span *list, size_t n)
{
    double most = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++)
        if (list[i].score > most) most = list[i].score;
    for (size_t i = 0; i < n; i++) sum += exp(list[i].score - most);
    for (size_t i = 0; i < n; i++)
        list[i].chance = exp(list[i].score - most) / sum;
}

enum tacit_err span_list(const struct inquiry *q, const struct passage *p,
                         size_t sentence, struct arena *a, struct span **out,
                         size_t *n)
{
    struct reading *r = NULL;
    struct span *list = NULL;
    size_t n_list = 0;
    TRY(arena_alloc(a, 1, sizeof *r, &r));
    r->q = q;
    r->p = p;
    r->asks = classify(q->question.text);
    TRY(tokenize(r, a, &p->sentences[sentence]));
    TRY(arena_alloc(a, r->n * SPAN_WORDS_MAX + 1, sizeof *list, &list));
    for (size_t i = 0; i < r->n; i++)
        for (size_t j = i; j < r->n && j < i + SPAN_WORDS_MAX; j++) {
            struct span *s = &list[n_list];
            if (!may_answer(r, i, j)) continue;
            s->first = r->t[i].first;
            s->end = r->t[j].end;
            measure(r, i, j, s->x);
            for (size_t f = 0; f < N_FEATURES; f++)
                s->score += span_weights[f] * s->x[f];
            n_list++;
        }
    find_chances(list, n_list);
    *out = list;
    *n = n_list;
    return TACIT_OK;
}

enum tacit_err span_find(const struct inquiry *q, const struct passage *p,
                         size_t sentence, struct arena *a, const char **out)
{
    struct span *list = NULL, *best = NULL;
    size_t n = 0;
    char *copy = NULL;
    TRY(span_list(q, p, sentence, a, &list, &n));
    for (size_t i = 0; i < n; i++)
        if (!best || list[i].score > best->score) best = &list[i];
    if (!best || best->chance < SPAN_CHANCE_MIN) {
        *out = "";
        return TACIT_OK;
    }
    TRY(arena_strdup(a, p->hit->text + best->first, best->end - best->first,
                     &copy));
    *out = copy;
    return TACIT_OK;
}
