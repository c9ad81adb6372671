/*
 * A Hugging Face folder: config.json becomes GGUF's keys, the tokenizer's files
 * its tokenizer.ggml.* keys, model.safetensors (or the parts that
 * model.safetensors.index.json lists) its tensors.
 *
 *   config.json                      GGUF
 *   num_hidden_layers            ->  llama.block_count
 *   rope_scaling {llama3, …}     ->  tensor rope_freqs.weight
 *   …ForSequenceClassification   ->  bert.pooling_type 4: its head reads them
 *   id2label                     ->  bert.classifier.output_labels
 *   README.md: license, source   ->  general.license, general.source.url
 *
 * What sentence-transformers puts beside it: model_files_sentences.c.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "common/model/model_files_parts.h"

enum {
    CARD_MAX = 4 << 20,
    SAID_MAX = 512,
    FACTORS_MAX = 512,
    QWEN2_FULL_LAYERS = 28, /* where config.json does not say */
    LABELS_MAX = 256
};

static const struct family {
    const char *type, *family; /* config.json's and GGUF's */
    const char *act;
    int pairs, decoder;
} families[] = {
    {"bert", "bert", "gelu", 0, 0},
    {"llama", "llama", "silu", 1, 1},
    {"mistral", "llama", "silu", 1, 1},
    {"qwen2", "qwen2", "silu", 0, 1},
};

struct folder {
    const char *path;
    json_t *config;
    const struct family *family;
    struct gguf_writer *w;
    struct model_files_shape shape;
    float factors[FACTORS_MAX];
    size_t n_factors;
};

/* ---- config.json -------------------------------------------------------- */

static void put_whole(const struct folder *f, const char *key, int64_t v)
{
    char full[96];
    snprintf(full, sizeof full, "%s.%s", f->family->family, key);
    gguf_put_u32(f->w, full, (uint32_t)v);
}

static void put_real(const struct folder *f, const char *key, double v)
{
    char full[96];
    snprintf(full, sizeof full, "%s.%s", f->family->family, key);
    gguf_put_f32(f->w, full, (float)v);
}

static enum tacit_err copy_whole(const struct folder *f, const char *from,
                                 const char *to)
{
    int64_t v = 0;
    TRY(model_files_whole(f->config, from, UINT32_MAX, &v));
    put_whole(f, to, v);
    return TACIT_OK;
}

static double real_or(const json_t *o, const char *key, double fallback)
{
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : fallback;
}

static enum tacit_err find_family(struct folder *f)
{
    const char *type =
        json_string_value(json_object_get(f->config, "model_type"));
    const char *act =
        json_string_value(json_object_get(f->config, "hidden_act"));
    for (size_t i = 0; type && i < sizeof families / sizeof *families; i++)
        if (strcmp(families[i].type, type) == 0) f->family = &families[i];
    if (!f->family)
        return fail_as(E_MODEL_UNSUPPORTED,
                       "a model of the family \"%s\"; bert, llama (also "
                       "SmolLM2), mistral and qwen2 are read",
                       type ? type : "");
    if (act && strcmp(act, f->family->act) != 0)
        return fail_as(E_MODEL_UNSUPPORTED,
                       "the activation \"%s\"; of the family %s only \"%s\" is "
                       "read",
                       act, f->family->type, f->family->act);
    const char *place = json_string_value(
        json_object_get(f->config, "position_embedding_type"));
    if (place && strcmp(place, "absolute") != 0)
        return fail_as(E_MODEL_UNSUPPORTED, "positions of the kind \"%s\"",
                       place);
    if (!f->family->decoder &&
        json_is_true(json_object_get(f->config, "is_decoder")))
        return fail_as(E_MODEL_UNSUPPORTED,
                       "a BERT that looks back alone (is_decoder)");
    return TACIT_OK;
}

static enum tacit_err read_heads(struct folder *f)
{
    struct model_files_shape *s = &f->shape;
    int64_t width = 0;
    TRY(model_files_whole(f->config, "num_attention_heads", 1024, &s->heads));
    TRY(model_files_whole(f->config, "hidden_size", 1 << 16, &width));
    s->kv_heads = s->heads;
    if (json_is_integer(json_object_get(f->config, "num_key_value_heads")))
        TRY(model_files_whole(f->config, "num_key_value_heads", 1024,
                              &s->kv_heads));
    s->head_width = width / s->heads;
    put_whole(f, "attention.head_count", s->heads);
    put_whole(f, "attention.head_count_kv", s->kv_heads);
    if (!json_is_integer(json_object_get(f->config, "head_dim")))
        return TACIT_OK;
    TRY(model_files_whole(f->config, "head_dim", 1 << 12, &s->head_width));
    put_whole(f, "attention.key_length", s->head_width);
    put_whole(f, "attention.value_length", s->head_width);
    return TACIT_OK;
}

/* Llama 3.1's: wave lengths over the old context are stretched, those well
 * below it stay, and what lies between is blended. */
static enum tacit_err llama3_factors(struct folder *f, const json_t *rope,
                                     double base)
{
    double factor = real_or(rope, "factor", NAN);
    double low = real_or(rope, "low_freq_factor", 1);
    double high = real_or(rope, "high_freq_factor", 4);
    double old = real_or(rope, "original_max_position_embeddings", 8192);
    size_t n = (size_t)f->shape.head_width / 2;
    if (n > FACTORS_MAX || !(factor >= 1) || !(high > low) || !(low > 0) ||
        !(old > 0))
        return fail(TACIT_FORMAT, "config.json: the rotary scaling is damaged");
    for (size_t i = 0; i < n; i++) {
        double wave = 2 * 3.14159265358979323846 *
                      pow(base, (double)(2 * i) / (double)(2 * n));
        double smooth = (old / wave - low) / (high - low), v = 1;
        if (wave > old / low)
            v = factor;
        else if (wave >= old / high)
            v = 1 / ((1 - smooth) / factor + smooth);
        f->factors[i] = (float)v;
    }
    f->n_factors = n;
    return TACIT_OK;
}

static enum tacit_err read_rope(struct folder *f)
{
    const json_t *rope = json_object_get(f->config, "rope_parameters");
    if (!json_is_object(rope))
        rope = json_object_get(f->config, "rope_scaling");
    double base = real_or(f->config, "rope_theta", 10000);
    base = real_or(rope, "rope_theta", base);
    const char *type = json_string_value(json_object_get(rope, "rope_type"));
    if (!type) type = json_string_value(json_object_get(rope, "type"));
    if (!(base > 1 && base < 1e12))
        return fail(TACIT_FORMAT, "config.json: rope_theta is %g", base);
    put_real(f, "rope.freq_base", base);
    put_whole(f, "rope.dimension_count", f->shape.head_width);
    if (!type || strcmp(type, "default") == 0) return TACIT_OK;
    if (strcmp(type, "llama3") == 0) return llama3_factors(f, rope, base);
    if (strcmp(type, "linear") != 0)
        return fail_as(E_MODEL_UNSUPPORTED,
                       "rotary positions scaled by \"%s\"; default, linear and "
                       "llama3 are read",
                       type);
    char key[96];
    snprintf(key, sizeof key, "%s.rope.scaling.type", f->family->family);
    gguf_put_text(f->w, key, "linear", 6);
    put_real(f, "rope.scaling.factor", real_or(rope, "factor", NAN));
    return TACIT_OK;
}

/* How many layers look back over a window alone: those that layer_types calls
 * so; without it Qwen 2's from max_window_layers on, and all of Mistral's. */
static int64_t windowed_layers(const struct folder *f, int64_t layers)
{
    const json_t *types = json_object_get(f->config, "layer_types");
    const json_t *from = json_object_get(f->config, "max_window_layers");
    const char *type;
    int64_t n = 0;
    size_t i;
    json_t *v;
    if (json_is_array(types)) {
        json_array_foreach((json_t *)(uintptr_t)types, i, v)
        {
            type = json_string_value(v);
            n += type && strcmp(type, "sliding_attention") == 0;
        }
        return n;
    }
    if (strcmp(f->family->type, "qwen2") != 0) return layers;
    n = json_is_integer(from) ? json_integer_value(from) : QWEN2_FULL_LAYERS;
    return n < 0 ? layers : n < layers ? layers - n : 0;
}

/* As transformers: a window is Mistral's, and Qwen 2's where it is turned on;
 * of Llama it is not read. */
static enum tacit_err read_window(struct folder *f)
{
    const json_t *on = json_object_get(f->config, "use_sliding_window");
    const json_t *v = json_object_get(f->config, "sliding_window");
    const char *type = f->family->type;
    int64_t n = 0, layers = 0, windowed;
    if (!json_is_integer(v) || strcmp(type, "llama") == 0) return TACIT_OK;
    if (strcmp(type, "qwen2") == 0 && !json_is_true(on)) return TACIT_OK;
    TRY(model_files_whole(f->config, "sliding_window", INT32_MAX, &n));
    TRY(model_files_whole(f->config, "num_hidden_layers", INT32_MAX, &layers));
    windowed = windowed_layers(f, layers);
    if (windowed == 0) return TACIT_OK;
    if (windowed != layers)
        return fail_as(E_MODEL_UNSUPPORTED,
                       "%lld of its %lld layers look back over a window "
                       "(max_window_layers, layer_types); all or none are read",
                       (long long)windowed, (long long)layers);
    put_whole(f, "attention.sliding_window", n);
    return TACIT_OK;
}

/* A network that was trained to classify has a head behind its pooler. */
static void find_head(struct folder *f)
{
    static const char tail[] = "ForSequenceClassification";
    const json_t *list = json_object_get(f->config, "architectures");
    const char *name = json_string_value(json_array_get(list, 0));
    size_t n = name ? strlen(name) : 0, k = sizeof tail - 1;
    f->shape.has_head =
        !f->family->decoder && n > k && strcmp(name + n - k, tail) == 0;
}

/* "id2label": {"0": "no", "1": "yes"}; names that say only a number are left
 * out. */
static void read_labels(const struct folder *f)
{
    const json_t *map = json_object_get(f->config, "id2label");
    const char *names[LABELS_MAX];
    size_t bytes[LABELS_MAX], n = json_object_size(map);
    char key[96], number[24];
    if (!f->shape.has_head || n == 0 || n > LABELS_MAX) return;
    for (size_t i = 0; i < n; i++) {
        snprintf(number, sizeof number, "%zu", i);
        const json_t *name = json_object_get(map, number);
        names[i] = json_string_value(name);
        bytes[i] = json_string_length(name);
        if (!names[i] || strncmp(names[i], "LABEL_", 6) == 0) return;
    }
    snprintf(key, sizeof key, "%s.classifier.output_labels", f->family->family);
    gguf_put_texts(f->w, key, names, bytes, n);
}

/* Kinds of token, which llama.cpp wants to be told. */
static enum tacit_err put_types(const struct folder *f)
{
    int64_t n = 2;
    if (json_is_integer(json_object_get(f->config, "type_vocab_size")))
        TRY(model_files_whole(f->config, "type_vocab_size", 1 << 16, &n));
    gguf_put_u32(f->w, "tokenizer.ggml.token_type_count", (uint32_t)n);
    return TACIT_OK;
}

static enum tacit_err read_config(struct folder *f)
{
    TRY(model_files_kinds(f->config));
    TRY(find_family(f));
    const char *family = f->family->family;
    const char *name = strrchr(f->path, '/');
    char key[96];
    name = name && name[1] ? name + 1 : f->path;
    gguf_put_text(f->w, "general.architecture", family, strlen(family));
    gguf_put_text(f->w, "general.name", name, strlen(name));
    TRY(copy_whole(f, "num_hidden_layers", "block_count"));
    TRY(copy_whole(f, "max_position_embeddings", "context_length"));
    TRY(copy_whole(f, "hidden_size", "embedding_length"));
    TRY(copy_whole(f, "intermediate_size", "feed_forward_length"));
    TRY(copy_whole(f, "vocab_size", "vocab_size"));
    TRY(read_heads(f));
    f->shape.pairs = f->family->pairs;
    f->shape.tied =
        json_is_true(json_object_get(f->config, "tie_word_embeddings"));
    if (f->family->decoder) {
        put_real(f, "attention.layer_norm_rms_epsilon",
                 real_or(f->config, "rms_norm_eps", 1e-6));
        TRY(read_rope(f));
        return read_window(f);
    }
    put_real(f, "attention.layer_norm_epsilon",
             real_or(f->config, "layer_norm_eps", 1e-12));
    snprintf(key, sizeof key, "%s.attention.causal", family);
    gguf_put_bool(f->w, key, 0);
    TRY(put_types(f));
    find_head(f);
    read_labels(f);
    return model_files_sentences(f->path, f->family->family, f->shape.has_head,
                                 f->w);
}

/* What stands behind a key of the card, without its quotes; "" without it. */
static void card_says(const char *card, const char *end, const char *key,
                      char out[SAID_MAX])
{
    const char *at = strstr(card, key);
    size_t n = 0;
    out[0] = '\0';
    if (!at || at >= end) return;
    at += strlen(key);
    at += strspn(at, " \t");
    char quote = *at == '"' || *at == '\'' ? *at++ : '\0';
    for (; at < end && *at != '\r' && *at != '\n' && n + 1 < SAID_MAX; at++) {
        if (quote ? *at == quote : strncmp(at, " #", 2) == 0) break;
        if (quote == '"' && *at == '\\' && at + 1 < end) at++;
        out[n++] = *at;
    }
    while (!quote && n > 0 && (out[n - 1] == ' ' || out[n - 1] == '\t')) n--;
    out[n] = '\0';
}

static void put_said(const struct folder *f, const char *key, const char *said)
{
    if (said[0]) gguf_put_text(f->w, key, said, strlen(said));
}

/* A model card begins with lines between two of "---". They say the licence,
 * and, where it is none of those with a short name, what it is called. */
static enum tacit_err read_card(const struct folder *f)
{
    char path[MODEL_FILES_PATH], said[SAID_MAX], name[SAID_MAX];
    struct buf b;
    if (!model_files_beside(f->path, "README.md", path)) return TACIT_OK;
    buf_init(&b, 0);
    enum tacit_err err = file_read(path, CARD_MAX, &b);
    const char *card = err ? NULL : buf_cstr(&b);
    const char *end = card ? strstr(card, "\n---") : NULL;
    if (end && strncmp(card, "---", 3) == 0) {
        card_says(card, end, "\nlicense:", said);
        card_says(card, end, "\nlicense_name:", name);
        put_said(f, "general.license",
                 strcmp(said, "other") == 0 && name[0] ? name : said);
        card_says(card, end, "\nsource:", said);
        put_said(f, "general.source.url", said);
    }
    buf_release(&b);
    return err;
}

/* ---- tokenizer ---------------------------------------------------------- */

static enum tacit_err load_vocab(const char *folder, const json_t *settings,
                                 struct vocab **out)
{
    char path[MODEL_FILES_PATH];
    struct buf b;
    enum tacit_err err;
    buf_init(&b, 0);
    int is_json = model_files_beside(folder, "tokenizer.json", path);
    int is_spm =
        !is_json && model_files_beside(folder, "tokenizer.model", path);
    if (!is_json && !is_spm && !model_files_beside(folder, "vocab.txt", path))
        return fail(TACIT_NOTFOUND,
                    "%s: there is no tokenizer.json, tokenizer.model or "
                    "vocab.txt",
                    folder);
    err = file_read(path, JSON_BYTES_MAX, &b);
    if (!err && is_json)
        err = vocab_from_json((const char *)b.data, b.len, out);
    else if (!err && is_spm)
        err = vocab_from_spm(b.data, b.len, out);
    else if (!err)
        err = vocab_from_lines((const char *)b.data, b.len,
                               json_is_false(
                                   json_object_get(settings, "do_lower_case"))
                                   ? VOCAB_CASE_KEPT
                                   : VOCAB_CASE_FOLDED,
                               out);
    buf_release(&b);
    return err ? err_context(err, "%s", path) : TACIT_OK;
}

/* A number, or the first of a list of them; -1 without one. */
static int64_t mark(const json_t *config, const char *key)
{
    const json_t *v = json_object_get(config, key);
    if (json_is_array(v)) v = json_array_get(v, 0);
    return json_is_integer(v) && json_integer_value(v) >= 0 &&
                   json_integer_value(v) < VOCAB_TOKENS_MAX
               ? json_integer_value(v)
               : -1;
}

static enum tacit_err put_template(const struct folder *f,
                                   const json_t *settings)
{
    char path[MODEL_FILES_PATH];
    const json_t *t = json_object_get(settings, "chat_template");
    struct buf b;
    if (json_is_string(t)) {
        gguf_put_text(f->w, "tokenizer.chat_template", json_string_value(t),
                      json_string_length(t));
        return TACIT_OK;
    }
    if (!model_files_beside(f->path, "chat_template.jinja", path))
        return TACIT_OK;
    buf_init(&b, 0);
    enum tacit_err err = file_read(path, 1 << 20, &b);
    if (!err)
        gguf_put_text(f->w, "tokenizer.chat_template", (const char *)b.data,
                      b.len);
    buf_release(&b);
    return err;
}

static enum tacit_err read_tokenizer(const struct folder *f)
{
    char path[MODEL_FILES_PATH];
    json_t *settings = NULL;
    struct vocab *v = NULL;
    if (model_files_beside(f->path, "tokenizer_config.json", path))
        TRY(model_files_settings(path, &settings));
    enum tacit_err err = load_vocab(f->path, settings, &v);
    if (!err && f->family->decoder)
        err = vocab_set_marks(v, mark(f->config, "bos_token_id"),
                              mark(f->config, "eos_token_id"),
                              mark(f->config, "pad_token_id"));
    if (!err) err = vocab_to_gguf(v, f->w);
    if (!err) err = put_template(f, settings);
    vocab_free(v);
    json_decref(settings);
    return err;
}

/* ---- tensors ------------------------------------------------------------ */

static enum tacit_err add_file(struct model_files *c, const char *folder,
                               const char *name)
{
    char path[MODEL_FILES_PATH];
    if (strchr(name, '/') || name[0] == '.' || !name[0])
        return fail(TACIT_FORMAT, "the index names the file \"%s\"", name);
    if (c->n_files == MODEL_FILES_MAX)
        return fail(TACIT_LIMIT, "a model of more than %d files",
                    MODEL_FILES_MAX);
    TRY(file_join(path, sizeof path, folder, name));
    TRY(model_files_expect(path, "a file of safetensors"));
    TRY(safetensors_open(path, &c->files[c->n_files]));
    c->n_files++;
    return TACIT_OK;
}

/* Every file that the index names, once. */
static enum tacit_err add_parts(struct model_files *c, const char *folder,
                                const json_t *map)
{
    const char *tensor;
    json_t *value, *seen = json_object();
    enum tacit_err err = TACIT_OK;
    if (!seen || !json_is_object(map))
        err = fail(TACIT_FORMAT, "the index of the model's files is damaged");
    json_object_foreach((json_t *)(uintptr_t)map, tensor, value)
    {
        const char *name = json_string_value(value);
        if (err || !name || json_object_get(seen, name)) continue;
        json_object_set_new(seen, name, json_true());
        err = add_file(c, folder, name);
    }
    json_decref(seen);
    return err;
}

static enum tacit_err open_files(struct model_files *c, const char *folder)
{
    char path[MODEL_FILES_PATH];
    json_t *index = NULL;
    c->files = calloc(MODEL_FILES_MAX, sizeof *c->files);
    if (!c->files) return fail(TACIT_NOMEM, "no memory for a model's files");
    if (model_files_beside(folder, "model.safetensors", path))
        return add_file(c, folder, "model.safetensors");
    if (!model_files_beside(folder, "model.safetensors.index.json", path))
        return fail(TACIT_NOTFOUND,
                    "%s: there is no model.safetensors; files of other kinds "
                    "(pytorch_model.bin) can run code and are not read",
                    folder);
    TRY(model_files_json(path, &index));
    enum tacit_err err =
        add_parts(c, folder, json_object_get(index, "weight_map"));
    json_decref(index);
    return err;
}

static enum tacit_err fill(struct model_files *c, struct folder *f)
{
    char path[MODEL_FILES_PATH];
    if (!model_files_beside(f->path, "config.json", path))
        return fail(TACIT_NOTFOUND, "%s: there is no config.json", f->path);
    TRY(model_files_json(path, &f->config));
    enum tacit_err err = read_config(f);
    if (err) return err_context(err, "%s", f->path);
    TRY(read_card(f));
    TRY(read_tokenizer(f));
    TRY(open_files(c, f->path));
    err = model_files_rename(c, &f->shape, f->factors, f->n_factors);
    if (err) return err_context(err, "%s", f->path);
    return gguf_writer_end(f->w, NULL);
}

enum tacit_err model_files_open_folder(struct model_files *c, const char *path)
{
    struct gguf_writer w;
    struct folder *f = calloc(1, sizeof *f);
    if (!f) return fail(TACIT_NOMEM, "no memory for a model's header");
    enum tacit_err err = gguf_writer_init(&w, NULL, GGUF_ALIGNMENT);
    f->path = path;
    f->w = &w;
    if (!err) err = fill(c, f);
    if (!err) {
        c->written = w.out;
        buf_init(&w.out, 0);
        err = gguf_open_bytes(c->written.data, c->written.len, &c->meta);
    }
    if (!err)
        gguf_text_or_empty(c->meta, "general.architecture", c->family,
                           sizeof c->family);
    json_decref(f->config);
    free(f);
    gguf_writer_release(&w);
    return err;
}
