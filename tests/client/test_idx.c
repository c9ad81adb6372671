/* data_idx: images with their labels, and every way in which a file of them can
 * be cut, mixed up or made by an enemy. */
#include "tests/client/samples.h"

#include <stdlib.h>

#include "client/data_idx.h"
#include "client/examples.h"
#include "common/base/rng.h"

static void put_be(struct buf *b, uint32_t v)
{
    for (int i = 3; i >= 0; i--) buf_put_u8(b, (uint8_t)(v >> (8 * i)));
}

/* A header of n_dims sizes, then n_values bytes 0, 1, 2, … */
static struct buf idx_of(unsigned n_dims, const uint32_t *dim, size_t n_values)
{
    struct buf b;
    buf_init(&b, 0);
    put_be(&b, 0x0800 | n_dims);
    for (unsigned i = 0; i < n_dims; i++) put_be(&b, dim[i]);
    for (size_t i = 0; i < n_values; i++) buf_put_u8(&b, (uint8_t)i);
    check_ok(buf_end(&b));
    return b;
}

#define IDX(n_values, ...)                                                     \
 idx_of(sizeof((uint32_t[]){__VA_ARGS__}) / 4, (uint32_t[]){__VA_ARGS__},      \
        (n_values))

static struct plan *images_of(const char *data)
{
    return data_plan("classify", "kind: softmax, classes: 3", data);
}

static struct plan *small(void)
{
    return images_of("format: images, height: 2, width: 3, holdout: 0");
}

static enum tacit_err read_pair(const struct plan *p, struct buf x,
                                struct buf y, struct pooled *out)
{
    enum tacit_err err = idx_parse(p, "i.idx", &x, "l.idx", &y, out);
    buf_release(&x);
    buf_release(&y);
    return err;
}

static void bytes_become_0_to_1_in_order(void **state)
{
    (void)state;
    struct plan *p = small();
    struct pooled d;
    check_ok(read_pair(p, IDX(18, 3, 2, 3), IDX(3, 3), &d));
    check(d.n_rows == 3 && d.x_dim == 6 && d.y_dim == 1);
    check(!d.client && !d.is_test && d.n_clients == 0);
    for (size_t i = 0; i < 18; i++) check_near(d.x[i], (double)i / 255, 1e-8);
    for (size_t i = 0; i < 3; i++) check_near(d.y[i], i, 0);
    pooled_release(&d);
    plan_free(p);
}

static void channels_come_first(void **state)
{
    (void)state;
    struct plan *p = images_of("format: images, channels: 2, height: 2, "
                               "width: 3, holdout: 0");
    struct pooled d;
    check_ok(read_pair(p, IDX(24, 2, 2, 2, 3), IDX(2, 2), &d));
    check(d.n_rows == 2 && d.x_dim == 12);
    pooled_release(&d);
    data_refused(read_pair(p, IDX(24, 2, 4, 3), IDX(2, 2), &d), E_DATA_SHAPE,
                 "i.idx: images of 1 x 4 x 3 (channels, height, width); the "
                 "plan says 2 x 2 x 3");
    plan_free(p);
}

static void images_serve_as_vectors_of_the_same_length(void **state)
{
    (void)state;
    struct plan *p = images_of("format: vectors, width: 6");
    struct pooled d;
    check_ok(read_pair(p, IDX(12, 2, 2, 3), IDX(2, 2), &d));
    check(d.x_dim == 6);
    pooled_release(&d);
    data_refused(read_pair(p, IDX(8, 2, 2, 2), IDX(2, 2), &d), E_DATA_SHAPE,
                 "i.idx: 4 values a row; the plan has data.width 6");
    plan_free(p);
}

static void a_cut_file_says_where_it_ends(void **state)
{
    (void)state;
    struct plan *p = small();
    struct pooled d;
    data_refused(read_pair(p, IDX(17, 3, 2, 3), IDX(3, 3), &d), E_DATA_ENDS,
                 "i.idx: the file ends early, in row 2 of the 3 that its "
                 "header names");
    data_refused(read_pair(p, IDX(18, 3, 2, 3), IDX(2, 3), &d), E_DATA_ENDS,
                 "l.idx: the file ends early, in row 2 of the 3 that its "
                 "header names");
    data_refused(read_pair(p, IDX(18, 3, 2, 3), IDX(2, 2), &d), E_DATA_ENDS,
                 "l.idx: the file ends early: 2 labels for the 3 images of "
                 "i.idx");
    data_refused(read_pair(p, IDX(18, 3, 2, 3), IDX(4, 4), &d), E_DATA_ENDS,
                 "l.idx: 4 labels, but i.idx has 3 images");
    plan_free(p);
}

/* Every prefix of a good pair is refused, whichever of the two it is of. */
static void no_prefix_of_a_file_is_taken(void **state)
{
    (void)state;
    struct plan *p = small();
    for (size_t n = 0; n < 34; n++) {
        struct pooled d = {.n_rows = 77};
        struct buf x = IDX(18, 3, 2, 3);
        x.len = n;
        enum tacit_err err = read_pair(p, x, IDX(3, 3), &d);
        check(err == TACIT_FORMAT);
        check(err_id() == (n < 4 ? E_DATA_KIND : E_DATA_ENDS));
        err_clear();
        check(d.n_rows == 77);
    }
    for (size_t n = 0; n < 11; n++) {
        struct pooled d;
        struct buf y = IDX(3, 3);
        y.len = n;
        check_err(read_pair(p, IDX(18, 3, 2, 3), y, &d), TACIT_FORMAT);
    }
    plan_free(p);
}

static void sizes_that_overflow_are_refused(void **state)
{
    (void)state;
    struct plan *p = small();
    struct pooled d;
    const uint32_t most = UINT32_MAX;
    data_refused(read_pair(p, IDX(18, most, 2, 3), IDX(3, 3), &d), E_DATA_ENDS,
                 "i.idx: the file ends early, in row 3 of the 4294967295 that "
                 "its header names");
    data_refused(read_pair(p, IDX(18, 3, most, most), IDX(3, 3), &d),
                 E_DATA_SHAPE, "i.idx: a row of 1 x 4294967295 values");
    data_refused(read_pair(p, IDX(18, 3, 65536, 65536), IDX(3, 3), &d),
                 E_DATA_SHAPE, "i.idx: a row of 65536 x 65536 values");
    data_refused(read_pair(p, IDX(18, 3, 0, 6), IDX(3, 3), &d), E_DATA_SHAPE,
                 "i.idx: a row of 1 x 0 values");
    plan_free(p);
}

static void another_kind_of_file_is_named(void **state)
{
    (void)state;
    struct plan *p = small();
    struct pooled d;
    struct buf x = IDX(18, 3, 2, 3);
    x.data[2] = 0x0d; /* floats */
    data_refused(read_pair(p, x, IDX(3, 3), &d), E_DATA_KIND,
                 "i.idx: not an IDX file of bytes (it begins 00 00 08 and the "
                 "number of sizes, 1 to 4)");
    data_refused(read_pair(p, IDX(3, 3), IDX(3, 3), &d), E_DATA_KIND,
                 "i.idx: labels or a list, not images; name the file of the "
                 "images");
    data_refused(read_pair(p, IDX(18, 3, 2, 3), IDX(18, 3, 2, 3), &d),
                 E_DATA_KIND, "l.idx: not a list of labels (IDX type 0801)");
    data_refused(read_pair(p, IDX(19, 3, 2, 3), IDX(3, 3), &d), E_DATA_KIND,
                 "i.idx: 1 byte behind the last row");
    struct buf y = IDX(3, 3);
    y.data[0] = 0x1f;
    data_refused(read_pair(p, IDX(18, 3, 2, 3), y, &d), E_DATA_KIND,
                 "l.idx: gzip; unpack it first (gunzip -k)");
    plan_free(p);
}

static void a_label_beyond_the_classes_names_its_row(void **state)
{
    (void)state;
    struct plan *p = small();
    struct pooled d;
    struct buf y = IDX(3, 3);
    y.data[9] = 3;
    data_refused(read_pair(p, IDX(18, 3, 2, 3), y, &d), E_DATA_VALUE,
                 "l.idx: row 1 has label 3; the model's classes are 0 to 2");
    plan_free(p);
    p = data_plan("classify", "kind: logistic",
                  "format: images, height: 2, width: 3");
    data_refused(read_pair(p, IDX(18, 3, 2, 3), IDX(3, 3), &d), E_DATA_VALUE,
                 "l.idx: row 2 has label 2; the model's classes are 0 to 1");
    plan_free(p);
}

/* ---- files -------------------------------------------------------------- */

static void labels_are_looked_for_beside_the_images(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"/a/images/t10k-images-idx3-ubyte",
         "/a/images/t10k-labels-idx1-ubyte"},
        {"train-images.idx3-ubyte", "train-labels.idx1-ubyte"},
        {"x/images-images-idx4", "x/images-labels-idx1"},
        {"my-images", "my-labels"},
    };
    char out[256];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        check_ok(idx_label_path(rows[i][0], out, sizeof out));
        assert_string_equal(out, rows[i][1]);
    }
    check_code(idx_label_path("/images/digits", out, sizeof out), E_DATA_KIND);
    check_err(idx_label_path("my-images", out, 5), TACIT_LIMIT);
}

static void a_test_set_that_lies_beside_comes_along(void **state)
{
    (void)state;
    struct plan *p = small();
    char folder[256], path[512], at[512];
    struct buf x = IDX(18, 3, 2, 3), y = IDX(3, 3);
    struct dataset d;
    check_tmpdir(folder);
    data_put(folder, "train-images-idx3-ubyte", &x, path);
    check_err(examples_load(p, path, &d), TACIT_NOTFOUND);
    data_put(folder, "train-labels-idx1-ubyte", &y, at);
    check_ok(examples_load(p, path, &d));
    check(d.train.n_rows == 3 && d.test.n_rows == 0);
    dataset_release(&d);
    x.data[7] = 2; /* two rows */
    x.len -= 6;
    y.data[7] = 2;
    y.len -= 1;
    data_put(folder, "t10k-images-idx3-ubyte", &x, at);
    check_err(examples_load(p, path, &d), TACIT_NOTFOUND);
    data_put(folder, "t10k-labels-idx1-ubyte", &y, at);
    check_ok(examples_load(p, path, &d));
    check(d.train.n_rows == 3 && d.test.n_rows == 2 && d.train.y_dim == 1);
    check_near(d.train.x[17], 17. / 255, 1e-8);
    check_near(d.test.x[11], 11. / 255, 1e-8);
    dataset_release(&d);
    buf_release(&x);
    buf_release(&y);
    check_tmpdir_remove(folder);
    plan_free(p);
}

static void a_file_of_no_known_kind_says_what_it_is(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *says;
        unsigned id;
    } rows[] = {
        {"", 0, "the file is empty", E_DATA_ENDS},
        {"\x1f\x8b\x08", 3, "gzip; unpack it first", E_DATA_KIND},
        {"PK\x03\x04", 4, "a zip archive", E_DATA_KIND},
        {"{}", 2, "wanted is IDX or .npy for format: images; this is JSON",
         E_DATA_KIND},
        {"a,b\n1,2\n", 8, "something else", E_DATA_KIND},
    };
    struct plan *p = small();
    char folder[256], path[512];
    check_tmpdir(folder);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf b;
        struct dataset d;
        buf_init(&b, 0);
        buf_put(&b, rows[i].bytes, rows[i].n);
        data_put(folder, "images", &b, path);
        enum tacit_err err = examples_load(p, path, &d);
        if (!err || !strstr(err_message(), rows[i].says))
            fail_msg("%s: %s", rows[i].says, err_message());
        check_code(err, rows[i].id);
        buf_release(&b);
    }
    check_tmpdir_remove(folder);
    plan_free(p);
}

static void the_mnist_test_set_is_read(void **state)
{
    (void)state;
    static const char *const names[] = {"t10k-images-idx3-ubyte",
                                        "t10k-labels-idx1-ubyte"};
    /* As the data set's authors count them. */
    static const size_t count[10] = {980, 1135, 1032, 1010, 982,
                                     892, 958,  1028, 974,  1009};
    struct plan *p = data_plan("classify", "kind: softmax, classes: 10",
                               "format: images, holdout: 0.2");
    struct buf b[2];
    size_t seen[10] = {0};
    struct pooled d;
    struct dataset split;
    for (size_t i = 0; i < 2; i++) {
        char relative[128];
        snprintf(relative, sizeof relative, "mnist-t10k/%s.gz", names[i]);
        const char *path = check_data(relative);
        if (!path) skip_missing("mnist-t10k");
        size_t n = 0;
        char *bytes = check_gunzip(path, &n);
        buf_init(&b[i], 0);
        buf_put(&b[i], bytes, n);
        check_ok(buf_end(&b[i]));
        free(bytes);
    }
    check_ok(idx_parse(p, names[0], &b[0], names[1], &b[1], &d));
    check(d.n_rows == 10000 && d.x_dim == 784);
    for (size_t i = 0; i < d.n_rows; i++) seen[(size_t)d.y[i]]++;
    for (size_t i = 0; i < 10; i++) check(seen[i] == count[i]);
    check_ok(examples_from_pooled(p, names[0], &d, &split));
    check(split.train.n_rows + split.test.n_rows == 10000);
    check(split.test.n_rows > 1850 && split.test.n_rows < 2150);
    dataset_release(&split);
    buf_release(&b[0]);
    buf_release(&b[1]);
    plan_free(p);
}

/* ---- rows that were read ------------------------------------------------- */

static void rows_are_moved_whole(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 1, 0, 0);
    for (size_t n = 0; n < 60; n++) {
        struct pooled d;
        uint32_t order[64], used[64];
        check_ok(pooled_new("t", n, 3, 2, &d));
        check_ok(arena_alloc(&d.arena, n + 1, sizeof *d.client, &d.client));
        check_ok(arena_alloc(&d.arena, n + 1, 1, &d.is_test));
        for (size_t i = 0; i < n; i++) {
            order[i] = d.client[i] = (uint32_t)i;
            d.is_test[i] = (uint8_t)i;
            for (size_t k = 0; k < 3; k++) d.x[3 * i + k] = (float)(10 * i + k);
            for (size_t k = 0; k < 2; k++) d.y[2 * i + k] = (float)(7 * i + k);
        }
        rng_shuffle(&rng, order, n);
        memcpy(used, order, sizeof used);
        check_ok(pooled_order(&d, used));
        for (size_t i = 0; i < n; i++) {
            check(d.client[i] == order[i] && d.is_test[i] == order[i]);
            check_near(d.x[3 * i + 2], 10 * order[i] + 2, 0);
            check_near(d.y[2 * i + 1], 7 * order[i] + 1, 0);
        }
        pooled_release(&d);
    }
}

static void more_rows_than_the_limit_are_refused(void **state)
{
    (void)state;
    struct pooled d;
    check_err(pooled_new("t", POOLED_ROWS_MAX + 1, 1, 1, &d), TACIT_LIMIT);
    check_err(pooled_new("t", POOLED_ROWS_MAX, 65, 1, &d), TACIT_LIMIT);
    check_err(pooled_new("t", SIZE_MAX, SIZE_MAX, 1, &d), TACIT_LIMIT);
    check_err(pooled_new("t", 2, 1, SIZE_MAX / 2, &d), TACIT_LIMIT);
}

int main(void)
{
    rng_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_become_0_to_1_in_order),
        cmocka_unit_test(channels_come_first),
        cmocka_unit_test(images_serve_as_vectors_of_the_same_length),
        cmocka_unit_test(a_cut_file_says_where_it_ends),
        cmocka_unit_test(no_prefix_of_a_file_is_taken),
        cmocka_unit_test(sizes_that_overflow_are_refused),
        cmocka_unit_test(another_kind_of_file_is_named),
        cmocka_unit_test(a_label_beyond_the_classes_names_its_row),
        cmocka_unit_test(labels_are_looked_for_beside_the_images),
        cmocka_unit_test(a_test_set_that_lies_beside_comes_along),
        cmocka_unit_test(a_file_of_no_known_kind_says_what_it_is),
        cmocka_unit_test(the_mnist_test_set_is_read),
        cmocka_unit_test(rows_are_moved_whole),
        cmocka_unit_test(more_rows_than_the_limit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
