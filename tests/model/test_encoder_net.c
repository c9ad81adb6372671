/* The network behind encoder.h, on a tiny one with random weights, and
 * all-MiniLM-L6-v2 on the similarity judgements of STS-B where both are here
 * ($TACIT_MINILM names the folder). */
#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/rng.h"
#include "common/model/encoder.h"
#include "common/model/gguf.h"
#include "common/model/vocab.h"
#include "common/tensor/kernels.h"
#include "common/tensor/quant.h"

enum { WIDTH = 32, FEED = 64, PLACES = 40, N_WORDS = 37, TEXTS = 60 };

static struct encoder *tiny;
static struct arena arena;
static char dir[] = "/tmp/tacit-encoder-XXXXXX", path[64];

/* ---- a tiny network ------------------------------------------------------ */

static const struct tensor {
    const char *name;
    size_t rows, cols; /* rows 0: a vector */
    float base, scale;
} tensors[] = {
    {"token_embd.weight", N_WORDS, WIDTH, 0, 1},
    {"position_embd.weight", PLACES, WIDTH, 0, 1},
    {"token_types.weight", 2, WIDTH, 0, 1},
    {"token_embd_norm.weight", 0, WIDTH, 1, 0.1F},
    {"token_embd_norm.bias", 0, WIDTH, 0, 0.1F},
    {"blk.0.attn_q.weight", WIDTH, WIDTH, 0, 0.3F},
    {"blk.0.attn_k.weight", WIDTH, WIDTH, 0, 0.3F},
    {"blk.0.attn_v.weight", WIDTH, WIDTH, 0, 0.3F},
    {"blk.0.attn_output.weight", WIDTH, WIDTH, 0, 0.3F},
    {"blk.0.attn_output_norm.weight", 0, WIDTH, 1, 0.1F},
    {"blk.0.attn_output_norm.bias", 0, WIDTH, 0, 0.1F},
    {"blk.0.ffn_up.weight", FEED, WIDTH, 0, 0.3F},
    {"blk.0.ffn_down.weight", WIDTH, FEED, 0, 0.3F},
    {"blk.0.layer_output_norm.weight", 0, WIDTH, 1, 0.1F},
    {"blk.0.layer_output_norm.bias", 0, WIDTH, 0, 0.1F},
};
enum { N_TENSORS = sizeof tensors / sizeof *tensors };

static void put_words(struct gguf_writer *w)
{
    char lines[512] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nwound\ndose";
    struct vocab *v;
    for (char c = 'a'; c <= 'y'; c++) {
        size_t n = strlen(lines);
        snprintf(lines + n, sizeof lines - n, "\n%c", c);
    }
    strcat(lines, "\n##a\n##b\n##c\n##d\n?\n");
    check_ok(vocab_from_lines(lines, strlen(lines), VOCAB_CASE_FOLDED, &v));
    check(vocab_size(v) == N_WORDS);
    check_ok(vocab_to_gguf(v, w));
    vocab_free(v);
}

static void put_tensor(struct gguf_writer *w, const struct tensor *t,
                       float spoil)
{
    size_t n = (t->rows ? t->rows : 1) * t->cols;
    float *v = malloc(n * sizeof *v);
    struct rng rng;
    rng_init(&rng, 7, n, (uint64_t)strlen(t->name));
    check(v != NULL);
    for (size_t i = 0; i < n; i++)
        v[i] = t->base + t->scale * (float)(rng_u64(&rng) % 2001) / 1000 -
               t->scale;
    v[0] += spoil;
    check_ok(gguf_put_data(w, v, n * sizeof *v));
    check_ok(gguf_end_tensor(w));
    free(v);
}

static void write_tiny(const char *name, float spoil, uint32_t tokens_max)
{
    struct gguf_writer w;
    check_ok(gguf_writer_init(&w, dir, GGUF_ALIGNMENT));
    gguf_put_text(&w, "general.architecture", "bert", 4);
    gguf_put_u32(&w, "bert.block_count", 1);
    gguf_put_u32(&w, "bert.embedding_length", WIDTH);
    gguf_put_u32(&w, "bert.feed_forward_length", FEED);
    gguf_put_u32(&w, "bert.attention.head_count", 4);
    gguf_put_u32(&w, "bert.context_length", PLACES);
    if (tokens_max > 0) gguf_put_u32(&w, "tacit.tokens_max", tokens_max);
    put_words(&w);
    for (size_t i = 0; i < N_TENSORS; i++) {
        const struct tensor *t = &tensors[i];
        const uint64_t dims[] = {t->cols, t->rows, 1, 1};
        gguf_put_tensor(&w, t->name, QUANT_F32, t->rows ? 2 : 1, dims);
    }
    for (size_t i = 0; i < N_TENSORS; i++) put_tensor(&w, &tensors[i], spoil);
    check_ok(gguf_writer_end(&w, NULL));
    check_ok(gguf_writer_commit(&w, name, 0600));
    gguf_writer_release(&w);
}

static struct encoder *open_tiny(const char *question, const char *passage)
{
    struct encoder *e = NULL;
    const struct encoder_model m = {.name = "tiny",
                                    .path = path,
                                    .dim = WIDTH,
                                    .question = question,
                                    .passage = passage};
    check_ok(encoder_open(&m, &e));
    return e;
}

static int begin(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    if (!mkdtemp(dir)) return 1;
    snprintf(path, sizeof path, "%s/tiny.gguf", dir);
    write_tiny(path, 0, 0);
    tiny = open_tiny("", "");
    return 0;
}

static int end(void **state)
{
    (void)state;
    encoder_free(tiny);
    arena_release(&arena);
    unlink(path);
    rmdir(dir);
    return 0;
}

/* ---- its vectors --------------------------------------------------------- */

static void draw_texts(char (*out)[200], struct text *texts)
{
    struct rng rng;
    rng_init(&rng, 3, 0, 0);
    for (size_t i = 0; i < TEXTS; i++) {
        size_t n = 2 * (size_t)(rng_u64(&rng) % 99);
        for (size_t k = 0; k < n; k += 2) {
            out[i][k] = (char)('a' + (char)(rng_u64(&rng) % 25));
            out[i][k + 1] = ' ';
        }
        texts[i] = (struct text){out[i], n};
    }
}

static void a_text_has_the_same_vector_alone_and_among_others(void **state)
{
    (void)state;
    static char words[TEXTS][200];
    static float all[TEXTS][WIDTH];
    struct text texts[TEXTS];
    draw_texts(words, texts);
    check_ok(encoder_embed_all(tiny, &arena, texts, TEXTS, all[0]));
    for (size_t i = 0; i < TEXTS; i++) {
        float v[WIDTH];
        check_ok(encoder_embed(tiny, &arena, texts[i].s, texts[i].n, v));
        check_tensor(all[i], v, WIDTH, 1e-6); /* batches round otherwise */
        check_near(kernel_dot(v, v, WIDTH), texts[i].n ? 1 : 0, 1e-5);
    }
}

static void a_text_longer_than_the_context_loses_its_end(void **state)
{
    (void)state;
    char text[400];
    float u[WIDTH], v[WIDTH];
    for (size_t i = 0; i < sizeof text; i += 2) memcpy(text + i, "a ", 2);
    check_ok(encoder_embed(tiny, &arena, text, sizeof text, u));
    check_ok(encoder_embed(tiny, &arena, text, 2 * (PLACES - 2), v));
    check_tensor(u, v, WIDTH, 0);
    check_ok(encoder_embed(tiny, &arena, text, 2 * (PLACES - 3), v));
    check(memcmp(u, v, sizeof u) != 0);
    check(encoder_context(tiny) == PLACES);
}

static void nor_is_more_read_than_it_was_trained_on(void **state)
{
    (void)state;
    char file[300];
    struct encoder *e = NULL;
    float u[WIDTH], v[WIDTH];
    snprintf(file, sizeof file, "%s/short.gguf", dir);
    write_tiny(file, 0, 5);
    const struct encoder_model m = {.name = "short",
                                    .path = file,
                                    .dim = WIDTH,
                                    .question = "",
                                    .passage = ""};
    check_ok(encoder_open(&m, &e));
    check_ok(encoder_embed(e, &arena, "a a a wound", 11, u));
    check(encoder_context(e) == 5);
    check_ok(encoder_embed(tiny, &arena, "a a a", 5, v));
    check_tensor(u, v, WIDTH, 0);
    encoder_free(e);
    check(unlink(file) == 0);
}

static void prefixes_are_put_before_questions_and_passages(void **state)
{
    (void)state;
    struct encoder *e = open_tiny("a ", "b ");
    const struct text x = {"wound", 5}, y = {"b wound", 7};
    float u[WIDTH], v[WIDTH];
    check_ok(encoder_embed(e, &arena, "wound", 5, u));
    check_ok(encoder_embed(tiny, &arena, "a wound", 7, v));
    check_tensor(u, v, WIDTH, 0);
    check_ok(encoder_embed_all(e, &arena, &x, 1, u));
    check_ok(encoder_embed_all(tiny, &arena, &y, 1, v));
    check_tensor(u, v, WIDTH, 0);
    encoder_free(e);
}

static void a_version_names_file_and_prefixes(void **state)
{
    (void)state;
    char a[ENCODER_VERSION_MAX], b[ENCODER_VERSION_MAX];
    struct encoder *same = open_tiny("", ""), *other = open_tiny("", "b ");
    struct encoder *built_in;
    check_ok(encoder_new(&built_in));
    encoder_version(tiny, a);
    encoder_version(same, b);
    assert_string_equal(a, b);
    encoder_version(other, b);
    assert_string_not_equal(a, b);
    encoder_version(built_in, b);
    assert_string_not_equal(a, b);
    check(encoder_dim(tiny) == WIDTH && encoder_dim(built_in) == ENCODER_DIM);
    check(!encoder_is_built_in(tiny) && encoder_is_built_in(built_in));
    encoder_free(same);
    encoder_free(other);
    encoder_free(built_in);
}

static void tokens_are_counted_as_the_network_has_them(void **state)
{
    (void)state;
    check_ok(encoder_ready(tiny));
    assert_int_equal(encoder_count(tiny, "Wound abc?", 10), 5);
}

static void a_file_that_cannot_be_used_names_the_ways_out(void **state)
{
    (void)state;
    struct encoder *e = NULL;
    float v[WIDTH];
    struct encoder_model m = {.name = "tiny",
                              .path = "/tmp/no-such-model",
                              .dim = WIDTH,
                              .question = "",
                              .passage = ""};
    check_ok(encoder_open(&m, &e));
    enum tacit_err err = encoder_embed(e, &arena, "a", 1, v);
    check(strstr(err_message(), "model use built-in") != NULL);
    check_err(err, TACIT_NOTFOUND);
    encoder_free(e);
    m.path = path;
    m.dim = WIDTH / 2;
    check_ok(encoder_open(&m, &e));
    err = encoder_ready(e);
    check(strstr(err_message(), "32 numbers, not 16") != NULL);
    check_err(err, TACIT_SHAPE);
    encoder_free(e);
    m.dim = ENCODER_DIM_MAX + 1;
    check_err(encoder_open(&m, &e), TACIT_LIMIT);
}

static void numbers_that_are_none_are_an_error(void **state)
{
    (void)state;
    struct encoder *e = NULL;
    char bad[64];
    float v[WIDTH];
    snprintf(bad, sizeof bad, "%s/bad.gguf", dir);
    write_tiny(bad, NAN, 0);
    const struct encoder_model m = {.name = "tiny",
                                    .path = bad,
                                    .dim = WIDTH,
                                    .question = "",
                                    .passage = ""};
    check_ok(encoder_open(&m, &e));
    enum tacit_err err = encoder_embed(e, &arena, "a b", 3, v);
    check(strstr(err_message(), "imported again") != NULL);
    check_err(err, TACIT_FORMAT);
    encoder_free(e);
    unlink(bad);
}

/* ---- STS-B --------------------------------------------------------------- */

enum { PAIRS_MAX = 2000 };

/* One cell of a CSV row, unquoted in place. */
static char *cell(char **at)
{
    char *s = *at, *to = s, *out = s;
    int quoted = *s == '"';
    if (quoted) s++;
    while (*s && (quoted || (*s != ',' && *s != '\n'))) {
        if (quoted && *s == '"' && s[1] != '"') break;
        if (quoted && *s == '"') s++;
        *to++ = *s++;
    }
    if (quoted && *s == '"') s++;
    if (*s == '\r') s++;
    *at = *s ? s + 1 : s;
    *to = '\0';
    return out;
}

struct ranked {
    double value, rank;
    size_t at;
};

static int by_value(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return (x->value > y->value) - (x->value < y->value);
}

/* Ranks of values, equal ones sharing the mean, in the order of `at`. */
static void rank(const double *v, size_t n, double *out)
{
    static struct ranked r[PAIRS_MAX];
    for (size_t i = 0; i < n; i++) r[i] = (struct ranked){v[i], 0, i};
    qsort(r, n, sizeof *r, by_value);
    for (size_t i = 0; i < n;) {
        size_t k = i;
        while (k < n && !(r[k].value > r[i].value)) k++;
        for (size_t j = i; j < k; j++) out[r[j].at] = (double)(i + k - 1) / 2;
        i = k;
    }
}

/* Pearson's correlation of the ranks. */
static double spearman(const double *a, const double *b, size_t n)
{
    static double x[PAIRS_MAX], y[PAIRS_MAX];
    double mean = (double)(n - 1) / 2, xy = 0, xx = 0, yy = 0;
    rank(a, n, x);
    rank(b, n, y);
    for (size_t i = 0; i < n; i++) {
        xy += (x[i] - mean) * (y[i] - mean);
        xx += (x[i] - mean) * (x[i] - mean);
        yy += (y[i] - mean) * (y[i] - mean);
    }
    return xy / sqrt(xx * yy);
}

static size_t read_pairs(const char *file, struct text *texts, double *scores,
                         char **owned)
{
    size_t n_bytes, n = 0;
    char *at = *owned = check_gunzip(file, &n_bytes);
    while (*at && n < PAIRS_MAX) {
        char *a = cell(&at), *b = cell(&at);
        scores[n] = strtod(cell(&at), NULL);
        texts[2 * n] = (struct text){a, strlen(a)};
        texts[2 * n + 1] = (struct text){b, strlen(b)};
        n++;
    }
    return n;
}

static void its_similarities_agree_with_peoples(void **state)
{
    (void)state;
    static struct text texts[2 * PAIRS_MAX];
    static double score[PAIRS_MAX], cosine[PAIRS_MAX];
    const char *folder = getenv("TACIT_MINILM");
    const char *file = check_data("stsb/stsb-en-test.csv.gz");
    struct encoder *e;
    char *owned;
    if (!folder || !file) skip_missing("all-MiniLM-L6-v2 and STS-B");
    const struct encoder_model m = {.name = "all-MiniLM-L6-v2",
                                    .path = folder,
                                    .dim = 384,
                                    .question = "",
                                    .passage = ""};
    size_t n = read_pairs(file, texts, score, &owned);
    assert_int_equal(n, 1379);
    float *v = malloc(2 * n * 384 * sizeof *v);
    check(v != NULL);
    check_ok(encoder_open(&m, &e));
    check_ok(encoder_embed_all(e, &arena, texts, 2 * n, v));
    for (size_t i = 0; i < n; i++)
        cosine[i] = (double)kernel_dot(v + 768 * i, v + 768 * i + 384, 384);
    double s = 100 * spearman(score, cosine, n);
    print_message("STS-B test, %zu pairs: Spearman %.2f\n", n, s);
    check_near(s, 82.0, 0.2);
    free(v);
    free(owned);
    encoder_free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_has_the_same_vector_alone_and_among_others),
        cmocka_unit_test(a_text_longer_than_the_context_loses_its_end),
        cmocka_unit_test(nor_is_more_read_than_it_was_trained_on),
        cmocka_unit_test(prefixes_are_put_before_questions_and_passages),
        cmocka_unit_test(a_version_names_file_and_prefixes),
        cmocka_unit_test(tokens_are_counted_as_the_network_has_them),
        cmocka_unit_test(a_file_that_cannot_be_used_names_the_ways_out),
        cmocka_unit_test(numbers_that_are_none_are_an_error),
        cmocka_unit_test(its_similarities_agree_with_peoples),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
