#include "retrieval/entity.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_BYTES = 10 };

/* The named characters of HTML 4 and the apostrophe, in strcmp() order. */
static const struct named {
    const char *name;
    uint32_t character;
} named[] = {
    {"AElig", 198},   {"Aacute", 193},  {"Acirc", 194},   {"Agrave", 192},
    {"Alpha", 913},   {"Aring", 197},   {"Atilde", 195},  {"Auml", 196},
    {"Beta", 914},    {"Ccedil", 199},  {"Chi", 935},     {"Dagger", 8225},
    {"Delta", 916},   {"ETH", 208},     {"Eacute", 201},  {"Ecirc", 202},
    {"Egrave", 200},  {"Epsilon", 917}, {"Eta", 919},     {"Euml", 203},
    {"Gamma", 915},   {"Iacute", 205},  {"Icirc", 206},   {"Igrave", 204},
    {"Iota", 921},    {"Iuml", 207},    {"Kappa", 922},   {"Lambda", 923},
    {"Mu", 924},      {"Ntilde", 209},  {"Nu", 925},      {"OElig", 338},
    {"Oacute", 211},  {"Ocirc", 212},   {"Ograve", 210},  {"Omega", 937},
    {"Omicron", 927}, {"Oslash", 216},  {"Otilde", 213},  {"Ouml", 214},
    {"Phi", 934},     {"Pi", 928},      {"Prime", 8243},  {"Psi", 936},
    {"Rho", 929},     {"Scaron", 352},  {"Sigma", 931},   {"THORN", 222},
    {"Tau", 932},     {"Theta", 920},   {"Uacute", 218},  {"Ucirc", 219},
    {"Ugrave", 217},  {"Upsilon", 933}, {"Uuml", 220},    {"Xi", 926},
    {"Yacute", 221},  {"Yuml", 376},    {"Zeta", 918},    {"aacute", 225},
    {"acirc", 226},   {"acute", 180},   {"aelig", 230},   {"agrave", 224},
    {"alpha", 945},   {"amp", 38},      {"and", 8743},    {"ang", 8736},
    {"apos", 39},     {"aring", 229},   {"asymp", 8776},  {"atilde", 227},
    {"auml", 228},    {"bdquo", 8222},  {"beta", 946},    {"brvbar", 166},
    {"bull", 8226},   {"cap", 8745},    {"ccedil", 231},  {"cedil", 184},
    {"cent", 162},    {"chi", 967},     {"circ", 710},    {"cong", 8773},
    {"copy", 169},    {"cup", 8746},    {"curren", 164},  {"dagger", 8224},
    {"darr", 8595},   {"deg", 176},     {"delta", 948},   {"divide", 247},
    {"eacute", 233},  {"ecirc", 234},   {"egrave", 232},  {"empty", 8709},
    {"emsp", 8195},   {"ensp", 8194},   {"epsilon", 949}, {"equiv", 8801},
    {"eta", 951},     {"eth", 240},     {"euml", 235},    {"euro", 8364},
    {"exist", 8707},  {"fnof", 402},    {"forall", 8704}, {"frac12", 189},
    {"frac14", 188},  {"frac34", 190},  {"frasl", 8260},  {"gamma", 947},
    {"ge", 8805},     {"gt", 62},       {"hArr", 8660},   {"harr", 8596},
    {"hellip", 8230}, {"iacute", 237},  {"icirc", 238},   {"iexcl", 161},
    {"igrave", 236},  {"infin", 8734},  {"int", 8747},    {"iota", 953},
    {"iquest", 191},  {"isin", 8712},   {"iuml", 239},    {"kappa", 954},
    {"lambda", 955},  {"laquo", 171},   {"larr", 8592},   {"ldquo", 8220},
    {"le", 8804},     {"lowast", 8727}, {"loz", 9674},    {"lsaquo", 8249},
    {"lsquo", 8216},  {"lt", 60},       {"macr", 175},    {"mdash", 8212},
    {"micro", 181},   {"middot", 183},  {"minus", 8722},  {"mu", 956},
    {"nabla", 8711},  {"nbsp", 160},    {"ndash", 8211},  {"ne", 8800},
    {"ni", 8715},     {"not", 172},     {"ntilde", 241},  {"nu", 957},
    {"oacute", 243},  {"ocirc", 244},   {"oelig", 339},   {"ograve", 242},
    {"oline", 8254},  {"omega", 969},   {"omicron", 959}, {"oplus", 8853},
    {"or", 8744},     {"ordf", 170},    {"ordm", 186},    {"oslash", 248},
    {"otilde", 245},  {"otimes", 8855}, {"ouml", 246},    {"para", 182},
    {"part", 8706},   {"permil", 8240}, {"perp", 8869},   {"phi", 966},
    {"pi", 960},      {"plusmn", 177},  {"pound", 163},   {"prime", 8242},
    {"prod", 8719},   {"prop", 8733},   {"psi", 968},     {"quot", 34},
    {"rArr", 8658},   {"radic", 8730},  {"raquo", 187},   {"rarr", 8594},
    {"rdquo", 8221},  {"reg", 174},     {"rho", 961},     {"rsaquo", 8250},
    {"rsquo", 8217},  {"sbquo", 8218},  {"scaron", 353},  {"sect", 167},
    {"shy", 173},     {"sigma", 963},   {"sigmaf", 962},  {"sim", 8764},
    {"sub", 8834},    {"sum", 8721},    {"sup", 8835},    {"sup1", 185},
    {"sup2", 178},    {"sup3", 179},    {"szlig", 223},   {"tau", 964},
    {"there4", 8756}, {"theta", 952},   {"thinsp", 8201}, {"thorn", 254},
    {"tilde", 732},   {"times", 215},   {"trade", 8482},  {"uacute", 250},
    {"uarr", 8593},   {"ucirc", 251},   {"ugrave", 249},  {"uml", 168},
    {"upsilon", 965}, {"uuml", 252},    {"xi", 958},      {"yacute", 253},
    {"yen", 165},     {"yuml", 255},    {"zeta", 950},
};

static int compare_name(const void *key, const void *element)
{
    return strcmp(key, ((const struct named *)element)->name);
}

static uint32_t find_named(const char *s, size_t n)
{
    char name[NAME_MAX_BYTES + 1];
    if (n > NAME_MAX_BYTES) return 0;
    memcpy(name, s, n);
    name[n] = '\0';
    const struct named *found =
        bsearch(name, named, sizeof named / sizeof *named, sizeof *named,
                compare_name);
    return found ? found->character : 0;
}

static uint32_t digit_of(char c)
{
    if (c >= '0' && c <= '9') return (uint32_t)(c - '0');
    if (c >= 'a' && c <= 'f') return (uint32_t)(c - 'a') + 10;
    if (c >= 'A' && c <= 'F') return (uint32_t)(c - 'A') + 10;
    return 16;
}

/* "65" or "x41"; 0 when it is no character of text. */
static uint32_t find_number(const char *s, size_t n)
{
    uint32_t base = n && (s[0] == 'x' || s[0] == 'X') ? 16 : 10, u = 0;
    for (size_t i = base == 16; i < n; i++) {
        uint32_t digit = digit_of(s[i]);
        if (digit >= base || u > 0x10ffff) return 0;
        u = u * base + digit;
    }
    return u > 0x10ffff || (u >= 0xd800 && u <= 0xdfff) ? 0 : u;
}

static size_t encode(uint32_t u, char out[ENTITY_UTF8_MAX])
{
    if (u < 0x80) {
        out[0] = (char)u;
        return 1;
    }
    size_t n = u < 0x800 ? 2 : u < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--, u >>= 6)
        out[i] = (char)(0x80 | (u & 0x3f));
    out[0] = (char)(lead[n] | u);
    return n;
}

size_t entity_decode(const char *s, size_t n, char out[ENTITY_UTF8_MAX])
{
    if (n < 3 || s[0] != '&' || s[n - 1] != ';') return 0;
    uint32_t u =
        s[1] == '#' ? find_number(s + 2, n - 3) : find_named(s + 1, n - 2);
    return u ? encode(u, out) : 0;
}
