#include "tests/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/model/model_files.h"
#include "common/model/model_folder.h"
#include "common/model/safetensors_file.h"

static const char vocab_txt[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n##b\n";
static const char tokenizer_json[] =
    "{\"added_tokens\":[{\"id\":0,\"content\":\"<s>\",\"special\":true}],"
    "\"pre_tokenizer\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\","
    "\"vocab\":{\"<s>\":0,\"a\":1,\"b\":2,\"ab\":3},\"merges\":[\"a b\"]}}";
#define LLAMA_SIZES                                                            \
 "\"hidden_act\":\"silu\",\"num_hidden_layers\":1,\"hidden_size\":8,"          \
 "\"max_position_embeddings\":64,\"intermediate_size\":4,\"vocab_size\":4,"    \
 "\"num_attention_heads\":2,\"num_key_value_heads\":1,"                        \
 "\"tie_word_embeddings\":true,\"rms_norm_eps\":1e-5,"

static void put(const char *folder, const char *name, const void *bytes,
                size_t n)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    check_ok(file_write(path, bytes, n, 0600));
}

static void put_text(const char *folder, const char *name, const char *text)
{
    put(folder, name, text, strlen(text));
}

/* Tensors of F32 whose values count up from 0 in each. */
struct entry {
    const char *name;
    int rows, cols;
};

static void make(struct buf *out, const struct entry *e, size_t n)
{
    struct buf text;
    size_t at = 0;
    buf_init(&text, 0);
    buf_init(out, 0);
    buf_put_u8(&text, '{');
    for (size_t i = 0; i < n; i++) {
        size_t bytes = (size_t)(e[i].rows * e[i].cols) * 4;
        buf_printf(&text, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[",
                   i ? "," : "", e[i].name);
        if (e[i].rows > 1) buf_printf(&text, "%d,", e[i].rows);
        buf_printf(&text, "%d],\"data_offsets\":[%zu,%zu]}", e[i].cols, at,
                   at + bytes);
        at += bytes;
    }
    buf_put_u8(&text, '}');
    buf_put_u64(out, text.len);
    buf_put(out, text.data, text.len);
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < e[i].rows * e[i].cols; k++)
            buf_put_f32(out, (float)k);
    buf_release(&text);
    check_ok(buf_end(out));
}

static const struct entry llama[] = {
    {"model.embed_tokens.weight", 4, 8},
    {"model.norm.weight", 1, 8},
    {"lm_head.weight", 4, 8},
    {"model.layers.0.input_layernorm.weight", 1, 8},
    {"model.layers.0.post_attention_layernorm.weight", 1, 8},
    {"model.layers.0.self_attn.q_proj.weight", 8, 8},
    {"model.layers.0.self_attn.k_proj.weight", 4, 8},
    {"model.layers.0.self_attn.v_proj.weight", 4, 8},
    {"model.layers.0.self_attn.o_proj.weight", 8, 8},
    {"model.layers.0.mlp.gate_proj.weight", 4, 8},
    {"model.layers.0.mlp.up_proj.weight", 4, 8},
    {"model.layers.0.mlp.down_proj.weight", 8, 4},
    {"model.layers.0.self_attn.rotary_emb.inv_freq", 1, 2}};
static const struct entry biases[] = {
    {"model.layers.0.self_attn.q_proj.bias", 1, 8},
    {"model.layers.0.self_attn.k_proj.bias", 1, 4},
    {"model.layers.0.self_attn.v_proj.bias", 1, 4},
    {"model.layers.0.self_attn.o_proj.bias", 1, 8},
    {"model.layers.0.mlp.gate_proj.bias", 1, 4},
    {"model.layers.0.mlp.up_proj.bias", 1, 4},
    {"model.layers.0.mlp.down_proj.bias", 1, 8}};
enum {
    N_LLAMA = sizeof llama / sizeof *llama,
    N_QKV = 3,
    N_ATTENTION = 4,
    N_BIASES = sizeof biases / sizeof *biases
};

/* With the first n_biases of the biases. */
static void make_biased(char folder[256], const char *config, size_t n_biases)
{
    struct entry all[N_LLAMA + N_BIASES];
    struct buf b;
    memcpy(all, llama, sizeof llama);
    memcpy(all + N_LLAMA, biases, sizeof biases);
    check_tmpdir(folder);
    put_text(folder, "config.json", config);
    put_text(folder, "tokenizer.json", tokenizer_json);
    make(&b, all, N_LLAMA + n_biases);
    put(folder, "model.safetensors", b.data, b.len);
    buf_release(&b);
}

static void make_llama(char folder[256], const char *config)
{
    make_biased(folder, config, 0);
}

static float value(const struct gguf_tensor *t, size_t i)
{
    float v;
    const uint8_t *row = gguf_row(t, i / t->dims[0]);
    memcpy(&v, row + 4 * (i % t->dims[0]), sizeof v);
    return v;
}

static void a_llama_folder_has_ggufs_names_and_paired_rows(void **state)
{
    (void)state;
    char folder[256];
    struct model_files *c = NULL;
    struct vocab *v = NULL;
    int64_t n;
    double real;
    make_llama(folder, "{\"model_type\":\"mistral\"," LLAMA_SIZES
                       "\"sliding_window\":16,\"rope_theta\":5000.0,"
                       "\"bos_token_id\":0}");
    check_ok(model_files_open(folder, &c));
    assert_string_equal(model_files_family(c), "llama");
    assert_int_equal(model_files_n_tensors(c), N_LLAMA - 2);
    check_ok(model_files_int(c, "block_count", 1, 9, &n));
    assert_int_equal(n, 1);
    check_ok(model_files_int(c, "attention.sliding_window", 1, 99, &n));
    assert_int_equal(n, 16);
    check_ok(model_files_real(c, "rope.freq_base", &real));
    check_near(real, 5000, 0);
    assert_null(model_files_find(c, "output.weight")); /* tied */
    /* Heads of 4 rows: 0 1 2 3 become 0 2 1 3. */
    const struct gguf_tensor *q = model_files_find(c, "blk.0.attn_q.weight");
    const int from[] = {0, 2, 1, 3, 4, 6, 5, 7};
    for (size_t i = 0; i < 8; i++) check_near(value(q, i * 8), from[i] * 8, 0);
    const struct gguf_tensor *k = model_files_find(c, "blk.0.attn_k.weight");
    assert_true(q->halves && k->halves); /* no copies in memory */
    for (size_t i = 0; i < 4; i++) check_near(value(k, i * 8), from[i] * 8, 0);
    check_near(value(model_files_find(c, "blk.0.attn_v.weight"), 8), 8, 0);
    const struct gguf_tensor *d = model_files_find(c, "blk.0.ffn_down.weight");
    assert_int_equal(d->dims[0], 4);
    assert_int_equal(d->dims[1], 8);
    check_ok(model_files_vocab(c, &v));
    assert_int_equal(vocab_find(v, "ab", 2), 3);
    vocab_free(v);
    model_files_close(c);
    check_tmpdir_remove(folder);
}

static void qwen_rows_stay_and_llama_3_has_factors(void **state)
{
    (void)state;
    char folder[256];
    struct model_files *c = NULL;
    make_llama(folder, "{\"model_type\":\"qwen2\"," LLAMA_SIZES
                       "\"sliding_window\":16,\"use_sliding_window\":false}");
    check_ok(model_files_open(folder, &c));
    assert_string_equal(model_files_family(c), "qwen2");
    check(!model_files_has(c, "attention.sliding_window"));
    check_near(value(model_files_find(c, "blk.0.attn_q.weight"), 8), 8, 0);
    model_files_close(c);
    check_tmpdir_remove(folder);
    make_llama(folder,
               "{\"model_type\":\"llama\"," LLAMA_SIZES
               "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,"
               "\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
               "\"original_max_position_embeddings\":16},"
               "\"rope_theta\":10000.0}");
    check_ok(model_files_open(folder, &c));
    const struct gguf_tensor *t = model_files_find(c, "rope_freqs.weight");
    assert_int_equal(t->dims[0], 2);
    /* Waves of 6.28 and 628 in a context of 16. */
    double smooth = (16 / 6.283185307 - 1) / 3;
    check_near(value(t, 0), 1 / ((1 - smooth) / 8 + smooth), 1e-5);
    check_near(value(t, 1), 8, 0);
    model_files_close(c);
    check_tmpdir_remove(folder);
}

static void the_licence_of_a_model_card_is_kept(void **state)
{
    (void)state;
    static const struct {
        const char *card, *licence;
    } cards[] = {
        {"---\nlanguage: en\nlicense: apache-2.0\r\ntags: x\n---\n# A\n",
         "apache-2.0"},
        {"---\nlicense: \"mit\"\n---\n", "mit"},
        {"---\nlicense: BSD 3-clause  # see below\n---\n", "BSD 3-clause"},
        {"---\nlicense: 'a \"b\"' \n---\n", "a \"b\""},
        {"---\nlicense: \"a \\\"b\\\" \\\\\"\n---\n", "a \"b\" \\"},
        {"---\nlicense: other\nlicense_name: llama3\n---\n", "llama3"},
        {"---\nlicense: other\n---\n", "other"},
        {"---\nlanguage: en\n---\n\nlicense: none of these\n", ""},
        {"# A\n\nlicense: mit\n---\n", ""},
        {"", ""}};
    for (size_t i = 0; i < sizeof cards / sizeof *cards; i++) {
        char folder[256], licence[32];
        struct model_files *c = NULL;
        make_llama(folder, "{\"model_type\":\"llama\"," LLAMA_SIZES "\"x\":1}");
        put_text(folder, "README.md", cards[i].card);
        check_ok(model_files_open(folder, &c));
        gguf_text_or_empty(model_files_metadata(c), "general.license", licence,
                           sizeof licence);
        assert_string_equal(licence, cards[i].licence);
        model_files_close(c);
        check_tmpdir_remove(folder);
    }
}

static void written_again(const char *folder);

static void a_bert_folder_keeps_its_pooling(void **state)
{
    (void)state;
    static const struct entry e[] = {
        {"bert.embeddings.word_embeddings.weight", 6, 8},
        {"bert.embeddings.LayerNorm.gamma", 1, 8},
        {"bert.embeddings.LayerNorm.beta", 1, 8},
        {"bert.encoder.layer.11.attention.self.query.bias", 1, 8},
        {"bert.encoder.layer.11.output.LayerNorm.weight", 1, 8},
        {"bert.pooler.dense.weight", 8, 8},
        {"cls.predictions.bias", 1, 6}};
    char folder[256], pooling[300];
    struct buf b;
    struct model_files *c = NULL;
    int64_t n;
    check_tmpdir(folder);
    put_text(folder, "config.json",
             "{\"model_type\":\"bert\",\"hidden_act\":\"gelu\","
             "\"num_hidden_layers\":12,\"hidden_size\":8,"
             "\"max_position_embeddings\":16,\"intermediate_size\":4,"
             "\"vocab_size\":6,\"num_attention_heads\":2,"
             "\"type_vocab_size\":3}");
    put_text(folder, "vocab.txt", vocab_txt);
    snprintf(pooling, sizeof pooling, "%s/1_Pooling", folder);
    check_ok(file_mkdirs(pooling, 0700));
    put_text(pooling, "config.json", "{\"pooling_mode_cls_token\":true}");
    put_text(folder, "sentence_bert_config.json", "{\"max_seq_length\":7}");
    make(&b, e, sizeof e / sizeof *e);
    put(folder, "model.safetensors", b.data, b.len);
    check_ok(model_files_open(folder, &c));
    assert_int_equal(model_files_n_tensors(c), 5);
    assert_non_null(model_files_find(c, "token_embd_norm.weight"));
    assert_non_null(model_files_find(c, "token_embd_norm.bias"));
    assert_non_null(model_files_find(c, "blk.11.attn_q.bias"));
    assert_non_null(model_files_find(c, "blk.11.layer_output_norm.weight"));
    check_ok(model_files_int(c, "pooling_type", 1, 2, &n));
    assert_int_equal(n, 2);
    check_ok(gguf_int(model_files_metadata(c),
                      "tokenizer.ggml.token_type_count", 1, 99, &n));
    assert_int_equal(n, 3);
    check_ok(gguf_int(model_files_metadata(c), "tacit.tokens_max", 1, 99, &n));
    assert_int_equal(n, 7);
    model_files_close(c);
    written_again(folder);
    buf_release(&b);
    check_tmpdir_remove(folder);
}

/* ---- and written again -------------------------------------------------- */

static void check_key(const struct model_files *a, const struct model_files *b,
                      const char *key)
{
    double x = 0, y = 0;
    assert_int_equal(model_files_has(a, key), model_files_has(b, key));
    if (!model_files_has(a, key)) return;
    check_ok(model_files_real(a, key, &x));
    check_ok(model_files_real(b, key, &y));
    check_near(y, x, 1e-6 * fabs(x));
}

static void check_same(const struct model_files *a, const struct model_files *b)
{
    static const char *const keys[] = {"block_count",
                                       "context_length",
                                       "embedding_length",
                                       "feed_forward_length",
                                       "attention.head_count",
                                       "attention.head_count_kv",
                                       "attention.sliding_window",
                                       "attention.layer_norm_rms_epsilon",
                                       "attention.layer_norm_epsilon",
                                       "rope.freq_base",
                                       "rope.scaling.factor",
                                       "pooling_type"};
    struct vocab *v = NULL, *w = NULL;
    assert_string_equal(model_files_family(a), model_files_family(b));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        check_key(a, b, keys[i]);
    assert_int_equal(model_files_n_tensors(a), model_files_n_tensors(b));
    for (size_t i = 0; i < model_files_n_tensors(a); i++) {
        const struct gguf_tensor *x = model_files_tensor_at(a, i);
        const struct gguf_tensor *y = model_files_find(b, x->name);
        assert_non_null(y);
        assert_int_equal(x->n_dims, y->n_dims);
        assert_memory_equal(x->dims, y->dims, sizeof x->dims);
        if (strcmp(x->name, "rope_freqs.weight") != 0)
            for (size_t k = 0; k < x->dims[1]; k++)
                assert_memory_equal(gguf_row(x, k), gguf_row(y, k),
                                    x->bytes / x->dims[1]);
        else
            for (size_t k = 0; k < x->dims[0]; k++)
                check_near(value(y, k), (double)value(x, k), 1e-5);
    }
    check_ok(model_files_vocab(a, &v));
    check_ok(model_files_vocab(b, &w));
    assert_int_equal(vocab_size(v), vocab_size(w));
    assert_int_equal(vocab_find(v, "ab", 2), vocab_find(w, "ab", 2));
    vocab_free(v);
    vocab_free(w);
}

static const struct model_folder plain = {.type = QUANT_F32,
                                          .licence = "A \"B\" 2",
                                          .source = "https://m.example"};

static void written_again(const char *folder)
{
    char out[300], licence[32], source[32];
    struct model_files *a = NULL, *b = NULL;
    snprintf(out, sizeof out, "%s/out", folder);
    check_ok(model_files_open(folder, &a));
    check_ok(model_folder_write(a, out, &plain));
    check_ok(model_files_open(out, &b));
    check_same(a, b);
    gguf_text_or_empty(model_files_metadata(b), "general.license", licence,
                       sizeof licence);
    assert_string_equal(licence, plain.licence);
    gguf_text_or_empty(model_files_metadata(b), "general.source.url", source,
                       sizeof source);
    assert_string_equal(source, plain.source);
    model_files_close(b);
    check_err(model_folder_write(a, out, &plain), TACIT_STATE);
    model_files_close(a);
}

struct watched {
    const char *path;
    unsigned steps, seen;
    enum tacit_err end;
};

static enum tacit_err watch(void *ctx, uint64_t done, uint64_t total)
{
    struct watched *w = ctx;
    struct stat st;
    check(done > 0 && total > 0);
    w->steps++;
    w->seen += lstat(w->path, &st) == 0;
    return w->end ? fail(w->end, "stopped") : TACIT_OK;
}

static void a_folder_has_its_name_once_it_is_whole(void **state)
{
    (void)state;
    struct model_files *a = NULL;
    struct model_folder how = plain;
    struct stat st;
    char folder[256], out[300];
    make_llama(folder, "{\"model_type\":\"llama\"," LLAMA_SIZES "\"a\":1}");
    snprintf(out, sizeof out, "%s/whole/", folder);
    struct watched w = {.path = out, .end = TACIT_STATE};
    check_ok(model_files_open(folder, &a));
    how.step = watch;
    how.ctx = &w;
    check_err(model_folder_write(a, out, &how), TACIT_STATE);
    check(lstat(out, &st) != 0 && w.steps == 1);
    w.end = TACIT_OK;
    check_ok(model_folder_write(a, out, &how));
    check(w.steps == 2 && w.seen == 0);
    check(lstat(out, &st) == 0 && (st.st_mode & 0777) == 0755);
    model_files_close(a);
    check_tmpdir_remove(folder);
}

static void a_folder_that_is_written_is_the_one_that_was_read(void **state)
{
    (void)state;
    static const char *const configs[] = {
        "{\"model_type\":\"mistral\"," LLAMA_SIZES
        "\"sliding_window\":16,\"rope_theta\":5000.0,\"bos_token_id\":0}",
        "{\"model_type\":\"qwen2\"," LLAMA_SIZES
        "\"sliding_window\":16,\"use_sliding_window\":true,"
        "\"max_window_layers\":0}",
        "{\"model_type\":\"llama\"," LLAMA_SIZES
        "\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":4.0}}",
        "{\"model_type\":\"llama\"," LLAMA_SIZES
        "\"rope_theta\":5e7,\"rope_scaling\":{\"rope_type\":\"llama3\","
        "\"factor\":32.0,\"original_max_position_embeddings\":8192}}",
        "{\"model_type\":\"llama\"," LLAMA_SIZES
        "\"rope_scaling\":{\"rope_type\":\"llama3\","
        "\"factor\":8.0,\"original_max_position_embeddings\":16}}",
    };
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        char folder[256];
        make_biased(folder, configs[i],
                    strstr(configs[i], "qwen2") ? N_QKV : 0);
        written_again(folder);
        check_tmpdir_remove(folder);
    }
}

static void what_a_folder_has_no_place_for_is_named(void **state)
{
    (void)state;
    char folder[256], out[300];
    struct model_files *c = NULL;
    make_llama(folder, "{\"model_type\":\"llama\"," LLAMA_SIZES
                       "\"rope_scaling\":{\"rope_type\":\"llama3\","
                       "\"factor\":8.0,"
                       "\"original_max_position_embeddings\":24}}");
    snprintf(out, sizeof out, "%s/out", folder);
    check_ok(model_files_open(folder, &c));
    check_code(model_folder_write(c, out, &plain), E_MODEL_UNSUPPORTED);
    check(!file_exists(out));
    model_files_close(c);
    check_tmpdir_remove(folder);
}

/* Transformers drops a bias that config.json does not ask for. */
static void a_written_folder_asks_for_its_biases(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        size_t n_biases;
        int fits, attention, feed;
    } cases[] = {{"llama", 0, 1, 0, 0},
                 {"llama", N_ATTENTION, 1, 1, 0},
                 {"llama", N_BIASES, 1, 1, 1},
                 {"llama", N_QKV, 0, 0, 0},
                 {"llama", N_BIASES - 1, 0, 0, 0},
                 {"mistral", 0, 1, 0, 0},
                 {"mistral", N_ATTENTION, 0, 0, 0},
                 {"qwen2", N_QKV, 1, 0, 0},
                 {"qwen2", 0, 0, 0, 0},
                 {"qwen2", N_ATTENTION, 0, 0, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char folder[256], out[300], path[400], config[512];
        struct model_files *c = NULL;
        struct buf text;
        snprintf(config, sizeof config,
                 "{\"model_type\":\"%s\"," LLAMA_SIZES "\"sliding_window\":%s}",
                 cases[i].type,
                 strcmp(cases[i].type, "mistral") ? "null" : "16");
        make_biased(folder, config, cases[i].n_biases);
        snprintf(out, sizeof out, "%s/out", folder);
        check_ok(model_files_open(folder, &c));
        if (cases[i].fits) {
            written_again(folder);
            snprintf(path, sizeof path, "%s/config.json", out);
            buf_init(&text, 0);
            check_ok(file_read(path, 1 << 16, &text));
            assert_int_equal(strstr(buf_cstr(&text),
                                    "\"attention_bias\": true") != NULL,
                             cases[i].attention);
            assert_int_equal(strstr(buf_cstr(&text), "\"mlp_bias\": true") !=
                                 NULL,
                             cases[i].feed);
            buf_release(&text);
        } else {
            check_code(model_folder_write(c, out, &plain), E_MODEL_UNSUPPORTED);
            check(!file_exists(out));
        }
        model_files_close(c);
        check_tmpdir_remove(folder);
    }
}

static void refused(const char *config, enum tacit_err want, const char *says)
{
    char folder[256];
    struct model_files *c = NULL;
    make_llama(folder, config);
    assert_int_equal(model_files_open(folder, &c), want);
    if (!strstr(err_message(), says)) fail_msg("%s", err_message());
    err_clear();
    check_tmpdir_remove(folder);
}

static void what_is_not_read_is_named(void **state)
{
    (void)state;
    refused("{\"model_type\":\"mamba\"," LLAMA_SIZES "\"x\":1}",
            TACIT_UNSUPPORTED, "mamba");
    refused("{\"model_type\":\"llama\"," LLAMA_SIZES
            "\"rope_scaling\":{\"rope_type\":\"yarn\"}}",
            TACIT_UNSUPPORTED, "yarn");
    refused("{\"model_type\":\"llama\"}", TACIT_FORMAT, "num_hidden_layers");
    refused("{\"model_type\":\"llama\"," LLAMA_SIZES "\"head_dim\":6}",
            TACIT_SHAPE, "attn_q.weight");
    refused("{\"model_type\":\"bert\",\"hidden_act\":\"relu\"}",
            TACIT_UNSUPPORTED, "relu");
    refused("{\"model_type\":\"llama\"," LLAMA_SIZES
            "\"rope_theta\":\"500000\"}",
            TACIT_FORMAT, "rope_theta is no number");
    refused("{\"model_type\":\"mistral\"," LLAMA_SIZES
            "\"sliding_window\":\"16\"}",
            TACIT_FORMAT, "sliding_window is no whole number");
    refused("{\"model_type\":\"llama\"," LLAMA_SIZES
            "\"rope_scaling\":{\"type\":\"linear\",\"factor\":\"2\"}}",
            TACIT_FORMAT, "factor is no number");
    refused("{\"model_type\":\"llama\"," LLAMA_SIZES
            "\"rope_scaling\":{\"rope_type\":\"llama3\"}}",
            TACIT_FORMAT, "scaling is damaged");
    char folder[256];
    struct model_files *c = NULL;
    struct buf b;
    const struct entry odd[] = {{"model.layers.0.mamba.weight", 2, 2}};
    make_llama(folder, "{\"model_type\":\"llama\"," LLAMA_SIZES "\"x\":1}");
    make(&b, odd, 1);
    put(folder, "model.safetensors", b.data, b.len);
    check_code(model_files_open(folder, &c), E_MODEL_UNSUPPORTED);
    buf_release(&b);
    check_tmpdir_remove(folder);
}

static void every_cut_and_flip_of_a_safetensors_file_is_survived(void **state)
{
    (void)state;
    struct buf b;
    struct safetensors_file *f = NULL;
    const struct entry e[] = {{"a", 2, 3}, {"b", 1, 4}};
    make(&b, e, 2);
    for (size_t n = 0; n < b.len; n++) {
        assert_int_not_equal(safetensors_open_bytes(b.data, n, &f), TACIT_OK);
        check(err_message()[0]);
        err_clear();
    }
    for (size_t i = 0; i < b.len; i++)
        for (int bit = 0; bit < 8; bit++) {
            b.data[i] ^= (uint8_t)(1 << bit);
            if (safetensors_open_bytes(b.data, b.len, &f) == TACIT_OK) {
                volatile unsigned sum = 0;
                for (size_t k = 0; k < safetensors_n_tensors(f); k++) {
                    const struct gguf_tensor *t = safetensors_tensor_at(f, k);
                    for (size_t j = 0; j < t->bytes; j++) sum += t->data[j];
                }
                safetensors_close(f);
            }
            err_clear();
            b.data[i] ^= (uint8_t)(1 << bit);
        }
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_llama_folder_has_ggufs_names_and_paired_rows),
        cmocka_unit_test(qwen_rows_stay_and_llama_3_has_factors),
        cmocka_unit_test(the_licence_of_a_model_card_is_kept),
        cmocka_unit_test(a_bert_folder_keeps_its_pooling),
        cmocka_unit_test(a_folder_that_is_written_is_the_one_that_was_read),
        cmocka_unit_test(a_folder_has_its_name_once_it_is_whole),
        cmocka_unit_test(what_a_folder_has_no_place_for_is_named),
        cmocka_unit_test(a_written_folder_asks_for_its_biases),
        cmocka_unit_test(what_is_not_read_is_named),
        cmocka_unit_test(every_cut_and_flip_of_a_safetensors_file_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
