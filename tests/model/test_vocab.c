#include "tests/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/codes.h"
#include "common/model/vocab.h"

static void encode(const struct vocab *v, const char *text, size_t n,
                   unsigned flags, struct vocab_ids *ids)
{
    ids->n = 0;
    check_ok(vocab_encode(v, text, n, flags, ids));
}

/* The tokens' numbers as text: "1 2 3". */
static const char *numbers(const struct vocab *v, const char *text,
                           unsigned flags)
{
    static char out[1024];
    struct vocab_ids ids = {0};
    size_t at = 0;
    encode(v, text, strlen(text), flags, &ids);
    out[0] = '\0';
    for (size_t i = 0; i < ids.n && at < sizeof out - 16; i++)
        at += (size_t)snprintf(out + at, sizeof out - at, i ? " %d" : "%d",
                               ids.id[i]);
    vocab_ids_release(&ids);
    return out;
}

/* What a stream prints of a text's tokens, behind the first blanks. */
static const char *decoded(const struct vocab *v, const char *text)
{
    static struct buf out;
    struct vocab_ids ids = {0};
    encode(v, text, strlen(text), 0, &ids);
    buf_release(&out);
    buf_init(&out, 0);
    for (size_t i = 0; i < ids.n; i++) vocab_piece(v, ids.id[i], &out);
    check_ok(buf_end(&out));
    vocab_ids_release(&ids);
    const char *s = buf_cstr(&out);
    return s + strspn(s, " ");
}

static struct vocab *from_json(const char *json)
{
    struct vocab *v = NULL;
    check_ok(vocab_from_json(json, strlen(json), &v));
    return v;
}

/* Byte-level with few merges; "\u0120" is the letter for a blank. */
static const char bytes_json[] =
    "{\"added_tokens\":[{\"id\":11,\"content\":\"<|end|>\",\"special\":true},"
    "{\"id\":12,\"content\":\"tool\",\"special\":false}],"
    "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"ab\":3,"
    "\"abc\":4,\"\u0120\":5,\"\u0120a\":6,\"bc\":7,\"t\":8,\"o\":9,\"l\":10},"
    "\"merges\":[\"b c\",\"a b\",\"a bc\",\"\u0120 a\"]}}";

static void merges_join_the_best_pair_first(void **state)
{
    (void)state;
    struct vocab *v = from_json(bytes_json);
    assert_string_equal(numbers(v, "abc", 0), "4");
    assert_string_equal(numbers(v, "ab", 0), "3");
    /* The words are cut first: no merge joins a blank to what precedes. */
    assert_string_equal(numbers(v, "abc abc", 0), "4 5 4");
    assert_string_equal(numbers(v, "ab ab", 0), "3 5 3");
    assert_string_equal(numbers(v, "ab a", 0), "3 6");
    /* Bytes that no token stands for are left out: there is no unknown one. */
    assert_string_equal(numbers(v, "axb", 0), "0 1");
    assert_string_equal(decoded(v, "abc ab"), "abc ab");
    vocab_free(v);
}

static void a_mark_in_a_text_is_text_unless_asked_for(void **state)
{
    (void)state;
    struct vocab *v = from_json(bytes_json);
    assert_string_equal(numbers(v, "a<|end|>b", 0), "0 1");
    assert_string_equal(numbers(v, "a<|end|>b", VOCAB_PARSE_SPECIAL), "0 11 1");
    /* Words that the user added are never cut. */
    assert_string_equal(numbers(v, "tooltool", 0), "12 12");
    check(vocab_ends(v, 11));
    check(!vocab_ends(v, 12));
    assert_int_equal(vocab_find(v, "<|end|>", 7), 11);
    assert_int_equal(vocab_find(v, "abc", 3), 4);
    assert_int_equal(vocab_find(v, "nothing", 7), -1);
    vocab_free(v);
}

static const char words_txt[] =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\nun\n##aff\n##able\nthe\n,\ncafe\n3\n\xe4\xb8"
    "\xad\n";

static void wordpiece_takes_the_longest_token_and_folds(void **state)
{
    (void)state;
    struct vocab *v = NULL;
    check_ok(vocab_from_lines(words_txt, sizeof words_txt - 1,
                              VOCAB_CASE_FOLDED, &v));
    assert_string_equal(numbers(v, "Unaffable", 0), "4 5 6");
    assert_string_equal(numbers(v, "the Caf\xc3\xa9, 3", VOCAB_ADD_SPECIAL),
                        "2 7 9 8 10 3");
    assert_string_equal(numbers(v, "unaffordable", 0), "1");
    assert_string_equal(numbers(v,
                                "the\xe4\xb8\xad"
                                "the",
                                0),
                        "7 11 7");
    /* Bytes that are not UTF-8 are dropped like U+FFFD. */
    assert_string_equal(numbers(v,
                                "th\xff"
                                "e",
                                0),
                        "7");
    /* The letter that marks a word's start is none inside a word. */
    assert_string_equal(numbers(v, "un\xe2\x96\x81the", 0), "1");
    assert_string_equal(decoded(v, "Unaffable the, 3"), "unaffable the, 3");
    vocab_free(v);
    check_ok(
        vocab_from_lines(words_txt, sizeof words_txt - 1, VOCAB_CASE_KEPT, &v));
    assert_string_equal(numbers(v, "The", 0), "1");
    vocab_free(v);
}

static void a_word_too_long_is_unknown(void **state)
{
    (void)state;
    struct vocab *v = NULL;
    char text[140];
    const char *lines = "[UNK]\na\n##a\n[CLS]\n[SEP]\n";
    struct vocab_ids ids = {0};
    check_ok(vocab_from_lines(lines, strlen(lines), VOCAB_CASE_FOLDED, &v));
    memset(text, 'a', sizeof text);
    encode(v, text, 100, 0, &ids);
    assert_int_equal(ids.n, 100);
    encode(v, text, 101, 0, &ids);
    assert_int_equal(ids.n, 1);
    encode(v, text, 140, 0, &ids);
    assert_int_equal(ids.n, 1);
    vocab_ids_release(&ids);
    vocab_free(v);
}

/* A SentencePiece model by hand: pieces with scores. */
static void put_piece(struct buf *b, const char *text, float score, int class)
{
    size_t n = strlen(text);
    buf_put_u8(b, 1 << 3 | 2);
    buf_put_u8(b, (uint8_t)(n + 9));
    buf_put_u8(b, 1 << 3 | 2);
    buf_put_u8(b, (uint8_t)n);
    buf_put(b, text, n);
    buf_put_u8(b, 2 << 3 | 5);
    buf_put_f32(b, score);
    buf_put_u8(b, 3 << 3 | 0);
    buf_put_u8(b, (uint8_t) class);
}

static void make_model(struct buf *b, int kind, int prefix)
{
    buf_init(b, 0);
    put_piece(b, "<unk>", 0, VOCAB_UNKNOWN);
    put_piece(b, "<s>", 0, VOCAB_CONTROL);
    put_piece(b, "a", -3, VOCAB_NORMAL);
    put_piece(b, "b", -3, VOCAB_NORMAL);
    put_piece(b, "ab", -1, VOCAB_NORMAL);
    put_piece(b, "ba", -1, VOCAB_NORMAL);
    put_piece(b, "\xe2\x96\x81", -4, VOCAB_NORMAL);
    put_piece(b,
              "\xe2\x96\x81"
              "ab",
              -2, VOCAB_NORMAL);
    buf_put(b, "\x12\x02\x18", 3);
    buf_put_u8(b, (uint8_t)kind);
    buf_put(b, "\x1a\x04\x18", 3);
    buf_put_u8(b, (uint8_t)prefix);
    buf_put(b, "\x20\x00", 2);
    check_ok(buf_end(b));
}

static void sentencepiece_joins_by_score_and_leftmost(void **state)
{
    (void)state;
    struct vocab *v = NULL;
    struct buf b;
    make_model(&b, 2, 0);
    check_ok(vocab_from_spm(b.data, b.len, &v));
    assert_string_equal(numbers(v, "aba", 0), "4 2"); /* not a + ba */
    assert_string_equal(numbers(v, "bab", 0), "5 3");
    assert_string_equal(numbers(v, "aba", VOCAB_ADD_SPECIAL), "1 4 2");
    assert_string_equal(numbers(v,
                                "a\xc3\xa9\xc3\xa9"
                                "b",
                                0),
                        "2 0 3"); /* unknown ones in a row are one */
    vocab_free(v);
    buf_release(&b);
    make_model(&b, 2, 1);
    check_ok(vocab_from_spm(b.data, b.len, &v));
    assert_string_equal(numbers(v, "ab", 0), "7");
    assert_string_equal(decoded(v, "ab ab"), "ab ab");
    vocab_free(v);
    buf_release(&b);
}

static void unigram_takes_the_likeliest_cut(void **state)
{
    (void)state;
    struct vocab *v = NULL;
    struct buf b;
    make_model(&b, 1, 0);
    check_ok(vocab_from_spm(b.data, b.len, &v));
    assert_int_equal(vocab_kind_of(v), VOCAB_UNIGRAM);
    assert_string_equal(numbers(v, "ab", 0), "4");
    assert_string_equal(numbers(v, " ab", 0), "7");
    assert_string_equal(numbers(v, "abab", 0), "4 4");
    vocab_free(v);
    buf_release(&b);
}

static void every_cut_and_flip_of_a_model_is_survived(void **state)
{
    (void)state;
    struct buf b;
    make_model(&b, 2, 1);
    for (size_t i = 0; i < b.len; i++) {
        struct vocab *v = NULL;
        if (vocab_from_spm(b.data, i, &v) == TACIT_OK)
            vocab_free(v);
        else
            check(err_message()[0]);
        err_clear();
        for (int bit = 0; bit < 8; bit++) {
            b.data[i] ^= (uint8_t)(1 << bit);
            if (vocab_from_spm(b.data, b.len, &v) == TACIT_OK) {
                (void)numbers(v, "ab ba \xc3\xa9", VOCAB_PARSE_SPECIAL);
                vocab_free(v);
            }
            err_clear();
            b.data[i] ^= (uint8_t)(1 << bit);
        }
    }
    buf_release(&b);
}

static void what_is_not_known_is_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *json, *says;
    } bad[] = {
        {"{\"model\":{\"type\":\"WordLevel\",\"vocab\":{}}}", "WordLevel"},
        {"{\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"a\","
         "\"vocab\":{\"a\":0}},\"normalizer\":{\"type\":\"Rot13\"}}",
         "Rot13"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},"
         "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":["
         "{\"type\":\"ByteLevel\"},{\"type\":\"Odd\"}]}}",
         "Odd"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct vocab *v = NULL;
        assert_int_equal(vocab_from_json(bad[i].json, strlen(bad[i].json), &v),
                         TACIT_UNSUPPORTED);
        assert_int_equal(err_id(), E_MODEL_UNSUPPORTED);
        if (!strstr(err_message(), bad[i].says)) fail_msg("%s", err_message());
        err_clear();
    }
    static const char *const damaged[] = {
        "{}",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1},\"merges\":[]}}",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0}}}",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":"
        "\"a a\"}}",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":"
        "[[\"a\",\"a\",\"a\"]]}}",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]},"
        "\"normalizer\":5}"};
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        struct vocab *v = NULL;
        assert_int_equal(vocab_from_json(damaged[i], strlen(damaged[i]), &v),
                         TACIT_FORMAT);
        if (i > 0 && !strstr(err_message(), "damaged"))
            fail_msg("%s: %s", damaged[i], err_message());
        err_clear();
    }
}

static struct vocab *open_gguf(const char *name, struct gguf **g, char **bytes)
{
    char path[128];
    size_t n;
    struct vocab *v = NULL;
    snprintf(path, sizeof path, "tokenizers/ggml-vocab-%s.gguf.gz", name);
    const char *found = check_data(path);
    if (!found) return NULL;
    *bytes = check_gunzip(found, &n);
    check_ok(gguf_open_bytes((uint8_t *)*bytes, n, g));
    check_ok(vocab_from_gguf(*g, &v));
    return v;
}

static void compare(const struct vocab *v, char *in, char *want)
{
    static const char mark[] = "\n__ggml_vocab_test__\n";
    struct vocab_ids ids = {0};
    size_t n_tests = 0;
    for (char *p = in, *line = want; *p; n_tests++) {
        char *end = strstr(p, mark);
        size_t n = end ? (size_t)(end - p) : strlen(p);
        encode(v, p, n, 0, &ids);
        for (size_t i = 0; i < ids.n; i++) {
            char *next = NULL;
            assert_int_equal(strtol(line, &next, 10), ids.id[i]);
            line = next;
        }
        line += strspn(line, " ");
        assert_true(*line == '\n' || *line == '\0');
        line += *line == '\n';
        p += n + (end ? sizeof mark - 1 : 0);
    }
    assert_int_equal(n_tests, 46);
    vocab_ids_release(&ids);
}

static const char *const published[] = {"bert-bge", "falcon", "gpt-2", "mpt",
                                        "phi-3"};

static void published_vectors_come_out_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        char path[128], *bytes = NULL;
        struct gguf *g = NULL;
        size_t n;
        struct vocab *v = open_gguf(published[i], &g, &bytes);
        if (!v) skip_missing("tokenizers");
        snprintf(path, sizeof path, "tokenizers/ggml-vocab-%s.gguf.inp",
                 published[i]);
        char *in = check_gunzip(check_data(path), &n);
        snprintf(path, sizeof path, "tokenizers/ggml-vocab-%s.gguf.out",
                 published[i]);
        char *want = check_gunzip(check_data(path), &n);
        compare(v, in, want);
        compare(v, in, want); /* again, with what the first has learnt */
        free(in);
        free(want);
        vocab_free(v);
        gguf_close(g);
        free(bytes);
    }
}

static void a_vocabulary_written_to_gguf_is_the_same(void **state)
{
    (void)state;
    static const char text[] =
        "Hello, World!  It's 3.14 \xe4\xb8\xad\xe6\x96\x87 caf\xc3\xa9\n\n ok";
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        char *bytes = NULL;
        struct gguf *g = NULL, *h = NULL;
        struct gguf_writer w;
        struct vocab_ids a = {0}, b = {0};
        struct vocab *v = open_gguf(published[i], &g, &bytes), *again = NULL;
        if (!v) skip_missing("tokenizers");
        check_ok(gguf_writer_init(&w, NULL, GGUF_ALIGNMENT));
        check_ok(vocab_to_gguf(v, &w));
        check_ok(gguf_writer_end(&w, NULL));
        check_ok(gguf_open_bytes(w.out.data, w.out.len, &h));
        check_ok(vocab_from_gguf(h, &again));
        encode(v, text, sizeof text - 1, VOCAB_ADD_SPECIAL, &a);
        encode(again, text, sizeof text - 1, VOCAB_ADD_SPECIAL, &b);
        assert_int_equal(a.n, b.n);
        assert_memory_equal(a.id, b.id, a.n * sizeof *a.id);
        if (vocab_kind_of(v) != VOCAB_WORDPIECE)
            assert_string_equal(decoded(again, text), text);
        vocab_ids_release(&a);
        vocab_ids_release(&b);
        vocab_free(v);
        vocab_free(again);
        gguf_close(g);
        gguf_close(h);
        gguf_writer_release(&w);
        free(bytes);
    }
}

static struct vocab *through_its_file(const struct vocab *v)
{
    struct vocab *again = NULL;
    struct buf b;
    enum vocab_kind kind = vocab_kind_of(v);
    int is_json = kind == VOCAB_WORDPIECE || kind == VOCAB_BYTES;
    buf_init(&b, 0);
    if (is_json) {
        check_ok(vocab_to_json(v, &b));
        check_ok(vocab_from_json((const char *)b.data, b.len, &again));
    } else {
        check_ok(vocab_to_spm(v, &b));
        check_ok(vocab_from_spm(b.data, b.len, &again));
    }
    buf_release(&b);
    return again;
}

static void a_vocabulary_written_for_other_programs_is_the_same(void **state)
{
    (void)state;
    static const char text[] =
        "Hello, World!  It's 3.14 \xe4\xb8\xad\xe6\x96\x87 caf\xc3\xa9\n\n ok";
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        char *bytes = NULL;
        struct gguf *g = NULL;
        struct vocab_ids a = {0}, b = {0};
        struct vocab *v = open_gguf(published[i], &g, &bytes);
        if (!v) skip_missing("tokenizers");
        struct vocab *again = through_its_file(v);
        encode(v, text, sizeof text - 1, VOCAB_PLAIN, &a);
        encode(again, text, sizeof text - 1, VOCAB_PLAIN, &b);
        assert_int_equal(a.n, b.n);
        assert_memory_equal(a.id, b.id, a.n * sizeof *a.id);
        vocab_ids_release(&a);
        vocab_ids_release(&b);
        vocab_free(v);
        vocab_free(again);
        gguf_close(g);
        free(bytes);
    }
}

static void a_sentencepiece_model_is_written_as_it_was_read(void **state)
{
    (void)state;
    for (int kind = 1; kind <= 2; kind++) {
        struct buf model;
        struct vocab *v = NULL;
        struct vocab_ids a = {0}, b = {0};
        static const char text[] = "ab abc  b\xc3\xa9";
        make_model(&model, kind, 1);
        check_ok(vocab_from_spm(model.data, model.len, &v));
        struct vocab *again = through_its_file(v);
        assert_int_equal(vocab_kind_of(v), vocab_kind_of(again));
        encode(v, text, sizeof text - 1, VOCAB_ADD_SPECIAL, &a);
        encode(again, text, sizeof text - 1, VOCAB_ADD_SPECIAL, &b);
        assert_int_equal(a.n, b.n);
        assert_memory_equal(a.id, b.id, a.n * sizeof *a.id);
        vocab_ids_release(&a);
        vocab_ids_release(&b);
        vocab_free(v);
        vocab_free(again);
        buf_release(&model);
    }
}

static double seconds_for(const struct vocab *v, char *text, size_t n)
{
    struct vocab_ids ids = {0};
    clock_t start = clock();
    encode(v, text, n, 0, &ids);
    vocab_ids_release(&ids);
    return (double)(clock() - start) / CLOCKS_PER_SEC;
}

/* One word of a megabyte: quadratic work would take hours. */
static void long_words_take_n_log_n(void **state)
{
    (void)state;
    static const char *const names[] = {"gpt-2", "phi-3"};
    enum { LONG = 1 << 20 };
    char *text = malloc(LONG);
    for (int i = 0; i < LONG; i++) text[i] = "abcdefg"[(i % 7) * (i % 7) % 7];
    for (int i = 0; i < 2; i++) {
        char *bytes = NULL;
        struct gguf *g = NULL;
        struct vocab *v = open_gguf(names[i], &g, &bytes);
        if (!v) {
            free(text);
            skip_missing("tokenizers");
        }
        print_message("%s: a word of 1 MiB in %.2f s\n", names[i],
                      seconds_for(v, text, LONG));
        memset(text, ' ', LONG);
        (void)seconds_for(v, text, LONG);
        memset(text, '!', LONG);
        (void)seconds_for(v, text, LONG);
        vocab_free(v);
        gguf_close(g);
        free(bytes);
    }
    free(text);
}

/* test_vocab gguf|spm|json FILE TEXT: for each line of a file a line of
 * numbers, a tab and what a stream prints of them; for
 * tests/e2e/test_vocab.py. */
static enum tacit_err open_as(const char *kind, char *bytes, size_t n,
                              struct gguf **g, struct vocab **out)
{
    if (strcmp(kind, "spm") == 0)
        return vocab_from_spm((uint8_t *)bytes, n, out);
    if (strcmp(kind, "json") == 0) return vocab_from_json(bytes, n, out);
    TRY(gguf_open_bytes((uint8_t *)bytes, n, g));
    return vocab_from_gguf(*g, out);
}

static int print_tokens(char **argv)
{
    size_t n, n_text;
    char *bytes = check_gunzip(argv[2], &n);
    char *text = check_gunzip(argv[3], &n_text);
    struct gguf *g = NULL;
    struct vocab *v = NULL;
    struct vocab_ids ids = {0};
    struct buf out;
    clock_t spent = 0;
    buf_init(&out, 0);
    if (open_as(argv[1], bytes, n, &g, &v)) {
        fprintf(stderr, "%s\n", err_message());
        return 1;
    }
    for (char *p = text; p < text + n_text;) {
        char *end = memchr(p, '\n', (size_t)(text + n_text - p));
        size_t len = (size_t)((end ? end : text + n_text) - p);
        clock_t start = clock();
        ids.n = 0;
        buf_clear(&out);
        if (vocab_encode(v, p, len, 0, &ids)) return 1;
        spent += clock() - start;
        for (size_t i = 0; i < ids.n; i++) vocab_piece(v, ids.id[i], &out);
        if (buf_end(&out)) return 1;
        for (size_t i = 0; i < ids.n; i++) printf(i ? " %d" : "%d", ids.id[i]);
        putchar('\t');
        fwrite(out.data, 1, out.len, stdout);
        putchar('\n');
        p += len + 1;
    }
    fprintf(stderr, "%.1f\n",
            (double)n_text / 1e6 / ((double)spent / CLOCKS_PER_SEC + 1e-9));
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_join_the_best_pair_first),
        cmocka_unit_test(a_mark_in_a_text_is_text_unless_asked_for),
        cmocka_unit_test(wordpiece_takes_the_longest_token_and_folds),
        cmocka_unit_test(a_word_too_long_is_unknown),
        cmocka_unit_test(sentencepiece_joins_by_score_and_leftmost),
        cmocka_unit_test(unigram_takes_the_likeliest_cut),
        cmocka_unit_test(every_cut_and_flip_of_a_model_is_survived),
        cmocka_unit_test(what_is_not_known_is_refused_by_name),
        cmocka_unit_test(published_vectors_come_out_the_same),
        cmocka_unit_test(a_vocabulary_written_to_gguf_is_the_same),
        cmocka_unit_test(a_vocabulary_written_for_other_programs_is_the_same),
        cmocka_unit_test(a_sentencepiece_model_is_written_as_it_was_read),
        cmocka_unit_test(long_words_take_n_log_n),
    };
    if (argc == 4) return print_tokens(argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
