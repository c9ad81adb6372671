/* `tacit model …`: bring networks in, list, show, change, export, forget. What
 * they do here is chosen in cli_model_use.c. */
#include <stdio.h>
#include <string.h>

#include "client/adapters.h"
#include "client/cli.h"
#include "client/embedding.h"
#include "client/generator.h"
#include "client/networks.h"
#include "client/readers.h"
#include "client/reranker.h"
#include "common/base/codes.h"
#include "common/base/tick.h"
#include "common/model/chat.h"
#include "common/model/gguf.h"
#include "common/model/repack.h"

static json_t *model_json(const struct network_row *m)
{
    char hash[DIGEST_HEX], source_hash[DIGEST_HEX], when[21];
    hex_encode(hash, m->hash.b, DIGEST_BYTES);
    hex_encode(source_hash, m->source_hash.b, DIGEST_BYTES);
    tick_iso8601(m->added_s, when);
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:s, s:s, s:s, s:s, s:I, s:s}",
                     "name", m->name, "family", m->family, "type", m->type,
                     "parameters", (json_int_t)m->parameters, "bytes",
                     (json_int_t)m->bytes, "licence", m->licence, "source",
                     m->source, "hash", hash, "source_hash", source_hash,
                     "source_bytes", (json_int_t)m->source_bytes, "added",
                     when);
}

static const char *licence_of(const struct network_row *m)
{
    return m->licence[0] ? m->licence : "not stated";
}

/* "134.5 M". */
static const char *count_text(uint64_t n, char out[32])
{
    if (n >= 1000000000)
        snprintf(out, 32, "%.2f G", (double)n / 1e9);
    else if (n >= 1000000)
        snprintf(out, 32, "%.1f M", (double)n / 1e6);
    else
        snprintf(out, 32, "%.0f k", (double)n / 1e3);
    return out;
}

static enum tacit_err print_one(const struct options *o, const char *verb,
                                const struct network_row *m)
{
    char size[32], count[32];
    if (cli_json(o)) return json_print_ok(stdout, model_json(m));
    printf("%s %s: %s, %s, %s parameters, %s, licence %s\n", verb, m->name,
           m->family, m->type, count_text(m->parameters, count),
           cli_size(m->bytes, size), licence_of(m));
    return TACIT_OK;
}

/* ---- work that takes a while -------------------------------------------- */

struct working {
    struct progress progress;
    int begun;
    enum progress_mode mode;
    const char *label;
};

static enum tacit_err check_interrupt(void)
{
    return cli_interrupted()
               ? fail_as(E_INTERRUPTED, "interrupted; nothing was changed")
               : TACIT_OK;
}

static enum tacit_err show_step(void *ctx, uint64_t done, uint64_t total)
{
    struct working *w = ctx;
    TRY(check_interrupt());
    if (!w->begun++)
        progress_begin(&w->progress, w->mode, w->label, "MiB", total >> 20);
    progress_update(&w->progress, done >> 20, NULL);
    return TACIT_OK;
}

static void working_end(struct working *w)
{
    if (w->begun) progress_end(&w->progress);
}

static enum tacit_err take_type(const char *name, int *out)
{
    const struct quant_info *info = name ? quant_find(name) : NULL;
    *out = REPACK_KEEP;
    if (!name) return TACIT_OK;
    if (!info || !info->written ||
        (info->type != QUANT_F32 && info->type != QUANT_F16 &&
         info->type != QUANT_BF16 && info->type != QUANT_Q8_0 &&
         info->type != QUANT_Q4_0))
        return fail_as(E_USAGE,
                       "\"%s\" is no type to write: q8_0, q4_0, f16, bf16 or "
                       "f32",
                       name);
    *out = (int)info->type;
    return TACIT_OK;
}

enum tacit_err cli_model_import(const struct options *o)
{
    struct device d;
    struct network_row m;
    char path[DEVICE_PATH_MAX];
    struct working w = {.mode = cli_progress(o), .label = "importing"};
    struct networks_job job = {.path = path,
                               .name = options_value(o, "name"),
                               .licence = options_value(o, "licence"),
                               .source = options_value(o, "source"),
                               .step = show_step,
                               .ctx = &w};
    TRY(take_type(options_value(o, "type"), &job.type));
    TRY(cli_full_path(o->args[0], path, sizeof path));
    TRY(cli_open(o, &d));
    cli_catch_interrupt();
    enum tacit_err err = networks_import(&d, &job, &m);
    working_end(&w);
    if (!err) err = print_one(o, "imported", &m);
    if (!err && !m.licence[0])
        cli_hint(o, "The file does not state its licence. Look it up where it "
                    "came from before you pass the model on.");
    device_close(&d);
    return err;
}

enum tacit_err cli_model_quantize(const struct options *o)
{
    struct device d;
    struct network_row from, m;
    char name[NETWORK_NAME_MAX + 16];
    struct working w = {.mode = cli_progress(o), .label = "quantising"};
    struct networks_job job = {.path = o->args[0],
                               .name = name,
                               .step = show_step,
                               .ctx = &w};
    TRY(take_type(o->args[1], &job.type));
    TRY(cli_open(o, &d));
    cli_catch_interrupt();
    enum tacit_err err = networks_find(&d, o->args[0], &from);
    if (!err) {
        const char *given = options_value(o, "name");
        int n =
            given ? snprintf(name, sizeof name, "%s", given)
                  : snprintf(name, sizeof name, "%s-%s", from.name, o->args[1]);
        for (int i = 0; i < n && name[i]; i++)
            if (name[i] >= 'A' && name[i] <= 'Z') name[i] |= 32;
        err = networks_quantise(&d, &from, &job, &m);
    }
    working_end(&w);
    if (!err) err = print_one(o, "made", &m);
    device_close(&d);
    return err;
}

static enum tacit_err tell_file(const struct options *o, const char *verb,
                                const struct adapter_found *a, const char *path)
{
    if (cli_json(o))
        return json_print_ok(stdout,
                             json_pack("{s:s, s:I, s:s, s:s}", "plan",
                                       a->plan->name, "version",
                                       (json_int_t)a->version, "base",
                                       a->plan->base.name, "file", path));
    printf("%s plan %s, version %u, over %s: %s\n", verb, a->plan->name,
           a->version, a->plan->base.name, path);
    return TACIT_OK;
}

static enum tacit_err export_adapter(const struct options *o)
{
    struct device d;
    struct adapter_found a = {0};
    char path[DEVICE_PATH_MAX];
    TRY(cli_full_path(o->args[1], path, sizeof path));
    TRY(cli_open_to_read(o, &d));
    enum tacit_err err = adapters_find(&d, o->args[0], &a);
    if (!err) err = adapters_export(&a, path);
    if (!err) err = tell_file(o, "exported the adapter of", &a, path);
    if (!err && adapters_has_head(&a))
        cli_hint(o,
                 "The head that was learnt is not in it; `tacit model merge %s "
                 "FILE` writes a network with both.",
                 a.plan->name);
    adapters_release(&a);
    device_close(&d);
    return err;
}

static enum tacit_err go_on(void *ctx, uint64_t bytes)
{
    (void)ctx;
    (void)bytes;
    return check_interrupt();
}

enum tacit_err cli_model_merge(const struct options *o)
{
    struct device d;
    struct adapter_found a = {0};
    char path[DEVICE_PATH_MAX];
    struct net_write how = {.step = go_on};
    TRY(take_type(options_value(o, "type"), &how.type));
    TRY(cli_full_path(o->args[1], path, sizeof path));
    TRY(cli_open_to_read(o, &d));
    cli_catch_interrupt();
    enum tacit_err err = adapters_find(&d, o->args[0], &a);
    if (!err) err = adapters_merge(&a, path, &how);
    if (!err) err = tell_file(o, "merged", &a, path);
    adapters_release(&a);
    device_close(&d);
    return err;
}

/* What a folder can hold: plain numbers. */
static enum tacit_err take_export(const struct options *o, int *type)
{
    const char *name = options_value(o, "type");
    TRY(take_type(name, type));
    if (name && !options_flag(o, "folder"))
        return fail_as(E_USAGE, "--type is of a --folder; a GGUF file keeps "
                                "its type, `model quantize` makes another");
    if (*type == QUANT_Q8_0 || *type == QUANT_Q4_0)
        return fail_as(E_USAGE, "safetensors hold f32, f16 or bf16, not %s",
                       name);
    return TACIT_OK;
}

enum tacit_err cli_model_export(const struct options *o)
{
    struct device d;
    struct network_row m;
    char path[DEVICE_PATH_MAX];
    if (options_flag(o, "adapter")) return export_adapter(o);
    struct working w = {.mode = cli_progress(o), .label = "exporting"};
    struct networks_job job = {.path = path, .step = show_step, .ctx = &w};
    int is_folder = options_flag(o, "folder");
    TRY(take_export(o, &job.type));
    TRY(cli_full_path(o->args[1], path, sizeof path));
    TRY(cli_open_to_read(o, &d));
    cli_catch_interrupt();
    enum tacit_err err = networks_find(&d, o->args[0], &m);
    if (!err)
        err = is_folder ? networks_export_folder(&d, &m, &job)
                        : networks_export(&d, &m, &job);
    working_end(&w);
    if (!err && cli_json(o))
        err = json_print_ok(stdout, json_pack("{s:s, s:s}", "name", m.name,
                                              "file", path));
    else if (!err)
        printf("exported %s to %s\n", m.name, path);
    device_close(&d);
    return err;
}

/* ---- looking ------------------------------------------------------------ */

struct listing {
    json_t *list; /* NULL: a table */
    struct embedding_choice searches;
    struct generator_choice writes;
    struct reranker_choice reranks;
    char reads[NETWORK_NAME_MAX];
};

/* "search", "answers", "rerank", "reads" or "" */
static const char *use_of(const struct listing *l, const struct network_row *m)
{
    if (strcmp(m->name, l->searches.name) == 0) return "search";
    if (strcmp(m->name, l->reranks.name) == 0) return "rerank";
    if (strcmp(m->name, l->reads[0] ? l->reads : READERS_BUILT_IN) == 0)
        return "reads";
    return strcmp(m->name, l->writes.name) == 0 ? "answers" : "";
}

static enum tacit_err find_uses(struct device *d, struct listing *l)
{
    TRY(embedding_chosen(d, &l->searches));
    TRY(reranker_chosen(d, &l->reranks));
    TRY(readers_chosen(d, l->reads));
    return generator_chosen(d, &l->writes);
}

static enum tacit_err list_one(const struct network_row *m, void *ctx)
{
    struct listing *l = ctx;
    char size[32], count[32];
    const char *use = use_of(l, m);
    if (l->list) {
        json_t *row = model_json(m);
        json_object_set_new(row, "searches",
                            json_boolean(strcmp(use, "search") == 0));
        json_object_set_new(row, "writes",
                            json_boolean(strcmp(use, "answers") == 0));
        json_object_set_new(row, "reranks",
                            json_boolean(strcmp(use, "rerank") == 0));
        json_object_set_new(row, "reads",
                            json_boolean(strcmp(use, "reads") == 0));
        json_array_append_new(l->list, row);
        return TACIT_OK;
    }
    printf("%-24s %-8s %-6s %10s %10s  %-8s %s\n", m->name, m->family, m->type,
           count_text(m->parameters, count), cli_size(m->bytes, size), use,
           licence_of(m));
    return TACIT_OK;
}

enum tacit_err cli_model_ls(const struct options *o)
{
    struct device d;
    struct listing l = {.list = cli_json(o) ? json_array() : NULL};
    int64_t n = 0;
    enum tacit_err err = cli_open_to_read(o, &d);
    if (err) {
        json_decref(l.list);
        return err;
    }
    err = db_int(&d.db, &n, "SELECT count(*) FROM model", "");
    if (!err) err = find_uses(&d, &l);
    if (!err && !l.list && n > 0)
        printf("%-24s %-8s %-6s %10s %10s  %-8s %s\n", "NAME", "FAMILY", "TYPE",
               "PARAMETERS", "SIZE", "USE", "LICENCE");
    if (!err) err = networks_walk(&d, list_one, &l);
    if (!err && l.list)
        err = json_print_ok(stdout,
                            json_pack("{s:O, s:s, s:s, s:s, s:s}", "models",
                                      l.list, "searches", l.searches.name,
                                      "writes", l.writes.name, "reranks",
                                      l.reranks.name, "reads",
                                      l.reads[0] ? l.reads : "built-in"));
    else if (!err && n == 0)
        printf("No model was imported. `tacit model import FILE` does.\n");
    json_decref(l.list);
    device_close(&d);
    return err;
}

/* Whole numbers of the file's metadata that say what it can do. */
static const struct {
    const char *key, *name, *what;
} facts[] = {
    {"block_count", "layers", "layers"},
    {"embedding_length", "width", "width"},
    {"attention.head_count", "heads", "heads"},
    {"attention.head_count_kv", "kv_heads", "heads of keys"},
    {"context_length", "context", "context (tokens)"},
    {"attention.sliding_window", "window", "window (tokens)"},
};

static void show_facts(const struct gguf *g, const struct network_row *m,
                       json_t *out)
{
    struct vocab *v = NULL;
    const char *program = NULL;
    size_t n = 0;
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        char key[96];
        int64_t value;
        snprintf(key, sizeof key, "%s.%s", m->family, facts[i].key);
        if (gguf_int(g, key, 0, INT64_MAX, &value) == TACIT_OK)
            json_object_set_new(out, facts[i].name, json_integer(value));
    }
    if (gguf_has(g, "tokenizer.chat_template") &&
        gguf_text(g, "tokenizer.chat_template", &program, &n))
        program = NULL;
    if (vocab_from_gguf(g, &v) == TACIT_OK) {
        json_object_set_new(out, "vocabulary",
                            json_integer((json_int_t)vocab_size(v)));
        json_object_set_new(out, "chat",
                            json_string(chat_family_name(
                                chat_family_of(program, n, v))));
    }
    err_clear();
    vocab_free(v);
}

static void print_facts(const json_t *f)
{
    const char *keys[] = {"name",        "use",    "family", "type",
                          "licence",     "source", "added",  "hash",
                          "source_hash", "path",   "chat"};
    char size[32], count[32];
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *s = json_string_value(json_object_get(f, keys[i]));
        if (s)
            printf("%-18s %s\n", keys[i],
                   s[0]                          ? s
                   : strcmp(keys[i], "use") == 0 ? "none"
                                                 : "not stated");
    }
    printf("%-18s %s\n%-18s %s\n", "parameters",
           count_text((uint64_t)json_integer_value(
                          json_object_get(f, "parameters")),
                      count),
           "size",
           cli_size((uint64_t)json_integer_value(json_object_get(f, "bytes")),
                    size));
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        const json_t *v = json_object_get(f, facts[i].name);
        if (v) printf("%-18s %lld\n", facts[i].what, json_integer_value(v));
    }
    const json_t *v = json_object_get(f, "vocabulary");
    if (v) printf("%-18s %lld\n", "vocabulary", json_integer_value(v));
}

/* path: "" of what is built in, which also has no day of its own. */
static enum tacit_err find_any(struct device *d, const char *name,
                               struct network_row *m,
                               char path[DEVICE_PATH_MAX], struct gguf **g)
{
    enum tacit_err err = networks_built_in(name, m, g);
    path[0] = '\0';
    if (err != TACIT_NOTFOUND) return err;
    err_clear();
    TRY(networks_find(d, name, m));
    TRY(networks_path(d, m, path));
    return gguf_open(path, g);
}

enum tacit_err cli_model_show(const struct options *o)
{
    struct device d;
    struct network_row m;
    struct gguf *g = NULL;
    char path[DEVICE_PATH_MAX];
    json_t *all = NULL;
    struct listing uses = {0};
    TRY(cli_open_to_read(o, &d));
    enum tacit_err err = find_any(&d, o->args[0], &m, path, &g);
    if (!err) err = find_uses(&d, &uses);
    if (!err) {
        all = model_json(&m);
        json_object_set_new(all, "use", json_string(use_of(&uses, &m)));
        if (path[0])
            json_object_set_new(all, "path", json_string(path));
        else
            json_object_del(all, "added");
        if (g) show_facts(g, &m, all);
    }
    gguf_close(g);
    if (!err && cli_json(o)) {
        err = json_print_ok(stdout, all);
        all = NULL;
    } else if (!err) {
        print_facts(all);
    }
    json_decref(all);
    device_close(&d);
    return err;
}

static enum tacit_err find_unused(struct device *d, const char *name,
                                  struct network_row *out)
{
    TRY(networks_find(d, name, out));
    TRY(embedding_check_unused(d, out));
    TRY(generator_check_unused(d, out));
    TRY(reranker_check_unused(d, out));
    return readers_check_unused(d, out);
}

enum tacit_err cli_model_rm(const struct options *o)
{
    struct device d;
    json_t *removed = json_array();
    /* So that it opens where not a byte is left. */
    enum tacit_err err = cli_open_to_read(o, &d);
    if (err) {
        json_decref(removed);
        return err;
    }
    struct network_row m;
    for (int i = 0; !err && i < o->n_args; i++)
        err = find_unused(&d, o->args[i], &m);
    for (int i = 0; !err && i < o->n_args; i++) {
        err = find_unused(&d, o->args[i], &m);
        if (!err) err = networks_remove(&d, &m);
        if (err) break;
        json_array_append_new(removed, json_string(m.name));
        if (!cli_json(o)) printf("removed %s\n", m.name);
    }
    if (!err && cli_json(o))
        err = json_print_ok(stdout, json_pack("{s:O}", "removed", removed));
    json_decref(removed);
    device_close(&d);
    return err;
}
