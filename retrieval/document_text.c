/*
 * Plain text: paragraphs lie between blank lines. A line is a heading when it
 * is underlined with = or -, or stands alone and is ALL CAPS or a numbered
 * title ("11. Patents."); a line that begins with a bullet or "(a)" begins a
 * list item. These are guesses, so they are narrow: a heading missed costs a
 * little context, one invented tears a passage apart.
 *
 * The text of a PDF's pages is read in the same way, with two things more: a
 * word that a line's end divides is joined again, and a paragraph goes on
 * behind a page's end where its last line is open and the next page begins in
 * lower case.
 */
#include <string.h>

#include "common/base/utf8.h"
#include "retrieval/document_text.h"

enum {
    HEADING_BYTES_MAX = 80,
    LEVEL_UNDERLINED_1 = 1, /* ==== */
    LEVEL_UNDERLINED_2 = 2, /* ---- */
    LEVEL_CAPITALS = 1,
    LEVEL_NUMBERED = 2, /* "1."; one more for each further number */
    LEVEL_MAX = 6
};

/* A line without its indentation and trailing blanks: [first, end); next is
 * the start of the line behind it. */
struct line {
    size_t first, end, next;
};

static struct line line_from(const char *s, size_t at, size_t end)
{
    const char *nl = memchr(s + at, '\n', end - at);
    struct line l = {at, nl ? (size_t)(nl - s) : end,
                     nl ? (size_t)(nl - s) + 1 : end};
    while (l.first < l.end && strchr(" \t\r\f\v", s[l.first])) l.first++;
    while (l.end > l.first && strchr(" \t\r\f\v", s[l.end - 1])) l.end--;
    return l;
}

static int is_blank(struct line l)
{
    return l.first == l.end;
}

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static int is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

/* A line of n >= 3 equal signs of underlining, else 0. */
static char underline_of(const char *s, struct line l)
{
    char c = is_blank(l) ? '\0' : s[l.first];
    if ((c != '=' && c != '-') || l.end - l.first < 3) return '\0';
    for (size_t i = l.first; i < l.end; i++)
        if (s[i] != c) return '\0';
    return c;
}

static int is_capitals(const char *s, struct line l)
{
    size_t n_upper = 0;
    char last = s[l.end - 1];
    if (l.end - l.first > HEADING_BYTES_MAX || strchr(".,;!?", last)) return 0;
    for (size_t i = l.first; i < l.end; i++) {
        if (is_lower(s[i]) || (s[i] & 0x80)) return 0;
        n_upper += (size_t)is_upper(s[i]);
    }
    return n_upper >= 4;
}

static unsigned numbered(unsigned numbers)
{
    unsigned level = LEVEL_NUMBERED + numbers - 1;
    return level < LEVEL_MAX ? level : LEVEL_MAX;
}

/* "11. Patents.", "2.1. Grants": the level, 0 for none. */
static unsigned numbered_level(const char *s, struct line l)
{
    size_t i = l.first;
    unsigned numbers = 0;
    if (l.end - l.first > HEADING_BYTES_MAX) return 0;
    while (i < l.end && is_digit(s[i]) && numbers < LEVEL_MAX) {
        while (i < l.end && is_digit(s[i])) i++;
        numbers++;
        if (i < l.end && s[i] == '.') i++;
    }
    if (numbers == 0 || i >= l.end || s[i] != ' ') return 0;
    while (i < l.end && s[i] == ' ') i++;
    if (i >= l.end || !is_upper(s[i])) return 0;
    /* A sentence that only happens to begin with a number is long, or ends
     * like one. */
    size_t n_words = 1;
    for (size_t k = i; k < l.end; k++) n_words += s[k] == ' ';
    if (n_words > 8 || strchr(",;:", s[l.end - 1])) return 0;
    return numbered(numbers);
}

/* "3. Grant of Patent License. Subject to …": the end of a title that runs into
 * its paragraph, behind its full stop; 0 when the line does not begin so. A
 * title's longer words have capitals. */
static size_t run_in_title(const char *s, struct line l)
{
    size_t i = l.first, n_words = 0;
    while (i < l.end && (is_digit(s[i]) || s[i] == '.')) i++;
    if (i == l.first || s[i - 1] != '.') return 0;
    while (i < l.end && n_words < 9) {
        size_t from = ++i;
        while (i < l.end && s[i] != ' ' && s[i] != '.') i++;
        if (i == from || (!is_upper(s[from]) && (n_words == 0 || i > from + 3)))
            return 0;
        n_words++;
        if (i + 1 == l.end && s[i] == '.') return l.end;
        if (i < l.end && s[i] == '.')
            return i + 2 < l.end && s[i + 1] == ' ' && is_upper(s[i + 2])
                       ? i + 1
                       : 0;
    }
    return 0;
}

/* Bytes of a bullet or "(a)" / "1)" with its blanks, 0 for none. */
static size_t bullet_length(const char *s, struct line l)
{
    size_t n = l.end - l.first, k = 0;
    const char *p = s + l.first;
    if (n > 2 && (p[0] == '-' || p[0] == '*' || p[0] == '+'))
        k = 1;
    else if (n > 4 && memcmp(p, "\xe2\x80\xa2", 3) == 0)
        k = 3; /* U+2022 */
    else if (n > 4 && p[0] == '(') {
        const char *close = memchr(p, ')', n < 6 ? n : 6);
        k = close ? (size_t)(close - p) + 1 : 0;
    } else {
        while (k < n && k < 3 && is_digit(p[k])) k++;
        if (k == 0 && n > 2 && is_lower(p[0])) k = 1;
        k = k && k < n && p[k] == ')' ? k + 1 : 0;
    }
    return k && k < n && p[k] == ' ' ? k : 0;
}

/* The letter's case at text[i]: 'a' lower, 'A' upper or none of both. */
static char case_at(const char *s, size_t i, size_t end)
{
    uint32_t u = 0;
    if (i >= end || utf8_next(s + i, end - i, &u) == 0) return ' ';
    if (u < 0x80)
        return is_lower((char)u) ? 'a' : is_upper((char)u) ? 'A' : ' ';
    /* Latin, Greek and Cyrillic small letters. */
    int lower = (u >= 0xdf && u <= 0xff && u != 0xf7) ||
                (u >= 0x100 && u < 0x180 && u % 2) ||
                (u >= 0x3ac && u <= 0x3ce) || (u >= 0x430 && u <= 0x45f);
    return lower ? 'a' : u >= 0xc0 ? 'A' : ' ';
}

/* "infor-" before "mation": the hyphen is the line's. */
static int is_divided(const char *s, struct line l, struct line after,
                      size_t end)
{
    return l.end - l.first > 2 && s[l.end - 1] == '-' &&
           (is_lower(s[l.end - 2]) || (s[l.end - 2] & 0x80)) &&
           case_at(s, after.first, end) == 'a';
}

/* Whether the blank lines behind l are a page's end within a paragraph; then
 * *after is the line that it goes on with. */
static int crosses_page(const char *s, struct line l, struct line *after,
                        size_t end)
{
    struct line next = *after;
    if (strchr(".!?:;", s[l.end - 1])) return 0;
    while (is_blank(next) && next.next < end)
        next = line_from(s, next.next, end);
    if (is_blank(next) || !memchr(s + l.end, '\f', next.first - l.end))
        return 0;
    if (case_at(s, next.first, end) != 'a' || bullet_length(s, next)) return 0;
    *after = next;
    return 1;
}

/* Lines [at, …) up to a blank one, or to one that begins something new. */
static size_t read_paragraph(struct builder *b, enum text_style style,
                             size_t at, size_t end)
{
    const char *s = (const char *)b->d->source.data;
    struct line l = line_from(s, at, end);
    int is_item = bullet_length(s, l) > 0;
    builder_open(b, is_item ? BLOCK_ITEM : BLOCK_PARAGRAPH, is_item ? 1 : 0);
    for (;;) {
        size_t stop = l.end, next = l.next;
        struct line after = next < end ? line_from(s, next, end) : l;
        int goes_on =
            next < end && !bullet_length(s, after) && !underline_of(s, after);
        int is_end =
            is_blank(after) || (style == TEXT_PAGES && after.first > l.end &&
                                memchr(s + l.end, '\f', after.first - l.end));
        if (goes_on && is_end)
            goes_on = style == TEXT_PAGES && crosses_page(s, l, &after, end);
        int joins =
            goes_on && style == TEXT_PAGES && is_divided(s, l, after, end);
        if (joins) stop--;
        builder_source(b, l.first, stop - l.first);
        if (!goes_on) return next;
        builder_piece(b, " ", !joins, stop, after.first - stop);
        l = after;
    }
}

/* A heading at a line: level 0 for none; its text ends at `end`, and what
 * follows it begins at `next`. */
struct heading {
    unsigned level;
    size_t end, next;
};

static unsigned count_numbers(const char *s, size_t at, size_t end)
{
    unsigned n = 0;
    for (size_t i = at; i < end && (is_digit(s[i]) || s[i] == '.'); i++)
        n += is_digit(s[i]) && (i + 1 == end || !is_digit(s[i + 1]));
    return n;
}

static struct heading find_heading(const char *s, struct line l, int is_first,
                                   size_t end)
{
    struct heading h = {0, l.end, l.next};
    struct line after = line_from(s, l.next, end);
    char under = l.next < end ? underline_of(s, after) : '\0';
    int is_alone = l.next >= end || is_blank(after);
    size_t title_end = run_in_title(s, l);
    if (under && l.end - l.first <= 2 * HEADING_BYTES_MAX) {
        h.next = after.next;
        h.level = under == '=' ? LEVEL_UNDERLINED_1 : LEVEL_UNDERLINED_2;
    } else if ((is_alone || is_first) && is_capitals(s, l)) {
        h.level = LEVEL_CAPITALS;
    } else if (title_end && !(is_alone && title_end == l.end)) {
        h.level = numbered(count_numbers(s, l.first, l.end));
        h.end = title_end;
        h.next = title_end == l.end ? l.next : title_end;
    } else if (is_alone) {
        h.level = numbered_level(s, l);
    }
    return h;
}

void document_text_part(struct builder *b, enum text_style style, size_t first,
                        size_t end)
{
    const char *s = (const char *)b->d->source.data;
    int is_first = 1;
    for (size_t at = first; at < end && !b->err;) {
        struct line l = line_from(s, at, end);
        if (is_blank(l) || underline_of(s, l)) {
            at = l.next;
            continue;
        }
        struct heading h = {0, l.end, l.next};
        if (style != TEXT_MAIL) h = find_heading(s, l, is_first, end);
        if (h.level) {
            builder_open(b, BLOCK_HEADING, h.level);
            builder_source(b, l.first, h.end - l.first);
            builder_close(b);
            if (is_first && h.level == 1)
                document_set_title(b->d, s + l.first, h.end - l.first);
            at = h.next;
        } else {
            at = read_paragraph(b, style, at, end);
        }
        is_first = 0;
    }
    builder_close(b);
}

static enum tacit_err read_text(struct builder *b, size_t first, size_t end)
{
    document_text_part(b, TEXT_PLAIN, first, end);
    return builder_end(b);
}

const struct document_reader document_text = {
    .kind = "text",
    .endings = " txt text ",
    .input = INPUT_TEXT,
    .read = read_text,
};
