#include "retrieval/language.h"

#include <string.h>

enum { WORD_MAX = 10, HITS_MIN = 3 };

/* Frequent words that the other languages do not have, or have rarely. */
static const char *const words[N_LANGUAGES] = {
    [LANGUAGE_ENGLISH] = " the and of to is that with are was be by or this "
                         "from which have not ",
    [LANGUAGE_GERMAN] = " der die das und ist nicht ein eine mit den dem des "
                        "auf wird werden oder bei auch sich zu von ",
    [LANGUAGE_FRENCH] = " le les des et une est dans pour qui sur par au aux "
                        "avec sont du ce ne pas ou ",
    [LANGUAGE_SPANISH] = " el los las y una es en del por con para se su al "
                         "como lo que son ",
    [LANGUAGE_ITALIAN] = " il gli della di che non una per con del nella sono "
                         "alla dei lo i \xc3\xa8 si ",
    [LANGUAGE_PORTUGUESE] = " o os as da do que em um uma para com n\xc3\xa3o "
                            "dos das por se na no ao ",
    [LANGUAGE_DUTCH] = " het een van en niet dat zijn voor met op aan wordt "
                       "ook als bij door ",
};

static const char *const codes[N_LANGUAGES] = {"en", "de", "fr", "es",
                                               "it", "pt", "nl"};

static int is_word_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c & 0x80);
}

enum language language_guess(const char *text, size_t n)
{
    size_t hits[N_LANGUAGES] = {0};
    enum language best = LANGUAGE_ENGLISH;
    if (n > LANGUAGE_BYTES) n = LANGUAGE_BYTES;
    for (size_t i = 0; i < n;) {
        char word[WORD_MAX + 3] = " ";
        size_t k = 1, from = i;
        for (; i < n; i++) {
            char c = text[i];
            if (c >= 'A' && c <= 'Z') c = (char)(c - 'A' + 'a');
            if (!is_word_byte(c)) break;
            if (k <= WORD_MAX) word[k++] = c;
        }
        if (i == from) {
            i++;
            continue;
        }
        if (i - from > WORD_MAX) continue;
        word[k] = ' ';
        word[k + 1] = '\0';
        for (size_t l = 0; l < N_LANGUAGES; l++)
            hits[l] += strstr(words[l], word) != NULL;
    }
    for (size_t l = 0; l < N_LANGUAGES; l++)
        if (hits[l] > hits[best]) best = (enum language)l;
    return hits[best] >= HITS_MIN ? best : LANGUAGE_ENGLISH;
}

const char *language_code(enum language language)
{
    return codes[language];
}
