#include "retrieval/sentence.h"

#include <string.h>

#include "common/base/utf8.h"

enum { ABBREVIATION_MAX = 9 };

/* What ends in a full stop within a sentence, in lower case. */
static const char *const abbreviations[N_LANGUAGES] = {
    [LANGUAGE_ENGLISH] =
        " al approx apr art aug ca cf ch col corp dec dept dr e.g ed eq eqs "
        "est ext feb fig figs fri i.e inc jan jr jul jun lit ltd mar mon mr "
        "mrs ms nos nov oct para pp prof ref refs resp rev sec sect sep sept "
        "sr st tab tel thu tue viz vol vs ",
    [LANGUAGE_GERMAN] =
        " abb abk abs abt allg anm art aufl b.z.w bd beisp bes betr bez bspw "
        "bsp bzgl bzw ca d.h dez dipl dr ebd evtl fr geb gem gest ggf hr hrsg "
        "i.d.r inkl insb jan jh kap lt mind mio mrd nov nr o.g okt prof rd "
        "resp s.a s.o s.u sept sog st std str tab tel u.a u.u v.a vgl vs z.b "
        "z.t zit zzgl ",
    [LANGUAGE_FRENCH] =
        " adj al apr art av bd c.-à-d cf chap dr ed env et ex fig hab id ibid "
        "janv jr me mgr mlle mm mme mr nov num oct p.ex par pp prof réf sept "
        "st ste suiv tab tél vol vs ",
    [LANGUAGE_SPANISH] =
        " a.c adj aprox art av cap cía dpto dr dra ed ee ej ext fig gral ing "
        "lic máx mín núm pág págs p.ej pp prof ref s.a sr sra sres srta ss sta "
        "sto tab tel ud uds uu vd vol vs ",
    [LANGUAGE_ITALIAN] =
        " al art avv ca cap cfr cit dott dr ed es fig figg ing nr pag pagg pp "
        "prof ref rif sec sez sig sigg sig.ra ss tab tel vol vs ",
    [LANGUAGE_PORTUGUESE] =
        " art av cap cf dr dra ed ex exa exmo fig máx mín nº pág págs p.ex pp "
        "prof profa ref sr sra srs tab tel vol vs ",
    [LANGUAGE_DUTCH] =
        " a.u.b afb art bijv blz bv ca d.w.z dhr dr drs e.d enz evt excl fig "
        "gem hfst i.p.v incl ing ir jl m.b.t mevr mr mw nr o.a pag prof resp "
        "t.a.v t.o.v tab tel vgl vnl vs z.s.m ",
    [LANGUAGE_SWEDISH] =
        " avd bl.a ca d.v.s dr dvs e.d e.kr etc ev exkl f.d f.kr fig forts fr "
        "inkl jfr kap kl kr m.fl m.m max min nr obs ordf osv prof red resp s.k "
        "sid st t.ex t.o.m tab tel tex ung vol ",
    [LANGUAGE_DANISH] =
        " afd bl.a ca d.v.s dr e.kr eks ekskl etc evt f.eks f.kr fig hhv if "
        "inkl jf kap kl kr m.fl m.m m.v maks mht nr osv pga prof resp s.k sml "
        "st tab tlf vedr vol ",
    [LANGUAGE_NORWEGIAN] =
        " avd bl.a ca d.v.s dr dvs e.kr ekskl etc evt f.eks f.kr fig hhv if "
        "inkl jf kap kl kr m.fl m.m m.v maks mht nr osv pga prof resp s.k st "
        "tab tlf vedr vol ",
    [LANGUAGE_FINNISH] =
        " ao ed eaa ekr eli engl ent esim fil fig hlö huom ilm jkr jne kap kk "
        "klo koh ks lkm lyh maist milj mm mrd nk nro ns ohj os par prof puh "
        "puhj sis so st synt tms toim tri ts tst vrk vrt yht ym yms ",
    [LANGUAGE_RUSSIAN] =
        " г гг гл д др доц кв млн млрд напр обл пер пл пр проф рис рр руб с см "
        "ср ст стр т т.д т.е т.к т.н т.п табл тел тов тыс ул экз ",
};

static char lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int is_listed(const char *list, const char *word, size_t n)
{
    char padded[ABBREVIATION_MAX + 3] = " ";
    memcpy(padded + 1, word, n);
    memcpy(padded + 1 + n, " ", 2);
    return strstr(list, padded) != NULL;
}

/* Whether the word that ends before the full stop text[dot], which a blank and
 * one more byte follow, keeps the sentence open. */
static int is_abbreviated(enum language language, const char *text, size_t dot)
{
    char word[ABBREVIATION_MAX + 1];
    size_t from = dot, n = 0;
    while (from > 0 && text[from - 1] != ' ' && text[from - 1] != '\n' &&
           text[from - 1] != '(' && text[from - 1] != '"')
        from--;
    if (dot == from || dot - from > ABBREVIATION_MAX) return 0;
    int all_digits = 1;
    for (size_t i = from; i < dot; i++) {
        all_digits = all_digits && (is_digit(text[i]) || text[i] == '.');
        word[n++] = lower(text[i]);
    }
    word[n] = '\0';
    /* "3. Grant", but not "of 1991. The"; in German also "am 3. Mai". */
    if (all_digits) return from == 0 || (language == LANGUAGE_GERMAN && n <= 2);
    if (n == 1 && text[from] >= 'A' && text[from] <= 'Z') return 1;
    /* "z. B.", "p. ex.", "u. a." */
    if (n == 1 && language != LANGUAGE_ENGLISH && word[0] >= 'a' &&
        word[0] <= 'z')
        return 1;
    /* "No. 5", but "The answer is no. He left." */
    int before_number = strcmp(word, "no") == 0 || strcmp(word, "min") == 0 ||
                        strcmp(word, "max") == 0 || strcmp(word, "p") == 0;
    if (before_number) return is_digit(text[dot + 2]);
    return is_listed(abbreviations[language], word, n);
}

static int starts_with(const char *p, size_t n, const char *what)
{
    size_t len = strlen(what);
    return n >= len && memcmp(p, what, len) == 0;
}

/* Bytes of closing quotes and brackets at p. */
static size_t closers(const char *p, size_t n)
{
    static const char *const marks[] = {
        "\xe2\x80\x9d",     "\xe2\x80\x99", /* ” ’ */
        "\xe2\x80\x9c",     "\xc2\xbb",     /* “ » */
        "\xe3\x80\x8d",     "\xe3\x80\x8f", /* 」 』 */
        "\xc2\xa0\xc2\xbb",                 /* » of the French */
    };
    size_t i = 0;
    while (i < n) {
        size_t k = strchr("\"')]*_", p[i]) && p[i] ? 1 : 0;
        for (size_t m = 0; k == 0 && m < sizeof marks / sizeof *marks; m++)
            if (starts_with(p + i, n - i, marks[m])) k = strlen(marks[m]);
        if (k == 0) break;
        i += k;
    }
    /* « … . » with its blank. */
    if (starts_with(p + i, n - i, " \xc2\xbb")) i += 3;
    return i;
}

/* Scripts that are written without blanks. */
static int is_unspaced(const char *p, size_t n)
{
    uint32_t u = 0;
    if (utf8_next(p, n, &u) == 0) return 0;
    return (u >= 0x3000 && u <= 0x30ff) || (u >= 0x3400 && u <= 0x9fff) ||
           (u >= 0x20000 && u <= 0x3ffff);
}

/* Whether what follows the blank at p[0] cannot begin a sentence. */
static int is_lower_case(const char *p, size_t n)
{
    uint32_t u = 0;
    if (utf8_next(p, n, &u) == 0) return 0;
    return (u >= 'a' && u <= 'z') || (u >= 0xdf && u <= 0xff && u != 0xf7) ||
           (u > 0x100 && u < 0x138 && u % 2) || (u >= 0x3ac && u <= 0x3ce) ||
           (u >= 0x430 && u <= 0x45f);
}

/* Bytes of a mark at p that ends a sentence in any case (*alone), or one that
 * needs a blank behind it. */
static size_t mark_length(const char *p, size_t n, int *alone)
{
    *alone = starts_with(p, n, "\xe3\x80\x82"); /* 。 */
    if (*alone) return 3;
    if (starts_with(p, n, "\xe2\x80\xa6")) return 3; /* … */
    if (starts_with(p, n, "\xe0\xa5\xa4")) return 3; /* । of Hindi */
    if (starts_with(p, n, "\xd8\x9f") || starts_with(p, n, "\xdb\x94"))
        return 2; /* ؟ ۔ of Arabic and Urdu */
    return *p == '.' || *p == '!' || *p == '?';
}

/* Whether a mark that ends a sentence can begin with a byte: most cannot. */
static const uint8_t can_end[256] = {
    ['\n'] = 1, ['.'] = 1,  ['!'] = 1,  ['?'] = 1,  [0xd8] = 1,
    [0xdb] = 1, [0xe0] = 1, [0xe2] = 1, [0xe3] = 1,
};

static int is_run(char c)
{
    return c == '.' || c == '!' || c == '?';
}

/* Length of a sentence's end mark at text[i], with what closes it; 0 when none
 * stands there or the sentence goes on. */
static size_t end_mark(enum language language, const char *text, size_t i,
                       size_t n)
{
    const char *p = text + i;
    size_t left = n - i;
    int alone;
    if (*p == '\n') return 1;
    size_t k = mark_length(p, left, &alone);
    if (k == 0) return 0;
    if (alone) return k + closers(p + k, left - k);
    int is_dot = k == 1 && *p == '.';
    while (k < left && k < SENTENCE_BYTES_MAX && is_run(p[k])) {
        is_dot = 0;
        k++;
    }
    k += closers(p + k, left - k);
    if (k == left) return k;
    if (!is_dot && is_unspaced(p + k, left - k)) return k;
    if (p[k] != ' ' && p[k] != '\n') return 0;
    if (p[k] == '\n' || k + 1 == left) return k;
    if (is_lower_case(p + k + 1, left - k - 1)) return 0;
    if (is_dot && k == 1 && is_abbreviated(language, text, i)) return 0;
    return k;
}

/* Where to cut text that runs to `limit` without an end. */
static size_t cut(const char *text, size_t limit)
{
    for (size_t i = limit; i > limit / 2; i--)
        if (text[i - 1] == ' ') return i;
    while (limit > 1 && ((unsigned char)text[limit] & 0xc0) == 0x80) limit--;
    return limit;
}

size_t sentence_length(enum language language, const char *text, size_t n)
{
    size_t limit = n < SENTENCE_BYTES_MAX ? n : SENTENCE_BYTES_MAX;
    for (size_t i = 0; i < limit; i++) {
        if (!can_end[(uint8_t)text[i]]) continue;
        size_t k = end_mark(language, text, i, n);
        if (k == 0) {
            /* What follows one mark of a run follows all. */
            while (is_run(text[i]) && i + 1 < limit && is_run(text[i + 1])) i++;
            continue;
        }
        size_t end = i + k;
        while (end < limit && (text[end] == ' ' || text[end] == '\n')) end++;
        return end;
    }
    return limit == n ? n : cut(text, limit);
}
