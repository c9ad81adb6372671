#include "client/adapters.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/networks.h"
#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/model/model_files.h"
#include "common/model/tuned_base.h"
#include "common/task/task.h"
#include "common/wire/blob.h"

/* ---- finding ------------------------------------------------------------ */

struct looking {
    const char *name; /* of a plan; NULL: any of the task */
    enum plan_task task;
    struct device_model m;
    int found;
};

static enum tacit_err note(const struct device_model *m, void *ctx)
{
    struct looking *l = ctx;
    if (strcmp(m->kind, "net") != 0) return TACIT_OK;
    if (l->name ? strcmp(m->plan, l->name) != 0 : m->task != l->task)
        return TACIT_OK;
    l->m = *m;
    l->found = 1;
    return TACIT_OK;
}

static enum tacit_err load_plan(struct device *d, const struct digest *hash,
                                struct plan **out)
{
    struct buf text;
    buf_init(&text, PLAN_BYTES_MAX);
    enum tacit_err err = blob_get(d->blobs, hash, PLAN_BYTES_MAX, &text);
    if (!err) err = plan_parse("plan", (const char *)text.data, text.len, out);
    buf_release(&text);
    if (!err) (*out)->base.where = d->blobs;
    return err;
}

static enum tacit_err load(struct device *d, const struct device_model *m,
                           struct adapter_found *a)
{
    TRY(load_plan(d, &m->plan_hash, &a->plan));
    const struct plan_base *base = &a->plan->base;
    task_spec(a->plan, &a->spec);
    TRY(networks_explain_missing(d, base->name, &base->hash,
                                 model_new(&a->spec, &a->model)));
    a->version = m->version;
    return device_weights(d, &m->plan_hash, model_params(a->model));
}

enum tacit_err adapters_find(struct device *d, const char *name,
                             struct adapter_found *out)
{
    struct looking l = {.name = name, .task = PLAN_RETRIEVER};
    struct adapter_found a = {0};
    TRY(device_models(d, note, &l));
    if (!l.found)
        return fail(TACIT_NOTFOUND,
                    "no adapter of %s%s was adopted here; `tacit status` lists "
                    "the federation's models",
                    name ? "plan " : "search", name ? name : "");
    enum tacit_err err = load(d, &l.m, &a);
    if (err)
        adapters_release(&a);
    else
        *out = a;
    return err;
}

enum tacit_err adapters_of(struct device *d, enum plan_task task,
                           const struct digest *base, struct adapter_found *out,
                           int *has)
{
    struct looking l = {.task = task};
    struct plan *plan = NULL;
    struct adapter_found a = {0};
    *has = 0;
    TRY(device_models(d, note, &l));
    if (!l.found) return TACIT_OK;
    TRY(load_plan(d, &l.m.plan_hash, &plan));
    *has = digest_equal(&plan->base.hash, base);
    plan_free(plan);
    if (!*has) return TACIT_OK;
    enum tacit_err err = load(d, &l.m, &a);
    if (err)
        adapters_release(&a);
    else
        *out = a;
    return err;
}

void adapters_release(struct adapter_found *a)
{
    model_free(a->model);
    plan_free(a->plan);
    *a = (struct adapter_found){0};
}

enum tacit_err adapters_base(struct device *d, int *has, struct digest *base)
{
    struct looking l = {.task = PLAN_RETRIEVER};
    struct plan *plan = NULL;
    TRY(device_models(d, note, &l));
    *has = l.found;
    if (!l.found) return TACIT_OK;
    TRY(load_plan(d, &l.m.plan_hash, &plan));
    *base = plan->base.hash;
    plan_free(plan);
    return TACIT_OK;
}

/* Its network with the adopted pairs; a head stands behind them and stays. */
static enum tacit_err open_net(const struct adapter_found *a,
                               struct model_files **files, struct net **net)
{
    const struct net_options o = tuned_options(&a->spec.base);
    TRY(tuned_base(&a->spec.base, files));
    enum tacit_err err = net_open(*files, &o, net);
    if (err) {
        model_files_close(*files);
        return err;
    }
    struct params *p = net_params(*net);
    memcpy(p->flat, model_weights(a->model)->flat, p->n_flat * sizeof *p->flat);
    return TACIT_OK;
}

/* ---- merging ------------------------------------------------------------ */

int adapters_has_head(const struct adapter_found *a)
{
    return a->spec.task == MODEL_CLASSIFY || a->spec.task == MODEL_READER;
}

/* The head that was learnt, under the names of net_classes() or, of a reader,
 * of net_reader_open(). */
struct head {
    struct gguf_tensor list[2];
    size_t n; /* 0: there is none */
};

static const char *const head_names[] = {"head.weight", "head.bias"};
static const char *const class_names[] = {"cls.output.weight",
                                          "cls.output.bias"};

static void find_head(const struct adapter_found *a, struct head *out)
{
    const char *const *names =
        a->spec.task == MODEL_CLASSIFY ? class_names : head_names;
    struct params *p = model_params(a->model);
    out->n = 0;
    if (!adapters_has_head(a)) return;
    for (size_t i = 0; i < 2; i++) {
        const struct param *from = params_find(p, head_names[i]);
        struct gguf_tensor *t = &out->list[out->n++];
        assert(from);
        size_t rows = i ? 1 : from->dims[0], cols = from->len / rows;
        *t =
            (struct gguf_tensor){.type = QUANT_F32,
                                 .n_dims = i ? 1 : 2,
                                 .dims = {cols, rows, 1, 1},
                                 .bytes = from->len * sizeof(float),
                                 .data = (const uint8_t *)params_data(p, from)};
        snprintf(t->name, sizeof t->name, "%s", names[i]);
    }
}

/* No text that its head has seen is longer. */
#define TOKENS_KEY "tacit.tokens_max"

static void put_tokens_max(const struct adapter_found *a, const struct gguf *g,
                           struct gguf_writer *w)
{
    int64_t n = a->plan->length, own = n;
    if (gguf_has(g, TOKENS_KEY) && gguf_int(g, TOKENS_KEY, 1, INT32_MAX, &own))
        err_clear();
    gguf_put_u32(w, TOKENS_KEY, (uint32_t)(own < n ? own : n));
}

static int is_replaced(const struct adapter_found *a, const char *key)
{
    return strcmp(key, "general.alignment") == 0 ||
           strcmp(key, "general.name") == 0 ||
           (a->spec.task == MODEL_CLASSIFY && strcmp(key, TOKENS_KEY) == 0);
}

static enum tacit_err write_merged(const struct adapter_found *a,
                                   const struct model_files *f, struct net *net,
                                   const struct net_write *how,
                                   struct gguf_writer *w)
{
    struct net_write own = *how;
    const struct gguf *g = model_files_metadata(f);
    for (size_t i = 0; i < gguf_n_pairs(g); i++)
        if (!is_replaced(a, gguf_key_at(g, i))) gguf_put_pair(w, g, i);
    if (a->spec.task == MODEL_CLASSIFY) put_tokens_max(a, g, w);
    gguf_put_text(w, "general.name", a->plan->name, strlen(a->plan->name));
    gguf_put_text(w, "tacit.merged_plan", a->plan->name, strlen(a->plan->name));
    gguf_put_u32(w, "tacit.merged_version", a->version);
    struct head head;
    find_head(a, &head);
    own.other = head.list;
    own.n_other = head.n;
    TRY(net_write(f, net, &own, w));
    return gguf_writer_end(w, NULL);
}

enum tacit_err adapters_merge(const struct adapter_found *a, const char *path,
                              const struct net_write *how)
{
    char folder[DEVICE_PATH_MAX];
    struct model_files *files = NULL;
    struct net *net = NULL;
    struct gguf_writer w;
    const char *slash = strrchr(path, '/');
    int n = slash ? snprintf(folder, sizeof folder, "%.*s",
                             (int)(slash - path + 1), path)
                  : snprintf(folder, sizeof folder, ".");
    if (n < 0 || (size_t)n >= sizeof folder)
        return fail(TACIT_LIMIT, "%s: the path is too long", path);
    if (file_exists(path))
        return fail(TACIT_STATE, "%s is there already; name another file",
                    path);
    TRY(open_net(a, &files, &net));
    enum tacit_err err = gguf_writer_init(&w, folder, GGUF_ALIGNMENT);
    if (!err) err = write_merged(a, files, net, how, &w);
    if (!err) err = gguf_writer_commit(&w, path, 0644);
    gguf_writer_release(&w);
    net_close(net);
    model_files_close(files);
    return err;
}

/* ---- PEFT --------------------------------------------------------------- */

static const struct {
    const char *part, *bert, *llama;
} modules[] = {
    {"attn_q", "attention.self.query", "self_attn.q_proj"},
    {"attn_k", "attention.self.key", "self_attn.k_proj"},
    {"attn_v", "attention.self.value", "self_attn.v_proj"},
    {"attn_output", "attention.output.dense", "self_attn.o_proj"},
    {"ffn_gate", NULL, "mlp.gate_proj"},
    {"ffn_up", "intermediate.dense", "mlp.up_proj"},
    {"ffn_down", "output.dense", "mlp.down_proj"},
};
enum { N_MODULES = sizeof modules / sizeof *modules, MODULE_MAX = 128 };

/* "blk.3.attn_q.weight" -> "encoder.layer.3.attention.self.query". */
static void module_of(const struct net *net, const char *name,
                      char out[MODULE_MAX])
{
    int is_bert = !net_is_decoder(net);
    unsigned long layer = strtoul(name + strlen("blk."), NULL, 10);
    out[0] = '\0';
    for (size_t i = 0; i < N_MODULES; i++) {
        const char *theirs = is_bert ? modules[i].bert : modules[i].llama;
        char part[32];
        snprintf(part, sizeof part, ".%s.", modules[i].part);
        if (theirs && strstr(name, part))
            snprintf(out, MODULE_MAX, "%s.%lu.%s",
                     is_bert ? "encoder.layer" : "model.layers", layer, theirs);
    }
}

/* Rows of q and k: files have llama's in pairs, folders in halves. */
static size_t row_in_file(const struct net *net, const char *name, size_t row)
{
    const struct net_shape *s = net_shape(net);
    size_t width = s->head_width, at = row % width;
    int turned = strstr(name, ".attn_q.") || strstr(name, ".attn_k.");
    if (!turned || !s->rope.dims || s->rope.layout != ROPE_PAIRS) return row;
    return row - at + (at < width / 2 ? 2 * at : 2 * (at - width / 2) + 1);
}

static void put_entry(struct buf *header, const char *name, const char *which,
                      size_t rows, size_t cols, size_t *at)
{
    size_t bytes = rows * cols * sizeof(float);
    buf_printf(header,
               "%s\"base_model.model.%s.lora_%s.weight\":{\"dtype\":\"F32\","
               "\"shape\":[%zu,%zu],\"data_offsets\":[%zu,%zu]}",
               header->len > 1 ? "," : "", name, which, rows, cols, *at,
               *at + bytes);
    *at += bytes;
}

static enum tacit_err write_safetensors(const struct net *net, const char *path)
{
    struct buf header, file;
    struct net_pair p;
    char name[MODULE_MAX];
    uint8_t length[8];
    size_t n = net_n_pairs(net), at = 0;
    buf_init(&header, 0);
    buf_init(&file, 0);
    buf_put(&header, "{", 1);
    for (size_t i = 0; i < n; i++) {
        net_pair_at(net, i, &p);
        module_of(net, p.name, name);
        put_entry(&header, name, "A", p.rank, p.cols, &at);
        put_entry(&header, name, "B", p.rows, p.rank, &at);
    }
    buf_put(&header, "}", 1);
    while (header.len % 8) buf_put(&header, " ", 1);
    le64_store(length, header.len);
    buf_put(&file, length, sizeof length);
    buf_put(&file, header.data, header.len);
    for (size_t i = 0; i < n; i++) {
        net_pair_at(net, i, &p);
        buf_put(&file, p.down, p.rank * p.cols * sizeof *p.down);
        for (size_t r = 0; r < p.rows; r++)
            buf_put(&file, p.up + row_in_file(net, p.name, r) * p.rank,
                    p.rank * sizeof *p.up);
    }
    enum tacit_err err = buf_end(&header);
    if (!err) err = buf_end(&file);
    if (!err) err = file_write(path, file.data, file.len, 0644);
    buf_release(&header);
    buf_release(&file);
    return err;
}

static enum tacit_err write_config(const struct adapter_found *a,
                                   const struct net *net, const char *path)
{
    struct buf b;
    int is_bert = !net_is_decoder(net);
    buf_init(&b, 0);
    buf_printf(&b,
               "{\"peft_type\": \"LORA\", \"r\": %u, \"lora_alpha\": %g, "
               "\"bias\": \"none\", \"lora_dropout\": 0.0, \"task_type\": "
               "\"%s\", \"base_model_name_or_path\": \"%s\", "
               "\"target_modules\": [",
               a->plan->base.rank, a->plan->base.alpha,
               is_bert ? "FEATURE_EXTRACTION" : "CAUSAL_LM",
               a->plan->base.name);
    for (size_t i = 0, n = 0; i < N_MODULES; i++) {
        const char *theirs = is_bert ? modules[i].bert : modules[i].llama;
        if (theirs && a->plan->base.targets >> i & 1)
            buf_printf(&b, "%s\"%s\"", n++ ? ", " : "", theirs);
    }
    buf_printf(&b, "]}\n");
    enum tacit_err err = buf_end(&b);
    if (!err) err = file_write(path, b.data, b.len, 0644);
    buf_release(&b);
    return err;
}

enum tacit_err adapters_export(const struct adapter_found *a,
                               const char *folder)
{
    char path[DEVICE_PATH_MAX];
    struct model_files *files = NULL;
    struct net *net = NULL;
    if (a->plan->base.adapter == PLAN_FULL)
        return fail(TACIT_UNSUPPORTED,
                    "plan %s trains the whole network, not an adapter; `tacit "
                    "model merge %s FILE` writes it",
                    a->plan->name, a->plan->name);
    TRY(file_mkdirs(folder, 0755));
    TRY(open_net(a, &files, &net));
    enum tacit_err err =
        file_join(path, sizeof path, folder, "adapter_model.safetensors");
    if (!err) err = write_safetensors(net, path);
    if (!err) err = file_join(path, sizeof path, folder, "adapter_config.json");
    if (!err) err = write_config(a, net, path);
    net_close(net);
    model_files_close(files);
    return err;
}
