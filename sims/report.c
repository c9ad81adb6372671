#include "sims/report.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

#include "common/base/utf8.h"

static const char style[] =
    ":root{color-scheme:light dark;--bg:#fbfbf9;--ink:#1c2326;--soft:#5d686d;"
    "--line:#dfe3e2;--card:#fff;--c0:#0b6e6e;--c1:#c8632b;--c2:#5a55a3;"
    "--c3:#8a8f1f;--c4:#b0306a;--c5:#3b7dd8}"
    "@media(prefers-color-scheme:dark){:root{--bg:#14191b;--ink:#e8eceb;"
    "--soft:#9aa7ab;--line:#2c3538;--card:#1b2225;--c0:#3fb8b0;--c1:#f0935c;"
    "--c2:#a39df0;--c3:#ccd04f;--c4:#f07bb0;--c5:#7db2ff}}"
    "*{box-sizing:border-box}body{margin:0 auto;max-width:60rem;padding:2.5rem "
    "1.25rem;background:var(--bg);color:var(--ink);font:16px/1.55 system-ui,"
    "-apple-system,'Segoe UI',sans-serif}h1{font-size:1.9rem;line-height:1.2;"
    "margin:0 0 .4rem}h2{font-size:1.25rem;margin:2.4rem 0 .4rem}"
    "p{margin:.3rem 0 1rem;max-width:44rem}.lead{color:var(--soft);"
    "font-size:1.05rem}"
    ".row{display:flex;flex-wrap:wrap;gap:.8rem;margin:1rem 0}.card{flex:1 1 "
    "9rem;background:var(--card);border:1px solid var(--line);"
    "border-radius:10px;padding:.8rem 1rem}.card b{display:block;"
    "font-size:1.6rem;line-height:1.2;"
    "font-variant-numeric:tabular-nums}.card span,figcaption,.where{color:"
    "var(--soft);font-size:.88rem}figure{margin:1rem 0;background:var(--card);"
    "border:1px solid var(--line);border-radius:10px;padding:.9rem 1rem}svg{"
    "display:block;width:100%;height:auto}svg text{fill:var(--soft);font-size:"
    "11px;font-family:inherit}.g{stroke:var(--line);fill:none}"
    ".key{display:flex;flex-wrap:wrap;gap:.2rem 1rem;font-size:.88rem;"
    "margin-top:.4rem}.key i{"
    "display:inline-block;width:.8em;height:.8em;border-radius:3px;"
    "margin-right:.4em;vertical-align:-.05em}"
    "table{border-collapse:collapse;width:100%;margin:.6rem 0 1rem;"
    "font-size:.94rem}th,td{text-align:left;padding:.4rem;"
    "border-bottom:1px solid var(--line)}.wide{overflow-x:auto}"
    "th{color:var(--soft);font-weight:600}"
    ".n{text-align:right}td.n{white-space:nowrap;"
    "font-variant-numeric:tabular-nums}.qa{background:"
    "var(--card);border:1px solid var(--line);border-left:4px solid var(--c0);"
    "border-radius:10px;padding:.7rem 1rem;margin:.8rem 0}.qa b{display:block}"
    "@media print{body{max-width:none;padding:0}figure,.card,.qa{break-inside:"
    "avoid}}";

/* One character, made harmless: what is no text, a control character or a mark
 * of direction becomes '?' (utf8.h); line ends stay. Returns its bytes. */
static size_t put_character(struct report *r, const char *s, size_t left)
{
    char one[8] = "", shown[8];
    size_t n = utf8_next(s, left, NULL);
    memcpy(one, s, n ? n : 1);
    utf8_printable(shown, sizeof shown, one);
    buf_printf(&r->out, "%s", *s == '\n' || *s == '\t' ? one : shown);
    return n ? n : 1;
}

static void text(struct report *r, const char *s)
{
    for (size_t left = strlen(s), n; left > 0; s += n, left -= n) {
        n = 1;
        switch (*s) {
        case '&': buf_printf(&r->out, "&amp;"); break;
        case '<': buf_printf(&r->out, "&lt;"); break;
        case '>': buf_printf(&r->out, "&gt;"); break;
        case '"': buf_printf(&r->out, "&quot;"); break;
        case '\'': buf_printf(&r->out, "&#39;"); break;
        default: n = put_character(r, s, left);
        }
    }
}

static void element(struct report *r, const char *open, const char *content,
                    const char *close)
{
    buf_printf(&r->out, "%s", open);
    text(r, content);
    buf_printf(&r->out, "%s\n", close);
}

static void end_cards(struct report *r)
{
    if (r->cards) buf_printf(&r->out, "</div>\n");
    r->cards = 0;
}

void report_begin(struct report *r, const char *title, const char *summary)
{
    buf_init(&r->out, (size_t)64 << 20);
    r->cards = 0;
    buf_printf(&r->out,
               "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
               "<meta name=\"viewport\" content=\"width=device-width,"
               "initial-scale=1\">\n");
    element(r, "<title>", title, "</title>");
    buf_printf(&r->out, "<style>%s</style>\n", style);
    element(r, "<h1>", title, "</h1>");
    if (summary) element(r, "<p class=\"lead\">", summary, "</p>");
}

enum tacit_err report_end(struct report *r)
{
    end_cards(r);
    buf_printf(&r->out, "</html>\n");
    return buf_end(&r->out);
}

void report_release(struct report *r)
{
    buf_release(&r->out);
}

void report_section(struct report *r, const char *title, const char *paragraph)
{
    end_cards(r);
    element(r, "<h2>", title, "</h2>");
    if (paragraph) element(r, "<p>", paragraph, "</p>");
}

void report_figure(struct report *r, const char *value, const char *caption)
{
    if (!r->cards) buf_printf(&r->out, "<div class=\"row\">\n");
    r->cards = 1;
    element(r, "<div class=\"card\"><b>", value, "</b>");
    element(r, "<span>", caption, "</span></div>");
}

/* Plot area of every chart, in SVG units. */
enum {
    LEFT = 52,
    RIGHT = 708,
    TOP = 14,
    BOTTOM = 226,
    WIDTH = 720,
    HIGH = 262
};

struct axis {
    double low, high, step;
};

/* Finite, and so is the difference of two of them. */
static int drawable(double v)
{
    return fabs(v) < 1e300;
}

/* Round limits and a step of 1, 2 or 5 times a power of ten. Limits that hardly
 * differ are drawn apart. */
static struct axis axis_for(double low, double high)
{
    if (!(low <= high && drawable(low) && drawable(high))) low = 0, high = 1;
    double big = fmax(fabs(low), fabs(high));
    if (high - low < fmax(1e-12, 1e-9 * big))
        high = low + (big > 1e-9 ? big : 1);
    double raw = (high - low) / 4;
    double unit = pow(10, floor(log10(raw)));
    double m = raw / unit;
    double step = (m <= 1 ? 1 : m <= 2 ? 2 : m <= 5 ? 5 : 10) * unit;
    struct axis a = {floor(low / step) * step, ceil(high / step) * step, step};
    return a;
}

static double place(const struct axis *a, double v, double from, double to)
{
    return from + (v - a->low) / (a->high - a->low) * (to - from);
}

static void draw_grid(struct report *r, const struct axis *y)
{
    int lines = (int)floor((y->high - y->low) / y->step + .5);
    for (int i = 0; i <= lines && i <= 12; i++) {
        double v = y->low + i * y->step;
        double at = place(y, v, BOTTOM, TOP);
        buf_printf(&r->out,
                   "<path class=\"g\" d=\"M%d %.1fH%d\"/><text x=\"%d\" "
                   "y=\"%.1f\" text-anchor=\"end\">%g</text>\n",
                   LEFT, at, RIGHT, LEFT - 6, at + 4,
                   fabs(v) < 1e-12 ? 0.0 : v);
    }
}

static void open_chart(struct report *r, const char *title)
{
    end_cards(r);
    element(r, "<figure><figcaption>", title, "</figcaption>");
    buf_printf(&r->out, "<svg viewBox=\"0 0 %d %d\" role=\"img\">\n", WIDTH,
               HIGH);
}

static void close_chart(struct report *r, const char *const *names, size_t n)
{
    buf_printf(&r->out, "</svg>\n<div class=\"key\">");
    for (size_t i = 0; i < n; i++) {
        buf_printf(&r->out, "<span><i style=\"background:var(--c%zu)\"></i>",
                   i);
        element(r, "", names[i], "</span>");
    }
    buf_printf(&r->out, "</div></figure>\n");
}

static void extend(const double *v, size_t n, double *low, double *high)
{
    for (size_t i = 0; i < n; i++) {
        if (!drawable(v[i])) continue;
        if (v[i] < *low) *low = v[i];
        if (v[i] > *high) *high = v[i];
    }
}

static int has_point(const struct report_series *s, size_t i)
{
    return i < s->n && drawable(s->x[i]) && drawable(s->y[i]);
}

/* A line through neighbours; a point without any is a dot. */
static void draw_curve(struct report *r, const struct report_series *s,
                       size_t colour, const struct axis *x,
                       const struct axis *y)
{
    buf_printf(
        &r->out,
        "<path fill=\"none\" stroke=\"var(--c%zu)\" stroke-width=\"2.2\" "
        "stroke-linejoin=\"round\" d=\"",
        colour);
    for (size_t i = 0; i < s->n; i++)
        if (has_point(s, i))
            buf_printf(&r->out, "%s%.1f %.1f",
                       i > 0 && has_point(s, i - 1) ? "L" : "M",
                       place(x, s->x[i], LEFT, RIGHT),
                       place(y, s->y[i], BOTTOM, TOP));
    buf_printf(&r->out, "\"/>\n");
    for (size_t i = 0; i < s->n; i++)
        if (has_point(s, i) && !has_point(s, i + 1) &&
            !(i > 0 && has_point(s, i - 1)))
            buf_printf(&r->out,
                       "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" "
                       "fill=\"var(--c%zu)\"/>\n",
                       place(x, s->x[i], LEFT, RIGHT),
                       place(y, s->y[i], BOTTOM, TOP), colour);
}

static int has_band(const struct report_series *s, const struct report_band *b,
                    size_t i)
{
    return has_point(s, i) && drawable(b->low[i]) && drawable(b->high[i]);
}

/* Between low and high: there along one, back along the other, for every
 * stretch of neighbours. */
static void draw_band(struct report *r, const struct report_series *s,
                      const struct report_band *b, size_t colour,
                      const struct axis *x, const struct axis *y)
{
    if (!b->low || !b->high) return;
    buf_printf(&r->out,
               "<path stroke=\"none\" opacity=\"0.18\" "
               "fill=\"var(--c%zu)\" d=\"",
               colour);
    for (size_t i = 0, end; i < s->n; i = end) {
        end = i + 1;
        if (!has_band(s, b, i)) continue;
        while (end < s->n && has_band(s, b, end)) end++;
        for (size_t k = i; k < end; k++)
            buf_printf(&r->out, "%s%.1f %.1f", k == i ? "M" : "L",
                       place(x, s->x[k], LEFT, RIGHT),
                       place(y, b->low[k], BOTTOM, TOP));
        for (size_t k = end; k-- > i;)
            buf_printf(&r->out, "L%.1f %.1f", place(x, s->x[k], LEFT, RIGHT),
                       place(y, b->high[k], BOTTOM, TOP));
        buf_printf(&r->out, "Z");
    }
    buf_printf(&r->out, "\"/>\n");
}

static void draw_ends(struct report *r, double low, double high,
                      const char *label)
{
    if (isfinite(low))
        buf_printf(&r->out,
                   "<text x=\"%d\" y=\"%d\">%.6g</text><text x=\"%d\" "
                   "y=\"%d\" text-anchor=\"end\">%.6g</text>\n",
                   LEFT, BOTTOM + 18, low, RIGHT, BOTTOM + 18, high);
    buf_printf(&r->out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">",
               (LEFT + RIGHT) / 2, BOTTOM + 30);
    element(r, "", label, "</text>");
}

void report_bands(struct report *r, const char *title, const char *x_label,
                  const struct report_series *series,
                  const struct report_band *bands, size_t n_series)
{
    double x_low = INFINITY, x_high = -INFINITY;
    double y_low = INFINITY, y_high = -INFINITY;
    const char *names[REPORT_SERIES_MAX];
    if (n_series > REPORT_SERIES_MAX) n_series = REPORT_SERIES_MAX;
    for (size_t i = 0; i < n_series; i++) {
        extend(series[i].x, series[i].n, &x_low, &x_high);
        extend(series[i].y, series[i].n, &y_low, &y_high);
        names[i] = series[i].name;
        if (!bands || !bands[i].low || !bands[i].high) continue;
        extend(bands[i].low, series[i].n, &y_low, &y_high);
        extend(bands[i].high, series[i].n, &y_low, &y_high);
    }
    struct axis y = axis_for(y_low, y_high);
    struct axis x = {x_low, x_high, 1};
    if (!(x_high > x_low)) x.high = x_low + fmax(1, fabs(x_low));
    open_chart(r, title);
    draw_grid(r, &y);
    for (size_t i = 0; bands && i < n_series; i++)
        draw_band(r, &series[i], &bands[i], i, &x, &y);
    for (size_t i = 0; i < n_series; i++) draw_curve(r, &series[i], i, &x, &y);
    draw_ends(r, x_low, x_high, x_label);
    close_chart(r, names, n_series);
}

void report_curves(struct report *r, const char *title, const char *x_label,
                   const struct report_series *series, size_t n_series)
{
    report_bands(r, title, x_label, series, NULL, n_series);
}

void report_bars(struct report *r, const char *title, double top,
                 const char *const *names, size_t n_series,
                 const struct report_bar *bars, size_t n_bars)
{
    if (n_series > REPORT_SERIES_MAX) n_series = REPORT_SERIES_MAX;
    if (n_bars == 0 || n_series == 0) return;
    struct axis y = axis_for(0, top);
    double group = (double)(RIGHT - LEFT) / (double)n_bars;
    double width = group * .72 / (double)n_series;
    double gap = width > 4 ? 1 : 0;
    open_chart(r, title);
    draw_grid(r, &y);
    for (size_t g = 0; g < n_bars; g++) {
        double left = LEFT + group * ((double)g + .14);
        for (size_t i = 0; i < n_series; i++) {
            double v = bars[g].value[i];
            if (!isfinite(v)) continue;
            double shown = fmin(fmax(v, 0), y.high);
            double at = place(&y, shown, BOTTOM, TOP);
            double x = left + width * (double)i;
            buf_printf(&r->out,
                       "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
                       "height=\"%.1f\" rx=\"2\" fill=\"var(--c%zu)\"/><text "
                       "x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%.2f"
                       "</text>\n",
                       x + gap, at, width - 2 * gap, BOTTOM - at, i,
                       x + width / 2, at - 4, v);
        }
        buf_printf(&r->out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">",
                   LEFT + group * ((double)g + .5), BOTTOM + 18);
        element(r, "", bars[g].label, "</text>");
    }
    close_chart(r, names, n_series);
}

enum { UNIT_MAX = 3 }; /* letters: min */

/* A number, or one with its unit: "0.76 ± 0.01", "2.3 MB", "8.4 min". */
static int numeric(const char *s)
{
    size_t n = strspn(s, "0123456789.,+-%/ \xc2\xb1"); /* ± */
    if (n < 2 || s[n - 1] != ' ') return *s && s[n] == '\0';
    for (size_t unit = 0; s[n]; n++)
        if (!isalpha((unsigned char)s[n]) || ++unit > UNIT_MAX) return 0;
    return 1;
}

void report_table(struct report *r, const char *const *header, size_t n_columns,
                  const char *const *cells, size_t n_rows)
{
    int right[REPORT_COLUMNS_MAX];
    size_t stride = n_columns;
    if (n_columns > REPORT_COLUMNS_MAX) n_columns = REPORT_COLUMNS_MAX;
    end_cards(r);
    buf_printf(&r->out, "<div class=\"wide\"><table><tr>");
    for (size_t c = 0; c < n_columns; c++) {
        right[c] = n_rows > 0;
        for (size_t i = 0; i < n_rows; i++)
            right[c] &= numeric(cells[i * stride + c]);
        element(r, right[c] ? "<th class=\"n\">" : "<th>", header[c], "</th>");
    }
    buf_printf(&r->out, "</tr>\n");
    for (size_t i = 0; i < n_rows; i++) {
        buf_printf(&r->out, "<tr>");
        for (size_t c = 0; c < n_columns; c++)
            element(r, right[c] ? "<td class=\"n\">" : "<td>",
                    cells[i * stride + c], "</td>");
        buf_printf(&r->out, "</tr>\n");
    }
    buf_printf(&r->out, "</table></div>\n");
}

void report_answer(struct report *r, const char *place_name,
                   const char *question, const char *answer, const char *source)
{
    end_cards(r);
    element(r, "<div class=\"qa\"><span class=\"where\">", place_name,
            "</span>");
    element(r, "<b>", question, "</b>");
    element(r, "<div>", answer, "</div>");
    if (source) element(r, "<span class=\"where\">", source, "</span>");
    buf_printf(&r->out, "</div>\n");
}
