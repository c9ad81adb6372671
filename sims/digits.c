#include "sims/digits.h"

#include <math.h>
#include <string.h>

#include "common/base/rng.h"

/* What a stream of random numbers is for. */
enum { FOR_WRITER = 0x64696777, FOR_LABEL = 0x6469676c, FOR_ROW = 0x64696772 };
enum {
    POINTS_MAX = 9,
    STROKES_MAX = 3,
    WAYS_MAX = 3,
    STEPS = 5 /* straight pieces between two points */
};

struct point {
    double x, y;
};

/* Points in a box of 0 to 100, y downwards. */
struct stroke {
    unsigned n;
    unsigned char p[POINTS_MAX][2];
};

struct way {
    unsigned n;
    struct stroke stroke[STROKES_MAX];
};

static const struct {
    unsigned n;
    struct way way[WAYS_MAX];
} shapes[DIGITS_CLASSES] = {
    /* 0 */
    {2,
     {{1,
       {{9,
         {{52, 10},
          {32, 18},
          {24, 48},
          {32, 82},
          {52, 90},
          {70, 80},
          {77, 50},
          {70, 20},
          {50, 10}}}}},
      {1,
       {{8,
         {{60, 14},
          {40, 10},
          {26, 36},
          {26, 66},
          {46, 90},
          {70, 72},
          {72, 36},
          {56, 8}}}}}}},
    /* 1 */
    {3,
     {{1, {{3, {{52, 8}, {50, 50}, {48, 92}}}}},
      {1, {{4, {{34, 28}, {53, 9}, {52, 50}, {51, 92}}}}},
      {2,
       {{4, {{36, 26}, {52, 9}, {51, 50}, {50, 90}}},
        {3, {{32, 91}, {50, 90}, {68, 91}}}}}}},
    /* 2 */
    {2,
     {{1,
       {{8,
         {{28, 28},
          {40, 11},
          {62, 12},
          {70, 32},
          {54, 58},
          {28, 88},
          {50, 89},
          {76, 88}}}}},
      {1,
       {{9,
         {{26, 26},
          {46, 9},
          {68, 22},
          {62, 50},
          {36, 82},
          {26, 84},
          {38, 74},
          {56, 88},
          {78, 82}}}}}}},
    /* 3 */
    {2,
     {{1,
       {{9,
         {{28, 18},
          {48, 9},
          {68, 22},
          {60, 42},
          {42, 48},
          {66, 56},
          {72, 74},
          {52, 91},
          {26, 82}}}}},
      {2,
       {{4, {{28, 12}, {50, 11}, {70, 12}, {44, 44}}},
        {5, {{44, 44}, {66, 52}, {72, 72}, {52, 91}, {26, 84}}}}}}},
    /* 4 */
    {2,
     {{2,
       {{5, {{60, 8}, {44, 34}, {22, 62}, {50, 62}, {82, 61}}},
        {3, {{62, 36}, {61, 64}, {60, 93}}}}},
      {2,
       {{5, {{32, 10}, {28, 32}, {30, 50}, {52, 52}, {72, 46}}},
        {3, {{70, 10}, {67, 50}, {64, 92}}}}}}},
    /* 5 */
    {2,
     {{2,
       {{8,
         {{34, 12},
          {31, 30},
          {30, 44},
          {52, 40},
          {72, 56},
          {68, 80},
          {46, 91},
          {26, 82}}},
        {3, {{34, 12}, {52, 12}, {74, 10}}}}},
      {1,
       {{9,
         {{74, 12},
          {52, 12},
          {34, 14},
          {31, 42},
          {54, 42},
          {72, 58},
          {66, 82},
          {46, 90},
          {26, 84}}}}}}},
    /* 6 */
    {2,
     {{1,
       {{9,
         {{64, 10},
          {42, 28},
          {28, 58},
          {34, 86},
          {56, 90},
          {70, 72},
          {60, 54},
          {42, 56},
          {30, 70}}}}},
      {1,
       {{8,
         {{48, 8},
          {34, 40},
          {28, 70},
          {42, 90},
          {64, 86},
          {66, 66},
          {48, 58},
          {31, 72}}}}}}},
    /* 7 */
    {3,
     {{1, {{6, {{24, 14}, {46, 13}, {74, 12}, {64, 36}, {54, 62}, {46, 92}}}}},
      {2,
       {{6, {{24, 14}, {46, 13}, {74, 12}, {64, 36}, {54, 62}, {46, 92}}},
        {3, {{40, 52}, {56, 51}, {72, 50}}}}},
      {1,
       {{7,
         {{24, 24},
          {26, 13},
          {50, 14},
          {74, 12},
          {60, 44},
          {54, 66},
          {52, 92}}}}}}},
    /* 8 */
    {2,
     {{1,
       {{9,
         {{66, 22},
          {48, 9},
          {34, 26},
          {52, 48},
          {70, 70},
          {50, 91},
          {30, 72},
          {50, 48},
          {66, 22}}}}},
      {2,
       {{7,
         {{50, 9}, {34, 18}, {36, 40}, {52, 47}, {66, 36}, {64, 16}, {50, 9}}},
        {7,
         {{51, 47},
          {32, 60},
          {32, 82},
          {52, 91},
          {70, 80},
          {68, 58},
          {51, 47}}}}}}},
    /* 9 */
    {2,
     {{1,
       {{9,
         {{68, 30},
          {52, 10},
          {32, 22},
          {34, 44},
          {54, 48},
          {68, 30},
          {68, 50},
          {64, 72},
          {58, 92}}}}},
      {1,
       {{9,
         {{70, 22},
          {46, 10},
          {30, 30},
          {44, 50},
          {66, 40},
          {70, 22},
          {70, 60},
          {56, 90},
          {34, 88}}}}}}},
};

/* How strong each variation is, in parts of the box, radians or factors. */
#define JITTER      0.034 /* of each control point */
#define TURN        0.13
#define SLANT_OWN   0.16 /* of a writer */
#define SLANT_ROW   0.12
#define SIZE_OWN    0.06
#define SIZE_ROW    0.08
#define PLACE       0.045
#define PEN_MIN     0.030 /* half a stroke's width */
#define PEN_RANGE   0.035
#define NOISE       0.10
#define INK_MIN     0.65
#define SPECK_SHARE 0.35 /* pictures with a stray mark */

struct writer {
    double slant, width, height, pen;
    uint64_t ways; /* seeds the favourites */
};

/* Box -> picture. */
struct hand {
    double xx, xy, yx, yy, x0, y0; /* pixels = A p + (x0, y0) */
    double radius;                 /* of the pen, pixels */
};

static double normal(struct rng *r)
{
    return (double)rng_normal(r);
}

static double bounded(double v, double most)
{
    return v > most ? most : v < -most ? -most : v;
}

unsigned digits_label(uint64_t seed, uint64_t w, uint64_t r, unsigned n_classes)
{
    struct rng rng;
    rng_init(&rng, seed ^ FOR_LABEL, w, r);
    return (unsigned)rng_below(&rng, n_classes);
}

static void know_writer(uint64_t seed, uint64_t w, struct writer *out)
{
    struct rng rng;
    rng_init(&rng, seed, FOR_WRITER, w);
    out->slant = SLANT_OWN * normal(&rng);
    out->width = exp(SIZE_OWN * normal(&rng));
    out->height = exp(SIZE_OWN * normal(&rng));
    out->pen = PEN_MIN + PEN_RANGE * rng_f64(&rng);
    out->ways = rng_u64(&rng);
}

/* The way this writer likes best three times in four, else any. */
static const struct way *choose_way(struct rng *rng, const struct writer *w,
                                    unsigned label)
{
    unsigned n = shapes[label].n;
    unsigned own = (unsigned)((w->ways >> (6 * label)) % n);
    unsigned any = (unsigned)rng_below(rng, n);
    return &shapes[label].way[rng_f64(rng) < 0.75 ? own : any];
}

static void hold_pen(struct rng *rng, const struct writer *w,
                     const struct digits_canvas *c, struct hand *out)
{
    double side = (double)(c->height < c->width ? c->height : c->width);
    double turn = bounded(TURN * normal(rng), 0.4);
    double slant = bounded(w->slant + SLANT_ROW * normal(rng), 0.6);
    double sx = 0.86 * side * w->width * exp(SIZE_ROW * normal(rng));
    double sy = 0.86 * side * w->height * exp(SIZE_ROW * normal(rng));
    double cs = cos(turn), sn = sin(turn);
    out->xx = sx * cs;
    out->xy = -sy * (sn + slant * cs);
    out->yx = sx * sn;
    out->yy = sy * (cs - slant * sn);
    out->x0 =
        0.5 * (double)c->width + bounded(PLACE * normal(rng), 0.12) * side;
    out->y0 =
        0.5 * (double)c->height + bounded(PLACE * normal(rng), 0.12) * side;
    out->radius = side * w->pen * exp(0.15 * normal(rng));
}

/* ---- ink ---------------------------------------------------------------- */

/* Ink of a straight piece of radius r: 1 inside, falling to 0 over a pixel. */
static void draw_piece(const struct digits_canvas *c, struct point a,
                       struct point b, double r, double ink, float *out)
{
    double dx = b.x - a.x, dy = b.y - a.y, length = dx * dx + dy * dy;
    double reach = r + 1, w = (double)c->width, h = (double)c->height;
    int left = (int)fmax(0, floor(fmin(a.x, b.x) - reach));
    int top = (int)fmax(0, floor(fmin(a.y, b.y) - reach));
    int right = (int)fmin(w, ceil(fmax(a.x, b.x) + reach));
    int bottom = (int)fmin(h, ceil(fmax(a.y, b.y) + reach));
    for (int y = top; y < bottom; y++) {
        for (int x = left; x < right; x++) {
            double px = x + 0.5 - a.x, py = y + 0.5 - a.y;
            double t = length > 0 ? (px * dx + py * dy) / length : 0;
            t = t < 0 ? 0 : t > 1 ? 1 : t;
            double ex = px - t * dx, ey = py - t * dy;
            double d2 = ex * ex + ey * ey;
            if (d2 >= reach * reach) continue;
            double v = ink * fmin(1, reach - sqrt(d2));
            float *p = &out[(size_t)y * c->width + (size_t)x];
            if (v > (double)*p) *p = (float)v;
        }
    }
}

/* Catmull-Rom between p1 and p2. */
static double curve(double p0, double p1, double p2, double p3, double t)
{
    return p1 + 0.5 * t *
                    (p2 - p0 +
                     t * (2 * p0 - 5 * p1 + 4 * p2 - p3 +
                          t * (3 * (p1 - p2) + p3 - p0)));
}

static void draw_stroke(struct rng *rng, const struct stroke *s,
                        const struct hand *h, const struct digits_canvas *c,
                        double ink, float *out)
{
    struct point p[POINTS_MAX];
    for (unsigned i = 0; i < s->n; i++) {
        double x = s->p[i][0] / 100.0 - 0.5 + JITTER * normal(rng);
        double y = s->p[i][1] / 100.0 - 0.5 + JITTER * normal(rng);
        p[i].x = h->xx * x + h->xy * y + h->x0;
        p[i].y = h->yx * x + h->yy * y + h->y0;
    }
    for (unsigned i = 0; i + 1 < s->n; i++) {
        struct point p0 = p[i ? i - 1 : 0], last = p[i];
        struct point p3 = p[i + 2 < s->n ? i + 2 : i + 1];
        for (int k = 1; k <= STEPS; k++) {
            double t = (double)k / STEPS;
            struct point next = {curve(p0.x, p[i].x, p[i + 1].x, p3.x, t),
                                 curve(p0.y, p[i].y, p[i + 1].y, p3.y, t)};
            draw_piece(c, last, next, h->radius, ink, out);
            last = next;
        }
    }
}

/* A stray mark somewhere near the edge. */
static void draw_speck(struct rng *rng, const struct digits_canvas *c,
                       const struct hand *h, float *out)
{
    double angle = 6.283185307179586 * rng_f64(rng);
    double along = 6.283185307179586 * rng_f64(rng);
    double side = (double)(c->height < c->width ? c->height : c->width);
    struct point a = {0.5 * (double)c->width + 0.42 * side * cos(angle),
                      0.5 * (double)c->height + 0.42 * side * sin(angle)};
    struct point b = {a.x + 0.16 * side * cos(along),
                      a.y + 0.16 * side * sin(along)};
    if (rng_f64(rng) < SPECK_SHARE)
        draw_piece(c, a, b, h->radius, INK_MIN, out);
}

/* Grain on every pixel, then the nearest of 256 levels. */
static void develop(struct rng *rng, float *out, size_t n)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < n; i++) {
        if (i % 8 == 0) bits = rng_u64(rng);
        double grain = ((double)(bits & 255) - 127.5) / 127.5;
        double v = (double)out[i] + NOISE * grain;
        bits >>= 8;
        v = v < 0 ? 0 : v > 1 ? 1 : v;
        out[i] = (float)((double)(int)(255 * v + 0.5) / 255);
    }
}

void digits_draw(uint64_t seed, uint64_t w, uint64_t r, unsigned label,
                 const struct digits_canvas *c, float *out)
{
    struct writer writer;
    struct hand hand;
    struct rng rng;
    know_writer(seed, w, &writer);
    rng_init(&rng, seed ^ FOR_ROW, w, r);
    memset(out, 0, c->height * c->width * sizeof *out);
    hold_pen(&rng, &writer, c, &hand);
    double ink = INK_MIN + (1 - INK_MIN) * rng_f64(&rng);
    const struct way *way = choose_way(&rng, &writer, label);
    for (unsigned i = 0; i < way->n; i++)
        draw_stroke(&rng, &way->stroke[i], &hand, c, ink, out);
    draw_speck(&rng, c, &hand, out);
    develop(&rng, out, c->height * c->width);
}
