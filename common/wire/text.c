#include "common/wire/text.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

static int is_allowed(uint32_t u)
{
    if (u < 0x20 || (u >= 0x7f && u <= 0x9f)) return 0;
    if (u >= 0xd800 && u <= 0xdfff) return 0;
    if (u >= 0x202a && u <= 0x202e) return 0;
    if (u >= 0x2066 && u <= 0x2069) return 0;
    return u <= 0x10ffff;
}

/* Bytes of the allowed character at p[left], or 0. */
static size_t character(const unsigned char *p, size_t left)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
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
    return u >= least[n] && is_allowed(u) ? n : 0;
}

int text_is_clean(const char *text, size_t cap)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t left = strnlen(text, cap);
    if (left == cap) return 0;
    while (left > 0) {
        size_t n = character(p, left);
        if (n == 0) return 0;
        p += n;
        left -= n;
    }
    return 1;
}

void text_clean(char *out, size_t cap, const char *text, size_t text_cap)
{
    assert(cap > 0);
    const unsigned char *p = (const unsigned char *)text;
    size_t left = strnlen(text, text_cap), used = 0;
    while (left > 0) {
        size_t n = character(p, left), step = n ? n : 1;
        if (used + step >= cap) break;
        if (n)
            memcpy(out + used, p, n);
        else
            out[used] = '?';
        used += step;
        p += step;
        left -= step;
    }
    out[used] = '\0';
}
