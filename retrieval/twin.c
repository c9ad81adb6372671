#include "retrieval/twin.h"

#include <string.h>

#include "common/base/digest.h"

enum { STEP = 512 };
static const uint32_t hash_start = 2166136261u, hash_factor = 16777619u;

static int is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* Blanks at both ends go, others become one space. */
static void add_plain(struct digest_state *s, const char *text, size_t n)
{
    char out[STEP + 2];
    size_t len = 0;
    int is_apart = 0, has_any = 0;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (is_blank(c)) {
            is_apart = has_any;
            continue;
        }
        if (is_apart) out[len++] = ' ';
        out[len++] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
        is_apart = 0;
        has_any = 1;
        if (len < STEP) continue;
        digest_add(s, out, len);
        len = 0;
    }
    digest_add(s, out, len);
}

void twin_print(const char *title, const char *heading, const char *text,
                size_t n, uint8_t out[TWIN_PRINT])
{
    struct digest_state s;
    struct digest d;
    digest_begin(&s);
    add_plain(&s, title, strlen(title));
    digest_add(&s, "", 1);
    add_plain(&s, heading, strlen(heading));
    digest_add(&s, "", 1);
    add_plain(&s, text, n);
    digest_end(&s, &d);
    memcpy(out, d.b, TWIN_PRINT);
}

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Bytes of a mark that only separates, from U+2010 to U+203A (dashes, quotation
 * marks) and U+00A0; 0 = none. */
static size_t mark_length(const char *s, size_t n)
{
    const uint8_t *u = (const uint8_t *)s;
    if (n >= 2 && u[0] == 0xc2 && u[1] == 0xa0) return 2;
    if (n >= 3 && u[0] == 0xe2 && u[1] == 0x80 && u[2] >= 0x90 && u[2] <= 0xba)
        return 3;
    return 0;
}

/* Whether the byte at i belongs to the word that the one before is in. */
static int goes_on(const char *text, size_t n, size_t i)
{
    char c = text[i];
    if (is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
        return 1;
    if ((c == '.' || c == ',') && i > 0 && i + 1 < n)
        return is_digit(text[i - 1]) && is_digit(text[i + 1]);
    return (c & 0x80) && !mark_length(text + i, n - i);
}

/* A mark that says something by itself. */
static int is_sign(const char *text, size_t n, size_t i)
{
    if (strchr("<>=%?", text[i])) return text[i] != '\0';
    return (text[i] == '-' || text[i] == '+') && i + 1 < n &&
           is_digit(text[i + 1]) && (i == 0 || !goes_on(text, n, i - 1));
}

size_t twin_words(const char *text, size_t n, uint32_t *out)
{
    size_t n_words = 0;
    for (size_t i = 0; i < n;) {
        uint32_t h = hash_start;
        size_t mark = mark_length(text + i, n - i), first = i;
        if (mark) {
            i += mark;
            continue;
        }
        while (i < n &&
               (i == first ? goes_on(text, n, i) || is_sign(text, n, i)
                           : goes_on(text, n, i) && !is_sign(text, n, first))) {
            char c = text[i++];
            if (c >= 'A' && c <= 'Z') c = (char)(c + 32);
            h = (h ^ (uint8_t)c) * hash_factor;
        }
        if (i > first)
            out[n_words++] = h;
        else
            i++;
    }
    return n_words;
}

int twin_holds(const uint32_t *a, size_t n_a, const uint32_t *b, size_t n_b)
{
    for (size_t i = 0; n_b && i + n_b <= n_a; i++)
        if (a[i] == b[0] && memcmp(a + i, b, n_b * sizeof *b) == 0) return 1;
    return 0;
}
