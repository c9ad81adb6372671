#include "retrieval/document_mime.h"

#include <string.h>
#include <strings.h>

#include "retrieval/document_charset.h"

static int is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct mime_part mime_split(const char *s, size_t n)
{
    struct mime_part p = {s, s + n, n, 0};
    for (size_t at = 0; at < n;) {
        const char *nl = memchr(s + at, '\n', n - at);
        size_t stop = nl ? (size_t)(nl - s) : n, next = nl ? stop + 1 : n;
        if (stop > at && s[stop - 1] == '\r') stop--;
        if (stop == at) {
            p.n_header = at;
            p.body = s + next;
            p.n_body = n - next;
            break;
        }
        at = next;
    }
    return p;
}

/* The value that begins behind the colon, lines that go on joined. */
static void unfold(const char *s, size_t n, char out[MIME_FIELD_MAX])
{
    size_t k = 0;
    int due = 0;
    for (size_t i = 0; i < n && k + 2 < MIME_FIELD_MAX; i++) {
        if (s[i] == '\n' && i + 1 < n && s[i + 1] != ' ' && s[i + 1] != '\t')
            break;
        if (is_blank(s[i]) || s[i] == '\0') {
            due = k > 0;
            continue;
        }
        if (due) out[k++] = ' ';
        due = 0;
        out[k++] = s[i];
    }
    out[k] = '\0';
}

int mime_field(const struct mime_part *p, const char *name,
               char out[MIME_FIELD_MAX])
{
    const char *s = p->header;
    size_t len = strlen(name), n = p->n_header;
    out[0] = '\0';
    for (size_t at = 0; at + len < n;) {
        if (strncasecmp(s + at, name, len) == 0 && s[at + len] == ':') {
            unfold(s + at + len + 1, n - at - len - 1, out);
            return out[0] != '\0';
        }
        const char *nl = memchr(s + at, '\n', n - at);
        if (!nl) break;
        at = (size_t)(nl - s) + 1;
    }
    return 0;
}

/* ---- encodings ------------------------------------------------------------
 */

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static int base64_value(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+' || c == '-' ? 62
           : c == '/' || c == '_' ? 63
                                  : -1;
}

static void decode_base64(struct buf *out, const char *s, size_t n)
{
    unsigned bits = 0, have = 0;
    for (size_t i = 0; i < n && s[i] != '='; i++) {
        int v = base64_value(s[i]);
        if (v < 0) continue;
        bits = (bits << 6 | (unsigned)v) & 0xffffff;
        have += 6;
        if (have < 8) continue;
        have -= 8;
        buf_put_u8(out, (uint8_t)(bits >> have));
    }
}

/* Bytes of a soft line break "=  \r\n" at s[i], or 0. */
static size_t soft_break(const char *s, size_t n, size_t i)
{
    size_t k = i + 1;
    while (k < n && (s[k] == ' ' || s[k] == '\t' || s[k] == '\r')) k++;
    return k == n ? k - i : s[k] == '\n' ? k + 1 - i : 0;
}

static void decode_quoted(struct buf *out, const char *s, size_t n,
                          int in_header)
{
    for (size_t i = 0; i < n;) {
        size_t gone = s[i] == '=' && !in_header ? soft_break(s, n, i) : 0;
        if (gone) {
            i += gone;
        } else if (s[i] == '=' && i + 2 < n && hex(s[i + 1]) >= 0 &&
                   hex(s[i + 2]) >= 0) {
            buf_put_u8(out, (uint8_t)(16 * hex(s[i + 1]) + hex(s[i + 2])));
            i += 3;
        } else {
            buf_put_u8(out, in_header && s[i] == '_' ? ' ' : (uint8_t)s[i]);
            i++;
        }
    }
}

void mime_decode(struct buf *out, enum mime_coding coding, const char *s,
                 size_t n)
{
    switch (coding) {
    case MIME_BASE64: decode_base64(out, s, n); break;
    case MIME_QUOTED: decode_quoted(out, s, n, 0); break;
    case MIME_PLAIN: buf_put(out, s, n); break;
    }
}

enum mime_coding mime_coding(const char *field)
{
    if (strncasecmp(field, "base64", 6) == 0) return MIME_BASE64;
    if (strncasecmp(field, "quoted-printable", 16) == 0) return MIME_QUOTED;
    return MIME_PLAIN;
}

/* ---- words ----------------------------------------------------------------
 */

/* Decode the word "=?charset?Q?text?=" at s; its length, or 0. */
static size_t take_word(struct buf *out, const char *s, size_t n)
{
    char charset[40];
    if (n < 8 || s[0] != '=' || s[1] != '?') return 0;
    const char *q1 = memchr(s + 2, '?', n - 2);
    size_t k = q1 ? (size_t)(q1 - s) - 2 : 0;
    if (k == 0 || k >= sizeof charset || k + 5 > n || s[k + 4] != '?') return 0;
    memcpy(charset, s + 2, k);
    charset[k] = '\0';
    charset[strcspn(charset, "*")] = '\0'; /* a language (RFC 2231) */
    char coding = s[k + 3];
    const char *text = s + k + 5, *end = NULL;
    size_t left = n - k - 5;
    for (size_t i = 0; i + 1 < left && !end; i++)
        if (text[i] == '?' && text[i + 1] == '=') end = text + i;
    if (!end) return 0;
    struct buf bytes;
    buf_init(&bytes, MIME_FIELD_MAX);
    if (coding == 'B' || coding == 'b')
        decode_base64(&bytes, text, (size_t)(end - text));
    else if (coding == 'Q' || coding == 'q')
        decode_quoted(&bytes, text, (size_t)(end - text), 1);
    else
        end = NULL;
    if (end && bytes.len) document_charset(out, charset, bytes.data, bytes.len);
    buf_release(&bytes);
    return end ? (size_t)(end + 2 - s) : 0;
}

void mime_words(struct buf *out, const char *text, size_t n)
{
    size_t from = 0, i = 0;
    int after_word = 0;
    while (i + 1 < n) {
        if (text[i] != '=' || text[i + 1] != '?') {
            i++;
            continue;
        }
        /* The blanks between two words are none. */
        size_t blanks = from;
        while (blanks < i && is_blank(text[blanks])) blanks++;
        size_t used = out->len;
        if (i > from && !(after_word && blanks == i))
            document_charset(out, "us-ascii", text + from, i - from);
        size_t k = take_word(out, text + i, n - i);
        if (k == 0) {
            out->len = used;
            i += 2;
            after_word = 0;
            continue;
        }
        from = i += k;
        after_word = 1;
    }
    if (from < n) document_charset(out, "us-ascii", text + from, n - from);
}

/* ---- parameters -----------------------------------------------------------
 */

void mime_type(const char *field, char out[MIME_WORD_MAX])
{
    size_t k = 0;
    while (k + 1 < MIME_WORD_MAX && field[k] && field[k] != ';' &&
           !is_blank(field[k])) {
        char c = field[k];
        out[k++] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    }
    out[k] = '\0';
}

/* The raw value at s: a quoted string or a word; returns behind it. */
static const char *take_value(const char *s, struct buf *out)
{
    if (*s != '"') {
        size_t n = strcspn(s, "; \t");
        buf_put(out, s, n);
        return s + n;
    }
    for (s++; *s && *s != '"'; s++) {
        if (*s == '\\' && s[1]) s++;
        buf_put_u8(out, (uint8_t)*s);
    }
    return *s ? s + 1 : s;
}

/* "utf-8'en'caf%C3%A9" -> "café". */
static void take_extended(struct buf *out, const char *s, size_t n)
{
    struct buf bytes;
    const char *q1 = memchr(s, '\'', n);
    const char *q2 = q1 ? memchr(q1 + 1, '\'', n - (size_t)(q1 + 1 - s)) : NULL;
    char charset[40] = "utf-8";
    if (q2 && (size_t)(q1 - s) < sizeof charset) {
        memcpy(charset, s, (size_t)(q1 - s));
        charset[q1 - s] = '\0';
    }
    buf_init(&bytes, MIME_FIELD_MAX);
    for (const char *p = q2 ? q2 + 1 : s; p < s + n;) {
        if (*p == '%' && s + n - p > 2 && hex(p[1]) >= 0 && hex(p[2]) >= 0) {
            buf_put_u8(&bytes, (uint8_t)(16 * hex(p[1]) + hex(p[2])));
            p += 3;
        } else {
            buf_put_u8(&bytes, (uint8_t)*p++);
        }
    }
    if (bytes.len) document_charset(out, charset, bytes.data, bytes.len);
    buf_release(&bytes);
}

/* One "name=value" at p, which `name` may name: plain, extended ("name*=") or
 * in pieces ("name*0=", "name*1=" …). Returns behind it; appends on a match. */
static const char *take_one(const char *p, const char *name, struct buf *out)
{
    struct buf value;
    size_t len = strlen(name), n = strcspn(p, "=;");
    if (p[n] != '=') return p + n;
    int is_it = n >= len && strncasecmp(p, name, len) == 0;
    int is_star = is_it && n > len && p[len] == '*';
    int is_extended = is_star && p[n - 1] == '*';
    is_it = is_it && (n == len || is_star);
    buf_init(&value, MIME_FIELD_MAX);
    p = take_value(p + n + 1, &value);
    if (is_it && value.len) {
        if (is_extended)
            take_extended(out, (const char *)value.data, value.len);
        else
            mime_words(out, (const char *)value.data, value.len);
    }
    buf_release(&value);
    return p;
}

int mime_parameter(const char *field, const char *name, char *out, size_t cap)
{
    struct buf value;
    const char *p = strchr(field, ';');
    buf_init(&value, MIME_FIELD_MAX);
    while (p && *p) {
        while (*p == ';' || is_blank(*p)) p++;
        if (!*p) break;
        p = take_one(p, name, &value);
        p += strcspn(p, ";");
    }
    int fits = value.len > 0 && !value.err && value.len < cap;
    if (fits) {
        memcpy(out, value.data, value.len);
        out[value.len] = '\0';
    }
    buf_release(&value);
    return fits;
}
