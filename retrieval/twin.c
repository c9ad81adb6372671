#include "retrieval/twin.h"

#include <string.h>

#include "common/base/digest.h"

enum { STEP = 512 };

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
