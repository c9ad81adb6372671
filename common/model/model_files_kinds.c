/*
 * Kinds of value in config.json. What it may leave out is looked at here:
 * taken for left out, a number in quotes would make another network.
 */
#include "common/model/model_files_parts.h"

enum kind { WHOLE, REAL, TEXT, TRUTH, LIST, MAP };
static const struct optional {
    const char *key;
    enum kind kind;
} of_config[] = {{"hidden_act", TEXT},
                 {"position_embedding_type", TEXT},
                 {"is_decoder", TRUTH},
                 {"num_key_value_heads", WHOLE},
                 {"head_dim", WHOLE},
                 {"rope_parameters", MAP},
                 {"rope_scaling", MAP},
                 {"rope_theta", REAL},
                 {"rms_norm_eps", REAL},
                 {"layer_norm_eps", REAL},
                 {"sliding_window", WHOLE},
                 {"use_sliding_window", TRUTH},
                 {"max_window_layers", WHOLE},
                 {"layer_types", LIST},
                 {"tie_word_embeddings", TRUTH},
                 {"type_vocab_size", WHOLE},
                 {"architectures", LIST},
                 {"id2label", MAP}},
  of_rope[] = {{"rope_theta", REAL},
               {"rope_type", TEXT},
               {"type", TEXT},
               {"factor", REAL},
               {"low_freq_factor", REAL},
               {"high_freq_factor", REAL},
               {"original_max_position_embeddings", REAL}};

static int is_of_kind(const json_t *v, enum kind kind)
{
    switch (kind) {
    case WHOLE: return json_is_integer(v);
    case REAL: return json_is_number(v);
    case TEXT: return json_is_string(v);
    case TRUTH: return json_is_boolean(v);
    case LIST: return json_is_array(v);
    case MAP: break;
    }
    return json_is_object(v);
}

/* The first n of the list, in an object or in none. */
static enum tacit_err check_kinds(const json_t *o, const struct optional *list,
                                  size_t n)
{
    static const char *const names[] = {"whole number",  "number", "text",
                                        "true or false", "list",   "object"};
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_object_get(o, list[i].key);
        if (v && !json_is_null(v) && !is_of_kind(v, list[i].kind))
            return fail(TACIT_FORMAT, "config.json: %s is no %s", list[i].key,
                        names[list[i].kind]);
    }
    return TACIT_OK;
}

enum tacit_err model_files_kinds(const json_t *config)
{
    size_t n = sizeof of_rope / sizeof *of_rope;
    TRY(check_kinds(config, of_config, sizeof of_config / sizeof *of_config));
    TRY(check_kinds(json_object_get(config, "rope_parameters"), of_rope, n));
    return check_kinds(json_object_get(config, "rope_scaling"), of_rope, n);
}
