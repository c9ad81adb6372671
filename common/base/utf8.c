#include "common/base/utf8.h"

#include <string.h>

size_t utf8_next(const char *text, size_t left, uint32_t *out)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *p = (const unsigned char *)text;
    if (left == 0) return 0;
    size_t n = p[0] < 0x80             ? 1
               : (p[0] & 0xe0) == 0xc0 ? 2
               : (p[0] & 0xf0) == 0xe0 ? 3
               : (p[0] & 0xf8) == 0xf0 ? 4
                                       : 0;
    if (n == 0 || n > left) return 0;
    uint32_t u = n == 1 ? p[0] : p[0] & (0x7fU >> n);
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
        u = u << 6 | (p[i] & 0x3f);
    }
    if (u < least[n] || u > 0x10ffff || (u >= 0xd800 && u <= 0xdfff)) return 0;
    if (out) *out = u;
    return n;
}

size_t utf8_find_bad(const char *text, size_t n)
{
    size_t at = 0;
    while (at < n) {
        size_t k = utf8_next(text + at, n - at, NULL);
        if (k == 0 || text[at] == '\0') return at;
        at += k;
    }
    return n;
}

static int is_harmless(uint32_t u)
{
    if (u < 0x20 || (u >= 0x7f && u <= 0x9f)) return 0;
    return !(u >= 0x202a && u <= 0x202e) && !(u >= 0x2066 && u <= 0x2069);
}

int utf8_is_clean(const char *text, size_t cap)
{
    size_t left = strnlen(text, cap);
    if (left == cap) return 0;
    while (left > 0) {
        uint32_t u = 0;
        size_t n = utf8_next(text, left, &u);
        if (n == 0 || !is_harmless(u)) return 0;
        text += n;
        left -= n;
    }
    return 1;
}

size_t utf8_printable(char *out, size_t cap, const char *text)
{
    size_t left = strlen(text), used = 0;
    if (cap == 0) return 0;
    while (left > 0) {
        uint32_t u = 0;
        size_t n = utf8_next(text, left, &u);
        size_t step = n ? n : 1;
        int keep = n && is_harmless(u);
        size_t width = keep ? n : 1;
        if (used + width >= cap) break;
        if (keep)
            memcpy(out + used, text, n);
        else
            out[used] = '?';
        used += width;
        text += step;
        left -= step;
    }
    out[used] = '\0';
    return used;
}
