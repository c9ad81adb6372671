#include "common/base/nfkc.h"

#include <string.h>
#include <utf8proc.h>

#include "common/base/utf8.h"

/* Whether a character belongs to the one before it. */
static int continues(uint32_t before, uint32_t u)
{
    if (u < 0x300) return 0;
    switch (utf8proc_category((utf8proc_int32_t)u)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME: return 1;
    default: break;
    }
    if (u == 0xff9e || u == 0xff9f) return 1; /* halfwidth sound marks */
    /* Korean letters that join to a syllable, in their three ranges. */
    int is_letter = (u >= 0x1100 && u <= 0x11ff) ||
                    (u >= 0x3131 && u <= 0x318e) ||
                    (u >= 0xffa0 && u <= 0xffdc);
    int after_letter = (before >= 0x1100 && before <= 0x11ff) ||
                       (before >= 0x3131 && before <= 0x318e) ||
                       (before >= 0xac00 && before <= 0xd7a3) ||
                       (before >= 0xffa0 && before <= 0xffdc);
    return is_letter && after_letter;
}

size_t nfkc_segment(const char *text, size_t n)
{
    uint32_t before = 0, u = 0;
    size_t at = utf8_next(text, n, &before);
    if (at == 0) return n > 0;
    for (int i = 0; i < NFKC_MARKS_MAX && at < n; i++) {
        if (!((unsigned char)text[at] & 0x80)) break;
        size_t k = utf8_next(text + at, n - at, &u);
        if (k == 0 || !continues(before, u)) break;
        before = u;
        at += k;
    }
    return at;
}

/* Characters whose compatibility spelling says something else. */
static int keeps_its_look(uint32_t u)
{
    const utf8proc_property_t *p = utf8proc_get_property((utf8proc_int32_t)u);
    switch (p->decomp_type) {
    case UTF8PROC_DECOMP_TYPE_SUPER:
    case UTF8PROC_DECOMP_TYPE_SUB:
    case UTF8PROC_DECOMP_TYPE_FRACTION:
    case UTF8PROC_DECOMP_TYPE_CIRCLE: return 1;
    case UTF8PROC_DECOMP_TYPE_COMPAT: break;
    default: return 0;
    }
    utf8proc_int32_t first[32];
    int bound = 0;
    utf8proc_ssize_t k =
        utf8proc_decompose_char((utf8proc_int32_t)u, first, 32,
                                UTF8PROC_STABLE | UTF8PROC_COMPAT |
                                    UTF8PROC_DECOMPOSE,
                                &bound);
    return k > 1 && first[0] == ' ';
}

size_t nfkc_spell(const char *segment, size_t n, char *out)
{
    utf8proc_int32_t points[NFKC_BYTES_MAX / 4];
    uint32_t u = 0;
    size_t used = 0;
    int options = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    if (utf8_next(segment, n, &u) == n &&
        (u < 0xa0 || (u >= 0x3041 && u <= 0x30fe) ||
         (u >= 0x4e00 && u <= 0x9fff) || (u >= 0xac00 && u <= 0xd7a3))) {
        memcpy(out, segment, n); /* most of what is written is normal */
        return n;
    }
    if (!keeps_its_look(u)) options |= UTF8PROC_COMPAT;
    utf8proc_ssize_t k = utf8proc_decompose((const utf8proc_uint8_t *)segment,
                                            (utf8proc_ssize_t)n, points,
                                            sizeof points / sizeof *points,
                                            (utf8proc_option_t)options);
    if (k >= 0 && (size_t)k <= sizeof points / sizeof *points)
        k = utf8proc_normalize_utf32(points, k, (utf8proc_option_t)options);
    else
        k = -1;
    for (utf8proc_ssize_t i = 0; i < k; i++)
        used += (size_t)utf8proc_encode_char(points[i],
                                             (utf8proc_uint8_t *)out + used);
    if (used > 0) return used;
    memcpy(out, segment, n); /* not UTF-8: as it is */
    return n;
}
