/* local: examples are read once, and again when any file that they came from
 * is another one. */
#include "tests/client/samples.h"

#include "client/local.h"
#include "client/policy.h"

enum { ROWS = 6, PIXELS = 4 };

struct desk {
    char folder[256];
    struct plan *plan;
    struct policy policy;
    struct device device;
    struct local *local;
};

/* Images of ROWS rows whose every byte is `ink`, or labels that all are. */
static void put(struct desk *t, const char *name, int is_label, uint8_t ink)
{
    char path[512];
    struct buf b;
    buf_init(&b, 0);
    buf_put_u8(&b, 0);
    buf_put_u8(&b, 0);
    buf_put_u8(&b, 8);
    buf_put_u8(&b, is_label ? 1 : 3);
    const uint8_t dims[] = {ROWS, 2, 2};
    for (int i = 0; i < (is_label ? 1 : 3); i++) {
        for (int k = 0; k < 3; k++) buf_put_u8(&b, 0);
        buf_put_u8(&b, dims[i]);
    }
    for (int i = 0; i < ROWS * (is_label ? 1 : PIXELS); i++)
        buf_put_u8(&b, ink);
    data_put(t->folder, name, &b, path);
    buf_release(&b);
}

static void begin(struct desk *t, const char *named)
{
    char text[512];
    memset(t, 0, sizeof *t);
    check_tmpdir(t->folder);
    t->plan = data_plan("classify", "kind: softmax, classes: 3",
                        "format: images, height: 2, width: 2, holdout: 0.5");
    int n = snprintf(text, sizeof text, "data: [{source: own, file: %s/%s}]\n",
                     t->folder, named);
    check_ok(policy_parse("p.yaml", text, (size_t)n, &t->policy));
    check_ok(local_new(&t->device, &t->local));
}

static void end(struct desk *t)
{
    local_free(t->local);
    plan_free(t->plan);
    check_tmpdir_remove(t->folder);
}

static const struct dataset *read_all(struct desk *t)
{
    const struct dataset *d = NULL;
    check_ok(local_dataset(t->local, t->plan, &t->policy, &d));
    check(err_message()[0] == '\0');
    return d;
}

static void unchanged_files_are_read_once(void **state)
{
    (void)state;
    struct desk t;
    begin(&t, "a-images-idx3-ubyte");
    put(&t, "a-images-idx3-ubyte", 0, 255);
    put(&t, "a-labels-idx1-ubyte", 1, 1);
    const float *x = read_all(&t)->train.x;
    check(x[0] == 1 && read_all(&t)->train.x == x);
    end(&t);
}

static void labels_that_change_beside_images_are_read_again(void **state)
{
    (void)state;
    struct desk t;
    begin(&t, "a-images-idx3-ubyte");
    put(&t, "a-images-idx3-ubyte", 0, 255);
    put(&t, "a-labels-idx1-ubyte", 1, 1);
    check(read_all(&t)->train.y[0] == 1);
    put(&t, "a-labels-idx1-ubyte", 1, 2);
    check(read_all(&t)->train.y[0] == 2);
    end(&t);
}

static void a_test_pair_that_appears_or_changes_is_noticed(void **state)
{
    (void)state;
    struct desk t;
    begin(&t, "train-images-idx3-ubyte");
    put(&t, "train-images-idx3-ubyte", 0, 255);
    put(&t, "train-labels-idx1-ubyte", 1, 1);
    check(read_all(&t)->train.n_rows < ROWS);
    put(&t, "t10k-labels-idx1-ubyte", 1, 0);
    put(&t, "t10k-images-idx3-ubyte", 0, 51);
    const struct dataset *d = read_all(&t);
    check(d->train.n_rows == ROWS && d->test.n_rows == ROWS);
    check_near(d->test.x[0], 0.2, 1e-6);
    check(d->test.y[0] == 0);
    put(&t, "t10k-labels-idx1-ubyte", 1, 2);
    check(read_all(&t)->test.y[0] == 2);
    put(&t, "t10k-images-idx3-ubyte", 0, 255);
    check(read_all(&t)->test.x[0] == 1);
    end(&t);
}

static void vectors_have_their_labels_beside_them_too(void **state)
{
    (void)state;
    struct desk t;
    begin(&t, "x.npy");
    const char head[] = "{'descr': '|u1', 'fortran_order': False, 'shape': ";
    for (uint8_t label = 1; label < 3; label++)
        for (int is_label = 0; is_label < 2; is_label++) {
            struct buf b;
            char text[128], path[512];
            if (label == 2 && !is_label) continue; /* x stays as it was */
            buf_init(&b, 0);
            int n = snprintf(text, sizeof text, "%s(6%s), }", head,
                             is_label ? "," : ", 2, 2");
            buf_put(&b, "\x93NUMPY\1\0\x76\0", 10);
            buf_put(&b, text, (size_t)n);
            for (int i = n; i < 117; i++) buf_put_u8(&b, ' ');
            buf_put_u8(&b, '\n');
            for (int i = 0; i < ROWS * (is_label ? 1 : PIXELS); i++)
                buf_put_u8(&b, is_label ? label : 255);
            check_ok(buf_end(&b));
            data_put(t.folder, is_label ? "y.npy" : "x.npy", &b, path);
            buf_release(&b);
            if (is_label) check(read_all(&t)->train.y[0] == (float)label);
        }
    end(&t);
}

static void a_file_that_goes_bad_is_refused_and_forgotten(void **state)
{
    (void)state;
    struct desk t;
    const struct dataset *d;
    begin(&t, "a-images-idx3-ubyte");
    put(&t, "a-images-idx3-ubyte", 0, 255);
    put(&t, "a-labels-idx1-ubyte", 1, 1);
    (void)read_all(&t);
    put(&t, "a-labels-idx1-ubyte", 1, 9); /* the model has three classes */
    check(local_dataset(t.local, t.plan, &t.policy, &d) != TACIT_OK);
    err_clear();
    check(local_dataset(t.local, t.plan, &t.policy, &d) != TACIT_OK);
    err_clear();
    put(&t, "a-labels-idx1-ubyte", 1, 0);
    check(read_all(&t)->train.y[0] == 0);
    end(&t);
}

#define T(name) cmocka_unit_test(name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(unchanged_files_are_read_once),
        T(labels_that_change_beside_images_are_read_again),
        T(a_test_pair_that_appears_or_changes_is_noticed),
        T(vectors_have_their_labels_beside_them_too),
        T(a_file_that_goes_bad_is_refused_and_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
