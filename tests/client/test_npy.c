/* data_npy: arrays as numpy.save() writes them, and headers that lie. */
#include "tests/client/samples.h"

#include <math.h>
#include <stdlib.h>

#include "client/data_npy.h"
#include "client/examples.h"
#include "common/base/rng.h"

/* A file of this header and these bytes. */
static struct buf npy_raw(unsigned major, const char *header,
                          const void *values, size_t n)
{
    struct buf b;
    size_t len = strlen(header);
    buf_init(&b, 0);
    buf_put(&b, "\x93NUMPY", 6);
    buf_put_u8(&b, (uint8_t)major);
    buf_put_u8(&b, 0);
    if (major == 1)
        buf_put_u16(&b, (uint16_t)len);
    else
        buf_put_u32(&b, (uint32_t)len);
    buf_put(&b, header, len);
    buf_put(&b, values, n);
    check_ok(buf_end(&b));
    return b;
}

static struct buf npy_of(const char *descr, const char *shape,
                         const void *values, size_t n)
{
    char header[128];
    snprintf(header, sizeof header,
             "{'descr': '%s', 'fortran_order': False, 'shape': %s, }      \n",
             descr, shape);
    return npy_raw(1, header, values, n);
}

static struct plan *pairs_of_two(void)
{
    return data_plan("classify", "kind: softmax, classes: 3",
                     "format: vectors, width: 2, holdout: 0");
}

static enum tacit_err read_pair(const struct plan *p, struct buf x,
                                struct buf y, struct pooled *out)
{
    enum tacit_err err = npy_parse(p, "x.npy", &x, "y.npy", &y, out);
    buf_release(&x);
    buf_release(&y);
    return err;
}

static const float six[] = {1, -2.5F, 3e7F, 4, 0, 6};
static const uint8_t labels[] = {0, 2, 1};

static struct buf good_x(void)
{
    return npy_of("<f4", "(3, 2)", six, sizeof six);
}

static struct buf good_y(void)
{
    return npy_of("|u1", "(3,)", labels, sizeof labels);
}

/* Under privacy such a row is not seen: a plan of fewer classes would learn
 * from who declines. */
static void a_label_that_is_no_class_is_none_under_privacy(void **state)
{
    (void)state;
    static const uint8_t odd[] = {0, 3, 1};
    struct plan *p = pairs_of_two();
    struct pooled d;
    check_err(read_pair(p, good_x(), npy_of("|u1", "(3,)", odd, sizeof odd),
                        &d),
              TACIT_FORMAT);
    p->privacy.record = 1;
    check_ok(
        read_pair(p, good_x(), npy_of("|u1", "(3,)", odd, sizeof odd), &d));
    check(d.n_rows == 3 && isnan(d.y[1]));
    check_near(d.y[2], 1, 0);
    pooled_release(&d);
    plan_free(p);
}

static void every_type_is_read(void **state)
{
    (void)state;
    static const double f8[] = {1, -2.5, 3e7, 4, 0, 6};
    static const int64_t i8[] = {1, -2, 30000000, 4, 0, 6};
    static const uint8_t u1[] = {1, 255, 3, 4, 0, 6};
    static const int64_t y8[] = {0, 2, 1};
    static const double yf[] = {0, 2, 1};
    struct plan *p = pairs_of_two();
    struct pooled d;
    check_ok(read_pair(p, good_x(), good_y(), &d));
    check(d.n_rows == 3 && d.x_dim == 2 && d.y_dim == 1);
    check_tensor(d.x, six, 6, 0);
    for (size_t i = 0; i < 3; i++) check_near(d.y[i], labels[i], 0);
    pooled_release(&d);
    check_ok(read_pair(p, npy_of("<f8", "(3, 2)", f8, sizeof f8),
                       npy_of("<i8", "(3, 1)", y8, sizeof y8), &d));
    check_tensor(d.x, six, 6, 0);
    for (size_t i = 0; i < 3; i++) check_near(d.y[i], labels[i], 0);
    pooled_release(&d);
    check_ok(read_pair(p, npy_of("<i8", "(3, 2)", i8, sizeof i8),
                       npy_of("<f8", "(3,)", yf, sizeof yf), &d));
    for (size_t i = 0; i < 6; i++) check_near(d.x[i], i8[i], 0);
    pooled_release(&d);
    check_ok(read_pair(p, npy_of("|u1", "(3, 2)", u1, 6), good_y(), &d));
    for (size_t i = 0; i < 6; i++) check_near(d.x[i], u1[i], 0);
    pooled_release(&d);
    plan_free(p);
}

static void bytes_of_images_become_0_to_1(void **state)
{
    (void)state;
    static const uint8_t u1[] = {0, 255, 51, 102, 1, 2};
    static const char *const shapes[] = {"(3, 1, 2)", "(3, 1, 1, 2)", "(3, 2)"};
    struct plan *p = data_plan("classify", "kind: softmax, classes: 3",
                               "format: images, height: 1, width: 2");
    struct pooled d;
    for (size_t s = 0; s < 3; s++) {
        check_ok(read_pair(p, npy_of("|u1", shapes[s], u1, 6), good_y(), &d));
        for (size_t i = 0; i < 6; i++) check_near(d.x[i], u1[i] / 255., 1e-8);
        pooled_release(&d);
    }
    data_refused(read_pair(p, npy_of("|u1", "(3, 2, 1)", u1, 6), good_y(), &d),
                 E_DATA_SHAPE,
                 "x.npy: 2 values a row; the plan's images are 1 x 1 x 2 "
                 "(channels, height, width)");
    plan_free(p);
}

/* Bytes that numpy 2.4.6 wrote:
 *   numpy.save(f, numpy.array([[1, 2], [3, 4]], dtype='<f4')) */
static void what_numpy_wrote_is_read(void **state)
{
    (void)state;
    static const float x[] = {1, 2, 3, 4};
    char header[119];
    snprintf(header, sizeof header, "%-117s\n",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }");
    struct plan *p = pairs_of_two();
    for (unsigned major = 1; major < 3; major++) {
        struct pooled d;
        check_ok(read_pair(p, npy_raw(major, header, x, sizeof x),
                           npy_of("|u1", "(2,)", labels, 2), &d));
        check_tensor(d.x, x, 4, 0);
        pooled_release(&d);
    }
    plan_free(p);
}

static void a_cut_file_says_where_it_ends(void **state)
{
    (void)state;
    struct plan *p = pairs_of_two();
    struct pooled d;
    data_refused(read_pair(p, npy_of("<f4", "(3, 2)", six, 23), good_y(), &d),
                 E_DATA_ENDS,
                 "x.npy: the file ends early, in row 2 of the 3 that its "
                 "header names");
    data_refused(read_pair(p, good_x(), npy_of("|u1", "(2,)", labels, 2), &d),
                 E_DATA_ENDS, "y.npy: 2 labels for the 3 rows of x.npy");
    data_refused(read_pair(p, npy_of("<f4", "(2, 2)", six, 24), good_y(), &d),
                 E_DATA_KIND, "x.npy: 8 bytes behind the last row");
    size_t whole = 0;
    for (size_t n = 0; !whole; n++) {
        struct buf x = good_x();
        if (n >= x.len) whole = n;
        if (n < x.len) x.len = n;
        enum tacit_err err = read_pair(p, x, good_y(), &d);
        if (whole)
            check_ok(err);
        else
            check_err(err, TACIT_FORMAT);
    }
    pooled_release(&d);
    plan_free(p);
}

static void a_header_that_lies_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        unsigned id;
    } rows[] = {
        {"", E_DATA_KIND},
        {"{}", E_DATA_KIND},
        {"{'descr': '<f4', 'fortran_order': False, }", E_DATA_KIND},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, "
         "'shape': (3, 2), }",
         E_DATA_KIND},
        {"{'descr': '>f4', 'fortran_order': False, 'shape': (3, 2), }",
         E_DATA_KIND},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (3, 2), }",
         E_DATA_KIND},
        {"{'descr': '<f4<f4<f4<f4<f4<f4<f4', 'shape': (3, 2), }", E_DATA_KIND},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,), }",
         E_DATA_KIND},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (3, 2), }",
         E_DATA_KIND},
        {"{'descr': '<f4', 'fortran_order': 0, 'shape': (3, 2), }",
         E_DATA_KIND},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), } x",
         E_DATA_KIND},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3 2), }",
         E_DATA_KIND},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3, -2), }",
         E_DATA_KIND},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2",
         E_DATA_KIND},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (), }",
         E_DATA_SHAPE},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }",
         E_DATA_SHAPE},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 0), }",
         E_DATA_SHAPE},
        {"{'descr': '<f4', 'fortran_order': False, "
         "'shape': (1, 1, 1, 1, 1, 1, 1, 3, 2), }",
         E_DATA_KIND},
        {"{'descr': '<f4', 'fortran_order': False, "
         "'shape': (3, 99999999999999999999), }",
         E_DATA_KIND},
        {"{'descr': '<f4', 'fortran_order': False, "
         "'shape': (3, 1000000, 1000000, 1000000), }",
         E_DATA_SHAPE},
        {"{'descr': '<f4', 'fortran_order': False, "
         "'shape': (18446744073709551, 2), }",
         E_DATA_ENDS},
    };
    struct plan *p = pairs_of_two();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct pooled d = {.n_rows = 77};
        enum tacit_err err =
            read_pair(p, npy_raw(1, rows[i].header, six, sizeof six), good_y(),
                      &d);
        if (!err || err_id() != rows[i].id)
            fail_msg("%s: %s", rows[i].header, err_message());
        check_code(err, rows[i].id);
        check(d.n_rows == 77);
    }
    struct pooled d;
    struct buf x = good_x();
    x.data[6] = 3;
    data_refused(read_pair(p, x, good_y(), &d), E_DATA_KIND,
                 "x.npy: .npy version 3; versions 1 and 2 are read");
    plan_free(p);
}

static void a_value_that_cannot_be_used_names_its_row(void **state)
{
    (void)state;
    static const double big[] = {1, 2, 3, 1e39, 5, 6};
    static const double label[] = {0, 1.5, 2};
    static const int64_t minus[] = {0, 1, -1};
    static const uint8_t three[] = {0, 3, 1};
    struct plan *p = pairs_of_two();
    struct pooled d;
    float bad[6];
    memcpy(bad, six, sizeof bad);
    bad[5] = NAN;
    data_refused(read_pair(p, npy_of("<f4", "(3, 2)", bad, 24), good_y(), &d),
                 E_DATA_VALUE,
                 "x.npy: row 2, value 1 is not a finite 32-bit number");
    data_refused(read_pair(p, npy_of("<f8", "(3, 2)", big, 48), good_y(), &d),
                 E_DATA_VALUE,
                 "x.npy: row 1, value 1 is not a finite 32-bit number");
    data_refused(read_pair(p, good_x(), npy_of("<f8", "(3,)", label, 24), &d),
                 E_DATA_VALUE,
                 "y.npy: row 1 has label 1.5; the model's classes are 0 to 2");
    data_refused(read_pair(p, good_x(), npy_of("<i8", "(3,)", minus, 24), &d),
                 E_DATA_VALUE,
                 "y.npy: row 2 has label -1; the model's classes are 0 to 2");
    data_refused(read_pair(p, good_x(), npy_of("|u1", "(3,)", three, 3), &d),
                 E_DATA_VALUE,
                 "y.npy: row 1 has label 3; the model's classes are 0 to 2");
    data_refused(read_pair(p, good_x(), good_x(), &d), E_DATA_SHAPE,
                 "y.npy: 2 values a row; a label is one");
    plan_free(p);
    p = data_plan("regress", "kind: linear", "format: vectors, width: 2");
    check_ok(read_pair(p, good_x(), npy_of("<f8", "(3,)", label, 24), &d));
    check_near(d.y[1], 1.5, 0);
    pooled_release(&d);
    bad[0] = INFINITY;
    data_refused(read_pair(p, good_x(), npy_of("<f4", "(3,)", bad, 12), &d),
                 E_DATA_VALUE, "y.npy: row 0 is not a finite 32-bit number");
    plan_free(p);
}

static void labels_are_looked_for_beside_x(void **state)
{
    (void)state;
    static const char *const rows[][2] = {{"/a/x.npy", "/a/y.npy"},
                                          {"x_train.npy", "y_train.npy"},
                                          {"x/train_X.npy", "x/train_Y.npy"},
                                          {"X", "Y"},
                                          {"xx.npy", "yx.npy"}};
    char out[64];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        check_ok(npy_label_path(rows[i][0], out, sizeof out));
        assert_string_equal(out, rows[i][1]);
    }
    check_code(npy_label_path("x/data.npy", out, sizeof out), E_DATA_KIND);
    check_code(npy_label_path("x/", out, sizeof out), E_DATA_KIND);
    check_code(npy_label_path(".npy", out, sizeof out), E_DATA_KIND);
    check_err(npy_label_path("x.npy", out, 5), TACIT_LIMIT);
}

static void a_pair_of_files_becomes_examples(void **state)
{
    (void)state;
    struct plan *p = pairs_of_two();
    char folder[256], path[512], at[512];
    struct buf x = good_x(), y = good_y();
    struct dataset d;
    check_tmpdir(folder);
    data_put(folder, "x.npy", &x, path);
    check(examples_load(p, path, &d) == TACIT_NOTFOUND);
    check(strstr(err_message(), "y.npy") != NULL);
    err_clear();
    data_put(folder, "y.npy", &y, at);
    check_ok(examples_load(p, path, &d));
    check(d.train.n_rows == 3 && d.test.n_rows == 0);
    check_tensor(d.train.x, six, 6, 0);
    dataset_release(&d);
    p->holdout = 1; /* more than a plan allows: all rows */
    check_code(examples_load(p, path, &d), E_NO_EXAMPLES);
    buf_release(&x);
    buf_release(&y);
    check_tmpdir_remove(folder);
    plan_free(p);
}

/* Any one byte changed: refused with a message, or finite numbers. */
static void a_changed_byte_does_no_harm(void **state)
{
    (void)state;
    struct plan *p = pairs_of_two();
    struct rng rng;
    rng_init(&rng, 5, 0, 0);
    for (int i = 0; i < 4000; i++) {
        struct buf x = good_x(), y = good_y();
        struct buf *b = i & 1 ? &y : &x;
        struct pooled d;
        b->data[rng_below(&rng, b->len)] = (uint8_t)rng_u64(&rng);
        enum tacit_err err = read_pair(p, x, y, &d);
        if (err) {
            check(err_message()[0] != '\0');
            err_clear();
            continue;
        }
        for (size_t k = 0; k < d.n_rows * 2; k++) check(isfinite(d.x[k]));
        for (size_t k = 0; k < d.n_rows; k++) check(d.y[k] >= 0 && d.y[k] < 3);
        pooled_release(&d);
    }
    plan_free(p);
}

int main(void)
{
    rng_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_label_that_is_no_class_is_none_under_privacy),
        cmocka_unit_test(every_type_is_read),
        cmocka_unit_test(bytes_of_images_become_0_to_1),
        cmocka_unit_test(what_numpy_wrote_is_read),
        cmocka_unit_test(a_cut_file_says_where_it_ends),
        cmocka_unit_test(a_header_that_lies_is_refused),
        cmocka_unit_test(a_value_that_cannot_be_used_names_its_row),
        cmocka_unit_test(labels_are_looked_for_beside_x),
        cmocka_unit_test(a_pair_of_files_becomes_examples),
        cmocka_unit_test(a_changed_byte_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
