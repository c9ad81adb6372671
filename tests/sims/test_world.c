#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/csv.h"
#include "sims/world.h"

enum { COLUMNS = 11, MANY = 20000 };

static const char header[] =
    "age,sex,cp,trestbps,chol,fbs,restecg,thalach,exang,oldpeak,disease";

/* What may stand in each column. */
static const double lowest[COLUMNS] = {28, 0, 1, 80, 100, 0, 0, 60, 0, 0, 0};
static const double highest[COLUMNS] = {80, 1, 4, 200, 420, 1, 2, 205, 1, 7, 1};

static void row_of(const struct world_patient *p, double out[COLUMNS])
{
    const double row[COLUMNS] = {p->age,   p->sex,     p->cp,      p->trestbps,
                                 p->chol,  p->fbs,     p->restecg, p->thalach,
                                 p->exang, p->oldpeak, p->disease};
    memcpy(out, row, sizeof row);
}

static void same_seed_same_bytes_and_another_seed_others(void **state)
{
    (void)state;
    for (size_t site = 0; site < WORLD_SITES; site++) {
        struct buf a, b, c;
        buf_init(&a, 0), buf_init(&b, 0), buf_init(&c, 0);
        check_ok(world_csv(7, site, 0, 50, &a));
        check_ok(world_csv(7, site, 0, 50, &b));
        check_ok(world_csv(8, site, 0, 50, &c));
        check(a.len == b.len && memcmp(a.data, b.data, a.len) == 0);
        check(a.len != c.len || memcmp(a.data, c.data, a.len) != 0);
        buf_release(&a), buf_release(&b), buf_release(&c);
    }
}

/* A row is a function of (seed, site, row), so a site can be dealt out in any
 * portions. */
static void portions_of_a_site_put_together_are_the_site(void **state)
{
    (void)state;
    struct buf whole, part;
    size_t at = 0;
    buf_init(&whole, 0);
    check_ok(world_csv(3, 2, 0, 46, &whole));
    for (uint64_t first = 0; first < 46; first += 23) {
        buf_init(&part, 0);
        check_ok(world_csv(3, 2, first, 23, &part));
        size_t skip = at ? sizeof header : 0; /* with its newline */
        check(at + part.len - skip <= whole.len);
        check(memcmp(whole.data + at, part.data + skip, part.len - skip) == 0);
        at += part.len - skip;
        buf_release(&part);
    }
    check(at == whole.len);
    buf_release(&whole);
}

static void no_two_sites_see_the_same_patients(void **state)
{
    (void)state;
    struct world_patient a, b;
    for (size_t i = 0; i < WORLD_SITES; i++)
        for (size_t j = 0; j < i; j++) {
            int n_same = 0;
            for (uint64_t row = 0; row < 40; row++) {
                world_patient(1, i, row, &a);
                world_patient(1, j, row, &b);
                n_same += a.age == b.age && a.chol == b.chol &&
                          a.thalach == b.thalach && a.trestbps == b.trestbps;
            }
            check(n_same == 0);
        }
}

static void every_row_is_read_by_the_clients_reader(void **state)
{
    (void)state;
    for (size_t site = 0; site < WORLD_SITES; site++) {
        size_t n = world_site_rows(site);
        struct buf b;
        struct arena a;
        struct csv t;
        buf_init(&b, 0);
        arena_init(&a, 0);
        check_ok(world_csv(11, site, 0, n, &b));
        check(strncmp((const char *)b.data, header, strlen(header)) == 0);
        size_t len = b.len;
        buf_put_u8(&b, 0);
        check_ok(buf_end(&b));
        check_ok(csv_parse("world", (char *)b.data, len, &a, &t));
        check(t.n_rows == n && t.n_columns == COLUMNS);
        for (size_t i = 0; i < n; i++) {
            struct world_patient p;
            double want[COLUMNS], got;
            int known;
            world_patient(11, site, i, &p);
            row_of(&p, want);
            for (size_t c = 0; c < COLUMNS; c++) {
                check_ok(csv_number(&t, i, c, &got, &known));
                check(known);
                check_near(got, want[c], 1e-9);
                check(got >= lowest[c] && got <= highest[c]);
            }
        }
        arena_release(&a);
        buf_release(&b);
    }
}

static void no_rows_are_a_header_alone(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 0);
    check_ok(world_csv(1, 0, 0, 0, &b));
    check(b.len == sizeof header);
    check(memcmp(b.data, header, sizeof header - 1) == 0);
    check(b.data[b.len - 1] == '\n');
    buf_release(&b);
}

static void a_full_buffer_is_an_error(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 200);
    check_err(world_csv(1, 0, 0, 100, &b), TACIT_LIMIT);
    buf_release(&b);
}

static void names_are_found_and_a_wrong_one_gets_the_nearest(void **state)
{
    (void)state;
    size_t at = 99;
    for (size_t i = 0; i < WORLD_SITES; i++) {
        check_ok(world_site_find(world_site_name(i), &at));
        check(at == i);
    }
    check(world_site_find("harbor", &at) == TACIT_NOTFOUND);
    check(strstr(err_message(), "did you mean \"harbour\"?") != NULL);
    check(at == WORLD_SITES - 1);
    err_clear();
    check_err(world_site_find("", &at), TACIT_NOTFOUND);
}

/* ---- the four centres --------------------------------------------------- */

/* Rows without a gap in the columns kept, and their means: the awk line
 *   cut -d, -f1-10,14 FILE | grep -v '?'
 * over the four processed files. centres_are_as_the_files_say() repeats it. */
static const struct centre {
    const char *file;
    size_t rows;
    double mean[COLUMNS];
} centres[WORLD_SITES] = {
    {"cleveland",
     303,
     {54.439, .680, 3.158, 131.69, 246.69, .149, .990, 149.61, .327, 1.040,
      .459}},
    {"hungarian",
     261,
     {47.770, .736, 3.004, 132.64, 248.82, .073, .226, 139.23, .318, .612,
      .375}},
    {"switzerland",
     46,
     {56.674, .935, 3.739, 135.87, 0, .087, .391, 113.61, .630, .474, .978}},
    {"va",
     130,
     {59.400, .962, 3.654, 134.36, 178.54, .331, .715, 121.35, .654, 1.271,
      .777}},
};

static void centres_are_as_the_files_say(void **state)
{
    (void)state;
    for (size_t s = 0; s < WORLD_SITES; s++) {
        char name[64], line[256];
        double sum[COLUMNS] = {0};
        size_t n = 0;
        snprintf(name, sizeof name, "heart/processed.%s.data", centres[s].file);
        const char *path = check_data(name);
        if (!path) skip_missing(name);
        FILE *f = fopen(path, "r");
        check(f != NULL);
        while (fgets(line, sizeof line, f)) {
            double row[14];
            size_t c = 0;
            for (char *p = line; c < 14; c++) {
                char *end;
                row[c] = strtod(p, &end);
                if (end == p) row[c] = NAN, end++;
                p = end + 1;
            }
            row[10] = row[13] > 0;
            for (c = 0; c < COLUMNS && isfinite(row[c]); c++) continue;
            if (c < COLUMNS) continue;
            for (c = 0; c < COLUMNS; c++) sum[c] += row[c];
            n++;
        }
        fclose(f);
        check(n == centres[s].rows);
        for (size_t c = 0; c < COLUMNS; c++)
            check_near(sum[c] / (double)n, centres[s].mean[c], .01);
    }
}

static void means_of(size_t site, double mean[COLUMNS])
{
    memset(mean, 0, COLUMNS * sizeof *mean);
    for (uint64_t i = 0; i < MANY; i++) {
        struct world_patient p;
        double row[COLUMNS];
        world_patient(5, site, i, &p);
        row_of(&p, row);
        for (size_t c = 0; c < COLUMNS; c++) mean[c] += row[c] / MANY;
    }
}

static void each_site_is_near_its_centre(void **state)
{
    (void)state;
    /* How near, per column; cholesterol and ST depression are the two that
     * world.h excepts. */
    static const double near[COLUMNS] = {2,   .03, .15, 6.5,      INFINITY, .03,
                                         .05, 7,   .04, INFINITY, .08};
    for (size_t s = 0; s < WORLD_SITES; s++) {
        double mean[COLUMNS];
        means_of(s, mean);
        check(world_site_rows(s) == centres[s].rows);
        for (size_t c = 0; c < COLUMNS; c++)
            check_near(mean[c], centres[s].mean[c], near[c]);
    }
}

/* The centres' order by age, sex, pulse and disease is the sites' order. */
static void sites_stand_to_each_other_as_the_centres_do(void **state)
{
    (void)state;
    static const size_t columns[] = {0, 1, 2, 5, 6, 7, 8, 10};
    double mean[WORLD_SITES][COLUMNS];
    for (size_t s = 0; s < WORLD_SITES; s++) means_of(s, mean[s]);
    for (size_t k = 0; k < sizeof columns / sizeof *columns; k++)
        for (size_t a = 0; a < WORLD_SITES; a++)
            for (size_t b = 0; b < a; b++) {
                size_t c = columns[k];
                double want = centres[a].mean[c] - centres[b].mean[c];
                double got = mean[a][c] - mean[b][c];
                /* Two that hardly differ may change places. */
                if (fabs(want) < .15 * fabs(centres[a].mean[c])) continue;
                check(want * got > 0);
            }
}

/* One physiology: how likely disease is depends on the features alone. Among
 * patients alike in what weighs most, all sites agree. */
static void the_same_features_mean_the_same_at_every_site(void **state)
{
    (void)state;
    double share[WORLD_SITES];
    for (size_t s = 0; s < WORLD_SITES; s++) {
        double n = 0, ill = 0;
        for (uint64_t i = 0; i < 10 * MANY; i++) {
            struct world_patient p;
            world_patient(9, s, i, &p);
            if (!p.sex || p.cp != 4 || p.exang || p.thalach < 115 ||
                p.thalach > 135 || p.oldpeak < .5 || p.oldpeak > 1.2)
                continue;
            n++;
            ill += p.disease;
        }
        check(n > 500);
        share[s] = ill / n;
    }
    for (size_t s = 1; s < WORLD_SITES; s++)
        check_near(share[s], share[0], .05);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_seed_same_bytes_and_another_seed_others),
        cmocka_unit_test(portions_of_a_site_put_together_are_the_site),
        cmocka_unit_test(no_two_sites_see_the_same_patients),
        cmocka_unit_test(every_row_is_read_by_the_clients_reader),
        cmocka_unit_test(no_rows_are_a_header_alone),
        cmocka_unit_test(a_full_buffer_is_an_error),
        cmocka_unit_test(names_are_found_and_a_wrong_one_gets_the_nearest),
        cmocka_unit_test(centres_are_as_the_files_say),
        cmocka_unit_test(each_site_is_near_its_centre),
        cmocka_unit_test(sites_stand_to_each_other_as_the_centres_do),
        cmocka_unit_test(the_same_features_mean_the_same_at_every_site),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
