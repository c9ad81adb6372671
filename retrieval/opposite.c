#include "retrieval/opposite.h"

#include <ctype.h>
#include <string.h>

enum { ROOT_MIN = 3, PREFIX_ROOT_MIN = 4 };

/* Each the opposite of the other. */
static const char *const pairs[][2] = {
    {"above", "below"},
    {"above", "under"},
    {"accept", "refuse"},
    {"accept", "reject"},
    {"acid", "base"},
    {"active", "passive"},
    {"add", "remove"},
    {"add", "subtract"},
    {"admit", "deny"},
    {"advantage", "disadvantage"},
    {"after", "before"},
    {"agree", "disagree"},
    {"agree", "refuse"},
    {"alive", "dead"},
    {"allow", "ban"},
    {"allow", "forbid"},
    {"allow", "prevent"},
    {"allow", "prohibit"},
    {"ally", "enemy"},
    {"always", "never"},
    {"ancient", "modern"},
    {"approve", "deny"},
    {"approve", "oppose"},
    {"approve", "reject"},
    {"arrive", "depart"},
    {"arrive", "leave"},
    {"artificial", "natural"},
    {"ascend", "descend"},
    {"attack", "defend"},
    {"back", "front"},
    {"bad", "good"},
    {"begin", "end"},
    {"beneficial", "harmful"},
    {"benefit", "harm"},
    {"best", "worst"},
    {"big", "small"},
    {"bigger", "smaller"},
    {"biggest", "smallest"},
    {"birth", "death"},
    {"black", "white"},
    {"born", "died"},
    {"bottom", "top"},
    {"boy", "girl"},
    {"brother", "sister"},
    {"build", "destroy"},
    {"buy", "sell"},
    {"buyer", "seller"},
    {"catholic", "protestant"},
    {"cause", "prevent"},
    {"cheap", "expensive"},
    {"child", "parent"},
    {"close", "open"},
    {"closest", "furthest"},
    {"cold", "hot"},
    {"common", "rare"},
    {"complex", "simple"},
    {"confirm", "deny"},
    {"conservative", "liberal"},
    {"construct", "demolish"},
    {"contract", "expand"},
    {"cool", "warm"},
    {"create", "destroy"},
    {"criticize", "praise"},
    {"dangerous", "safe"},
    {"dark", "light"},
    {"daughter", "son"},
    {"day", "night"},
    {"death", "life"},
    {"decline", "growth"},
    {"decline", "increase"},
    {"decrease", "increase"},
    {"deep", "shallow"},
    {"defeat", "victory"},
    {"defeat", "win"},
    {"democratic", "republican"},
    {"deteriorate", "improve"},
    {"different", "same"},
    {"different", "similar"},
    {"difficult", "easy"},
    {"discourage", "encourage"},
    {"divide", "multiply"},
    {"domestic", "foreign"},
    {"down", "up"},
    {"dry", "wet"},
    {"earlier", "later"},
    {"earliest", "latest"},
    {"early", "late"},
    {"east", "west"},
    {"eastern", "western"},
    {"easy", "hard"},
    {"employee", "employer"},
    {"empty", "full"},
    {"encourage", "forbade"},
    {"enemy", "friend"},
    {"enter", "leave"},
    {"even", "odd"},
    {"exclude", "include"},
    {"expand", "shrink"},
    {"export", "import"},
    {"external", "internal"},
    {"fail", "pass"},
    {"fail", "succeed"},
    {"failure", "success"},
    {"fall", "rise"},
    {"false", "true"},
    {"famous", "unknown"},
    {"far", "near"},
    {"farthest", "nearest"},
    {"fast", "slow"},
    {"fastest", "slowest"},
    {"father", "mother"},
    {"female", "male"},
    {"few", "many"},
    {"fewer", "more"},
    {"fewest", "most"},
    {"first", "last"},
    {"forbid", "permit"},
    {"forced", "voluntary"},
    {"foreign", "local"},
    {"forget", "remember"},
    {"future", "past"},
    {"gain", "lose"},
    {"gain", "loss"},
    {"global", "local"},
    {"greater", "less"},
    {"greatest", "least"},
    {"grow", "shrink"},
    {"guilty", "innocent"},
    {"harmful", "harmless"},
    {"hate", "love"},
    {"healthy", "sick"},
    {"heaviest", "lightest"},
    {"heavy", "light"},
    {"help", "hinder"},
    {"high", "low"},
    {"higher", "lower"},
    {"highest", "lowest"},
    {"horizontal", "vertical"},
    {"husband", "wife"},
    {"improve", "worsen"},
    {"increase", "reduce"},
    {"input", "output"},
    {"inside", "outside"},
    {"join", "leave"},
    {"king", "queen"},
    {"large", "small"},
    {"larger", "smaller"},
    {"largest", "smallest"},
    {"least", "most"},
    {"left", "right"},
    {"legalize", "ban"},
    {"less", "more"},
    {"liquid", "solid"},
    {"long", "short"},
    {"longest", "shortest"},
    {"loss", "profit"},
    {"lost", "won"},
    {"lose", "win"},
    {"lower", "upper"},
    {"major", "minor"},
    {"majority", "minority"},
    {"man", "woman"},
    {"maximum", "minimum"},
    {"men", "women"},
    {"narrow", "wide"},
    {"negative", "positive"},
    {"new", "old"},
    {"newest", "oldest"},
    {"north", "south"},
    {"northern", "southern"},
    {"old", "young"},
    {"oldest", "youngest"},
    {"oppose", "support"},
    {"optimistic", "pessimistic"},
    {"optional", "required"},
    {"over", "under"},
    {"peace", "war"},
    {"permanent", "temporary"},
    {"permit", "ban"},
    {"permit", "prohibit"},
    {"poor", "rich"},
    {"poor", "wealthy"},
    {"poverty", "wealth"},
    {"prince", "princess"},
    {"private", "public"},
    {"rural", "urban"},
    {"shrink", "grow"},
    {"start", "stop"},
    {"strong", "weak"},
    {"strongest", "weakest"},
    {"student", "teacher"},
    {"summer", "winter"},
    {"together", "apart"},
};
enum { N_PAIRS = sizeof pairs / sizeof pairs[0] };

static const char *const prefixes[] = {"un", "in",  "im", "dis",
                                       "il", "non", "ir"};
enum { N_PREFIXES = sizeof prefixes / sizeof prefixes[0] };

static int is_word_byte(char c)
{
    return (signed char)c < 0 || isalnum((unsigned char)c) || c == '\'';
}

int opposite_next_word(const char *text, size_t n, size_t *i, char *word)
{
    size_t len = 0;
    while (*i < n && !is_word_byte(text[*i])) ++*i;
    if (*i >= n) return 0;
    for (; *i < n && is_word_byte(text[*i]); ++*i)
        if (len < OPPOSITE_WORD_MAX)
            word[len++] = (char)tolower((unsigned char)text[*i]);
    word[len] = '\0';
    return 1;
}

/* Bytes of a word without its ending. */
static size_t root(const char *word)
{
    static const char *const endings[] = {"'s",    "ingly", "edly", "ations",
                                          "ation", "ings",  "ing",  "ies",
                                          "ied",   "ed",    "es",   "s",
                                          "ly",    "er",    "or",   "e",
                                          "y"};
    size_t n = strlen(word);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t k = strlen(endings[i]);
        if (n >= k + ROOT_MIN && memcmp(word + n - k, endings[i], k) == 0)
            return n - k;
    }
    return n;
}

int opposite_is_same(const char *a, const char *b)
{
    size_t n = root(a);
    return n == root(b) && memcmp(a, b, n) == 0;
}

static int is_negated(const char *word, const char *negated)
{
    size_t n = strlen(word);
    for (size_t i = 0; i < N_PREFIXES; i++) {
        size_t k = strlen(prefixes[i]);
        if (n >= PREFIX_ROOT_MIN && strncmp(negated, prefixes[i], k) == 0 &&
            strcmp(negated + k, word) == 0)
            return 1;
    }
    return 0;
}

/* The opposites of a word among the pairs; returns how many. */
static size_t find_pairs(const char *word, const char *out[N_PAIRS])
{
    size_t n = 0;
    for (size_t i = 0; i < N_PAIRS; i++) {
        if (opposite_is_same(word, pairs[i][0]))
            out[n++] = pairs[i][1];
        else if (opposite_is_same(word, pairs[i][1]))
            out[n++] = pairs[i][0];
    }
    return n;
}

int opposite_in(const char *word, const char *text, size_t n)
{
    const char *opposites[N_PAIRS];
    char other[OPPOSITE_WORD_MAX + 1];
    size_t n_opposites = find_pairs(word, opposites), at = 0;
    while (opposite_next_word(text, n, &at, other)) {
        if (is_negated(word, other) || is_negated(other, word)) return 1;
        for (size_t i = 0; i < n_opposites; i++)
            if (opposite_is_same(opposites[i], other)) return 1;
    }
    return 0;
}
