#include "common/model/reader_text.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

#include "common/model/tokenizer.h"
#include "common/tensor/kernels.h"

/* What a question asks for. */
enum asks { WHO, WHEN, WHERE, COUNT, WHY, WHICH, HOW, WHAT, N_ASKS };

/* What a word looks like. */
enum looks { WEAK, NAME, NUMBER, DATE, PLAIN, N_LOOKS };

/* Signs, in order. */
enum {
    S_NONE, /* row 0 */
    S_EXACT,
    S_EXACT_WEIGHT,
    S_ALIKE,
    S_ALIKE_WEIGHT,
    S_COSINE,
    S_WEAK_MATCH,
    S_RARE,
    S_UNKNOWN,
    S_COMMA,
    S_STOP,
    S_QUOTE_BEFORE,
    S_QUOTE_AFTER,
    S_OPEN,
    S_CLOSE,
    S_HYPHEN,
    S_FIRST,
    S_LONG,
    S_HELD, /* share of the question in the sentence … */
    S_HELD_BEST,
    S_HELD_LESS, /* … less the best of the others */
    S_NEAR_LEFT,
    S_NEAR_RIGHT,
    S_FAR_LEFT,
    S_FAR_RIGHT,
    S_AROUND, /* share within READER_AROUND words */
    S_HELD_BESIDE,
    S_FOCUS,    /* cosine with the focus */
    S_QUESTION, /* … with the question */
    S_PLACE,
    S_CAPITALS,
    S_BEFORE,                       /* in, by, of, is */
    S_ASKS = S_BEFORE + 4,          /* [N_ASKS] */
    S_LOOKS = S_ASKS + (int)N_ASKS, /* [N_ASKS, N_LOOKS] */
    S_WHOLE = S_LOOKS + (int)N_ASKS * N_LOOKS,
    S_WHOLE_MISSING,
    S_WHOLE_NAME,
    S_WHOLE_NUMBER,
    S_WHOLE_DENIES,
    S_WHOLE_WORDS,
    S_WHOLE_TERMS,
    S_WHOLE_SENTENCE,
    S_WHOLE_FOCUS,
    N_SIGNS
};
_Static_assert((int)N_SIGNS <= (int)READER_SIGNS, "room for all signs");

enum { AROUND = 10, FOCUS_WORDS = 2 };
#define ALIKE_COSINE 0.55f

struct token {
    uint32_t first, end;
    const char *word; /* folded, arena */
    float rare;       /* 0 the most frequent word … 1 unknown */
    unsigned weak : 1, capital : 1, capitals : 1, digit : 1, year : 1,
        month : 1, unknown : 1, comma : 1, stop : 1, quote_before : 1,
        quote_after : 1, open : 1, close : 1, hyphen : 1, starts : 1;
    unsigned sentence;
    float *vector; /* [dim] */
};

struct side {
    const char *text;
    size_t bytes;
    struct token *t;
    size_t n;
};

struct reading {
    const struct word_table *table;
    struct arena *a;
    size_t dim, n_sentences;
    struct side q, p;
    enum asks asks;
    float *alike;  /* [p.n, q.n] 0 … 1 */
    float *cosine; /* [p.n, q.n] */
    float *held;   /* [n_sentences] */
    float weight_sum;
};

/* ---- words -------------------------------------------------------------- */

static int is_letter(char c)
{
    return (signed char)c < 0 || isalnum((unsigned char)c);
}

static int is_month(const char *word)
{
    static const char *const months[] = {"january", "february", "march",
                                         "april",   "may",      "june",
                                         "july",    "august",   "september",
                                         "october", "november", "december"};
    for (size_t i = 0; i < sizeof months / sizeof *months; i++)
        if (strcmp(months[i], word) == 0) return 1;
    return 0;
}

/* The folded words of a token, joined; known, weak. */
static enum tacit_err fold(struct reading *r, const char *s, size_t n,
                           struct token *t)
{
    struct word *w = NULL;
    size_t n_words = 0, at = 0;
    char joined[TOKENIZER_WORD_MAX];
    char *copy = NULL;
    const struct lexicon *l = word_table_lexicon(r->table);
    double known = (double)lexicon_words(l) + 1;
    TRY(tokenizer_words(r->a, s, n, &w, &n_words));
    t->weak = 1;
    for (size_t i = 0; i < n_words; i++) {
        size_t len = w[i].n, rank = lexicon_find(l, w[i].text);
        float rare = (float)(log((double)rank + 2) / log(known + 1));
        if (i && at + 1 < sizeof joined) joined[at++] = ' ';
        if (len > sizeof joined - 1 - at) len = sizeof joined - 1 - at;
        memcpy(joined + at, w[i].text, len);
        at += len;
        if (!word_is_weak(&w[i])) t->weak = 0;
        t->unknown |= rank >= lexicon_words(l);
        if (rare > t->rare) t->rare = rare;
    }
    TRY(arena_strdup(r->a, joined, at, &copy));
    t->word = copy;
    TRY(arena_alloc(r->a, r->dim, sizeof *t->vector, &t->vector));
    return word_table_embed(r->table, r->a, s, n, t->vector);
}

static enum tacit_err describe(struct reading *r, const char *s, size_t n,
                               struct token *t)
{
    size_t digits = 0, capitals = 0;
    for (size_t i = 0; i < n; i++) {
        digits += isdigit((unsigned char)s[i]) != 0;
        capitals += isupper((unsigned char)s[i]) != 0;
        t->hyphen |= s[i] == '-';
    }
    t->digit = digits > 0;
    t->year = n == 4 && digits == 4 && (s[0] == '1' || s[0] == '2');
    t->capital = isupper((unsigned char)s[0]) != 0;
    t->capitals = capitals > 1;
    TRY(fold(r, s, n, t));
    t->month = is_month(t->word) != 0;
    return TACIT_OK;
}

/* What stands between this token's end and the next one's beginning. */
static void look_between(struct token *t, struct token *next, const char *s,
                         size_t from, size_t end)
{
    for (size_t i = from; i < end; i++) {
        if (next && (s[i] == '(' || s[i] == '[')) next->open = 1;
        if (next && s[i] == '"') next->quote_before = 1;
        if (!t) continue;
        if (s[i] == ',') t->comma = 1;
        if (s[i] && strchr(".;:!?", s[i])) t->stop = 1;
        if (s[i] == '"') t->quote_after = 1;
        if (s[i] == ')' || s[i] == ']') t->close = 1;
    }
}

/* A sentence ends where a full stop stands before a capital or a digit. */
static int ends_sentence(const char *s, size_t from, size_t end, char next)
{
    for (size_t i = from; i < end; i++)
        if ((s[i] == '.' || s[i] == '!' || s[i] == '?' || s[i] == '\n') &&
            (i + 1 < end || s[i] == '\n') &&
            (!islower((unsigned char)next) || s[i] == '\n'))
            return 1;
    return 0;
}

static enum tacit_err cut(struct reading *r, struct side *x, size_t most)
{
    const char *s = x->text;
    unsigned sentence = 0;
    size_t before = 0;
    TRY(arena_alloc(r->a, most, sizeof *x->t, &x->t));
    for (size_t i = 0; i < x->bytes && x->n < most;) {
        size_t end = i;
        if (!is_letter(s[i])) {
            i++;
            continue;
        }
        while (end < x->bytes &&
               (is_letter(s[end]) ||
                (strchr("-.,'", s[end]) && s[end] && end + 1 < x->bytes &&
                 is_letter(s[end + 1]))))
            end++;
        struct token *t = &x->t[x->n], *last = x->n ? t - 1 : NULL;
        t->first = (uint32_t)i;
        t->end = (uint32_t)end;
        look_between(last, t, s, before, i);
        if (last && ends_sentence(s, before, i, s[i])) sentence++;
        t->starts = !last || last->sentence != sentence;
        t->sentence = sentence;
        TRY(describe(r, s + i, end - i, t));
        x->n++;
        before = i = end;
    }
    if (x->n) look_between(&x->t[x->n - 1], NULL, s, before, x->bytes);
    return TACIT_OK;
}

/* ---- the question ------------------------------------------------------- */

static int is_one(const char *word, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(word, *list) == 0) return 1;
    return 0;
}

/* The kind of a question, and at which word it says so. */
static enum asks classify(const struct side *q, size_t *at)
{
    static const char *const counts[] = {"many",       "much",       "long",
                                         "old",        "far",        "often",
                                         "large",      "big",        "tall",
                                         "high",       "fast",       "deep",
                                         "percent",    "percentage", "number",
                                         "population", NULL};
    static const char *const times[] = {"year",    "date",   "day",  "month",
                                        "century", "decade", "time", NULL};
    static const char *const places[] = {"city",     "country", "state",
                                         "region",   "place",   "continent",
                                         "location", NULL};
    static const char *const people[] = {"person", "man", "woman", NULL};
    for (size_t i = 0; i < q->n; i++) {
        const char *w = q->t[i].word, *next = i + 1 < q->n ? w : "";
        if (*next) next = q->t[i + 1].word;
        *at = i;
        if (strcmp(w, "when") == 0) return WHEN;
        if (strcmp(w, "where") == 0) return WHERE;
        if (strcmp(w, "why") == 0) return WHY;
        if (strncmp(w, "who", 3) == 0) return WHO;
        if (strcmp(w, "how") == 0) return is_one(next, counts) ? COUNT : HOW;
        if (strcmp(w, "what") != 0 && strcmp(w, "which") != 0) continue;
        if (is_one(next, times)) return WHEN;
        if (is_one(next, places)) return WHERE;
        if (is_one(next, people)) return WHO;
        if (is_one(next, counts)) return COUNT;
        return *next && i + 1 < q->n && !q->t[i + 1].weak ? WHICH : WHAT;
    }
    *at = 0;
    return WHAT;
}

static void find_focus(const struct reading *r, size_t at, float *focus)
{
    size_t n = 0;
    for (size_t i = at + 1; i < r->q.n && n < FOCUS_WORDS; i++) {
        if (r->q.t[i].weak) continue;
        kernel_axpy(focus, n++ ? 0.5f : 1.0f, r->q.t[i].vector, r->dim);
    }
    kernel_normalise(focus, r->dim);
}

static float weight_of(const struct token *t)
{
    return t->weak ? 0 : t->rare * t->rare;
}

/* ---- what of the question stands where ---------------------------------- */

static float likeness(const struct token *a, const struct token *b,
                      float cosine)
{
    size_t n = 0, x = strlen(a->word), y = strlen(b->word);
    size_t most = x > y ? x : y;
    if (strcmp(a->word, b->word) == 0) return 1;
    if (a->digit || b->digit) return 0;
    while (a->word[n] && a->word[n] == b->word[n]) n++;
    if (n >= 4 && 10 * n >= 6 * most) return 0.9f;
    return cosine > ALIKE_COSINE ? cosine : 0;
}

static enum tacit_err compare(struct reading *r)
{
    const struct side *p = &r->p, *q = &r->q;
    size_t n = p->n * q->n + 1;
    r->n_sentences = p->n ? p->t[p->n - 1].sentence + 1 : 1;
    TRY(arena_alloc(r->a, n, sizeof *r->alike, &r->alike));
    TRY(arena_alloc(r->a, n, sizeof *r->cosine, &r->cosine));
    TRY(arena_alloc(r->a, r->n_sentences, sizeof *r->held, &r->held));
    for (size_t k = 0; k < q->n; k++) r->weight_sum += weight_of(&q->t[k]);
    if (!(r->weight_sum > 0)) r->weight_sum = 1;
    for (size_t i = 0; i < p->n; i++)
        for (size_t k = 0; k < q->n; k++) {
            const struct token *a = &p->t[i], *b = &q->t[k];
            if (a->weak != b->weak) continue;
            float c = a->weak ? 0 : kernel_dot(a->vector, b->vector, r->dim);
            r->cosine[i * q->n + k] = c;
            r->alike[i * q->n + k] = likeness(a, b, c);
        }
    for (size_t k = 0; k < q->n; k++)
        for (size_t i = 0; i < p->n;) {
            unsigned s = p->t[i].sentence;
            float best = 0;
            for (; i < p->n && p->t[i].sentence == s; i++)
                if (r->alike[i * q->n + k] > best)
                    best = r->alike[i * q->n + k];
            r->held[s] += best * weight_of(&q->t[k]) / r->weight_sum;
        }
    return TACIT_OK;
}

/* ---- signs of a word ---------------------------------------------------- */

static enum looks look(const struct token *t)
{
    if (t->year || t->month) return DATE;
    if (t->digit) return NUMBER;
    if (t->weak) return WEAK;
    return t->capital ? NAME : PLAIN;
}

static void sign_match(const struct reading *r, size_t i, float *x)
{
    const struct token *t = &r->p.t[i];
    x[S_COSINE] = -0.2f;
    for (size_t k = 0; k < r->q.n; k++) {
        float alike = r->alike[i * r->q.n + k];
        float w = weight_of(&r->q.t[k]);
        if (t->weak) {
            if (alike >= 1) x[S_WEAK_MATCH] = 1;
            continue;
        }
        if (alike >= 1) x[S_EXACT] = 1;
        if (alike >= 1 && w > x[S_EXACT_WEIGHT]) x[S_EXACT_WEIGHT] = w;
        if (alike > x[S_ALIKE]) x[S_ALIKE] = alike;
        if (alike * w > x[S_ALIKE_WEIGHT]) x[S_ALIKE_WEIGHT] = alike * w;
        if (r->cosine[i * r->q.n + k] > x[S_COSINE])
            x[S_COSINE] = r->cosine[i * r->q.n + k];
    }
}

static void sign_writing(const struct reading *r, size_t i, float *x)
{
    static const char *const before[4][8] = {{"in", "at", "on", "during", NULL},
                                             {"by", NULL},
                                             {"of", "from", "for", "to", NULL},
                                             {"is", "was", "are", "were", "be",
                                              "called", NULL}};
    const struct token *t = &r->p.t[i];
    x[S_RARE] = t->rare;
    x[S_UNKNOWN] = (float)t->unknown;
    x[S_COMMA] = (float)t->comma;
    x[S_STOP] = (float)t->stop;
    x[S_QUOTE_BEFORE] = (float)t->quote_before;
    x[S_QUOTE_AFTER] = (float)t->quote_after;
    x[S_OPEN] = (float)t->open;
    x[S_CLOSE] = (float)t->close;
    x[S_HYPHEN] = (float)t->hyphen;
    x[S_FIRST] = (float)t->starts;
    x[S_CAPITALS] = (float)t->capitals;
    x[S_LONG] = (float)(t->end - t->first) / 16;
    x[S_PLACE] = (float)i / (float)READER_WORDS_MAX;
    for (int b = 0; b < 4; b++)
        x[S_BEFORE + b] = (float)is_one(t->word, before[b]);
    x[S_ASKS + (int)r->asks] = 1;
    x[S_LOOKS + (int)r->asks * N_LOOKS + (int)look(t)] = 1;
}

static float best_other(const struct reading *r, unsigned s)
{
    float best = 0;
    for (unsigned k = 0; k < r->n_sentences; k++)
        if (k != s && r->held[k] > best) best = r->held[k];
    return best;
}

/* What of the question stands in the sentence, left and right, and near. */
static void sign_nearness(const struct reading *r, size_t i, float *x,
                          float *held)
{
    const struct side *p = &r->p, *q = &r->q;
    unsigned s = p->t[i].sentence;
    float nearest[2] = {32, 32}, sum[2] = {0, 0}, around = 0;
    for (size_t k = 0; k < q->n; k++) {
        float w = weight_of(&q->t[k]) / r->weight_sum, best[2] = {0, 0};
        float close = 0;
        if (!(w > 0)) continue;
        size_t from = i > 40 ? i - 40 : 0;
        for (size_t j = from; j < p->n && j < i + 41; j++) {
            float alike = r->alike[j * q->n + k];
            size_t d = j < i ? i - j : j - i;
            if (!(alike > 0) || j == i) continue;
            if (d <= AROUND && alike > close) close = alike;
            if (p->t[j].sentence != s) continue;
            float v = alike / (1 + (float)d);
            if (v > best[j > i]) best[j > i] = v;
            if (alike > 0.8f && (float)d < nearest[j > i])
                nearest[j > i] = (float)d;
        }
        sum[0] += w * best[0];
        sum[1] += w * best[1];
        around += w * close;
    }
    x[S_NEAR_LEFT] = 3 * sum[0];
    x[S_NEAR_RIGHT] = 3 * sum[1];
    x[S_FAR_LEFT] = logf(nearest[0]) / 3.5f;
    x[S_FAR_RIGHT] = logf(nearest[1]) / 3.5f;
    x[S_AROUND] = around;
    x[S_HELD] = r->held[s];
    x[S_HELD_LESS] = r->held[s] - best_other(r, s);
    x[S_HELD_BEST] = x[S_HELD_LESS] >= 0;
    if (s) x[S_HELD_BESIDE] = r->held[s - 1];
    *held = around + r->held[s];
}

/* ---- signs of there being no answer ------------------------------------- */

static int denies(const struct side *x, unsigned sentence, int all)
{
    static const char *const words[] = {"not",     "no",     "never",
                                        "none",    "cannot", "without",
                                        "neither", "nor",    "unable",
                                        "fail",    "fails",  "failed",
                                        "least",   "lack",   "lacks",
                                        "except",  NULL};
    for (size_t i = 0; i < x->n; i++) {
        const char *w = x->t[i].word;
        size_t n = strlen(w);
        if (!all && x->t[i].sentence != sentence) continue;
        if (is_one(w, words)) return 1;
        if (n > 2 && strcmp(w + n - 2, "'t") == 0) return 1;
    }
    return 0;
}

static void sign_whole(const struct reading *r, const float *signs, float *x)
{
    const struct side *p = &r->p, *q = &r->q;
    unsigned at = 0;
    float terms = 0, focus = 0;
    x[S_NONE] = 1;
    x[S_ASKS + (int)r->asks] = 1;
    for (unsigned s = 0; s < r->n_sentences; s++)
        if (r->held[s] > r->held[at]) at = s;
    for (size_t k = 0; k < q->n; k++) {
        float w = weight_of(&q->t[k]), best = 0;
        for (size_t i = 0; i < p->n; i++)
            if (r->alike[i * q->n + k] > best) best = r->alike[i * q->n + k];
        if (!(w > 0)) continue;
        terms++;
        x[S_WHOLE] += best * w / r->weight_sum;
        if ((1 - best) * w / r->weight_sum > x[S_WHOLE_MISSING])
            x[S_WHOLE_MISSING] = (1 - best) * w / r->weight_sum;
        if (best < 0.8f && q->t[k].digit) x[S_WHOLE_NUMBER] = 1;
        if (best < 0.8f && q->t[k].capital && k) x[S_WHOLE_NAME] = 1;
    }
    for (size_t i = 0; i < p->n; i++)
        if (signs[(i + 1) * READER_SIGNS + S_FOCUS] > focus)
            focus = signs[(i + 1) * READER_SIGNS + S_FOCUS];
    x[S_WHOLE_DENIES] = denies(q, 0, 1) && !denies(p, at, 0);
    x[S_WHOLE_WORDS] = (float)q->n / 20;
    x[S_WHOLE_TERMS] = terms / 10;
    x[S_WHOLE_SENTENCE] = r->held[at];
    x[S_WHOLE_FOCUS] = focus;
}

/* ---- all of it ---------------------------------------------------------- */

static enum tacit_err lay_out(struct reading *r, struct reader_text *t)
{
    size_t n = r->p.n + 1;
    *t = (struct reader_text){.n = n};
    TRY(arena_alloc(r->a, n, sizeof *t->first, &t->first));
    TRY(arena_alloc(r->a, n, sizeof *t->end, &t->end));
    TRY(arena_alloc(r->a, n, sizeof *t->held, &t->held));
    TRY(arena_alloc(r->a, n * READER_SIGNS, sizeof *t->signs, &t->signs));
    TRY(arena_alloc(r->a, n * READER_DIM, sizeof *t->vector, &t->vector));
    return arena_alloc(r->a, r->dim, sizeof *t->focus, &t->focus);
}

enum tacit_err reader_text_of(const struct word_table *table,
                              const struct reader_pair *pair, struct arena *a,
                              struct reader_text *out)
{
    struct reading r = {.table = table, .a = a, .dim = word_table_dim(table)};
    struct reader_text t;
    size_t at = 0;
    r.q.text = pair->question;
    r.q.bytes = pair->question_bytes;
    r.p.text = pair->passage;
    r.p.bytes = pair->passage_bytes;
    TRY(cut(&r, &r.q, READER_QUESTION_MAX));
    TRY(cut(&r, &r.p, READER_WORDS_MAX));
    r.asks = classify(&r.q, &at);
    TRY(compare(&r));
    TRY(lay_out(&r, &t));
    find_focus(&r, at, t.focus);
    float *whole = NULL;
    TRY(arena_alloc(a, r.dim, sizeof *whole, &whole));
    for (size_t k = 0; k < r.q.n; k++)
        kernel_axpy(whole, weight_of(&r.q.t[k]), r.q.t[k].vector, r.dim);
    kernel_normalise(whole, r.dim);
    for (size_t i = 0; i < r.p.n; i++) {
        const struct token *k = &r.p.t[i];
        float *x = t.signs + (i + 1) * READER_SIGNS;
        t.first[i + 1] = k->first;
        t.end[i + 1] = k->end;
        memcpy(t.vector + (i + 1) * READER_DIM, k->vector,
               READER_DIM * sizeof *k->vector);
        sign_match(&r, i, x);
        sign_writing(&r, i, x);
        sign_nearness(&r, i, x, &t.held[i + 1]);
        x[S_FOCUS] = kernel_dot(k->vector, t.focus, r.dim);
        x[S_QUESTION] = kernel_dot(k->vector, whole, r.dim);
    }
    sign_whole(&r, t.signs, t.signs);
    *out = t;
    return TACIT_OK;
}

/* ---- answers ------------------------------------------------------------ */

void reader_text_find(const struct reader_text *t, const char *passage,
                      const char *answer, uint32_t span[2])
{
    size_t n = strlen(answer);
    float best = -1;
    span[0] = span[1] = 0;
    for (const char *at = passage; n && (at = strstr(at, answer)); at++) {
        size_t from = (size_t)(at - passage), end = from + n;
        uint32_t first = 0, last = 0;
        float held = 0;
        for (uint32_t i = 1; i < t->n; i++) {
            if (t->end[i] <= from || t->first[i] >= end) continue;
            if (!first) first = i;
            last = i;
            held += t->held[i];
        }
        if (!first || last - first >= READER_ANSWER_MAX) continue;
        /* Part of a longer word is no answer if there is a better place. */
        if (t->first[first] != from) held *= 0.1f;
        held /= (float)(last - first + 1);
        if (held <= best) continue;
        best = held;
        span[0] = first;
        span[1] = last;
    }
}
