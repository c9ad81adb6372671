#include "sims/world.h"

#include <math.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/base/yaml.h"

/* What a site's patients look like. */
struct site {
    const char *name;
    size_t rows;
    double male, fasting_sugar, exercise_pain; /* shares */
    double chest_pain[4];                      /* types 1 to 4 */
    double ecg[3];                             /* findings 0 to 2 */
    double age, age_sd, pressure, pressure_sd; /* years, mm Hg */
    double cholesterol, cholesterol_sd;        /* mg/dl */
    double pulse, pulse_sd;                    /* largest, per minute */
    double depression, depression_sd;          /* ST, mm */
};

static const struct site sites[WORLD_SITES] = {
    {"northgate",
     303,
     .68,
     .15,
     .33,
     {.08, .17, .28, .47},
     {.50, .01, .49},
     54.4,
     9.0,
     131.7,
     17.6,
     246.7,
     51.8,
     143.5,
     22.9,
     1.15,
     1.16},
    {"harbour",
     261,
     .72,
     .07,
     .30,
     {.04, .36, .18, .42},
     {.80, .18, .02},
     47.8,
     7.8,
     132.6,
     17.6,
     250.9,
     67.7,
     139.1,
     23.6,
     .59,
     .91},
    {"lakeside",
     46,
     .92,
     .10,
     .60,
     {.02, .03, .07, .88},
     {.70, .24, .06},
     55.3,
     9.0,
     130.2,
     22.6,
     240.0,
     55.0,
     108.0,
     22.0,
     .90,
     1.06},
    {"hillcrest",
     130,
     .97,
     .35,
     .65,
     {.04, .07, .23, .66},
     {.40, .46, .14},
     59.4,
     7.8,
     133.8,
     21.5,
     220.0,
     60.0,
     124.0,
     22.0,
     1.32,
     1.11},
};

const char *world_site_name(size_t site)
{
    return sites[site].name;
}

size_t world_site_rows(size_t site)
{
    return sites[site].rows;
}

enum tacit_err world_site_find(const char *name, size_t *out)
{
    const char *names[WORLD_SITES];
    for (size_t i = 0; i < WORLD_SITES; i++) {
        names[i] = sites[i].name;
        if (strcmp(name, names[i]) != 0) continue;
        *out = i;
        return TACIT_OK;
    }
    const char *near = yaml_nearest(name, names, WORLD_SITES);
    return fail(TACIT_NOTFOUND,
                "no site called \"%s\"; there are northgate, harbour, lakeside "
                "and hillcrest%s%s%s",
                name, near ? "; did you mean \"" : "", near ? near : "",
                near ? "\"?" : "");
}

static double within(double v, double low, double high)
{
    return v < low ? low : v > high ? high : v;
}

static int draw(struct rng *r, const double *shares, int n)
{
    double u = rng_f64(r);
    for (int i = 0; i < n - 1; i++) {
        if (u < shares[i]) return i;
        u -= shares[i];
    }
    return n - 1;
}

/* The one physiology that all sites share: log-odds of disease. */
static double log_odds(const struct world_patient *p)
{
    return -2.5 + .1 * (p->age - 54) / 9.0 + 1.0 * p->sex +
           (p->cp == 4   ? 2.8
            : p->cp == 2 ? -.4
                         : 0) -
           1.8 * (p->thalach - 137) / 25.0 + .7 * p->exang +
           .9 * (p->oldpeak - .9) / 1.1 + .15 * (p->trestbps - 132) / 18.0 +
           .15 * (p->chol - 245) / 55.0 + .3 * p->fbs +
           (p->restecg == 1 ? .2 : 0);
}

void world_patient(uint64_t seed, size_t site, uint64_t row,
                   struct world_patient *out)
{
    const struct site *s = &sites[site];
    struct rng r;
    rng_init(&r, seed, 0x636c696e6963u + site, row);
    double z[5];
    for (int i = 0; i < 5; i++) z[i] = (double)rng_normal(&r);
    out->age = (int)within(s->age + s->age_sd * z[0], 28, 80);
    out->trestbps = (int)within(s->pressure + s->pressure_sd * z[1], 80, 200);
    out->chol =
        (int)within(s->cholesterol + s->cholesterol_sd * z[2], 100, 420);
    out->thalach = (int)within(s->pulse + s->pulse_sd * z[3], 60, 205);
    double depression = fabs(s->depression + s->depression_sd * z[4]);
    out->oldpeak = floor(depression * 10 + .5) / 10;
    out->sex = rng_f64(&r) < s->male;
    out->fbs = rng_f64(&r) < s->fasting_sugar;
    out->exang = rng_f64(&r) < s->exercise_pain;
    out->cp = 1 + draw(&r, s->chest_pain, 4);
    out->restecg = draw(&r, s->ecg, 3);
    out->disease = rng_f64(&r) < 1 / (1 + exp(-log_odds(out)));
}

enum tacit_err world_csv(uint64_t seed, size_t site, uint64_t first,
                         size_t n_rows, struct buf *out)
{
    buf_printf(out, "age,sex,cp,trestbps,chol,fbs,restecg,thalach,exang,"
                    "oldpeak,disease\n");
    for (uint64_t i = first; i < first + n_rows; i++) {
        struct world_patient p;
        world_patient(seed, site, i, &p);
        buf_printf(out, "%d,%d,%d,%d,%d,%d,%d,%d,%d,%.1f,%d\n", p.age, p.sex,
                   p.cp, p.trestbps, p.chol, p.fbs, p.restecg, p.thalach,
                   p.exang, p.oldpeak, p.disease);
    }
    return buf_end(out);
}
