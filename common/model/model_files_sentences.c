/*
 * What sentence-transformers says beside a network about its vectors:
 *
 *   modules.json                       ->  refused where a layer follows that
 *                                          is not of the network (Dense)
 *   1_Pooling/config.json              ->  bert.pooling_type (1 mean, 2 first)
 *   config_sentence_transformers.json  ->  tacit.prefix.question, .passage
 *   sentence_bert_config.json          ->  tacit.tokens_max: no text it was
 *                                          trained on is longer, marks counted
 */
#include <stdio.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "common/model/model_files_parts.h"

int model_files_beside(const char *folder, const char *name,
                       char out[MODEL_FILES_PATH])
{
    if (file_join(out, MODEL_FILES_PATH, folder, name)) {
        err_clear();
        return 0;
    }
    return file_exists(out);
}

static enum tacit_err read_json(const char *path,
                                enum tacit_err (*parse)(const char *text,
                                                        size_t n, json_t **out),
                                json_t **out)
{
    struct buf b;
    buf_init(&b, 0);
    enum tacit_err err = file_read(path, JSON_BYTES_MAX, &b);
    if (!err) {
        err = parse((const char *)b.data, b.len, out);
        if (err) err = err_context(err, "%s", path);
    }
    buf_release(&b);
    return err;
}

enum tacit_err model_files_json(const char *path, json_t **out)
{
    return read_json(path, json_parse, out);
}

enum tacit_err model_files_settings(const char *path, json_t **out)
{
    return read_json(path, json_parse_reals, out);
}

enum tacit_err model_files_whole(const json_t *o, const char *key, int64_t max,
                                 int64_t *out)
{
    const json_t *v = json_object_get(o, key);
    if (!json_is_integer(v) || json_integer_value(v) < 1 ||
        json_integer_value(v) > max)
        return fail(TACIT_FORMAT,
                    "config.json: %s is missing, or no whole number up to %lld",
                    key, (long long)max);
    *out = json_integer_value(v);
    return TACIT_OK;
}

enum { POOLED_BY_HEAD = 4 }; /* as llama.cpp counts */

/* ---- how rows become one vector ----------------------------------------- */

static int ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), k = strlen(tail);
    return n >= k && strcmp(s + n - k, tail) == 0;
}

/* Each module by its class, "sentence_transformers.models.Pooling". */
static enum tacit_err check_modules(const json_t *list)
{
    size_t i;
    json_t *m;
    json_array_foreach((json_t *)(uintptr_t)list, i, m)
    {
        const char *type = json_string_value(json_object_get(m, "type"));
        if (type &&
            (ends_with(type, "Transformer") || ends_with(type, "Pooling") ||
             ends_with(type, "Normalize")))
            continue;
        return fail_as(E_MODEL_UNSUPPORTED,
                       "modules.json has a layer \"%.80s\" after the network: "
                       "without it its vectors would be others",
                       type ? type : "");
    }
    return TACIT_OK;
}

/* 1 the mean, 2 the first token, 0 anything else, or two at once. */
static int64_t pooling_of(const json_t *o)
{
    const char *mode = json_string_value(json_object_get(o, "pooling_mode"));
    const char *key, *only = mode ? mode : "";
    json_t *v;
    int n = 0;
    json_object_foreach((json_t *)(uintptr_t)o, key, v)
    {
        if (strncmp(key, "pooling_mode_", 13) != 0 || !json_is_true(v))
            continue;
        only = key + 13;
        n++;
    }
    if (n > 1) return 0;
    if (strcmp(only, "mean") == 0 || strcmp(only, "mean_tokens") == 0) return 1;
    return strcmp(only, "cls") == 0 || strcmp(only, "cls_token") == 0 ? 2 : 0;
}

static enum tacit_err read_pooling(const char *folder, int64_t *out)
{
    char path[MODEL_FILES_PATH];
    json_t *o = NULL;
    *out = 1;
    if (model_files_beside(folder, "modules.json", path)) {
        TRY(model_files_json(path, &o));
        enum tacit_err err = check_modules(o);
        json_decref(o);
        TRY(err);
    }
    if (!model_files_beside(folder, "1_Pooling/config.json", path))
        return TACIT_OK;
    TRY(model_files_json(path, &o));
    *out = pooling_of(o);
    json_decref(o);
    if (*out == 0)
        return fail_as(E_MODEL_UNSUPPORTED,
                       "1_Pooling/config.json asks for another pooling than "
                       "the mean or the first token");
    return TACIT_OK;
}

/* ---- what stands before texts, and how long they may be ----------------- */

static void put_prefix(struct gguf_writer *w, const char *key,
                       const json_t *prompts, const char *name,
                       const char *other)
{
    const json_t *v = json_object_get(prompts, name);
    if (!v) v = json_object_get(prompts, other);
    if (json_is_string(v))
        gguf_put_text(w, key, json_string_value(v), json_string_length(v));
}

static enum tacit_err read_prefixes(const char *folder, struct gguf_writer *w)
{
    char path[MODEL_FILES_PATH];
    json_t *o = NULL;
    if (!model_files_beside(folder, "config_sentence_transformers.json", path))
        return TACIT_OK;
    TRY(model_files_json(path, &o));
    const json_t *prompts = json_object_get(o, "prompts");
    put_prefix(w, "tacit.prefix.question", prompts, "query", "question");
    put_prefix(w, "tacit.prefix.passage", prompts, "passage", "document");
    json_decref(o);
    return TACIT_OK;
}

static enum tacit_err read_limit(const char *folder, struct gguf_writer *w)
{
    char path[MODEL_FILES_PATH];
    json_t *o = NULL;
    int64_t n = 0;
    if (!model_files_beside(folder, "sentence_bert_config.json", path))
        return TACIT_OK;
    TRY(model_files_json(path, &o));
    enum tacit_err e = TACIT_OK;
    if (json_is_integer(json_object_get(o, "max_seq_length")))
        e = model_files_whole(o, "max_seq_length", INT32_MAX, &n);
    if (!e && n > 0) gguf_put_u32(w, "tacit.tokens_max", (uint32_t)n);
    json_decref(o);
    return e;
}

enum tacit_err model_files_sentences(const char *folder, const char *family,
                                     int has_head, struct gguf_writer *w)
{
    char key[96];
    int64_t pooling = POOLED_BY_HEAD;
    TRY(read_prefixes(folder, w));
    TRY(read_limit(folder, w));
    if (!has_head) TRY(read_pooling(folder, &pooling));
    snprintf(key, sizeof key, "%s.pooling_type", family);
    gguf_put_u32(w, key, (uint32_t)pooling);
    return TACIT_OK;
}
