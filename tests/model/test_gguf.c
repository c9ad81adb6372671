#include "tests/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "common/model/gguf.h"
#include "common/tensor/weights.h"

/* Read all there is; the sum keeps the compiler from dropping it. */
static uint64_t read_everything(const struct gguf *g)
{
    uint64_t sum = gguf_file_bytes(g);
    char text[64];
    for (size_t i = 0; i < gguf_n_pairs(g); i++) {
        const char *key = gguf_key_at(g, i), *s;
        struct gguf_array a;
        size_t n;
        int64_t whole;
        double real;
        if (gguf_int(g, key, INT64_MIN, INT64_MAX, &whole) == TACIT_OK)
            sum += (uint64_t)whole;
        if (gguf_real(g, key, &real) == TACIT_OK) sum += real > 0;
        if (gguf_text(g, key, &s, &n) == TACIT_OK)
            for (size_t k = 0; k < n; k++) sum += (unsigned char)s[k];
        gguf_text_or_empty(g, key, text, sizeof text);
        sum += strlen(text);
        err_clear();
        if (gguf_array(g, key, &a) != TACIT_OK) continue;
        while (a.n > 0)
            if (a.kind == GGUF_TEXT) {
                s = gguf_next_text(&a, &n);
                for (size_t k = 0; k < n; k++) sum += (unsigned char)s[k];
            } else if (gguf_kind_is_int(a.kind))
                sum += (uint64_t)gguf_next_int(&a);
            else
                sum += gguf_next_real(&a) > 0;
    }
    err_clear();
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        assert_ptr_equal(gguf_find(g, t->name), t);
        for (uint64_t k = 0; k < t->bytes; k++) sum += t->data[k];
    }
    return sum;
}

/* A small model of three tensors. */
static void make(struct gguf_writer *w, uint64_t alignment)
{
    const char *const words[] = {"a", "", "long enough"};
    const size_t lengths[] = {1, 0, 11};
    const int32_t numbers[] = {-1, 2, 3};
    const float reals[] = {0.5f, -2};
    const uint64_t matrix[] = {32, 3}, vector[] = {5}, half[] = {2, 2, 2};
    uint8_t data[256];
    for (int i = 0; i < 256; i++) data[i] = (uint8_t)i;
    check_ok(gguf_writer_init(w, NULL, alignment));
    gguf_put_text(w, "general.architecture", "llama", 5);
    gguf_put_u32(w, "llama.block_count", 2);
    gguf_put_f32(w, "llama.eps", 1e-5f);
    gguf_put_bool(w, "yes", 1);
    gguf_put_texts(w, "words", words, lengths, 3);
    gguf_put_array(w, "numbers", GGUF_I32, numbers, 3);
    gguf_put_array(w, "reals", GGUF_F32, reals, 2);
    gguf_put_tensor(w, "m", 8, 2, matrix);
    gguf_put_tensor(w, "v", 0, 1, vector);
    gguf_put_tensor(w, "h", 1, 3, half);
    check_ok(gguf_put_data(w, data, 60));
    check_ok(gguf_put_data(w, data + 60, 42));
    check_ok(gguf_end_tensor(w));
    check_ok(gguf_put_data(w, data + 100, 20));
    check_ok(gguf_end_tensor(w));
    check_ok(gguf_put_data(w, data + 200, 16));
    check_ok(gguf_end_tensor(w));
}

static void what_is_written_comes_back(void **state)
{
    (void)state;
    const uint64_t alignments[] = {32, 64, 8, 1};
    for (int k = 0; k < 4; k++) {
        struct gguf_writer w;
        struct gguf *g = NULL;
        struct gguf_array a;
        struct digest hash, want;
        const char *s;
        size_t n;
        int64_t v;
        double real;
        make(&w, alignments[k]);
        check_ok(gguf_writer_end(&w, &hash));
        digest_of(&want, w.out.data, w.out.len);
        check(digest_equal(&hash, &want));
        check_ok(gguf_open_bytes(w.out.data, w.out.len, &g));
        check_ok(gguf_int(g, "llama.block_count", 1, 100, &v));
        assert_int_equal(v, 2);
        check_err(gguf_int(g, "llama.block_count", 3, 100, &v), TACIT_LIMIT);
        check_err(gguf_int(g, "llama.eps", 0, 9, &v), TACIT_FORMAT);
        check_err(gguf_int(g, "no.such", 0, 9, &v), TACIT_NOTFOUND);
        check_ok(gguf_real(g, "llama.eps", &real));
        check_near(real, 1e-5, 1e-9);
        check_ok(gguf_real(g, "llama.block_count", &real));
        check_ok(gguf_text(g, "general.architecture", &s, &n));
        assert_int_equal(n, 5);
        assert_memory_equal(s, "llama", 5);
        check_err(gguf_text(g, "yes", &s, &n), TACIT_FORMAT);
        check_ok(gguf_array(g, "words", &a));
        assert_int_equal(a.n, 3);
        assert_memory_equal(gguf_next_text(&a, &n), "a", 1);
        gguf_next_text(&a, &n);
        assert_int_equal(n, 0);
        assert_memory_equal(gguf_next_text(&a, &n), "long enough", 11);
        check_ok(gguf_array(g, "numbers", &a));
        assert_int_equal(gguf_next_int(&a), -1);
        check_ok(gguf_array(g, "reals", &a));
        check_near(gguf_next_real(&a), 0.5, 0);
        const struct gguf_tensor *t = gguf_find(g, "h");
        assert_int_equal(t->bytes, 16);
        assert_int_equal(t->dims[3], 1);
        assert_int_equal(t->data[0], 200);
        assert_int_equal(t->offset % alignments[k], 0);
        assert_int_equal(gguf_find(g, "m")->data[101], 101);
        assert_null(gguf_find(g, "n"));
        gguf_close(g);
        gguf_writer_release(&w);
    }
}

static void a_copied_file_has_the_same_pairs(void **state)
{
    (void)state;
    struct gguf_writer w, copy;
    struct gguf *g = NULL, *h = NULL;
    make(&w, 32);
    check_ok(gguf_writer_end(&w, NULL));
    check_ok(gguf_open_bytes(w.out.data, w.out.len, &g));
    check_ok(gguf_writer_init(&copy, NULL, 32));
    for (size_t i = 0; i < gguf_n_pairs(g); i++) gguf_put_pair(&copy, g, i);
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        gguf_put_tensor(&copy, t->name, t->type, t->n_dims, t->dims);
    }
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        check_ok(gguf_put_data(&copy, t->data, (size_t)t->bytes));
        check_ok(gguf_end_tensor(&copy));
    }
    check_ok(gguf_writer_end(&copy, NULL));
    assert_int_equal(copy.out.len, w.out.len);
    assert_memory_equal(copy.out.data, w.out.data, w.out.len);
    check_ok(gguf_open_bytes(copy.out.data, copy.out.len, &h));
    gguf_close(g);
    gguf_close(h);
    gguf_writer_release(&copy);
    gguf_writer_release(&w);
}

static void every_cut_is_refused(void **state)
{
    (void)state;
    struct gguf_writer w;
    struct gguf *g = NULL;
    make(&w, 32);
    check_ok(gguf_writer_end(&w, NULL));
    check_ok(gguf_open_bytes(w.out.data, w.out.len, &g));
    /* Behind the last tensor lies padding, which may be cut. */
    size_t end = (size_t)(gguf_find(g, "h")->data - w.out.data) + 16;
    gguf_close(g);
    for (size_t n = 0; n < w.out.len; n++) {
        uint8_t *part = malloc(n + !n);
        memcpy(part, w.out.data, n);
        enum tacit_err err = gguf_open_bytes(part, n, &g);
        assert_int_equal(err == TACIT_OK, n >= end);
        if (err == TACIT_OK)
            gguf_close(g);
        else
            assert_true(err_message()[0]);
        err_clear();
        free(part);
    }
    gguf_writer_release(&w);
}

static void every_flipped_byte_is_refused_or_harmless(void **state)
{
    (void)state;
    static const uint8_t flips[] = {0xff, 0x01, 0x80};
    struct gguf_writer w;
    uint64_t sum = 0;
    size_t refused = 0;
    make(&w, 32);
    check_ok(gguf_writer_end(&w, NULL));
    for (size_t i = 0; i < w.out.len; i++)
        for (int k = 0; k < 3; k++) {
            struct gguf *g = NULL;
            w.out.data[i] ^= flips[k];
            if (gguf_open_bytes(w.out.data, w.out.len, &g) == TACIT_OK) {
                sum += read_everything(g);
                gguf_close(g);
            } else {
                refused++;
                assert_true(err_message()[0]);
            }
            err_clear();
            w.out.data[i] ^= flips[k];
        }
    check(sum > 0);
    check(refused > 200);
    gguf_writer_release(&w);
}

/* A header written by hand. */
static void begin(struct buf *b, uint32_t version, uint64_t tensors,
                  uint64_t pairs)
{
    buf_clear(b);
    buf_put(b, "GGUF", 4);
    buf_put_u32(b, version);
    if (version == 1) {
        buf_put_u32(b, (uint32_t)tensors);
        buf_put_u32(b, (uint32_t)pairs);
    } else {
        buf_put_u64(b, tensors);
        buf_put_u64(b, pairs);
    }
}

static void name(struct buf *b, const char *s)
{
    buf_put_u64(b, strlen(s));
    buf_put(b, s, strlen(s));
}

static void tensor(struct buf *b, const char *s, uint32_t n_dims, uint64_t dim,
                   uint32_t type, uint64_t offset)
{
    name(b, s);
    buf_put_u32(b, n_dims);
    for (uint32_t i = 0; i < n_dims && i < 8; i++) buf_put_u64(b, i ? 1 : dim);
    buf_put_u32(b, type);
    buf_put_u64(b, offset);
}

static void data(struct buf *b, size_t n)
{
    while (b->len % 32) buf_put_u8(b, 0);
    for (size_t i = 0; i < n; i++) buf_put_u8(b, 7);
}

static void refused(struct buf *b, enum tacit_err want, const char *says)
{
    struct gguf *g = NULL;
    check_ok(buf_end(b));
    assert_int_equal(gguf_open_bytes(b->data, b->len, &g), want);
    if (!strstr(err_message(), says)) fail_msg("%s", err_message());
    err_clear();
}

static void hostile_tensors_are_refused_by_name(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 0);
    begin(&b, 3, 2, 0);
    tensor(&b, "one", 1, 8, 0, 0);
    tensor(&b, "one", 1, 8, 0, 32);
    data(&b, 64);
    refused(&b, TACIT_FORMAT, "tensor one stands twice");
    begin(&b, 3, 2, 0);
    tensor(&b, "one", 1, 9, 0, 0);
    tensor(&b, "two", 1, 8, 0, 32);
    data(&b, 64);
    refused(&b, TACIT_FORMAT, "one and two overlap");
    begin(&b, 3, 1, 0);
    tensor(&b, "one", 1, 8, 0, 31);
    data(&b, 64);
    refused(&b, TACIT_FORMAT, "no multiple of 32");
    begin(&b, 3, 1, 0);
    tensor(&b, "one", 1, 8, 0, UINT64_MAX - 31);
    data(&b, 64);
    refused(&b, TACIT_FORMAT, "past the end");
    begin(&b, 3, 1, 0);
    tensor(&b, "one", 1, UINT64_MAX / 2, 0, 0);
    data(&b, 64);
    refused(&b, TACIT_FORMAT, "cannot be of type F32");
    begin(&b, 3, 1, 0);
    tensor(&b, "one", 1, 33, 8, 0);
    data(&b, 64);
    refused(&b, TACIT_FORMAT, "cannot be of type Q8_0");
    begin(&b, 3, 1, 0);
    tensor(&b, "one", 5, 1, 0, 0);
    data(&b, 64);
    refused(&b, TACIT_FORMAT, "5 dimensions");
    begin(&b, 3, 1, 0);
    tensor(&b, "one", 1, 0, 0, 0);
    data(&b, 64);
    refused(&b, TACIT_FORMAT, "cannot be of type");
    begin(&b, 3, 1, 0);
    tensor(&b, "one", 1, 32, 77, 0);
    data(&b, 64);
    refused(&b, TACIT_UNSUPPORTED, "unknown type 77");
    begin(&b, 3, 1, 0);
    tensor(&b, "one", 1, 32, GGUF_PACKED + 12, 0);
    data(&b, 64);
    refused(&b, TACIT_UNSUPPORTED, "unknown type 1012");
    buf_release(&b);
}

static void hostile_pairs_are_refused_by_name(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 0);
    begin(&b, 3, 0, 2);
    for (int i = 0; i < 2; i++) {
        name(&b, "key");
        buf_put_u32(&b, GGUF_U8);
        buf_put_u8(&b, 1);
    }
    refused(&b, TACIT_FORMAT, "key key stands twice");
    begin(&b, 3, 0, 1);
    name(&b, "key");
    buf_put_u32(&b, 13);
    buf_put_u64(&b, 0);
    refused(&b, TACIT_FORMAT, "unknown kind 13");
    begin(&b, 3, 0, 1);
    name(&b, "key");
    buf_put_u32(&b, GGUF_ARRAY);
    buf_put_u32(&b, GGUF_ARRAY);
    buf_put_u64(&b, 1);
    refused(&b, TACIT_UNSUPPORTED, "array of arrays");
    begin(&b, 3, 0, 1);
    name(&b, "key");
    buf_put_u32(&b, GGUF_ARRAY);
    buf_put_u32(&b, GGUF_U8);
    buf_put_u64(&b, UINT64_MAX);
    refused(&b, TACIT_LIMIT, "key has");
    begin(&b, 3, 0, 1);
    name(&b, "key");
    buf_put_u32(&b, GGUF_TEXT);
    buf_put_u64(&b, UINT64_MAX);
    refused(&b, TACIT_FORMAT, "ends within key");
    begin(&b, 3, 0, 1);
    name(&b, "a key");
    buf_put_u32(&b, GGUF_U8);
    buf_put_u8(&b, 1);
    refused(&b, TACIT_FORMAT, "byte 0x20");
    begin(&b, 3, 0, 1);
    name(&b, "general.alignment");
    buf_put_u32(&b, GGUF_U32);
    buf_put_u32(&b, 48);
    refused(&b, TACIT_FORMAT, "no power of two");
    begin(&b, 3, UINT64_MAX, 0);
    refused(&b, TACIT_LIMIT, "at most");
    begin(&b, 3, 60000, 60000);
    refused(&b, TACIT_FORMAT, "cut off");
    begin(&b, 4, 0, 0);
    refused(&b, TACIT_UNSUPPORTED, "version 4");
    begin(&b, 3u << 24, 0, 0);
    refused(&b, TACIT_UNSUPPORTED, "big-endian");
    buf_clear(&b);
    buf_put(&b, "PK\3\4 and more", 13);
    refused(&b, TACIT_FORMAT, "not a GGUF file");
    buf_release(&b);
}

static void version_one_with_its_short_counts_is_read(void **state)
{
    (void)state;
    struct buf b;
    struct gguf *g = NULL;
    struct gguf_writer w;
    const char *s;
    size_t n;
    int64_t v;
    buf_init(&b, 0);
    begin(&b, 1, 1, 2);
    buf_put_u32(&b, 1);
    buf_put(&b, "k", 1);
    buf_put_u32(&b, GGUF_TEXT);
    buf_put_u32(&b, 3);
    buf_put(&b, "abc", 3);
    buf_put_u32(&b, 1);
    buf_put(&b, "l", 1);
    buf_put_u32(&b, GGUF_ARRAY);
    buf_put_u32(&b, GGUF_TEXT);
    buf_put_u32(&b, 1);
    buf_put_u32(&b, 2);
    buf_put(&b, "xy", 2);
    buf_put_u32(&b, 1);
    buf_put(&b, "t", 1);
    buf_put_u32(&b, 1);
    buf_put_u32(&b, 8);
    buf_put_u32(&b, 24);
    buf_put_u64(&b, 0);
    data(&b, 8);
    check_ok(gguf_open_bytes(b.data, b.len, &g));
    check_ok(gguf_text(g, "k", &s, &n));
    assert_int_equal(n, 3);
    assert_memory_equal(s, "abc", 3);
    assert_int_equal(gguf_find(g, "t")->data[7], 7);
    /* Copied, it is of version 3. */
    check_ok(gguf_writer_init(&w, NULL, GGUF_ALIGNMENT));
    gguf_put_pair(&w, g, 0);
    gguf_put_pair(&w, g, 1);
    gguf_put_u32(&w, "n", 5);
    check_ok(gguf_writer_end(&w, NULL));
    gguf_close(g);
    check_ok(gguf_open_bytes(w.out.data, w.out.len, &g));
    check_ok(gguf_int(g, "n", 0, 9, &v));
    check_ok(gguf_text(g, "k", &s, &n));
    assert_memory_equal(s, "abc", 3);
    gguf_close(g);
    gguf_writer_release(&w);
    buf_release(&b);
}

static void a_packed_matrix_has_whole_tiles(void **state)
{
    (void)state;
    const uint64_t dims[] = {64, 17, 1, 1};
    assert_int_equal(gguf_type_bytes(8, dims), 17 * 2 * 34);
    assert_int_equal(gguf_type_bytes(GGUF_PACKED + 8, dims),
                     weight_bytes(QUANT_Q8_0, 17, 64));
    assert_int_equal(gguf_type_bytes(GGUF_PACKED + 8, dims), 32 * 2 * 34);
    assert_string_equal(gguf_type_name(GGUF_PACKED + 2), "packed Q4_0");
    assert_null(gguf_type_name(4));
}

static void a_file_appears_whole_or_not_at_all(void **state)
{
    (void)state;
    struct gguf_writer w;
    struct gguf *g = NULL;
    struct digest hash, want;
    char folder[256], path[300];
    const uint64_t dims[] = {1 << 20};
    uint8_t *megabytes = calloc(4, 1 << 20);
    check_tmpdir(folder);
    snprintf(path, sizeof path, "%s/m.gguf", folder);
    check_ok(gguf_writer_init(&w, folder, 64));
    gguf_put_tensor(&w, "t", 0, 1, dims);
    check_ok(gguf_put_data(&w, megabytes, 4 << 20));
    gguf_writer_release(&w);
    assert_int_equal(rmdir(folder), 0); /* nothing was left */
    check_tmpdir(folder);
    snprintf(path, sizeof path, "%s/m.gguf", folder);
    check_ok(gguf_writer_init(&w, folder, 64));
    gguf_put_tensor(&w, "t", 0, 1, dims);
    check_ok(gguf_put_data(&w, megabytes, 4 << 20));
    check_ok(gguf_end_tensor(&w));
    check_ok(gguf_writer_end(&w, &hash));
    check_err(gguf_open(path, &g), TACIT_NOTFOUND);
    check_ok(gguf_writer_commit(&w, path, 0600));
    check_ok(gguf_open(path, &g));
    assert_int_equal((uintptr_t)gguf_find(g, "t")->data % 64, 0);
    struct buf b;
    char *all = check_gunzip(path, &b.len);
    digest_of(&want, all, b.len);
    check(digest_equal(&hash, &want));
    free(all);
    gguf_close(g);
    gguf_writer_release(&w);
    free(megabytes);
    check_tmpdir_remove(folder);
}

static void a_writer_without_all_its_data_does_not_end(void **state)
{
    (void)state;
    struct gguf_writer w;
    const uint64_t dims[] = {8}, odd[] = {33};
    check_ok(gguf_writer_init(&w, NULL, 32));
    gguf_put_tensor(&w, "t", 0, 1, dims);
    check_ok(gguf_put_data(&w, "1234", 4));
    check_ok(gguf_end_tensor(&w));
    gguf_put_tensor(&w, "late", 0, 1, dims);
    check_err(gguf_writer_end(&w, NULL), TACIT_INTERNAL);
    gguf_writer_release(&w);
    check_ok(gguf_writer_init(&w, NULL, 32));
    gguf_put_tensor(&w, "odd", 8, 1, odd);
    check_err(gguf_writer_end(&w, NULL), TACIT_SHAPE);
    gguf_writer_release(&w);
}

static void published_files_are_read(void **state)
{
    (void)state;
    static const char *const files[] = {
        "models/stories260K/stories260K-f32.gguf",
        "tokenizers/ggml-vocab-bert-bge.gguf.gz",
        "tokenizers/ggml-vocab-falcon.gguf.gz",
        "tokenizers/ggml-vocab-gpt-2.gguf.gz",
        "tokenizers/ggml-vocab-mpt.gguf.gz",
        "tokenizers/ggml-vocab-phi-3.gguf.gz"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *path = check_data(files[i]);
        struct gguf *g = NULL;
        struct gguf_array a;
        size_t n;
        if (!path) skip_missing(files[i]);
        char *bytes = check_gunzip(path, &n);
        check_ok(gguf_open_bytes((uint8_t *)bytes, n, &g));
        check_ok(gguf_array(g, "tokenizer.ggml.tokens", &a));
        check(a.n >= 512);
        check(read_everything(g) > 0);
        assert_int_equal(gguf_n_tensors(g), i == 0 ? 48 : 0);
        gguf_close(g);
        free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_comes_back),
        cmocka_unit_test(a_copied_file_has_the_same_pairs),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(every_flipped_byte_is_refused_or_harmless),
        cmocka_unit_test(hostile_tensors_are_refused_by_name),
        cmocka_unit_test(hostile_pairs_are_refused_by_name),
        cmocka_unit_test(version_one_with_its_short_counts_is_read),
        cmocka_unit_test(a_packed_matrix_has_whole_tiles),
        cmocka_unit_test(a_file_appears_whole_or_not_at_all),
        cmocka_unit_test(a_writer_without_all_its_data_does_not_end),
        cmocka_unit_test(published_files_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
