#include "retrieval/language.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "common/base/utf8.h"

/* Words that say how, not what; the commonest of each language. */
static const char *const function_words[N_LANGUAGES] = {
    [LANGUAGE_ENGLISH] =
        "the of and to in is that it was for on are as with be by at this "
        "not which have from or an a but they were their been has had would "
        "there will can if so who what when we its than these more into "
        "between after during how do does should our no all such may",
    [LANGUAGE_GERMAN] =
        "der die das und ist nicht ein eine einen einem zu den dem des "
        "mit von für auf sich auch es im wird bei sind oder nach werden "
        "als wie hat aus nur noch kann wenn aber wurde wer was wo wann "
        "welche",
    [LANGUAGE_FRENCH] =
        "le la les des et est un une du que qui dans pour pas sur il elle "
        "au aux ce cette avec sont par ne plus se ou été être son sa ses "
        "mais nous vous comme qu où quel quelle",
    [LANGUAGE_SPANISH] =
        "el la los las de del y que en es un una por con para no se su al "
        "lo como más pero sus le ha este esta son fue entre cuando muy "
        "sin sobre también qué cuál dónde quién",
    [LANGUAGE_ITALIAN] =
        "il lo la gli di del della dei che e è un una in per non con si "
        "sono da dal alla come più ma anche nel nella le questo questa "
        "essere ha al i quando dove chi quale",
    [LANGUAGE_PORTUGUESE] =
        "o os as de do da dos das e que em um uma para com não se na no "
        "nas nos por mais como mas foi ao ele são seu sua ou quando muito "
        "também já está pelo pela onde quem qual",
    [LANGUAGE_DUTCH] =
        "de het een en van is dat die in te niet op aan met voor zijn er "
        "ook als bij of naar uit door om maar wordt worden heeft deze dit "
        "nog kan wat wie waar wanneer welke",
    [LANGUAGE_SWEDISH] =
        "och att det som en på är av för med den till inte om ett han men "
        "var jag de så från vid kan har när eller ska där vad vem hur "
        "detta",
    [LANGUAGE_DANISH] =
        "og at det som en på er af for med den til ikke om et han men var "
        "jeg de så fra ved kan har når eller skal der hvad hvem hvor "
        "hvordan dette blev",
    [LANGUAGE_NORWEGIAN] =
        "og at det som en på er av for med den til ikke om et han men var "
        "jeg de så fra ved kan har når eller skal der hva hvem hvor "
        "hvordan dette ble",
    [LANGUAGE_FINNISH] =
        "ja on ei että se oli hän ovat mutta kun niin kuin myös tai jos "
        "joka mikä sen ole olla voi mitä missä kuka tämä nämä ne hänen",
    [LANGUAGE_RUSSIAN] =
        "и в не на что он с как а то все она так его но да ты к у же вы "
        "за бы по только ее мне было вот от меня еще нет о из ему теперь "
        "когда даже ну если или быть был для это где кто",
};

static const char *const codes[N_LANGUAGES] = {
    [LANGUAGE_ENGLISH] = "en", [LANGUAGE_GERMAN] = "de",
    [LANGUAGE_FRENCH] = "fr",  [LANGUAGE_SPANISH] = "es",
    [LANGUAGE_ITALIAN] = "it", [LANGUAGE_PORTUGUESE] = "pt",
    [LANGUAGE_DUTCH] = "nl",   [LANGUAGE_SWEDISH] = "sv",
    [LANGUAGE_DANISH] = "da",  [LANGUAGE_NORWEGIAN] = "no",
    [LANGUAGE_FINNISH] = "fi", [LANGUAGE_RUSSIAN] = "ru",
};

#define BIT(l) (1u << (l))

enum {
    MORE = 2, /* of another language than of English */
    WORD_BYTES_MAX = 24,
    SLOT_BITS = 12,
    SLOTS = 1 << SLOT_BITS,
    ROW_BITS = 10,
    ROW_MASK = (1 << ROW_BITS) - 1
};

/* The lists of all languages as one, and where in it a word stands: `slots`
 * has its row + 1 at its place or behind it, before the next 0, and six more
 * bits of its hash, so that few other words are compared. Every word of every
 * passage is looked up. Made once, then only read. */
static struct {
    char word[WORD_BYTES_MAX];
    uint32_t in; /* languages */
    uint8_t n;
} words[LANGUAGE_LISTED_MAX];
static size_t n_words;
static uint16_t slots[SLOTS];
static char plain[256]; /* letters and digits of ASCII in lower case; 0: none */
static pthread_once_t once = PTHREAD_ONCE_INIT;

_Static_assert((SLOTS & (SLOTS - 1)) == 0 &&
                   SLOTS >= 4 * (int)LANGUAGE_LISTED_MAX,
               "a short way to an empty slot");
_Static_assert((int)LANGUAGE_LISTED_MAX <= ROW_MASK, "a row has a number");

/* Both ends, the middle and the length of word [n >= 1] tell the listed words
 * apart well enough. The upper bits are a place, the next ones a sign. */
static uint32_t hash_of(const char *word, size_t n)
{
    uint32_t a = (uint8_t)word[0], b = (uint8_t)word[n / 2];
    uint32_t c = (uint8_t)word[n - 1];
    return (a << 16 ^ b << 8 ^ c ^ (uint32_t)n << 13) * 2654435761u;
}

/* What stands in a slot of the hash, but for the row. */
static uint32_t sign_of(uint32_t hash)
{
    return hash >> (32 - SLOT_BITS - (16 - ROW_BITS)) << ROW_BITS & 0xffff;
}

/* The slot of word [n], or the empty one where it would stand. */
static size_t find_slot(const char *word, size_t n, uint32_t hash)
{
    const uint32_t sign = sign_of(hash);
    size_t at = hash >> (32 - SLOT_BITS);
    for (; slots[at]; at = (at + 1) % SLOTS) {
        size_t i = (slots[at] & ROW_MASK) - 1u;
        if ((slots[at] & ~(uint32_t)ROW_MASK) == sign && words[i].n == n &&
            memcmp(words[i].word, word, n) == 0)
            break;
    }
    return at;
}

static void list_words(void)
{
    for (int c = 'a'; c <= 'z'; c++)
        plain[c] = plain[c - ('a' - 'A')] = (char)c;
    for (int c = '0'; c <= '9'; c++) plain[c] = (char)c;
    for (enum language l = 0; l < N_LANGUAGES; l++)
        for (const char *p = function_words[l]; *p;) {
            size_t n = strcspn(p, " ");
            uint32_t hash = hash_of(p, n);
            size_t at = find_slot(p, n, hash);
            if (!slots[at]) {
                assert(n_words < LANGUAGE_LISTED_MAX && n < WORD_BYTES_MAX);
                words[n_words].n = (uint8_t)n;
                memcpy(words[n_words].word, p, n);
                slots[at] = (uint16_t)(sign_of(hash) | ++n_words);
            }
            words[(slots[at] & ROW_MASK) - 1u].in |= BIT(l);
            p += n + (p[n] == ' ');
        }
}

const char *language_code(enum language l)
{
    return codes[l];
}

int language_find(const char *code)
{
    for (int l = 0; l < N_LANGUAGES; l++)
        if (strcmp(codes[l], code) == 0) return l;
    return -1;
}

/* A word of a text, when the lists are made. */
static void count(struct language_tally *t, const char *word, size_t n)
{
    if (n == 0 || n >= WORD_BYTES_MAX) return;
    size_t slot = find_slot(word, n, hash_of(word, n));
    if (!slots[slot]) return;
    size_t i = (slots[slot] & ROW_MASK) - 1u;
    if (t->seen[i / 64] & 1ull << i % 64) return;
    t->seen[i / 64] |= 1ull << i % 64;
    for (enum language l = 0; l < N_LANGUAGES; l++)
        t->count[l] += (words[i].in & BIT(l)) != 0;
}

void language_count(struct language_tally *t, const char *word, size_t n)
{
    pthread_once(&once, list_words);
    count(t, word, n);
}

enum language language_best(const struct language_tally *t)
{
    enum language best = LANGUAGE_ENGLISH;
    for (enum language l = 0; l < N_LANGUAGES; l++)
        if (t->count[l] > t->count[best] &&
            t->count[l] >= t->count[LANGUAGE_ENGLISH] + MORE)
            best = l;
    return best;
}

/* ---- a text that nobody has cut into words -------------------------------
 */

/* Of the alphabets that the lists are written in. */
static int is_letter(uint32_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') ||
           (c >= 0xc0 && c <= 0x24f && c != 0xd7 && c != 0xf7) ||
           (c >= 0x400 && c <= 0x52f);
}

static uint32_t lower(uint32_t c)
{
    if ((c >= 'A' && c <= 'Z') || (c >= 0xc0 && c <= 0xde) ||
        (c >= 0x410 && c <= 0x42f))
        return c + 32;
    return c;
}

/* A letter of one or two bytes. */
static size_t put(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    out[0] = (char)(0xc0 | c >> 6);
    out[1] = (char)(0x80 | (c & 0x3f));
    return 2;
}

enum language language_guess(const char *text, size_t n)
{
    struct language_tally tally = {0};
    char word[WORD_BYTES_MAX + 2];
    size_t len = 0, n_counted = 0;
    pthread_once(&once, list_words);
    for (size_t i = 0, k; i <= n && n_counted < LANGUAGE_WORDS; i += k) {
        uint32_t c = i < n ? (uint8_t)text[i] : 0;
        k = 1;
        if (plain[c]) {
            word[len] = plain[c];
            len += len < WORD_BYTES_MAX;
            continue;
        }
        if (c >= 0x80) k = utf8_next(text + i, n - i, &c);
        if (!k) k = 1, c = 0;
        if (is_letter(c)) {
            if (len < WORD_BYTES_MAX) len += put(word + len, lower(c));
            continue;
        }
        n_counted += len > 0;
        count(&tally, word, len);
        len = 0;
    }
    return language_best(&tally);
}
