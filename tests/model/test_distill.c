#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/rng.h"
#include "common/model/distill.h"
#include "common/model/distill_pca.h"
#include "common/model/word_table.h"
#include "common/tensor/kernels.h"

/* A teacher that is a table itself: each word of an invented language has a
 * hidden direction and a length; a text's vector is the normalised sum. */
enum { WORDS = 60, TEXTS = 600, WIDE = 48, DIM = 32, PER_TEXT = 6 };

struct school {
    char word[WORDS][8], line[TEXTS][PER_TEXT * 8];
    struct text texts[TEXTS];
    float meaning[WORDS][WIDE], text_vector[TEXTS][WIDE];
    struct arena arena;
    struct distill_words words;
    float *word_vector;
    struct distill_job job;
    double first_loss;
};

static void teach(struct school *s)
{
    struct rng rng;
    rng_init(&rng, 11, 0, 0);
    memset(s, 0, sizeof *s);
    arena_init(&s->arena, 16 << 20);
    for (int i = 0; i < WORDS; i++) {
        snprintf(s->word[i], sizeof s->word[i], "%c%c%co", 'a' + i % 26,
                 'a' + i / 3 % 26, 'k' + i / 26);
        float length = 0.2f + rng_f32(&rng);
        for (int k = 0; k < WIDE; k++)
            s->meaning[i][k] = length * rng_normal(&rng);
    }
    for (int i = 0; i < TEXTS; i++) {
        size_t n = 0;
        for (int j = 0; j < PER_TEXT; j++) {
            uint64_t w = rng_below(&rng, WORDS);
            size_t len = strlen(s->word[w]);
            if (j) s->line[i][n++] = ' ';
            memcpy(s->line[i] + n, s->word[w], len);
            n += len;
            kernel_axpy(s->text_vector[i], 1, s->meaning[w], WIDE);
        }
        kernel_normalise(s->text_vector[i], WIDE);
        s->texts[i] = (struct text){s->line[i], n};
    }
    check_ok(distill_count(&s->arena, s->texts, TEXTS, 2 * WORDS, &s->words));
    s->word_vector = calloc(s->words.n * WIDE, sizeof *s->word_vector);
    for (size_t i = 0; i < s->words.n; i++)
        for (int w = 0; w < WORDS; w++)
            if (strcmp(s->word[w], s->words.word[i].s) == 0)
                memcpy(s->word_vector + i * WIDE, s->meaning[w],
                       sizeof s->meaning[w]);
    for (size_t i = 0; i < s->words.n; i++)
        kernel_normalise(s->word_vector + i * WIDE, WIDE);
    s->job = (struct distill_job){.texts = s->texts,
                                  .n = TEXTS,
                                  .words = &s->words,
                                  .teacher_dim = WIDE,
                                  .text_vector = s->text_vector[0],
                                  .word_vector = s->word_vector};
}

static void dismiss(struct school *s)
{
    free(s->word_vector);
    arena_release(&s->arena);
}

static const struct distill_config config = {.dim = DIM,
                                             .words = 2 * WORDS,
                                             .buckets = 64,
                                             .epochs = 20,
                                             .rate = 0.02,
                                             .seed = 3,
                                             .type = QUANT_Q8_0};

static struct distilled *distil(const struct school *s, size_t epochs,
                                uint64_t seed)
{
    struct distill_config c = config;
    struct distilled *d = NULL;
    c.epochs = epochs;
    c.seed = seed;
    check_ok(distill_train(&c, &s->job, &d));
    return d;
}

static void words_are_counted_the_most_frequent_first(void **state)
{
    (void)state;
    const char *lines[] = {"Of wounds, of dressings", "wounds of OF", "a b"};
    struct text texts[3];
    struct arena a;
    struct distill_words w;
    for (int i = 0; i < 3; i++)
        texts[i] = (struct text){lines[i], strlen(lines[i])};
    arena_init(&a, 1 << 20);
    check_ok(distill_count(&a, texts, 3, 4, &w));
    assert_int_equal(w.n, 4);
    assert_int_equal(w.total, 9);
    assert_string_equal(w.word[0].s, "of");
    assert_int_equal(w.count[0], 4);
    assert_string_equal(w.word[1].s, "wounds");
    assert_string_equal(w.word[2].s, "a"); /* equal ones in byte order */
    assert_string_equal(w.word[3].s, "b");
    texts[0] = (struct text){"...", 3};
    check_err(distill_count(&a, texts, 1, 4, &w), TACIT_FORMAT);
    arena_release(&a);
}

static void directions_come_the_longest_first(void **state)
{
    (void)state;
    /* Points along (3, 4) / 5, and less along what is across. */
    const float x[] = {3, 4, -6, -8, 1.5f, 2, -0.4f, 0.3f, 0.4f, -0.3f};
    float out[4];
    check_ok(distill_pca(x, 5, 2, 2, out));
    check_near(out[0], 0.6, 1e-6);
    check_near(out[1], 0.8, 1e-6);
    check_near(out[2], 0.8, 1e-6);
    check_near(out[3], -0.6, 1e-6);
}

static enum tacit_err note_loss(void *ctx, const struct distill_report *r)
{
    double *first = ctx;
    if (r->epoch == 1 && *first == 0) *first = r->loss;
    return TACIT_OK;
}

static void the_loss_falls_and_held_out_texts_come_near_the_teacher(
    void **state)
{
    (void)state;
    static struct school s;
    teach(&s);
    s.job.step = note_loss;
    s.job.ctx = &s.first_loss;
    struct distilled *before = distil(&s, 0, 3), *after = distil(&s, 20, 3);
    const struct distill_report *r = distilled_report(after);
    check(r->loss < 0.5 * s.first_loss);
    check(r->cosine > distilled_report(before)->cosine + 0.05);
    check(r->cosine > 0.9);
    distilled_free(before);
    distilled_free(after);
    dismiss(&s);
}

/* Correlation of the similarities between texts with the teacher's: bases need
 * not agree. */
static double agreement(const struct school *s, const struct word_table *t)
{
    static float v[TEXTS][DIM];
    struct arena a;
    double n = 0, x = 0, y = 0, xy = 0, xx = 0, yy = 0;
    arena_init(&a, 1 << 20);
    for (int i = 0; i < TEXTS; i++) {
        check_ok(word_table_embed(t, &a, s->line[i], s->texts[i].n, v[i]));
        arena_reset(&a);
    }
    arena_release(&a);
    for (int i = 0; i < TEXTS; i++)
        for (int j = 0; j < i; j++) {
            double p = (double)kernel_dot(v[i], v[j], DIM);
            double q =
                (double)kernel_dot(s->text_vector[i], s->text_vector[j], WIDE);
            n += 1;
            x += p, xx += p * p, xy += p * q;
            y += q, yy += q * q;
        }
    return (n * xy - x * y) / sqrt((n * xx - x * x) * (n * yy - y * y));
}

static const struct distill_origin origin = {.name = "student",
                                             .licence = "MIT",
                                             .source = "a test",
                                             .teacher = "a table",
                                             .teacher_hash = "00",
                                             .texts_hash = "11"};

static void write_to(const struct school *s, const struct distilled *d,
                     const char *folder, struct buf *out)
{
    (void)s;
    char path[512];
    snprintf(path, sizeof path, "%s/student.gguf", folder);
    check_ok(distilled_write(d, &origin, folder, path, NULL));
    buf_init(out, 0);
    check_ok(file_read(path, 1 << 24, out));
}

static double agreement_of(const struct school *s, const struct buf *file)
{
    struct gguf *g = NULL;
    struct word_table *t = NULL;
    check_ok(gguf_open_bytes(file->data, file->len, &g));
    check_ok(word_table_open(g, &t));
    double a = agreement(s, t);
    word_table_free(t);
    gguf_close(g);
    return a;
}

/* The same file with rows of +-1. */
static void scramble(struct buf *file)
{
    struct gguf *g = NULL;
    struct rng rng;
    float row[DIM];
    check_ok(gguf_open_bytes(file->data, file->len, &g));
    const struct gguf_tensor *t = gguf_find(g, "table.weight");
    uint8_t *to = file->data + (t->data - file->data);
    rng_init(&rng, 5, 0, 0);
    for (uint64_t r = 0; r < t->dims[1]; r++) {
        for (int i = 0; i < DIM; i++) row[i] = rng_below(&rng, 2) ? 1 : -1;
        check_ok(quant_encode(QUANT_Q8_0, row,
                              to + r * quant_bytes(QUANT_Q8_0, DIM), DIM));
    }
    gguf_close(g);
}

static void a_student_beats_random_rows(void **state)
{
    (void)state;
    static struct school s;
    struct buf file;
    char folder[256];
    check_tmpdir(folder);
    teach(&s);
    struct distilled *d = distil(&s, 20, 3);
    write_to(&s, d, folder, &file);
    double learnt = agreement_of(&s, &file);
    scramble(&file);
    double drawn = agreement_of(&s, &file);
    check(learnt > 0.6);
    check(learnt > drawn + 0.2);
    buf_release(&file);
    distilled_free(d);
    dismiss(&s);
    check_tmpdir_remove(folder);
}

static void the_same_seed_gives_the_same_file(void **state)
{
    (void)state;
    static struct school s;
    struct buf one, same, other;
    char folder[256];
    check_tmpdir(folder);
    teach(&s);
    struct distilled *a = distil(&s, 2, 3), *b = distil(&s, 2, 3),
                     *c = distil(&s, 2, 4);
    write_to(&s, a, folder, &one);
    write_to(&s, b, folder, &same);
    write_to(&s, c, folder, &other);
    assert_int_equal(one.len, same.len);
    assert_memory_equal(one.data, same.data, one.len);
    check(one.len == other.len && memcmp(one.data, other.data, one.len) != 0);
    buf_release(&one);
    buf_release(&same);
    buf_release(&other);
    distilled_free(a);
    distilled_free(b);
    distilled_free(c);
    dismiss(&s);
    check_tmpdir_remove(folder);
}

static enum tacit_err stop(void *ctx, const struct distill_report *r)
{
    (void)ctx;
    return r->epoch ? fail(TACIT_STATE, "stopped") : TACIT_OK;
}

static void what_cannot_be_is_refused_and_work_can_be_stopped(void **state)
{
    (void)state;
    static struct school s;
    struct distilled *d = NULL;
    struct distill_config c = config;
    teach(&s);
    c.dim = 64; /* more than the teacher has */
    check_err(distill_train(&c, &s.job, &d), TACIT_LIMIT);
    c.dim = 20;
    check_err(distill_train(&c, &s.job, &d), TACIT_LIMIT);
    c = config;
    c.rate = 0;
    check_err(distill_train(&c, &s.job, &d), TACIT_LIMIT);
    c = config;
    c.buckets = 0;
    check_err(distill_train(&c, &s.job, &d), TACIT_LIMIT);
    s.job.step = stop;
    check_err(distill_train(&config, &s.job, &d), TACIT_STATE);
    assert_null(d);
    dismiss(&s);
}

int main(void)
{
    rng_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_counted_the_most_frequent_first),
        cmocka_unit_test(directions_come_the_longest_first),
        cmocka_unit_test(
            the_loss_falls_and_held_out_texts_come_near_the_teacher),
        cmocka_unit_test(a_student_beats_random_rows),
        cmocka_unit_test(the_same_seed_gives_the_same_file),
        cmocka_unit_test(what_cannot_be_is_refused_and_work_can_be_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
