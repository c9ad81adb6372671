#include "common/model/model_folder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/part.h"
#include "common/model/model_folder_parts.h"

enum { CONTEXT_MAX = 1 << 30, FACTORS_MAX = 512 };
/* Of Llama 3 as it is. */
enum { LOW_FACTOR = 1, HIGH_FACTOR = 4, OLD_CONTEXT = 8192 };
#define LABELS_KEY "bert.classifier.output_labels"

/* ---- what the network is ------------------------------------------------- */

static enum tacit_err look(struct model_folder_writing *w)
{
    static const struct {
        const char *family;
        int is_decoder, pairs;
    } known[] = {{"bert", 0, 0}, {"llama", 1, 1}, {"qwen2", 1, 0}};
    const struct model_files *f = w->f;
    w->family = NULL;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].family, model_files_family(f)) == 0) {
            w->family = known[i].family;
            w->is_decoder = known[i].is_decoder;
            w->pairs = known[i].pairs;
        }
    if (!w->family)
        return fail_as(E_MODEL_UNSUPPORTED,
                       "a model of the family \"%s\" is no Hugging Face "
                       "folder; bert, llama and qwen2 are",
                       model_files_family(f));
    TRY(model_files_int(f, "attention.head_count", 1, 1024, &w->heads));
    TRY(model_files_int(f, "embedding_length", 1, 1 << 16, &w->width));
    w->kv_heads = w->heads;
    w->head_width = w->width / w->heads;
    if (model_files_has(f, "attention.head_count_kv"))
        TRY(model_files_int(f, "attention.head_count_kv", 1, 1024,
                            &w->kv_heads));
    if (model_files_has(f, "attention.key_length"))
        TRY(model_files_int(f, "attention.key_length", 1, 1 << 12,
                            &w->head_width));
    return TACIT_OK;
}

static void put(json_t *o, const char *key, int64_t v)
{
    json_object_set_new(o, key, json_integer(v));
}

/* A whole number of the model, where it has one. */
static enum tacit_err copy(const struct model_folder_writing *w,
                           const char *from, json_t *o, const char *to)
{
    int64_t v = 0;
    if (!model_files_has(w->f, from)) return TACIT_OK;
    TRY(model_files_int(w->f, from, 0, CONTEXT_MAX, &v));
    put(o, to, v);
    return TACIT_OK;
}

static enum tacit_err copy_real(const struct model_folder_writing *w,
                                const char *from, double fallback, json_t *o,
                                const char *to)
{
    double v = fallback;
    if (model_files_has(w->f, from)) TRY(model_files_real(w->f, from, &v));
    json_object_set_new(o, to, json_real(v));
    return TACIT_OK;
}

/* The factors of Llama 3 follow from four numbers, two of which are the same in
 * every model that has them. Whether v [n] are those of this context. */
static int is_llama3(const float *v, size_t n, double base, double factor,
                     double old)
{
    for (size_t i = 0; i < n; i++) {
        double wave =
            2 * 3.14159265358979323846 * pow(base, (double)i / (double)n);
        double smooth = (old / wave - LOW_FACTOR) / (HIGH_FACTOR - LOW_FACTOR);
        double want = 1;
        if (wave > old / LOW_FACTOR)
            want = factor;
        else if (wave >= old / HIGH_FACTOR)
            want = 1 / ((1 - smooth) / factor + smooth);
        if (fabs(want - (double)v[i]) > 1e-4 * want) return 0;
    }
    return 1;
}

static enum tacit_err put_factors(const struct model_folder_writing *w,
                                  double base, json_t *o)
{
    const struct gguf_tensor *t = model_files_find(w->f, "rope_freqs.weight");
    float v[FACTORS_MAX];
    double factor = 1;
    if (!t) return TACIT_OK;
    size_t n = (size_t)t->dims[0];
    if (t->type != QUANT_F32 || n > FACTORS_MAX)
        return fail(TACIT_FORMAT, "the rotary factors are damaged");
    memcpy(v, t->data, n * sizeof *v);
    for (size_t i = 0; i < n; i++)
        if ((double)v[i] > factor) factor = (double)v[i];
    int old = OLD_CONTEXT;
    if (!is_llama3(v, n, base, factor, old))
        for (old = 1; old < CONTEXT_MAX / 2; old *= 2)
            if (is_llama3(v, n, base, factor, old)) break;
    if (!is_llama3(v, n, base, factor, old))
        return fail_as(E_MODEL_UNSUPPORTED,
                       "its rotary factors are not those of Llama 3, so "
                       "config.json has no place for them");
    json_object_set_new(o, "rope_scaling",
                        json_pack("{s:s, s:f, s:f, s:f, s:i}", "rope_type",
                                  "llama3", "factor", factor, "low_freq_factor",
                                  (double)LOW_FACTOR, "high_freq_factor",
                                  (double)HIGH_FACTOR,
                                  "original_max_position_embeddings", old));
    return TACIT_OK;
}

static enum tacit_err put_rope(const struct model_folder_writing *w, json_t *o)
{
    char kind[32];
    char key[96];
    double base = 10000, factor = 1;
    if (model_files_has(w->f, "rope.freq_base"))
        TRY(model_files_real(w->f, "rope.freq_base", &base));
    json_object_set_new(o, "rope_theta", json_real(base));
    snprintf(key, sizeof key, "%s.rope.scaling.type", w->family);
    gguf_text_or_empty(model_files_metadata(w->f), key, kind, sizeof kind);
    if (strcmp(kind, "linear") != 0) return put_factors(w, base, o);
    TRY(model_files_real(w->f, "rope.scaling.factor", &factor));
    json_object_set_new(o, "rope_scaling",
                        json_pack("{s:s, s:f}", "rope_type", "linear", "factor",
                                  factor));
    return TACIT_OK;
}

static enum tacit_err decoder_config(const struct model_folder_writing *w,
                                     json_t *o)
{
    int is_llama = strcmp(w->family, "llama") == 0;
    int window = model_files_has(w->f, "attention.sliding_window");
    const char *type = !is_llama ? "qwen2" : window ? "mistral" : "llama";
    const char *class = !is_llama ? "Qwen2ForCausalLM"
                        : window  ? "MistralForCausalLM"
                                  : "LlamaForCausalLM";
    json_object_set_new(o, "model_type", json_string(type));
    json_object_set_new(o, "architectures", json_pack("[s]", class));
    json_object_set_new(o, "hidden_act", json_string("silu"));
    put(o, "num_key_value_heads", w->kv_heads);
    put(o, "head_dim", w->head_width);
    if (window && !is_llama) {
        json_object_set_new(o, "use_sliding_window", json_true());
        put(o, "max_window_layers", 0); /* without one: all of them */
    }
    json_object_set_new(o, "tie_word_embeddings",
                        json_boolean(!model_files_find(w->f, "output.weight")));
    TRY(model_folder_biases(w->f, type, o));
    TRY(copy(w, "attention.sliding_window", o, "sliding_window"));
    TRY(copy_real(w, "attention.layer_norm_rms_epsilon", 1e-6, o,
                  "rms_norm_eps"));
    return put_rope(w, o);
}

const struct gguf_tensor *model_folder_classes(
    const struct model_folder_writing *w)
{
    return model_files_find(w->f, "cls.output.weight");
}

int model_folder_reads(const struct model_folder_writing *w)
{
    return !w->is_decoder && model_files_find(w->f, "head.weight") != NULL;
}

/* What the outputs of its head are called. */
static enum tacit_err put_labels(const struct model_folder_writing *w,
                                 json_t *o)
{
    const struct gguf *g = model_files_metadata(w->f);
    struct gguf_array names = {0};
    char number[24], unnamed[32];
    json_t *map = json_object(), *back = json_object();
    uint64_t n = model_folder_classes(w)->dims[1];
    if (gguf_has(g, LABELS_KEY)) {
        enum tacit_err e = gguf_array(g, LABELS_KEY, &names);
        if (e || names.kind != GGUF_TEXT || names.n != n) names.n = 0;
        if (e) err_clear();
    }
    for (uint64_t i = 0; i < n; i++) {
        size_t bytes = 0;
        const char *name =
            names.n > 0 ? gguf_next_text(&names, &bytes) : unnamed;
        snprintf(number, sizeof number, "%llu", (unsigned long long)i);
        snprintf(unnamed, sizeof unnamed, "LABEL_%s", number);
        if (name == unnamed) bytes = strlen(unnamed);
        json_object_set_new(map, number, json_stringn(name, bytes));
        json_object_setn_new(back, name, bytes, json_integer((json_int_t)i));
    }
    json_object_set_new(o, "id2label", map);
    json_object_set_new(o, "label2id", back);
    if (model_files_find(w->f, "cls.weight")) return TACIT_OK;
    return fail_as(E_MODEL_UNSUPPORTED,
                   "its head reads no pooler, so transformers would make "
                   "something else of it; a GGUF file has a place for it");
}

static enum tacit_err encoder_config(const struct model_folder_writing *w,
                                     json_t *o)
{
    const struct gguf_tensor *types =
        model_files_find(w->f, "token_types.weight");
    json_object_set_new(o, "model_type", json_string("bert"));
    json_object_set_new(o, "architectures",
                        json_pack("[s]", model_folder_classes(w)
                                             ? "BertForSequenceClassification"
                                         : model_folder_reads(w)
                                             ? "BertForQuestionAnswering"
                                             : "BertModel"));
    if (model_folder_classes(w)) TRY(put_labels(w, o));
    json_object_set_new(o, "hidden_act", json_string("gelu"));
    json_object_set_new(o, "position_embedding_type", json_string("absolute"));
    put(o, "type_vocab_size", types ? (int64_t)types->dims[1] : 2);
    return copy_real(w, "attention.layer_norm_epsilon", 1e-12, o,
                     "layer_norm_eps");
}

/* ---- small files --------------------------------------------------------- */

static enum tacit_err write_bytes(const struct model_folder_writing *w,
                                  const char *name, const void *bytes, size_t n)
{
    char path[MODEL_FOLDER_PATH];
    TRY(file_join(path, sizeof path, w->path, name));
    return file_write(path, bytes, n, 0644);
}

/* The object is stolen. */
static enum tacit_err write_json(const struct model_folder_writing *w,
                                 const char *name, json_t *o)
{
    char *text =
        o ? json_dumps(o, JSON_INDENT(2) | JSON_REAL_PRECISION(17)) : NULL;
    enum tacit_err err = text ? write_bytes(w, name, text, strlen(text))
                              : fail(TACIT_NOMEM, "no memory for %s", name);
    free(text);
    json_decref(o);
    return err;
}

static enum tacit_err write_config(const struct model_folder_writing *w,
                                   const struct vocab *v)
{
    struct vocab_marks m = vocab_marks_of(v);
    json_t *o = json_object();
    enum tacit_err err = copy(w, "block_count", o, "num_hidden_layers");
    if (!err) err = copy(w, "context_length", o, "max_position_embeddings");
    if (!err) err = copy(w, "feed_forward_length", o, "intermediate_size");
    const struct gguf_tensor *words =
        model_files_find(w->f, "token_embd.weight");
    put(o, "hidden_size", w->width);
    put(o, "num_attention_heads", w->heads);
    put(o, "vocab_size", words ? (int64_t)words->dims[1] : 0);
    if (m.bos >= 0) put(o, "bos_token_id", m.bos);
    if (m.eos >= 0) put(o, "eos_token_id", m.eos);
    if (m.pad >= 0) put(o, "pad_token_id", m.pad);
    if (!err) err = w->is_decoder ? decoder_config(w, o) : encoder_config(w, o);
    if (!err) return write_json(w, "config.json", o);
    json_decref(o);
    return err;
}

static void name_mark(json_t *o, const struct vocab *v, const char *key,
                      int32_t id)
{
    size_t n;
    if (id < 0) return;
    const char *s = vocab_token(v, id, &n);
    json_object_set_new(o, key, json_stringn(s, n));
}

/* Which class of transformers reads the tokenizer, and how it is set. */
static enum tacit_err settings_of(const struct model_folder_writing *w,
                                  const struct vocab *v, json_t *o)
{
    static const char *const classes[] = {[VOCAB_WORDPIECE] = "BertTokenizer",
                                          [VOCAB_BYTES] =
                                              "PreTrainedTokenizerFast",
                                          [VOCAB_SPM] = "LlamaTokenizer",
                                          [VOCAB_UNIGRAM] = "T5Tokenizer"};
    const struct gguf *g = model_files_metadata(w->f);
    struct vocab_marks m = vocab_marks_of(v);
    const char *chat;
    size_t n;
    int64_t begins = 1;
    json_object_set_new(o, "tokenizer_class",
                        json_string(classes[vocab_kind_of(v)]));
    name_mark(o, v, "bos_token", m.bos);
    name_mark(o, v, "eos_token", m.eos);
    name_mark(o, v, "unk_token", m.unk);
    name_mark(o, v, "sep_token", m.sep);
    name_mark(o, v, "pad_token", m.pad);
    name_mark(o, v, "cls_token", m.cls);
    name_mark(o, v, "mask_token", m.mask);
    if (vocab_kind_of(v) == VOCAB_WORDPIECE)
        json_object_set_new(o, "do_lower_case", json_boolean(vocab_folds(v)));
    if (gguf_has(g, "tokenizer.ggml.add_bos_token"))
        TRY(gguf_int(g, "tokenizer.ggml.add_bos_token", 0, 1, &begins));
    if (vocab_kind_of(v) == VOCAB_SPM)
        json_object_set_new(o, "add_bos_token", json_boolean(begins));
    if (!gguf_has(g, "tokenizer.chat_template")) return TACIT_OK;
    TRY(gguf_text(g, "tokenizer.chat_template", &chat, &n));
    json_object_set_new(o, "chat_template", json_stringn(chat, n));
    return TACIT_OK;
}

static enum tacit_err write_vocab(const struct model_folder_writing *w,
                                  const struct vocab *v)
{
    struct buf b;
    int is_spm =
        vocab_kind_of(v) == VOCAB_SPM || vocab_kind_of(v) == VOCAB_UNIGRAM;
    json_t *settings = json_object();
    enum tacit_err err = settings_of(w, v, settings);
    if (err) {
        json_decref(settings);
        return err;
    }
    buf_init(&b, 0);
    err = write_json(w, "tokenizer_config.json", settings);
    if (!err) err = is_spm ? vocab_to_spm(v, &b) : vocab_to_json(v, &b);
    if (!err)
        err = write_bytes(w, is_spm ? "tokenizer.model" : "tokenizer.json",
                          b.data, b.len);
    buf_release(&b);
    return err;
}

/* What sentence-transformers wants beside an encoder. */
static enum tacit_err write_modules(const struct model_folder_writing *w)
{
    char text[2][4096], dir[MODEL_FOLDER_PATH];
    int64_t pooling = 1, most = 0;
    const struct gguf *g = model_files_metadata(w->f);
    if (model_files_has(w->f, "pooling_type"))
        TRY(model_files_int(w->f, "pooling_type", 0, 8, &pooling));
    TRY(file_join(dir, sizeof dir, w->path, "1_Pooling"));
    TRY(file_mkdirs(dir, 0755));
    TRY(write_json(w, "1_Pooling/config.json",
                   json_pack("{s:I, s:b, s:b}", "word_embedding_dimension",
                             (json_int_t)w->width, "pooling_mode_cls_token",
                             pooling == 2, "pooling_mode_mean_tokens",
                             pooling != 2)));
    TRY(write_json(
        w, "modules.json",
        json_pack("[{s:i, s:s, s:s, s:s}, {s:i, s:s, s:s, s:s}, {s:i, s:s, "
                  "s:s, s:s}]",
                  "idx", 0, "name", "0", "path", "", "type",
                  "sentence_transformers.models.Transformer", "idx", 1, "name",
                  "1", "path", "1_Pooling", "type",
                  "sentence_transformers.models.Pooling", "idx", 2, "name", "2",
                  "path", "2_Normalize", "type",
                  "sentence_transformers.models.Normalize")));
    if (gguf_has(g, "tacit.tokens_max")) {
        TRY(gguf_int(g, "tacit.tokens_max", 1, CONTEXT_MAX, &most));
        TRY(write_json(w, "sentence_bert_config.json",
                       json_pack("{s:I}", "max_seq_length", (json_int_t)most)));
    }
    gguf_text_or_empty(g, "tacit.prefix.question", text[0], sizeof *text);
    gguf_text_or_empty(g, "tacit.prefix.passage", text[1], sizeof *text);
    if (!text[0][0] && !text[1][0]) return TACIT_OK;
    return write_json(w, "config_sentence_transformers.json",
                      json_pack("{s:{s:s, s:s}}", "prompts", "query", text[0],
                                "passage", text[1]));
}

/* Quoted as JSON and YAML both read it. */
static enum tacit_err put_said(struct buf *b, const char *key,
                               const char *value)
{
    json_t *o = json_string(value);
    char *quoted = o ? json_dumps(o, JSON_ENCODE_ANY) : NULL;
    json_decref(o);
    if (!quoted) return fail(TACIT_NOMEM, "no memory for a model's card");
    buf_put(b, key, strlen(key));
    buf_put(b, ": ", 2);
    buf_put(b, quoted, strlen(quoted));
    buf_put_u8(b, '\n');
    free(quoted);
    return TACIT_OK;
}

/* The card: lines between two of "---" say where the model is from. */
static enum tacit_err write_card(const struct model_folder_writing *w)
{
    struct buf b;
    enum tacit_err err = TACIT_OK;
    if (!w->how->licence[0] && !w->how->source[0]) return TACIT_OK;
    buf_init(&b, 0);
    buf_put(&b, "---\n", 4);
    if (w->how->licence[0]) err = put_said(&b, "license", w->how->licence);
    if (!err && w->how->source[0]) err = put_said(&b, "source", w->how->source);
    buf_put(&b, "---\n", 4);
    if (!err) err = buf_end(&b);
    if (!err) err = write_bytes(w, "README.md", b.data, b.len);
    buf_release(&b);
    return err;
}

/* ---- the whole ----------------------------------------------------------- */

static enum tacit_err write_all(struct model_folder_writing *w)
{
    struct vocab *v = NULL;
    TRY(model_files_vocab(w->f, &v));
    enum tacit_err err = write_config(w, v);
    if (!err) err = write_vocab(w, v);
    vocab_free(v);
    TRY(err);
    if (!w->is_decoder && !model_folder_classes(w) && !model_folder_reads(w))
        TRY(write_modules(w));
    TRY(write_card(w));
    return model_folder_tensors(w);
}

enum tacit_err model_folder_write(const struct model_files *f, const char *path,
                                  const struct model_folder *how)
{
    char whole[PART_PATH], folder[PART_PATH];
    struct part part;
    struct model_folder_writing w = {.f = f, .how = how, .path = part.path};
    struct stat st;
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    if (n >= sizeof whole) return fail(TACIT_LIMIT, "%s: path too long", path);
    memcpy(whole, path, n);
    whole[n] = '\0';
    TRY(look(&w));
    if (lstat(whole, &st) == 0)
        return fail(TACIT_STATE, "%s is there already; name another folder",
                    whole);
    TRY(file_folder(folder, sizeof folder, whole));
    TRY(part_begin(&part, folder, PART_FOLDER));
    enum tacit_err err = write_all(&w);
    if (!err) err = part_commit(&part, whole, 0755);
    part_release(&part);
    return err;
}
