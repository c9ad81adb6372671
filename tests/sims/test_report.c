#include "tests/check.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "sims/report.h"
#include "tests/sims/page.h"

static const char hostile[] =
    "<script>alert(\"x\")</script> & 'one' --> ]]> &amp; <b onload=y>";
static const char harmless[] =
    "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; &#39;one&#39; "
    "--&gt; ]]&gt; &amp;amp; &lt;b onload=y&gt;";

static size_t count(const char *text, const char *word)
{
    size_t n = 0;
    while ((text = strstr(text, word))) n++, text += strlen(word);
    return n;
}

/* No coordinate of a chart is NaN or infinite. */
static void check_coordinates(const char *text)
{
    for (const char *svg = text; (svg = strstr(svg, "<svg")); svg++) {
        const char *end = strstr(svg, "</svg>");
        const char *nan = strstr(svg, "nan"), *inf = strstr(svg, "inf");
        check(end != NULL);
        check((!nan || nan > end) && (!inf || inf > end));
    }
}

static const char *finish(struct report *r)
{
    check_ok(report_end(r));
    page_check(&r->out);
    const char *text = buf_cstr(&r->out);
    check_coordinates(text);
    return text;
}

/* A page of all kinds of parts, with this text in every place. */
static void tell(struct report *r, const char *s)
{
    const double x[] = {1, 2, 3}, y[] = {3, 1, 2};
    const struct report_series series[] = {{s, 3, x, y}};
    const struct report_bar bars[] = {{s, {.5}}};
    const char *const names[] = {s};
    report_begin(r, s, s);
    report_figure(r, s, s);
    report_section(r, s, s);
    report_curves(r, s, s, series, 1);
    report_bars(r, s, 1, names, 1, bars, 1);
    report_table(r, names, 1, names, 1);
    report_answer(r, s, s, s, s);
}

enum { TEXTS = 19 }; /* how often tell() writes its text */

static void every_text_is_escaped(void **state)
{
    (void)state;
    struct report r;
    tell(&r, hostile);
    const char *text = finish(&r);
    check(count(text, harmless) == TEXTS);
    check(strstr(text, "<script") == NULL && strstr(text, "<b onload") == NULL);
    report_release(&r);
}

static void what_could_fool_a_reader_is_replaced(void **state)
{
    (void)state;
    static const char *const bad[] = {"a\x1b[31mb",
                                      "a\xff\xfe"
                                      "b",
                                      "a\xe2\x80\xae"
                                      "b",
                                      "a\xc3",
                                      "\x01",
                                      "a\x7f"
                                      "b",
                                      "\xe2\x81\xa6",
                                      "\xc0\xaf",
                                      "\r"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct report r;
        tell(&r, bad[i]);
        const char *text = finish(&r);
        check(strstr(text, bad[i]) == NULL);
        check(count(text, "?") >= TEXTS);
        report_release(&r);
    }
}

static void ordinary_text_stays_as_it_is(void **state)
{
    (void)state;
    static const char *const good[] = {"Zürich, 37 °C → µg", "日本語", "😀",
                                       "two\nlines\tand a tab", ""};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct report r;
        tell(&r, good[i]);
        check(count(finish(&r), *good[i] ? good[i] : "<h2></h2>") >= 1);
        report_release(&r);
    }
}

static void random_bytes_make_a_page_too(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 20, 0, 0);
    for (int i = 0; i < 200; i++) {
        char s[40];
        struct report r;
        size_t n = (size_t)rng_below(&rng, sizeof s);
        for (size_t k = 0; k < n; k++) s[k] = (char)(1 + rng_below(&rng, 255));
        s[n] = '\0';
        tell(&r, s);
        finish(&r);
        report_release(&r);
    }
}

static void a_page_without_parts_is_a_page(void **state)
{
    (void)state;
    struct report r;
    report_begin(&r, "t", NULL);
    const char *text = finish(&r);
    check(strstr(text, "class=\"lead\"") == NULL);
    report_release(&r);
}

static void figures_beside_each_other_share_a_row(void **state)
{
    (void)state;
    struct report r;
    report_begin(&r, "t", NULL);
    report_figure(&r, "1", "one");
    report_figure(&r, "2", "two");
    report_section(&r, "s", NULL);
    report_figure(&r, "3", "three");
    const char *text = finish(&r);
    check(count(text, "<div class=\"row\">") == 2);
    check(count(text, "<div class=\"card\">") == 3);
    report_release(&r);
}

/* ---- curves ------------------------------------------------------------- */

static const char *curve(struct report *r, const double *x, const double *y,
                         size_t n)
{
    const struct report_series s = {"s", n, x, y};
    report_begin(r, "t", NULL);
    report_curves(r, "c", "x", &s, 1);
    return finish(r);
}

/* From the drawing's left to its right, from its bottom to its top. */
static void a_line_fills_the_drawing(void **state)
{
    (void)state;
    const double x[] = {0, 5, 10}, y[] = {0, 2, 4};
    struct report r;
    const char *text = curve(&r, x, y, 3);
    check(strstr(text, "d=\"M52.0 226.0L380.0 120.0L708.0 14.0\"") != NULL);
    check(count(text, "class=\"g\"") == 5); /* 0 1 2 3 4 */
    check(strstr(text, "<circle") == NULL);
    report_release(&r);
}

static void no_points_are_an_empty_chart(void **state)
{
    (void)state;
    struct report r;
    const char *text = curve(&r, NULL, NULL, 0);
    check(strstr(text, "d=\"\"") != NULL);
    report_release(&r);
    report_begin(&r, "t", NULL);
    report_curves(&r, "c", "x", NULL, 0);
    finish(&r);
    report_release(&r);
}

static void one_point_is_a_dot(void **state)
{
    (void)state;
    const double x[] = {3}, y[] = {.25};
    struct report r;
    const char *text = curve(&r, x, y, 1);
    check(count(text, "<circle") == 1);
    report_release(&r);
}

static void what_is_not_finite_is_a_gap(void **state)
{
    (void)state;
    const double x[] = {1, 2, 3, 4, 5, 6, 7};
    const double y[] = {1, 2, NAN, 1, INFINITY, 2, 1};
    struct report r;
    const char *text = curve(&r, x, y, 7);
    /* 1-2 a line, 4 a dot, 6-7 a line. */
    check(count(text, "<circle") == 1);
    const char *d = strstr(text, "linejoin");
    check(d && (d = strstr(d, " d=\"")));
    size_t moves = 0, lines = 0;
    for (d += 4; *d != '"'; d++) moves += *d == 'M', lines += *d == 'L';
    check(moves == 3 && lines == 2);
    report_release(&r);
    const double none[] = {NAN, -INFINITY, INFINITY};
    text = curve(&r, x, none, 3);
    check(strstr(text, "d=\"\"") != NULL && strstr(text, "<circle") == NULL);
    report_release(&r);
    text = curve(&r, none, x, 3);
    check(strstr(text, "d=\"\"") != NULL);
    report_release(&r);
}

static void any_magnitude_can_be_drawn(void **state)
{
    (void)state;
    static const double pairs[][2] = {{0, 0},
                                      {5, 5},
                                      {-5, -5},
                                      {1e-300, 2e-300},
                                      {1e16, 1e16 + 2},
                                      {1e200, 1e200},
                                      {-1e299, 1e299},
                                      {-DBL_MAX, DBL_MAX},
                                      {1, 1 + 1e-15},
                                      {1e-11, 0},
                                      {1e6, 1e6 + 1e-9},
                                      {-1e308, 1}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        for (size_t j = 0; j < sizeof pairs / sizeof *pairs; j++) {
            struct report r;
            curve(&r, pairs[i], pairs[j], 2);
            report_release(&r);
        }
}

static void random_series_stay_inside_the_drawing(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 21, 0, 0);
    for (int i = 0; i < 200; i++) {
        double x[12], y[12];
        struct report r;
        size_t n = 2 + (size_t)rng_below(&rng, 11);
        double scale = pow(10, (double)rng_below(&rng, 20) - 10);
        for (size_t k = 0; k < n; k++) {
            x[k] = (double)k;
            y[k] = scale * (double)rng_normal(&rng);
        }
        const char *d = strstr(curve(&r, x, y, n), "linejoin");
        check(d && (d = strstr(d, " d=\"")));
        d += 4;
        for (size_t k = 0; k < n; k++) {
            char *end;
            double px = strtod(d + 1, &end), py = strtod(end, &end);
            check(px >= 52 && px <= 708 && py >= 14 && py <= 226);
            d = end;
        }
        check(*d == '"');
        report_release(&r);
    }
}

static void series_beyond_the_most_are_left_out(void **state)
{
    (void)state;
    const double v[] = {1, 2};
    struct report_series s[REPORT_SERIES_MAX + 3];
    struct report r;
    for (size_t i = 0; i < sizeof s / sizeof *s; i++)
        s[i] = (struct report_series){"s", 2, v, v};
    report_begin(&r, "t", NULL);
    report_curves(&r, "c", "x", s, sizeof s / sizeof *s);
    const char *text = finish(&r);
    check(count(text, "<i style=") == REPORT_SERIES_MAX);
    report_release(&r);
}

/* ---- bars and tables ---------------------------------------------------- */

static void bars_stay_between_bottom_and_top(void **state)
{
    (void)state;
    static const double values[] = {0, .5, 1, 7, -3, NAN, INFINITY, 1e308};
    static const double tops[] = {1, 0, -1, NAN, INFINITY, 1e308, 1e-9};
    const char *const names[] = {"a", "b"};
    enum { N = sizeof values / sizeof *values };
    struct report_bar bars[N];
    for (size_t i = 0; i < N; i++)
        bars[i] = (struct report_bar){"bar", {values[i], values[N - 1 - i]}};
    for (size_t t = 0; t < sizeof tops / sizeof *tops; t++) {
        struct report r;
        report_begin(&r, "t", NULL);
        report_bars(&r, "b", tops[t], names, 2, bars, N);
        check_ok(report_end(&r));
        page_check(&r.out);
        const char *text = buf_cstr(&r.out);
        check(count(text, "<rect") == 2 * (N - 2)); /* NaN, infinity */
        for (const char *p = text; (p = strstr(p, " height=\"")); p++) {
            double high = strtod(p + 9, NULL);
            check(high >= 0 && high <= 226 - 14 + .1);
        }
        report_release(&r);
    }
}

static void many_bars_have_a_width(void **state)
{
    (void)state;
    static struct report_bar bars[2000];
    const char *const names[] = {"a"};
    struct report r;
    for (size_t i = 0; i < 2000; i++) bars[i] = (struct report_bar){"", {.5}};
    report_begin(&r, "t", NULL);
    report_bars(&r, "b", 1, names, 1, bars, 2000);
    check(strstr(finish(&r), "width=\"-") == NULL);
    report_release(&r);
    report_begin(&r, "t", NULL);
    report_bars(&r, "b", 1, names, 1, bars, 0);
    check(strstr(finish(&r), "<svg") == NULL);
    report_release(&r);
}

static void numbers_stand_right_and_words_left(void **state)
{
    (void)state;
    const char *const header[] = {"site", "n", "mixed"};
    const char *const cells[] = {"a", "12", "1", "b", "-3.5 %", "one"};
    struct report r;
    report_begin(&r, "t", NULL);
    report_table(&r, header, 3, cells, 2);
    const char *text = finish(&r);
    check(strstr(text, "<th class=\"n\">n</th>") != NULL);
    check(strstr(text, "<td class=\"n\">-3.5 %</td>") != NULL);
    check(strstr(text, "<th>site</th>") && strstr(text, "<th>mixed</th>"));
    check(strstr(text, "<td>1</td>") != NULL);
    report_release(&r);
}

static void a_number_keeps_its_unit_beside_it(void **state)
{
    (void)state;
    const char *header[] = {"time", "rows", "said"};
    const char *cells[] = {"8.35 min", "12",  "3 sites", "-",     "7",
                           "4 x",      "9 J", "1",       "5 days"};
    struct report r;
    report_begin(&r, "t", NULL);
    report_table(&r, header, 3, cells, 3);
    const char *text = finish(&r);
    check(strstr(text, "<td class=\"n\">8.35 min</td>") != NULL);
    check(strstr(text, "<td class=\"n\">9 J</td>") != NULL);
    check(strstr(text, "<td>3 sites</td>") && strstr(text, "<td>4 x</td>"));
    report_release(&r);
}

/* On a telephone the page stays where it is: the table moves in its frame. */
static void a_wide_table_scrolls_by_itself(void **state)
{
    (void)state;
    const char *cell[] = {"a"};
    struct report r;
    report_begin(&r, "t", NULL);
    report_table(&r, cell, 1, cell, 1);
    const char *text = finish(&r);
    check(strstr(text, "<div class=\"wide\"><table>") != NULL);
    check(strstr(text, ".wide{overflow-x:auto}") != NULL);
    report_release(&r);
}

static void a_band_goes_there_along_one_and_back_along_the_other(void **state)
{
    (void)state;
    const double x[] = {0, 1, 2, 3, 4}, y[] = {1, 1, NAN, 1, 1};
    const double low[] = {0, 0, 0, 0, 0}, high[] = {2, 2, 2, 2, INFINITY};
    const struct report_series series[] = {{"a", 5, x, y}, {"b", 5, x, y}};
    const struct report_band bands[] = {{low, high}, {NULL, NULL}};
    struct report r;
    report_begin(&r, "t", NULL);
    report_bands(&r, "t", "x", series, bands, 2);
    const char *page = finish(&r);
    /* 0 to 1 is a stretch; 3 alone; 4 has no upper end. */
    check(strstr(page, "d=\"M52.0 226.0L216.0 226.0L216.0 14.0L52.0 14.0Z"
                       "M544.0 226.0L544.0 14.0Z\"") != NULL);
    check(count(page, "opacity=") == 1);
    report_release(&r);
}

static void a_table_too_wide_loses_its_last_columns_only(void **state)
{
    (void)state;
    enum { WIDE = REPORT_COLUMNS_MAX + 2 };
    char text[2 * WIDE][8];
    const char *header[WIDE], *cells[2 * WIDE];
    struct report r;
    for (size_t i = 0; i < 2 * WIDE; i++) {
        snprintf(text[i], sizeof text[i], "r%zuc%zu", i / WIDE, i % WIDE);
        cells[i] = text[i];
        header[i % WIDE] = "h";
    }
    report_begin(&r, "t", NULL);
    report_table(&r, header, WIDE, cells, 2);
    const char *page = finish(&r);
    check(strstr(page, "<tr><td>r1c0</td>") != NULL);
    check(strstr(page, "r0c19<") && !strstr(page, "r0c20"));
    report_release(&r);
    report_begin(&r, "t", NULL);
    report_table(&r, header, 3, NULL, 0);
    check(count(finish(&r), "<th>h</th>") == 3);
    report_release(&r);
}

static void an_answer_may_lack_its_source(void **state)
{
    (void)state;
    struct report r;
    report_begin(&r, "t", NULL);
    report_answer(&r, "harbour", "why?", "because", NULL);
    check(count(finish(&r), "class=\"where\"") == 1);
    report_release(&r);
}

static void a_page_beyond_its_limit_is_an_error_at_the_end(void **state)
{
    (void)state;
    struct report r;
    size_t n = 9 << 20;
    char *much = malloc(n + 1);
    check(much != NULL);
    memset(much, '&', n); /* five bytes each */
    much[n] = '\0';
    report_begin(&r, "t", NULL);
    report_section(&r, "s", much);
    report_section(&r, "s", much);
    report_figure(&r, "1", "one");
    check_err(report_end(&r), TACIT_LIMIT);
    report_release(&r);
    free(much);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_text_is_escaped),
        cmocka_unit_test(what_could_fool_a_reader_is_replaced),
        cmocka_unit_test(ordinary_text_stays_as_it_is),
        cmocka_unit_test(random_bytes_make_a_page_too),
        cmocka_unit_test(a_page_without_parts_is_a_page),
        cmocka_unit_test(figures_beside_each_other_share_a_row),
        cmocka_unit_test(a_line_fills_the_drawing),
        cmocka_unit_test(no_points_are_an_empty_chart),
        cmocka_unit_test(one_point_is_a_dot),
        cmocka_unit_test(what_is_not_finite_is_a_gap),
        cmocka_unit_test(any_magnitude_can_be_drawn),
        cmocka_unit_test(random_series_stay_inside_the_drawing),
        cmocka_unit_test(series_beyond_the_most_are_left_out),
        cmocka_unit_test(bars_stay_between_bottom_and_top),
        cmocka_unit_test(many_bars_have_a_width),
        cmocka_unit_test(numbers_stand_right_and_words_left),
        cmocka_unit_test(a_band_goes_there_along_one_and_back_along_the_other),
        cmocka_unit_test(a_number_keeps_its_unit_beside_it),
        cmocka_unit_test(a_wide_table_scrolls_by_itself),
        cmocka_unit_test(a_table_too_wide_loses_its_last_columns_only),
        cmocka_unit_test(an_answer_may_lack_its_source),
        cmocka_unit_test(a_page_beyond_its_limit_is_an_error_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
