/* Rules that compare updates with each other, on points made by hand: outliers,
 * ties, the fewest updates that a rule takes, and one fewer. */
#include "tests/check.h"

#include <math.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/rng.h"
#include "common/strategy/rows.h"

enum { N = 2, K_MAX = 16 };

static struct strategy_config numbers;

static int setup(void **unused)
{
    (void)unused;
    numbers = (struct strategy_config){.server_lr = 1,
                                       .bound = 1,
                                       .trim = 0.2,
                                       .iterations = 100,
                                       .byzantine = 1};
    return 0;
}

static enum tacit_err combine_all(const char *name, const float (*points)[N],
                                  size_t k, const double *weight,
                                  const float *root, const float *centre,
                                  float *mean)
{
    static const double ones[K_MAX] = {1, 1, 1, 1, 1, 1, 1, 1,
                                       1, 1, 1, 1, 1, 1, 1, 1};
    const float *row[K_MAX];
    const struct strategy *s = NULL;
    check_ok(strategy_find(name, &s));
    for (size_t i = 0; i < k; i++) row[i] = points[i];
    const struct strategy_updates u = {.row = row,
                                       .weight = weight ? weight : ones,
                                       .k = k,
                                       .n = N,
                                       .root = root,
                                       .centre = centre};
    return s->combine(&numbers, &u, mean);
}

static void check_mean(const char *name, const float (*points)[N], size_t k,
                       double a, double b)
{
    float mean[N] = {NAN, NAN};
    const float want[N] = {(float)a, (float)b};
    check_ok(combine_all(name, points, k, NULL, NULL, NULL, mean));
    check_tensor(mean, want, N, 1e-5);
}

/* k updates are too few, and the message says how many would do. */
static void check_few(const char *name, const float (*points)[N], size_t k,
                      const char *says)
{
    float mean[N] = {7, 7};
    enum tacit_err err = combine_all(name, points, k, NULL, NULL, NULL, mean);
    if (!strstr(err_message(), says))
        fail_msg("%s: \"%s\", not \"%s\"", name, err_message(), says);
    check_code(err, E_STRATEGY_FEW);
    check(mean[0] == 7);
}

/* ---- median and trimmed mean --------------------------------------------- */

static void the_median_is_of_each_coordinate(void **unused)
{
    (void)unused;
    const float odd[][N] = {{3, -1}, {1, -3}, {2, 1e30f}, {-1e30f, -2}, {5, 0}};
    check_mean("median", odd, 5, 2, -1);
    check_mean("median", odd, 1, 3, -1);
    check_mean("median", odd, 2, 2, -2);     /* of two: their mean */
    check_mean("median", odd, 4, 1.5, -1.5); /* -1e30 1 2 3; -3 -2 -1 1e30 */
    const float skewed[][N] = {{9, 0}, {0, 9}, {1, 9}, {5, 1}, {0, 0}};
    check_mean("median", skewed, 5, 1, 1);
    const float ties[][N] = {{1, 0}, {1, 0}, {9, 0}, {1, -0.0f}};
    check_mean("median", ties, 4, 1, 0);
}

static void the_trimmed_mean_cuts_the_same_at_both_ends(void **unused)
{
    (void)unused;
    const float points[][N] = {{1, 5}, {2, 4}, {3, 3}, {4, 2}, {1e9f, -1e9f}};
    check_mean("trimmed", points, 5, 3, 3); /* one of five from each end */
    numbers.trim = 0.4;
    check_mean("trimmed", points, 5, 3, 3); /* two: the median */
    numbers.trim = 0.49;
    check_mean("trimmed", points, 4, 2.5, 3.5); /* one of four */
    numbers.trim = 0;                           /* none: the mean */
    check_mean("trimmed", points, 4, 2.5, 3.5);
}

static void a_share_that_binary_cannot_hold_cuts_what_it_says(void **unused)
{
    (void)unused;
    /* 0.29 * 100 = 28.999999999999996. */
    static float values[100];
    static const float *row[100];
    static double weight[100];
    const struct strategy *s = NULL;
    float mean = 0;
    for (int i = 0; i < 100; i++) {
        values[i] = i < 29 ? 1e6f : 1;
        row[i] = &values[i];
    }
    numbers.trim = 0.29;
    const struct strategy_updates u = {.row = row,
                                       .weight = weight,
                                       .k = 100,
                                       .n = 1};
    check_ok(strategy_find("trimmed", &s));
    check_ok(s->combine(&numbers, &u, &mean));
    check_near(mean, 1, 0);
}

static void a_trim_that_leaves_none_is_refused(void **unused)
{
    (void)unused;
    const float points[][N] = {{1, 5}, {2, 4}};
    numbers.trim = 0.5;
    check_few("trimmed", points, 2,
              "cutting 1 of 2 updates from each end leaves none");
}

/* ---- Krum ---------------------------------------------------------------- */

static const float line[][N] = {{0, 0}, {1, 0},   {2, 0},  {3, 0},
                                {4, 0}, {100, 0}, {-50, 0}};

static void krum_is_the_update_with_the_nearest_neighbours(void **unused)
{
    (void)unused;
    /* k = 6, f = 1: three neighbours. Scores 1+4+9, 1+1+4, 1+1+4, 1+1+4,
     * 1+4+9, huge: of three that tie, the first. */
    check_mean("krum", line, 6, 1, 0);
    /* k = 5, f = 1: two neighbours. 5, 2, 2, 2, 5. */
    check_mean("krum", line, 5, 1, 0);
    /* Two neighbours are near 1; with three, 2 would be nearer to 100. */
    const float far[][N] = {{0, 0}, {1, 0}, {2, 0}, {100, 0}, {200, 0}};
    check_mean("krum", far, 5, 1, 0);
    numbers.byzantine = 2; /* k = 7 = 2f + 3: three neighbours */
    check_mean("krum", line, 7, 1, 0);
    numbers.byzantine = 0;
    check_mean("krum", line, 3, 0, 0); /* 1, 1, 1 */
}

static void krum_wants_2f_plus_3_updates(void **unused)
{
    (void)unused;
    check_few("krum", line, 4,
              "4 updates cannot stand 1 attackers; it wants 2f + 3 = 5");
    numbers.byzantine = 0;
    check_few("krum", line, 2, "2f + 3 = 3");
    numbers.byzantine = UINT32_MAX;
    check_few("multikrum", line, 7, "2f + 3 = 8589934593");
}

static void multi_krum_averages_the_best(void **unused)
{
    (void)unused;
    /* Six, f = 1: the best k - f = 5 are all but the outlier. */
    check_mean("multikrum", line, 6, 2, 0);
    numbers.keep = 3; /* 1, 2 and 3 */
    check_mean("multikrum", line, 6, 2, 0);
    numbers.keep = 4; /* and of 0 and 4, which tie, the first */
    check_mean("multikrum", line, 6, 1.5, 0);
    numbers.keep = 1; /* then it is Krum */
    check_mean("multikrum", line, 6, 1, 0);
    numbers.keep = 99; /* no more came: all of them */
    check_mean("multikrum", line, 6, 110.0 / 6, 0);
}

static void a_colluding_pair_does_not_fool_krum(void **unused)
{
    (void)unused;
    /* Two attackers at one place are at distance 0 of each other; with f = 2
     * each counts three neighbours, two of them honest and far. */
    const float points[][N] = {{1, 1},    {1.1f, 1}, {1, 1.1f}, {0.9f, 1},
                               {1, 0.9f}, {9, 9},    {9, 9}};
    numbers.byzantine = 2;
    check_mean("krum", points, 7, 1, 1);
    check_mean("multikrum", points, 7, 1, 1);
}

/* ---- Bulyan -------------------------------------------------------------- */

static void bulyan_takes_the_values_nearest_the_median_of_the_selected(
    void **unused)
{
    (void)unused;
    /* f = 1, k = 7: five are selected, three values of each coordinate stay.
     * The outlier in both coordinates is not selected, nor is one end. */
    const float points[][N] = {{1, 0}, {1.25f, 0}, {1.5f, 0}, {1.75f, 0},
                               {2, 0}, {1.6f, 0},  {500, 500}};
    float mean[N] = {0};
    check_ok(combine_all("bulyan", points, 7, NULL, NULL, NULL, mean));
    check(mean[0] >= 1.25f && mean[0] <= 1.75f);
    check_near(mean[1], 0, 0);
}

static void bulyan_without_attackers_is_the_mean(void **unused)
{
    (void)unused;
    numbers.byzantine = 0;
    check_mean("bulyan", line, 3, 1, 0);
    check_mean("bulyan", line, 7, 60.0 / 7, 0);
}

/* The equations once more, written another way: recomputed distances, a sort of
 * (distance to the median, value) in place of a window. */
static double krum_sum(const float (*p)[N], const int *alive, size_t k,
                       size_t i, size_t n_near)
{
    double d[K_MAX], sum = 0;
    size_t n = 0;
    for (size_t j = 0; j < k; j++) {
        if (j == i || !alive[j]) continue;
        d[n] = 0;
        for (int l = 0; l < N; l++)
            d[n] += pow((double)p[i][l] - (double)p[j][l], 2);
        n++;
    }
    for (size_t r = 0; r < n_near && r < n; r++) {
        size_t least = r;
        for (size_t j = r; j < n; j++)
            if (d[j] < d[least]) least = j;
        double t = d[r];
        d[r] = d[least];
        d[least] = t;
        sum += d[r];
    }
    return sum;
}

static double nearest_mean(double *v, size_t n, size_t keep)
{
    double sum = 0, median;
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n; j++)
            if (v[j] < v[i]) {
                double t = v[i];
                v[i] = v[j];
                v[j] = t;
            }
    median = n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
    int used[K_MAX] = {0};
    for (size_t r = 0; r < keep; r++) {
        size_t best = n;
        for (size_t i = 0; i < n; i++)
            if (!used[i] &&
                (best == n || fabs(v[i] - median) < fabs(v[best] - median)))
                best = i;
        used[best] = 1;
        sum += v[best];
    }
    return sum / (double)keep;
}

static void reference_bulyan(const float (*p)[N], size_t k, size_t f,
                             double out[N])
{
    int alive[K_MAX];
    size_t chosen[K_MAX], theta = k - 2 * f;
    for (size_t i = 0; i < k; i++) alive[i] = 1;
    for (size_t c = 0; c < theta; c++) {
        size_t left = k - c, best = k;
        size_t n_near = left > f + 3 ? left - f - 2 : 1;
        for (size_t i = 0; i < k; i++)
            if (alive[i] &&
                (best == k || krum_sum(p, alive, k, i, n_near) <
                                  krum_sum(p, alive, k, best, n_near)))
                best = i;
        alive[best] = 0;
        chosen[c] = best;
    }
    for (int l = 0; l < N; l++) {
        double v[K_MAX];
        for (size_t i = 0; i < theta; i++) v[i] = (double)p[chosen[i]][l];
        out[l] = nearest_mean(v, theta, theta - 2 * f);
    }
}

static void bulyan_is_its_equations_on_random_points(void **unused)
{
    (void)unused;
    struct rng r;
    rng_init(&r, 11, 0, 0);
    for (int t = 0; t < 200; t++) {
        float points[K_MAX][N];
        double want[N];
        size_t f = 1 + (size_t)t % 3, k = 4 * f + 3;
        if (k < K_MAX) k += (size_t)t % 2;
        for (size_t i = 0; i < k; i++)
            for (int l = 0; l < N; l++)
                points[i][l] = rng_normal(&r) * (i < f ? 50.0f : 1.0f);
        numbers.byzantine = (uint32_t)f;
        reference_bulyan((const float(*)[N])points, k, f, want);
        check_mean("bulyan", (const float(*)[N])points, k, want[0], want[1]);
    }
}

static void bulyan_wants_4f_plus_3_updates(void **unused)
{
    (void)unused;
    check_few("bulyan", line, 6,
              "6 updates cannot stand 1 attackers; it wants 4f + 3 = 7");
}

/* ---- geometric median ---------------------------------------------------- */

static void the_geometric_median_is_known_for_a_triangle(void **unused)
{
    (void)unused;
    /* Fermat's point of an isosceles triangle with base 2 and height 2: each
     * side is seen under 120 degrees, so it stands 1 / sqrt(3) over the
     * base. */
    const float triangle[][N] = {{-1, 0}, {1, 0}, {0, 2}};
    check_mean("geomedian", triangle, 3, 0, 1 / sqrt(3));
    /* Four corners of a convex figure: where the diagonals cross. */
    const float corners[][N] = {{0, 0}, {4, 0}, {0, 4}, {3, 3}};
    numbers.iterations = 1000;
    check_mean("geomedian", corners, 4, 2, 2);
}

static void most_of_the_weight_at_one_point_is_the_geometric_median(
    void **unused)
{
    (void)unused;
    const float points[][N] = {{1, 2}, {1, 2}, {1, 2}, {1e6f, -1e6f}, {7, 7}};
    numbers.iterations = 100;
    check_mean("geomedian", points, 5, 1, 2);
    const double weight[] = {9, 0, 0, 2, 3};
    float mean[N];
    check_ok(combine_all("geomedian", points, 5, weight, NULL, NULL, mean));
    check_tensor(mean, points[0], N, 1e-4);
    check_mean("geomedian", points, 3, 1, 2); /* all at one point */
    check_mean("geomedian", points + 4, 1, 7, 7);
}

static void no_iteration_is_the_weighted_mean(void **unused)
{
    (void)unused;
    const float points[][N] = {{0, 0}, {4, 8}};
    const double weight[] = {3, 1}, none[] = {0, 0};
    float mean[N];
    numbers.iterations = 0;
    check_ok(combine_all("geomedian", points, 2, weight, NULL, NULL, mean));
    check_tensor(mean, ((float[]){1, 2}), N, 1e-6);
    check_ok(combine_all("geomedian", points, 2, none, NULL, NULL, mean));
    check_tensor(mean, ((float[]){2, 4}), N, 1e-6);
}

/* ---- clipping ------------------------------------------------------------ */

static void norm_bounding_shortens_only_what_is_longer(void **unused)
{
    (void)unused;
    const float points[][N] = {{3, 4}, {0.6f, 0.8f}, {0, 0}, {0, -1000}};
    numbers.bound = 1; /* 3,4 -> 0.6,0.8; 0,-1000 -> 0,-1 */
    check_mean("normbound", points, 4, 0.3, (0.8 + 0.8 - 1) / 4);
    const double weight[] = {1, 3, 0, 0};
    float mean[N];
    numbers.bound = 2.5;
    check_ok(combine_all("normbound", points, 2, weight, NULL, NULL, mean));
    check_tensor(mean, ((float[]){(1.5f + 1.8f) / 4, (2 + 2.4f) / 4}), N, 1e-6);
}

static void centred_clipping_moves_by_at_most_the_bound(void **unused)
{
    (void)unused;
    const float points[][N] = {{3, 4}, {0.5f, 0}, {0, -1e6f}};
    float mean[N];
    numbers.iterations = 1;
    /* From 0: (0.6, 0.8), (0.5, 0), (0, -1). */
    check_mean("cclip", points, 3, 1.1 / 3, -0.2 / 3);
    /* From where it was: (3,4) - (3,3) = (0,1) stays whole. */
    const float centre[N] = {3, 3};
    check_ok(combine_all("cclip", points, 1, NULL, NULL, centre, mean));
    check_tensor(mean, points[0], N, 1e-6);
    numbers.iterations = 2; /* 0 -> (0.6, 0.8) -> (1.2, 1.6) */
    check_mean("cclip", points, 1, 1.2, 1.6);
    numbers.iterations = 100;
    check_mean("cclip", points, 1, 3, 4);
}

static void centred_clipping_remembers_its_mean(void **unused)
{
    (void)unused;
    const struct strategy *s = NULL;
    float weights[N] = {1, 1}, state[N] = {0};
    struct strategy_server server = {.c = &numbers,
                                     .n = N,
                                     .weights = weights,
                                     .state = state};
    numbers.server_lr = 0.5;
    check_ok(strategy_find("cclip", &s));
    check_ok(strategy_apply(s, &server, (float[]){2, -4}, NULL));
    check_tensor(weights, ((float[]){2, -1}), N, 0);
    check_tensor(state, ((float[]){2, -4}), N, 0);
}

/* ---- FLTrust ------------------------------------------------------------- */

static void fltrust_weighs_by_the_angle_to_the_root(void **unused)
{
    (void)unused;
    /* Root (2, 0): cosines 1, 0.6, 0, -1; lengths become 2. */
    const float points[][N] = {{10, 0}, {3, 4}, {0, 5}, {-9, 0}};
    const float root[N] = {2, 0};
    float mean[N];
    check_ok(combine_all("fltrust", points, 4, NULL, root, NULL, mean));
    /* (1 * (2, 0) + 0.6 * (1.2, 1.6)) / 1.6 */
    check_tensor(mean, ((float[]){2.72f / 1.6f, 0.96f / 1.6f}), N, 1e-6);
}

static void fltrust_falls_back_on_the_root(void **unused)
{
    (void)unused;
    const float points[][N] = {{-1, 0}, {0, 3}, {0, 0}};
    const float root[N] = {2, 0}, zero[N] = {0, 0};
    float mean[N];
    check_ok(combine_all("fltrust", points, 3, NULL, root, NULL, mean));
    check_tensor(mean, root, N, 0);
    check_ok(combine_all("fltrust", points, 3, NULL, zero, NULL, mean));
    check_tensor(mean, zero, N, 0);
}

static void fltrust_wants_a_root(void **unused)
{
    (void)unused;
    check_few("fltrust", line, 3, "fltrust: no trusted update in this round");
}

/* ---- all of them --------------------------------------------------------- */

static const char *const rules[] = {"median",    "trimmed", "krum",
                                    "multikrum", "bulyan",  "geomedian",
                                    "normbound", "cclip",   "fltrust"};

/* Honest updates around (1, -1), two attackers far away: every rule stays
 * near, and the order in which updates come does not matter. */
static void every_rule_stands_two_attackers_in_eleven(void **unused)
{
    (void)unused;
    struct rng r;
    float points[11][N], turned[11][N], a[N], b[N];
    const float root[N] = {1, -1}, centre[N] = {0.9f, -0.9f};
    rng_init(&r, 4, 0, 0);
    for (int i = 0; i < 11; i++)
        for (int l = 0; l < N; l++)
            points[i][l] =
                (i < 2 ? -1000.0f : 1.0f) * root[l] + 0.05f * rng_normal(&r);
    for (int i = 0; i < 11; i++)
        memcpy(turned[i], points[(i * 4 + 3) % 11], sizeof turned[i]);
    numbers = (struct strategy_config){.bound = 1.5,
                                       .trim = 0.2,
                                       .iterations = 20,
                                       .byzantine = 2};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        check_ok(combine_all(rules[i], (const float(*)[N])points, 11, NULL,
                             root, centre, a));
        check_ok(combine_all(rules[i], (const float(*)[N])turned, 11, NULL,
                             root, centre, b));
        check_tensor(a, b, N, 1e-5);
        double off = hypot((double)a[0] - 1, (double)a[1] + 1);
        /* The two clips let each attacker pull by the bound. */
        double may = strstr("normbound cclip", rules[i]) ? 0.7 : 0.2;
        if (off > may) fail_msg("%s is off by %g", rules[i], off);
    }
}

static void every_rule_passes_on_what_all_agree_on(void **unused)
{
    (void)unused;
    const float same[][N] = {{0.25f, -0.5f}, {0.25f, -0.5f}, {0.25f, -0.5f},
                             {0.25f, -0.5f}, {0.25f, -0.5f}, {0.25f, -0.5f},
                             {0.25f, -0.5f}};
    float mean[N];
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        check_ok(combine_all(rules[i], same, 7, NULL, same[0], NULL, mean));
        check_tensor(mean, same[0], N, 1e-6);
    }
}

static void huge_updates_stay_numbers(void **unused)
{
    (void)unused;
    /* Finite, but their squares are beyond a float. */
    const float points[][N] = {{1, 1}, {1, 1}, {1, 1},         {1, 1},
                               {1, 1}, {1, 1}, {3e38f, -3e38f}};
    const float root[N] = {1, 1};
    float mean[N];
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        check_ok(combine_all(rules[i], points, 7, NULL, root, NULL, mean));
        check(isfinite(mean[0]) && isfinite(mean[1]));
        check(fabs((double)mean[0] - 1) < 1);
    }
}

static void distances_are_those_of_all_coordinates(void **unused)
{
    (void)unused;
    enum { K = 5, MOST = 6001 };
    static const size_t lengths[] = {1, 3, 4, 2047, 2048, 2049, MOST};
    static float point[K][MOST];
    const float *row[K];
    struct rng r;
    rng_init(&r, 3, 0, 0);
    for (size_t i = 0; i < K; i++) {
        row[i] = point[i];
        for (size_t l = 0; l < MOST; l++) /* near twins, far from 0 */
            point[i][l] = 1000 + 1e-2f * rng_normal(&r);
    }
    for (size_t t = 0; t < sizeof lengths / sizeof *lengths; t++) {
        const struct strategy_updates u = {.row = row, .k = K, .n = lengths[t]};
        double got[K * K];
        strategy_distances(&u, got);
        for (size_t i = 0; i < K; i++)
            for (size_t j = 0; j < K; j++) {
                double want = 0;
                for (size_t l = 0; l < u.n; l++)
                    want += pow((double)point[i][l] - (double)point[j][l], 2);
                check_near(got[i * K + j], want, 1e-12 * want);
            }
    }
}

int main(void)
{
    rng_setup();
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup(name, setup)
        T(the_median_is_of_each_coordinate),
        T(the_trimmed_mean_cuts_the_same_at_both_ends),
        T(a_share_that_binary_cannot_hold_cuts_what_it_says),
        T(a_trim_that_leaves_none_is_refused),
        T(krum_is_the_update_with_the_nearest_neighbours),
        T(krum_wants_2f_plus_3_updates),
        T(multi_krum_averages_the_best),
        T(a_colluding_pair_does_not_fool_krum),
        T(bulyan_takes_the_values_nearest_the_median_of_the_selected),
        T(bulyan_without_attackers_is_the_mean),
        T(bulyan_is_its_equations_on_random_points),
        T(bulyan_wants_4f_plus_3_updates),
        T(the_geometric_median_is_known_for_a_triangle),
        T(most_of_the_weight_at_one_point_is_the_geometric_median),
        T(no_iteration_is_the_weighted_mean),
        T(norm_bounding_shortens_only_what_is_longer),
        T(centred_clipping_moves_by_at_most_the_bound),
        T(centred_clipping_remembers_its_mean),
        T(fltrust_weighs_by_the_angle_to_the_root),
        T(fltrust_falls_back_on_the_root),
        T(fltrust_wants_a_root),
        T(every_rule_stands_two_attackers_in_eleven),
        T(every_rule_passes_on_what_all_agree_on),
        T(huge_updates_stay_numbers),
        T(distances_are_those_of_all_coordinates),
#undef T
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
