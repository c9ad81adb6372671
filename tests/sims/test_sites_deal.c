/* sites: rows of one file, or made here, among many clients: none lost, none
 * twice, none copied, and a client that would get too few is named. */
#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/rng.h"
#include "sims/partition.h"
#include "sims/sites.h"
#include "sims/world.h"

enum { PATH_BYTES = 512 };

static struct plan *plan_of(const char *task, const char *model,
                            const char *data, const char *sim)
{
    struct plan *p = NULL;
    char text[1024];
    int n = snprintf(text, sizeof text,
                     "name: deal\ntask: %s\nmodel: {%s}\n"
                     "data: {source: own, %s}\n"
                     "cohort: {size: 2, min_reports: 2}\nsim: {%s}\n",
                     task, model, data, sim);
    check(n > 0 && (size_t)n < sizeof text);
    check_ok(plan_parse("deal.yaml", text, (size_t)n, &p));
    return p;
}

#define TABLE "label: disease, columns: [{name: age}], standardise: none"

static struct plan *table(const char *sim)
{
    return plan_of("classify", "kind: logistic", TABLE, sim);
}

static void put(const char *path, const char *text)
{
    check_ok(file_write(path, text, strlen(text), 0600));
}

/* Load a text under this name; the message when it is refused. */
static enum tacit_err load_text(const struct plan *p, const char *name,
                                const char *text, struct sites *out)
{
    char folder[256], path[PATH_BYTES];
    check_tmpdir(folder);
    check_ok(file_join(path, sizeof path, folder, name));
    put(path, text);
    enum tacit_err err = sites_load(p, path, out);
    check_tmpdir_remove(folder);
    return err;
}

static void refused(enum tacit_err err, unsigned id, const char *part)
{
    if (!err || !strstr(err_message(), part))
        fail_msg("wanted: %s; got: %s", part, err_message());
    check_code(err, id);
}

/* Of n rows of 60 to 80 years; every third is sick. */
static void write_rows(char *out, size_t cap, size_t n)
{
    size_t at = (size_t)snprintf(out, cap, "ward,age,disease\n");
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(out + at, cap - at, "%c,%zu,%d\n",
                               "cab"[i * i % 3], 1000 + i, i % 3 == 0);
}

/* Each age of [1000, 1000 + n) stands once in one set of one client. */
static void check_ages(const struct sites *s, size_t n)
{
    uint8_t *seen = calloc(n, 1);
    check(seen != NULL);
    for (size_t i = 0; i < s->n; i++) {
        const struct examples *sets[] = {&s->data[i].train, &s->data[i].test};
        check(sets[0]->n_rows >= 1);
        for (size_t k = 0; k < 2; k++)
            for (size_t r = 0; r < sets[k]->n_rows; r++) {
                size_t age = (size_t)sets[k]->x[r];
                check(age >= 1000 && age < 1000 + n && !seen[age - 1000]++);
                check_near(sets[k]->y[r], (age - 1000) % 3 == 0, 0);
            }
    }
    for (size_t i = 0; i < n; i++) check(seen[i]);
    free(seen);
}

/* ---- tables ------------------------------------------------------------- */

static void a_pooled_table_is_dealt_in_every_way(void **state)
{
    (void)state;
    static const char *const ways[] = {"partition: iid",
                                       "partition: iid, sizes: power",
                                       "partition: dirichlet, alpha: 5",
                                       "partition: labels, labels: 1"};
    static char text[20000];
    write_rows(text, sizeof text, 600);
    for (size_t w = 0; w < 4; w++) {
        char sim[128];
        struct sites s;
        snprintf(sim, sizeof sim, "clients: 8, %s", ways[w]);
        struct plan *p = table(sim);
        check_ok(load_text(p, "all.csv", text, &s));
        check(s.n == 8 && s.test.n_rows == 0);
        assert_string_equal(s.name[7], "client-7");
        check_ages(&s, 600);
        for (size_t i = 0; w == 3 && i < 8; i++) {
            const struct examples *e = &s.data[i].train;
            for (size_t r = 1; r < e->n_rows; r++)
                check_near(e->y[r], e->y[0], 0);
        }
        sites_release(&s);
        plan_free(p);
    }
}

static void a_column_names_the_clients(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", "c"};
    static char text[20000];
    struct plan *p = table("clients: 5, partition: column, column: ward");
    struct sites s;
    write_rows(text, sizeof text, 90);
    /* i * i mod 3 is never 2: no ward b. */
    check_ok(load_text(p, "all.csv", text, &s));
    check(s.n == 2);
    assert_string_equal(s.name[0], "a");
    assert_string_equal(s.name[1], "c");
    check_ages(&s, 90);
    sites_release(&s);
    check_ok(load_text(p, "all.csv",
                       "ward,age,disease,split\nc,1,0,train\nb,2,0,train\n"
                       "a,3,1,train\nb,4,0,test\na,5,1,test\nc,6,1,train\n",
                       &s));
    check(s.n == 3 && s.data[1].test.n_rows == 1);
    for (size_t i = 0; i < 3; i++) assert_string_equal(s.name[i], names[i]);
    check_near(s.data[1].train.x[0], 2, 0);
    check_near(s.data[2].train.x[1], 6, 0);
    sites_release(&s);
    plan_free(p);
}

static void a_table_that_cannot_be_dealt_says_why(void **state)
{
    (void)state;
    struct sites s = {.n = 77};
    struct plan *p = table("clients: 3, partition: column, column: ward");
    refused(load_text(p, "t.csv", "war,age,disease\na,1,0\n", &s), E_CSV_COLUMN,
            "no column \"ward\"; did you mean \"war\"?");
    refused(load_text(p, "t.csv", "ward,age,disease\na,1,0\n,2,0\n", &s),
            E_CSV_VALUE,
            "t.csv:3: column \"ward\" is empty; it names the client");
    refused(load_text(p, "t.csv", "ward,age,disease\na,1,0\na,2,0\nb,2,0\n",
                      &s),
            E_DEAL,
            "client b gets 1 row; each needs at least 2: add rows of it");
    refused(load_text(p, "t.csv",
                      "ward,age,disease,split\na,1,0,train\na,2,0,train\n"
                      "b,2,0,test\nb,3,0,test\n",
                      &s),
            E_NO_EXAMPLES, "client b: ");
    plan_free(p);
    p = table("clients: 3"); /* partition: sites */
    refused(load_text(p, "t.csv", "age,disease\n1,0\n2,0\n", &s), E_DEAL,
            "t.csv: the rows name no clients of their own; set sim.partition");
    plan_free(p);
    p = table("clients: 3, partition: iid");
    refused(load_text(p, "t.csv", "age,disease\n1,0\n2,0\n3,0\n", &s), E_DEAL,
            "t.csv: 3 rows for 3 clients; each needs at least 2");
    refused(load_text(p, "t.csv", "age,disease\n1,much\n2,0\n3,0\n", &s),
            E_CSV_VALUE, "t.csv:2: column \"disease\" holds no number");
    plan_free(p);
    check(s.n == 77);
}

static void invented_patients_say_what_they_lack(void **state)
{
    (void)state;
    static const char *const ways[] = {"sites", "iid", "shift"};
    for (size_t w = 0; w < 3; w++) {
        char sim[128];
        struct sites s;
        snprintf(sim, sizeof sim, "clients: 3, partition: %s", ways[w]);
        struct plan *p = plan_of("cox", "kind: cox",
                                 "label: days, event: died, columns: "
                                 "[{name: age}]",
                                 sim);
        refused(
            sites_invent(p, &s), E_CSV_COLUMN,
            "patients that are made here have no column \"days\", only age, "
            "sex, cp, ");
        refused(sites_invent(p, &s), E_CSV_COLUMN, "your own with --data");
        plan_free(p);
        p = plan_of("classify", "kind: logistic",
                    "label: disease, columns: [{name: age}, {name: crp}]", sim);
        refused(sites_invent(p, &s), E_CSV_COLUMN, "no column \"crp\"");
        plan_free(p);
    }
}

static void each_client_standardises_by_its_own_rows(void **state)
{
    (void)state;
    static char text[20000];
    struct plan *p =
        plan_of("classify", "kind: logistic",
                "label: disease, columns: [{name: age}], standardise: site",
                "clients: 4, partition: iid");
    struct sites s;
    write_rows(text, sizeof text, 200);
    check_ok(load_text(p, "all.csv", text, &s));
    for (size_t i = 0; i < 4; i++) {
        double sum = 0;
        const struct examples *e = &s.data[i].train;
        for (size_t r = 0; r < e->n_rows; r++) sum += (double)e->x[r];
        check_near(sum, 0, 1e-3);
    }
    sites_release(&s);
    plan_free(p);
}

/* The patients of all ways are the world's; the shifted ones moved together. */
static void invented_patients_are_dealt_in_every_way(void **state)
{
    (void)state;
    static const char *const ways[] = {"partition: sites, sizes: power",
                                       "partition: dirichlet",
                                       "partition: labels, labels: 1",
                                       "partition: iid, sizes: power",
                                       "partition: column, column: sex",
                                       "partition: shift, shift: 100"};
    for (size_t w = 0; w < 6; w++) {
        char sim[128];
        struct sites s;
        float offset;
        size_t n = 0;
        snprintf(sim, sizeof sim, "clients: 6, rows: 80, %s", ways[w]);
        struct plan *p = table(sim);
        check_ok(sites_invent(p, &s));
        check(s.n == (w == 4 ? 2 : 6));
        for (size_t i = 0; i < s.n; i++) {
            const struct examples *e = &s.data[i].train;
            n += e->n_rows + s.data[i].test.n_rows;
            partition_offset(p, i, 1, &offset);
            for (size_t r = 0; r < e->n_rows; r++) {
                float age = e->x[r] - (w == 5 ? offset : 0);
                check(age > 10 && age < 110);
                check_near(age, roundf(age), 1e-3);
            }
        }
        check(n == 480);
        sites_release(&s);
        plan_free(p);
    }
}

/* ---- images ------------------------------------------------------------- */

static void images_share_one_test_set_and_one_block(void **state)
{
    (void)state;
    static const char *const ways[] = {"iid", "sites", "dirichlet", "labels"};
    for (size_t w = 0; w < 4; w++) {
        char sim[128];
        struct sites s;
        size_t n = 0, held = 0;
        snprintf(sim, sizeof sim, "clients: 10, rows: 60, partition: %s",
                 ways[w]);
        struct plan *p =
            plan_of("classify", "kind: softmax, classes: 10",
                    "format: images, height: 12, width: 10, holdout: 0.25",
                    sim);
        check_ok(sites_invent(p, &s));
        const float *x = s.pooled.x;
        for (size_t i = 0; i < 600; i++)
            held += (size_t)examples_held_out(p, i);
        check(s.n == 10 && s.pooled.n_rows == 600);
        for (size_t i = 0; i < s.n; i++) {
            check(s.data[i].test.n_rows == 0 && s.data[i].train.n_rows >= 2);
            check(s.data[i].train.x == x + n * 120);
            n += s.data[i].train.n_rows;
        }
        check(s.test.n_rows == held && n + held == 600);
        check(s.test.x == x + n * 120 && s.test.y == s.pooled.y + n);
        assert_string_equal(s.name[3], w == 1 ? "writer-3" : "client-3");
        sites_release(&s);
        plan_free(p);
    }
}

/* Bytes of an IDX file: this header, then n values i % modulus. */
static void put_idx(const char *path, uint32_t magic, const uint32_t *dims,
                    size_t n_dims, size_t n, unsigned modulus)
{
    struct buf b;
    buf_init(&b, 0);
    for (int i = 3; i >= 0; i--) buf_put_u8(&b, (uint8_t)(magic >> (8 * i)));
    for (size_t d = 0; d < n_dims; d++)
        for (int i = 3; i >= 0; i--)
            buf_put_u8(&b, (uint8_t)(dims[d] >> (8 * i)));
    for (size_t i = 0; i < n; i++) buf_put_u8(&b, (uint8_t)(i % modulus));
    check_ok(buf_end(&b));
    check_ok(file_write(path, b.data, b.len, 0600));
    buf_release(&b);
}

static void a_test_set_that_came_along_is_for_all(void **state)
{
    (void)state;
    char folder[256], train[PATH_BYTES], path[PATH_BYTES];
    const uint32_t many[] = {90, 2, 2}, few[] = {30, 2, 2};
    struct plan *p = plan_of("classify", "kind: softmax, classes: 3",
                             "format: images, height: 2, width: 2",
                             "clients: 5, partition: labels, labels: 2");
    struct sites s;
    check_tmpdir(folder);
    check_ok(file_join(train, sizeof train, folder, "train-images-idx3-ubyte"));
    put_idx(train, 0x803, many, 3, 360, 250);
    check_ok(file_join(path, sizeof path, folder, "train-labels-idx1-ubyte"));
    put_idx(path, 0x801, many, 1, 90, 3);
    check_ok(file_join(path, sizeof path, folder, "t10k-images-idx3-ubyte"));
    put_idx(path, 0x803, few, 3, 120, 5);
    check_ok(file_join(path, sizeof path, folder, "t10k-labels-idx1-ubyte"));
    put_idx(path, 0x801, few, 1, 30, 2);
    check_ok(sites_load(p, train, &s));
    size_t n = 0;
    for (size_t i = 0; i < 5; i++) n += s.data[i].train.n_rows;
    check(s.n == 5 && n == 90 && s.test.n_rows == 30);
    for (size_t i = 0; i < 30; i++) check_near(s.test.y[i], i % 2, 0);
    for (size_t i = 0; i < 120; i++)
        check_near(s.test.x[i], (double)(i % 5) / 255, 1e-8);
    sites_release(&s);
    /* Clients may hold out rows of their own beside it. */
    p->sim.held_out = PLAN_HELD_OWN;
    check_ok(sites_load(p, train, &s));
    size_t own = n = 0;
    for (size_t i = 0; i < 5; i++) {
        n += s.data[i].train.n_rows;
        own += s.data[i].test.n_rows;
        check(s.data[i].test.n_rows > 0 && s.data[i].test.n_rows < 18);
    }
    check(n + own == 90 && s.test.n_rows == 30);
    for (size_t i = 0; i < 30; i++) check_near(s.test.y[i], i % 2, 0);
    sites_release(&s);
    /* A folder of them is none of the things that are read. */
    refused(sites_load(p, folder, &s), E_DATA_KIND,
            "name the one file of images or vectors");
    check_tmpdir_remove(folder);
    plan_free(p);
}

static void a_plan_says_whose_rows_are_held_out(void **state)
{
    (void)state;
    static const struct {
        const char *model, *data, *held_out;
        int is_own;
    } all[] = {
        {"kind: softmax, classes: 10", "format: images", "own", 1},
        {"kind: softmax, classes: 10", "format: images", "common", 0},
        {"kind: softmax, classes: 4", "format: vectors, width: 6", "own", 1},
        {"kind: softmax, classes: 4", "format: vectors, width: 6", "common", 0},
    };
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        char sim[128];
        struct sites s;
        size_t train = 0, own = 0;
        snprintf(sim, sizeof sim,
                 "clients: 6, rows: 50, partition: iid, held_out: %s",
                 all[k].held_out);
        struct plan *p = plan_of("classify", all[k].model, all[k].data, sim);
        check_ok(sites_invent(p, &s));
        for (size_t i = 0; i < 6; i++) {
            train += s.data[i].train.n_rows;
            own += s.data[i].test.n_rows;
            check((s.data[i].test.n_rows > 0) == all[k].is_own);
        }
        check((s.test.n_rows > 0) == !all[k].is_own);
        check(train + own + s.test.n_rows == 300 && train > 150);
        sites_release(&s);
        plan_free(p);
    }
}

/* ---- vectors and text ---------------------------------------------------- */

static void devices_hold_out_rows_of_their_own(void **state)
{
    (void)state;
    struct plan *p = plan_of("classify", "kind: softmax, classes: 4",
                             "format: vectors, width: 5, holdout: 0.5",
                             "clients: 7, rows: 40, a: 1, b: 1");
    struct sites s;
    size_t held = 0;
    check_ok(sites_invent(p, &s));
    for (size_t k = 0; k < 40; k++) held += (size_t)examples_held_out(p, k);
    for (size_t i = 0; i < 7; i++) {
        check(s.data[i].test.n_rows == held);
        check(s.data[i].train.n_rows == 40 - held);
        check(s.data[i].test.x ==
              s.data[i].train.x + 5 * s.data[i].train.n_rows);
    }
    check(s.test.n_rows == 0);
    assert_string_equal(s.name[6], "device-6");
    sites_release(&s);
    p->holdout = 1; /* more than a plan may: all of them */
    check_ok(sites_invent(p, &s));
    for (size_t i = 0; i < 7; i++)
        check(s.data[i].train.n_rows == 1 && s.data[i].test.n_rows == 39);
    sites_release(&s);
    plan_free(p);
}

static void natural_clients_may_differ_in_size(void **state)
{
    (void)state;
    static const struct {
        const char *task, *model, *data;
    } rows[] = {{"classify", "kind: softmax, classes: 10",
                 "format: images, height: 8, width: 8, holdout: 0"},
                {"classify", "kind: softmax, classes: 3",
                 "format: vectors, width: 3, holdout: 0"},
                {"lm", "kind: gru, hidden: [4, 4]",
                 "format: text, length: 4, holdout: 0"}};
    for (size_t k = 0; k < 3; k++) {
        struct plan *p =
            plan_of(rows[k].task, rows[k].model, rows[k].data,
                    "clients: 5, rows: 60, sizes: power, partition: sites");
        struct sites s;
        size_t sizes[5], total = 0;
        check_ok(sites_invent(p, &s));
        check_ok(partition_sizes(p, 300, 5, sizes));
        for (size_t i = 0; i < 5; i++) {
            total += s.data[i].train.n_rows;
            if (k != 1) check(s.data[i].train.n_rows == sizes[i]);
        }
        check(total == s.pooled.n_rows && (k == 1 || total == 300));
        sites_release(&s);
        plan_free(p);
    }
    struct plan *p =
        plan_of("lm", "kind: gru, hidden: [4, 4]", "format: text, length: 4",
                "clients: 2, sizes: power");
    struct sites s;
    refused(load_text(p, "t.jsonl",
                      "{\"client\": \"a\", \"text\": \"aaaaaaaaaaaaaaaa\"}",
                      &s),
            E_DEAL, "sim.sizes: power has no effect on clients");
    plan_free(p);
}

static void shifted_clients_moved_all_their_rows(void **state)
{
    (void)state;
    const char *data = "format: vectors, width: 5, holdout: 0.3";
    struct plan *p = plan_of("classify", "kind: softmax, classes: 4", data,
                             "clients: 4, rows: 50, partition: shift, "
                             "shift: 10");
    struct sites s, t;
    check_ok(sites_invent(p, &s));
    p->sim.shift = 0;
    check_ok(sites_invent(p, &t));
    p->sim.shift = 10;
    for (size_t i = 0; i < 4; i++) {
        float offset[5];
        partition_offset(p, i, 5, offset);
        for (size_t r = 0; r < s.data[i].train.n_rows; r++)
            for (size_t j = 0; j < 5; j++)
                check_near(s.data[i].train.x[5 * r + j],
                           t.data[i].train.x[5 * r + j] + offset[j], 1e-5);
        for (size_t r = 0; r < s.data[i].test.n_rows; r++)
            check_near(s.data[i].test.x[5 * r],
                       t.data[i].test.x[5 * r] + offset[0], 1e-5);
    }
    sites_release(&s);
    sites_release(&t);
    plan_free(p);
    p = plan_of("lm", "kind: gru, hidden: [4]", "format: text, length: 8",
                "clients: 3, partition: shift");
    refused(sites_invent(p, &s), E_DEAL, "text has none");
    plan_free(p);
}

static void speakers_of_a_file_are_clients(void **state)
{
    (void)state;
    const char *model = "kind: gru, hidden: [4]";
    const char *data = "format: text, length: 4, holdout: 0";
    const char *text =
        "{\"client\": \"Rosalind\", \"text\": \"From the east to west\"}\n"
        "{\"client\": \"Orlando\", \"text\": \"Hang there, my verse\"}\n"
        "{\"client\": \"Rosalind\", \"text\": \"no jewel\"}\n";
    struct plan *p = plan_of("lm", model, data, "clients: 9");
    struct sites s;
    check_ok(load_text(p, "t.jsonl", text, &s));
    check(s.n == 2);
    assert_string_equal(s.name[0], "Rosalind");
    assert_string_equal(s.name[1], "Orlando");
    check(s.data[0].train.n_rows == 7 && s.data[1].train.n_rows == 4);
    check(s.data[0].train.y_dim == 4 && s.data[0].train.x_dim == 4);
    sites_release(&s);
    plan_free(p);
    p = plan_of("lm", model, data, "clients: 3, partition: iid");
    check_ok(load_text(p, "t.jsonl", text, &s));
    check(s.n == 3);
    assert_string_equal(s.name[0], "client-0");
    sites_release(&s);
    plan_free(p);
    p = plan_of("lm", model, data, "clients: 3");
    refused(load_text(p, "t.jsonl", "{\"text\": \"aaaaaaaaaaaaaaaaaaaaa\"}",
                      &s),
            E_DEAL, "t.jsonl: the rows name no clients of their own");
    refused(load_text(p, "t.jsonl",
                      "{\"client\": \"a\", \"text\": \"aaaaaaaaaaaaa\"}\n"
                      "{\"client\": \"b\", \"text\": \"aaa\"}",
                      &s),
            E_DEAL, "t.jsonl: client b gets 0 rows; each needs at least 2");
    plan_free(p);
}

static void the_same_plan_makes_the_same_clients_for_any_threads(void **state)
{
    (void)state;
    struct plan *p = plan_of("classify", "kind: softmax, classes: 10",
                             "format: images, height: 9, width: 9",
                             "clients: 10, rows: 30, partition: dirichlet, "
                             "threads: 1");
    struct sites s, t;
    check_ok(sites_invent(p, &s));
    p->sim.threads = 5;
    check_ok(sites_invent(p, &t));
    check(s.pooled.n_rows == 300 && t.pooled.n_rows == 300);
    check(memcmp(s.pooled.x, t.pooled.x, 300 * 81 * sizeof *s.pooled.x) == 0);
    check(memcmp(s.pooled.y, t.pooled.y, 300 * sizeof *s.pooled.y) == 0);
    for (size_t i = 0; i < 10; i++)
        check(s.data[i].train.n_rows == t.data[i].train.n_rows);
    sites_release(&s);
    sites_release(&t);
    plan_free(p);
}

int main(void)
{
    rng_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pooled_table_is_dealt_in_every_way),
        cmocka_unit_test(a_column_names_the_clients),
        cmocka_unit_test(a_table_that_cannot_be_dealt_says_why),
        cmocka_unit_test(invented_patients_say_what_they_lack),
        cmocka_unit_test(each_client_standardises_by_its_own_rows),
        cmocka_unit_test(invented_patients_are_dealt_in_every_way),
        cmocka_unit_test(images_share_one_test_set_and_one_block),
        cmocka_unit_test(a_test_set_that_came_along_is_for_all),
        cmocka_unit_test(a_plan_says_whose_rows_are_held_out),
        cmocka_unit_test(devices_hold_out_rows_of_their_own),
        cmocka_unit_test(natural_clients_may_differ_in_size),
        cmocka_unit_test(shifted_clients_moved_all_their_rows),
        cmocka_unit_test(speakers_of_a_file_are_clients),
        cmocka_unit_test(the_same_plan_makes_the_same_clients_for_any_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
