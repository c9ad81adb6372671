#include "sims/texts.h"

#include <stdio.h>
#include <string.h>

#include "common/base/rng.h"

/* What a stream of random numbers is for. */
enum { FOR_SPEAKER = 0x74787473, FOR_ROW = 0x74787472 };
enum { FAVOURITES = 4, SENTENCE_MAX = 256, LISTS = 6 };

enum list { ADJECTIVES, NOUNS, VERBS, PLACES, OPENINGS, SAYINGS };

static const char *const adjectives[] = {"old",    "small",  "quiet", "bright",
                                         "cold",   "green",  "heavy", "narrow",
                                         "white",  "slow",   "young", "broken",
                                         "hungry", "gentle", "tall",  "grey"};
static const char *const nouns[] = {"river",  "baker",   "horse",     "lantern",
                                    "doctor", "garden",  "bridge",    "sailor",
                                    "winter", "teacher", "kitchen",   "sparrow",
                                    "market", "letter",  "engine",    "window",
                                    "farmer", "harbour", "piano",     "forest",
                                    "miller", "candle",  "traveller", "bell"};
static const char *const verbs[] = {"follows", "finds", "carries", "remembers",
                                    "paints",  "sells", "watches", "breaks",
                                    "hears",   "mends", "keeps",   "wakes",
                                    "crosses", "needs", "answers", "leaves"};
static const char *const places[] = {"in the morning",    "by the sea",
                                     "under the stairs",  "behind the mill",
                                     "after the rain",    "near the old wall",
                                     "on the long road",  "before the feast",
                                     "at the north gate", "without a word"};
static const char *const openings[] = {"listen",     "well",    "I tell you",
                                       "to be sure", "now",     "as they say",
                                       "believe me", "if I may"};
static const char *const sayings[] = {"So it goes.",
                                      "What a day!",
                                      "Who would have thought?",
                                      "Mark my words.",
                                      "That is all I know.",
                                      "Ask my sister.",
                                      "Nobody listens, ever.",
                                      "We shall see, my friend."};

static const struct {
    const char *const *word;
    unsigned n;
} lists[LISTS] = {{adjectives, sizeof adjectives / sizeof *adjectives},
                  {nouns, sizeof nouns / sizeof *nouns},
                  {verbs, sizeof verbs / sizeof *verbs},
                  {places, sizeof places / sizeof *places},
                  {openings, sizeof openings / sizeof *openings},
                  {sayings, sizeof sayings / sizeof *sayings}};

/* Forms of a sentence: capitals are lists, the rest stands as it is. */
static const char *const forms[] = {"the A N V the N L",
                                    "the N V the A N",
                                    "a N V the N, and the N V it L",
                                    "O, the A N V a N",
                                    "every N V the N L",
                                    "L the N V a A, A N",
                                    "when the N V the N, the A N V it"};
enum { N_FORMS = sizeof forms / sizeof *forms };

struct speaker {
    unsigned favourite[LISTS][FAVOURITES];
    unsigned form[2]; /* said most */
    unsigned saying;
    const char *end; /* of a sentence */
    double often;    /* how often the saying is heard */
};

static void know_speaker(uint64_t seed, uint64_t s, struct speaker *out)
{
    static const char *const ends[] = {". ", ".\n", "! ", "; "};
    struct rng rng;
    rng_init(&rng, seed, FOR_SPEAKER, s);
    for (int i = 0; i < LISTS; i++)
        for (int k = 0; k < FAVOURITES; k++)
            out->favourite[i][k] = (unsigned)rng_below(&rng, lists[i].n);
    out->form[0] = (unsigned)rng_below(&rng, N_FORMS);
    out->form[1] = (unsigned)rng_below(&rng, N_FORMS);
    out->saying = (unsigned)rng_below(&rng, lists[SAYINGS].n);
    out->end = ends[rng_below(&rng, sizeof ends / sizeof *ends)];
    out->often = 0.25 * rng_f64(&rng);
}

static const char *choose(struct rng *rng, const struct speaker *s,
                          enum list list)
{
    unsigned any = (unsigned)rng_below(rng, lists[list].n);
    unsigned own = s->favourite[list][rng_below(rng, FAVOURITES)];
    return lists[list].word[rng_f64(rng) < 0.5 ? own : any];
}

/* Characters that do not fit are left out: no sentence is that long. */
static size_t put(char out[SENTENCE_MAX], size_t n, const char *text)
{
    int k = snprintf(out + n, SENTENCE_MAX - n, "%s", text);
    size_t end = n + (size_t)(k > 0 ? k : 0);
    return end < SENTENCE_MAX ? end : SENTENCE_MAX - 1;
}

static size_t say(struct rng *rng, const struct speaker *s,
                  char out[SENTENCE_MAX])
{
    static const char letters[] = "ANVLO"; /* as enum list */
    size_t n = 0;
    out[0] = '\0';
    if (rng_f64(rng) < s->often) {
        n = put(out, 0, sayings[s->saying]);
        return put(out, n, s->end[1] == '\n' ? "\n" : " ");
    }
    unsigned any = (unsigned)rng_below(rng, N_FORMS);
    unsigned own = s->form[rng_below(rng, 2)];
    const char *form = forms[rng_f64(rng) < 0.5 ? own : any];
    for (; *form; form++) {
        const char *list = strchr(letters, *form);
        char one[2] = {*form, '\0'};
        n = put(out, n,
                list ? choose(rng, s, (enum list)(list - letters)) : one);
    }
    if (out[0] >= 'a' && out[0] <= 'z') out[0] = (char)(out[0] - 'a' + 'A');
    return put(out, n, s->end);
}

void texts_row(uint64_t seed, uint64_t s, uint64_t r, size_t n, char *out)
{
    char sentence[SENTENCE_MAX];
    struct speaker speaker;
    struct rng rng;
    know_speaker(seed, s, &speaker);
    rng_init(&rng, seed ^ FOR_ROW, s, r);
    size_t len = say(&rng, &speaker, sentence);
    size_t skip = (size_t)rng_below(&rng, len), at = 0;
    while (at < n) {
        size_t take = len - skip < n - at ? len - skip : n - at;
        memcpy(out + at, sentence + skip, take);
        at += take;
        len = say(&rng, &speaker, sentence);
        skip = 0;
    }
}
