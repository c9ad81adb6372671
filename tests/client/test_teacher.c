#include "tests/check.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/teacher.h"
#include "common/base/rng.h"
#include "common/tensor/kernels.h"

enum { N = 3000, DIM = ENCODER_DIM, RECORD = 32 + 2 * DIM, HEAD = 64 };

static struct encoder *encoder;
static char folder[256], path[300];
static char lines[N][32];
static struct text texts[N];
static float out[N][DIM], again[N][DIM];

static int setup(void **state)
{
    (void)state;
    rng_setup();
    for (int i = 0; i < N; i++) {
        int n = snprintf(lines[i], sizeof lines[i], "wound number %d", i);
        texts[i] = (struct text){lines[i], (size_t)n};
    }
    return encoder_new(&encoder) != TACIT_OK;
}

static int teardown(void **state)
{
    (void)state;
    encoder_free(encoder);
    return 0;
}

static int begin(void **state)
{
    (void)state;
    check_tmpdir(folder);
    snprintf(path, sizeof path, "%s/teacher", folder);
    return 0;
}

static int end(void **state)
{
    (void)state;
    check_tmpdir_remove(folder);
    return 0;
}

struct limit {
    size_t rounds, most, last;
};

static enum tacit_err count(void *ctx, size_t done, size_t total)
{
    struct limit *l = ctx;
    assert_int_equal(total, N);
    check(done > l->last && done <= total);
    l->last = done;
    return ++l->rounds > l->most ? fail(TACIT_STATE, "stopped") : TACIT_OK;
}

static enum tacit_err embed(float *to, size_t most, struct limit *l)
{
    struct teacher *t = NULL;
    *l = (struct limit){.most = most};
    const struct teacher_job job = {texts, N, to, count, l};
    check_ok(teacher_open(path, encoder, &t));
    assert_int_equal(teacher_dim(t), DIM);
    enum tacit_err err = teacher_embed(t, &job);
    teacher_close(t);
    return err;
}

static off_t length(void)
{
    int fd = open(path, O_RDONLY);
    off_t n = lseek(fd, 0, SEEK_END);
    close(fd);
    return n;
}

static void put(off_t at, const void *bytes, size_t n)
{
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, bytes, n, at), n);
    close(fd);
}

static void vectors_are_the_encoders_and_are_kept(void **state)
{
    (void)state;
    struct limit l;
    struct arena a;
    float v[DIM];
    check_ok(embed(out[0], SIZE_MAX, &l));
    assert_int_equal(length(), HEAD + (off_t)N * RECORD);
    arena_init(&a, 0);
    check_ok(encoder_embed_all(encoder, &a, &texts[7], 1, v));
    check(kernel_dot(v, out[7], DIM) > 0.999f);
    arena_release(&a);
    check_ok(embed(again[0], SIZE_MAX, &l));
    assert_int_equal(l.rounds, 1); /* nothing was left to ask */
    assert_int_equal(length(), HEAD + (off_t)N * RECORD);
    assert_memory_equal(out, again, sizeof out);
}

static void what_was_interrupted_goes_on_where_it_was(void **state)
{
    (void)state;
    struct limit l;
    check_ok(embed(out[0], SIZE_MAX, &l));
    check_ok(unlink(path) ? TACIT_IO : TACIT_OK);
    check_err(embed(again[0], 0, &l), TACIT_STATE);
    off_t kept = length();
    check(kept > HEAD && kept < HEAD + (off_t)N * RECORD);
    /* And a kill in the middle of a record. */
    check_ok(truncate(path, kept - 5) ? TACIT_IO : TACIT_OK);
    check_ok(embed(again[0], SIZE_MAX, &l));
    assert_memory_equal(out, again, sizeof out);
}

/* A network takes a second for some thousand tokens. */
static void long_texts_make_short_rounds(void **state)
{
    (void)state;
    enum { LONG = 1000 };
    static char words[N][LONG];
    static struct text many[N];
    struct teacher *t = NULL;
    struct limit l = {.most = 0};
    for (size_t i = 0; i < N; i++) {
        memset(words[i], ' ', LONG);
        memcpy(words[i], texts[i].s, texts[i].n);
        many[i] = (struct text){words[i], LONG};
    }
    const struct teacher_job job = {many, N, out[0], count, &l};
    check_ok(teacher_open(path, encoder, &t));
    check_err(teacher_embed(t, &job), TACIT_STATE);
    teacher_close(t);
    check(l.last * LONG >= 16 << 10 && l.last * LONG < 18 << 10);
}

static void a_text_that_comes_twice_is_asked_once(void **state)
{
    (void)state;
    struct teacher *t = NULL;
    const struct text twice[] = {texts[0], {"", 0}, texts[1], texts[0]};
    const struct teacher_job job = {.texts = twice, .n = 4, .out = out[0]};
    check_ok(teacher_open(path, encoder, &t));
    check_ok(teacher_embed(t, &job));
    teacher_close(t);
    assert_int_equal(length(), HEAD + 3 * RECORD);
    assert_memory_equal(out[0], out[3], sizeof out[0]);
    check_near(kernel_dot(out[1], out[1], DIM), 0, 0);
}

static void another_teachers_file_and_a_damaged_one_are_refused(void **state)
{
    (void)state;
    struct teacher *t = NULL;
    struct limit l;
    check_ok(embed(out[0], SIZE_MAX, &l));
    check_ok(teacher_open(path, encoder, &t));
    struct teacher *second = NULL;
    check_err(teacher_open(path, encoder, &second), TACIT_STATE);
    err_clear();
    teacher_close(t);
    const uint16_t large[] = {0x7bff, 0x7bff};
    put(HEAD + 5 * RECORD + 40, large, sizeof large);
    assert_int_equal(embed(out[0], SIZE_MAX, &l), TACIT_FORMAT);
    check(strstr(err_message(), "damaged") != NULL);
    err_clear();
    put(20, "x", 1); /* of the version */
    assert_int_equal(teacher_open(path, encoder, &t), TACIT_FORMAT);
    check(strstr(err_message(), "another teacher") != NULL);
    err_clear();
    put(0, "x", 1);
    check_err(teacher_open(path, encoder, &t), TACIT_FORMAT);
    err_clear();
    check_ok(truncate(path, 10) ? TACIT_IO : TACIT_OK);
    check_err(teacher_open(path, encoder, &t), TACIT_FORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(vectors_are_the_encoders_and_are_kept,
                                        begin, end),
        cmocka_unit_test_setup_teardown(
            what_was_interrupted_goes_on_where_it_was, begin, end),
        cmocka_unit_test_setup_teardown(long_texts_make_short_rounds, begin,
                                        end),
        cmocka_unit_test_setup_teardown(a_text_that_comes_twice_is_asked_once,
                                        begin, end),
        cmocka_unit_test_setup_teardown(
            another_teachers_file_and_a_damaged_one_are_refused, begin, end),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
