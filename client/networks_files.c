/*
 * networks: the files behind the rows: how a network comes in whole, changes
 * its type, and goes out as a GGUF file or a folder.
 *
 *   model_files, blob ─plan_all─> repack of each tensor ─write_all─> writer
 *                     metadata ──────put_pairs────────────────────>   │
 *                                           commit: blob and row <────┘
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/networks_parts.h"
#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/tick.h"
#include "common/base/utf8.h"
#include "common/model/model_files.h"
#include "common/model/model_folder.h"
#include "common/model/net.h"
#include "common/model/repack.h"
#include "common/model/word_table.h"

enum { ALIGNMENT = 64 };

/* ---- tensors ------------------------------------------------------------ */

struct moving {
    const struct networks_job *job;
    struct repack *plan; /* [n], owned */
    size_t n;
    uint64_t done, total;
};

static enum tacit_err step(void *ctx, uint64_t bytes)
{
    struct moving *m = ctx;
    m->done += bytes;
    return m->job->step ? m->job->step(m->job->ctx, m->done, m->total)
                        : TACIT_OK;
}

struct tensors {
    size_t n;
    const struct gguf_tensor *(*at)(const void *of, size_t i);
    const void *of;
};

static const struct gguf_tensor *of_files(const void *of, size_t i)
{
    return model_files_tensor_at(of, i);
}

static const struct gguf_tensor *of_gguf(const void *of, size_t i)
{
    return gguf_tensor_at(of, i);
}

static enum tacit_err plan_all(const struct tensors *t, int type,
                               enum repack_form form, struct moving *m)
{
    m->plan = calloc(t->n + 1, sizeof *m->plan);
    if (!m->plan) return fail(TACIT_NOMEM, "no memory for %zu tensors", t->n);
    if (t->n == 0)
        return fail(TACIT_FORMAT, "there is no tensor in it: a vocabulary "
                                  "alone is no model");
    for (; m->n < t->n; m->n++) {
        const struct gguf_tensor *from = t->at(t->of, m->n);
        TRY(repack_plan(from, type, form, &m->plan[m->n]));
        m->total += from->bytes;
    }
    return TACIT_OK;
}

static enum tacit_err write_all(struct moving *m, struct gguf_writer *w)
{
    for (size_t i = 0; i < m->n; i++) repack_announce(&m->plan[i], w);
    for (size_t i = 0; i < m->n; i++)
        TRY(repack_write(&m->plan[i], w, step, m));
    return TACIT_OK;
}

/* The type of most numbers in matrices. */
static void describe(const struct moving *m, struct network_row *out)
{
    uint64_t count[64] = {0}, best = 0;
    for (size_t i = 0; i < m->n; i++) {
        const struct repack *r = &m->plan[i];
        uint64_t n = r->from->dims[0] * r->from->dims[1];
        out->parameters += n;
        if (!r->is_matrix) continue;
        count[(unsigned)r->type % 64] += n;
        if (count[(unsigned)r->type % 64] <= best) continue;
        best = count[(unsigned)r->type % 64];
        snprintf(out->type, sizeof out->type, "%s", quant_info(r->type)->name);
    }
}

/* ---- metadata ----------------------------------------------------------- */

static int is_ours(const char *key)
{
    return strcmp(key, "general.alignment") == 0 ||
           strcmp(key, "general.name") == 0 ||
           strcmp(key, "tacit.source_hash") == 0 ||
           strcmp(key, "general.license") == 0 ||
           strcmp(key, "general.source.url") == 0;
}

static void put_text(struct gguf_writer *w, const char *key, const char *text)
{
    if (text[0]) gguf_put_text(w, key, text, strlen(text));
}

static void put_pairs(const struct gguf *g, const struct network_row *m,
                      struct gguf_writer *w)
{
    char hex[DIGEST_HEX];
    hex_encode(hex, m->source_hash.b, DIGEST_BYTES);
    for (size_t i = 0; i < gguf_n_pairs(g); i++)
        if (!is_ours(gguf_key_at(g, i))) gguf_put_pair(w, g, i);
    put_text(w, "tacit.source_hash", hex);
}

/* What only this device says of it. */
static void put_origin(const struct network_row *m, struct gguf_writer *w)
{
    put_text(w, "general.name", m->name);
    put_text(w, "general.license", m->licence);
    put_text(w, "general.source.url", m->source);
}

static void said(const struct gguf *g, const char *const *keys,
                 const char *given, char out[NETWORK_TEXT_MAX])
{
    char text[NETWORK_TEXT_MAX] = "";
    for (; *keys && !given && !text[0]; keys++)
        gguf_text_or_empty(g, *keys, text, sizeof text);
    utf8_printable(out, NETWORK_TEXT_MAX, given ? given : text);
}

/* What the command says, else the file, else where it was. */
static void take_origin(const struct gguf *g, const struct networks_job *job,
                        struct network_row *m)
{
    static const char *const licences[] = {"general.license",
                                           "general.license.name", NULL};
    static const char *const sources[] = {
        "general.source.url", "general.url", "general.repo_url",
        "general.source.huggingface.repository", NULL};
    said(g, licences, job->licence, m->licence);
    said(g, sources, job->source, m->source);
    if (!m->source[0]) utf8_printable(m->source, sizeof m->source, job->path);
}

/* ---- importing ---------------------------------------------------------- */

/* Its rows are looked up, not multiplied: they stay rows. */
static int is_word_table(const char *family)
{
    return strcmp(family, WORD_TABLE_FAMILY) == 0;
}

static enum tacit_err check_words(const struct gguf *g)
{
    struct word_table *t = NULL;
    TRY(word_table_open(g, &t));
    word_table_free(t);
    return TACIT_OK;
}

static enum tacit_err check_readable(const struct model_files *c)
{
    struct vocab *v = NULL;
    if (is_word_table(model_files_family(c)))
        return check_words(model_files_metadata(c));
    TRY(net_knows(model_files_family(c)));
    TRY(model_files_vocab(c, &v));
    vocab_free(v);
    return TACIT_OK;
}

/* It has every tensor in its shape and no other, and a row for each token. */
static enum tacit_err check_net(const struct gguf *g)
{
    struct net *net = NULL;
    struct vocab *v = NULL;
    TRY(net_open_gguf(g, NULL, &net));
    enum tacit_err err = TACIT_OK;
    for (size_t i = 0; !err && i < gguf_n_tensors(g); i++)
        if (!net_reads(net, gguf_tensor_at(g, i)->name))
            err = fail_as(E_MODEL_UNSUPPORTED,
                          "tensor %s is no part of the family %s as it is "
                          "known here: without it this would be another model",
                          gguf_tensor_at(g, i)->name, net_family_name(net));
    if (!err) err = vocab_from_gguf(g, &v);
    if (!err && vocab_size(v) > net_shape(net)->vocab)
        err = fail(TACIT_SHAPE,
                   "its vocabulary has %zu tokens, its table %zu rows: the "
                   "tokenizer is another model's",
                   vocab_size(v), net_shape(net)->vocab);
    vocab_free(v);
    net_close(net);
    return err;
}

/* What was written is a network. */
static enum tacit_err check_network(const char *path, const char *family)
{
    struct gguf *g = NULL;
    TRY(gguf_open(path, &g));
    enum tacit_err err = is_word_table(family) ? check_words(g) : check_net(g);
    gguf_close(g);
    return err;
}

/* Write the blob and its row: both or none. Both are there before another
 * process looks whether the blob that it gives up is anybody's. */
static enum tacit_err commit(struct device *d, const struct networks_job *job,
                             struct gguf_writer *w, struct network_row *m)
{
    char path[DEVICE_PATH_MAX];
    TRY(gguf_writer_end(w, &m->hash));
    const struct network_row made = *m;
    TRY(networks_path(d, m, path));
    m->bytes = w->file_bytes;
    m->added_s = tick_wall_s();
    TRY(db_begin(&d->db));
    enum tacit_err err = gguf_writer_commit(w, path, 0600);
    int is_there = !err;
    if (!err) err = check_network(path, m->family);
    if (!err) err = networks_put(d, job, m);
    if (!err) err = db_commit(&d->db);
    if (!err) return TACIT_OK;
    db_rollback(&d->db);
    if (is_there) (void)networks_remove_unused(d, &made, path);
    return err;
}

static enum tacit_err store(struct device *d, const struct tensors *t,
                            const struct gguf *meta,
                            const struct networks_job *job,
                            struct network_row *m)
{
    struct moving moving = {.job = job};
    struct gguf_writer w;
    enum tacit_err err = file_mkdirs(d->blobs, 0700);
    if (err) return err;
    err = gguf_writer_init(&w, d->blobs, ALIGNMENT);
    if (!err)
        err = plan_all(t, job->type,
                       is_word_table(m->family) ? REPACK_ROWS : REPACK_TILES,
                       &moving);
    if (!err) put_pairs(meta, m, &w);
    if (!err) err = write_all(&moving, &w);
    if (!err) describe(&moving, m);
    if (!err) err = commit(d, job, &w, m);
    free(moving.plan);
    gguf_writer_release(&w);
    return err;
}

enum tacit_err networks_import(struct device *d, const struct networks_job *job,
                               struct network_row *out)
{
    struct model_files *c = NULL;
    struct network_row m = {0};
    TRY(networks_choose_name(job, m.name));
    TRY(model_files_open(job->path, &c));
    struct tensors t = {model_files_n_tensors(c), of_files, c};
    enum tacit_err err = check_readable(c);
    if (!err) {
        snprintf(m.family, sizeof m.family, "%s", model_files_family(c));
        model_files_hash(c, &m.source_hash, &m.source_bytes);
        take_origin(model_files_metadata(c), job, &m);
        err = networks_check_name(d, &m);
    }
    if (!err) err = store(d, &t, model_files_metadata(c), job, &m);
    if (err) err = err_context(err, "%s", job->path);
    model_files_close(c);
    if (!err) *out = m;
    return err;
}

enum tacit_err networks_quantise(struct device *d,
                                 const struct network_row *from,
                                 const struct networks_job *job,
                                 struct network_row *out)
{
    char path[DEVICE_PATH_MAX];
    struct gguf *g = NULL;
    struct network_row m = *from;
    TRY(networks_check_free(d, job->name));
    snprintf(m.name, sizeof m.name, "%s", job->name);
    TRY(networks_check_file(d, from));
    TRY(networks_path(d, from, path));
    TRY(gguf_open(path, &g));
    struct tensors t = {gguf_n_tensors(g), of_gguf, g};
    m.parameters = 0;
    enum tacit_err err = store(d, &t, g, job, &m);
    gguf_close(g);
    if (!err) *out = m;
    return err;
}

/* ---- exporting ---------------------------------------------------------- */

static enum tacit_err export_to(const struct gguf *g,
                                const struct network_row *from,
                                const struct networks_job *job,
                                struct gguf_writer *w)
{
    struct moving moving = {.job = job};
    struct tensors t = {gguf_n_tensors(g), of_gguf, g};
    enum tacit_err err = plan_all(&t, REPACK_KEEP, REPACK_ROWS, &moving);
    if (!err) put_pairs(g, from, w);
    if (!err) put_origin(from, w);
    if (!err) err = write_all(&moving, w);
    if (!err) err = gguf_writer_end(w, NULL);
    free(moving.plan);
    return err;
}

enum tacit_err networks_export(struct device *d, const struct network_row *from,
                               const struct networks_job *job)
{
    char path[DEVICE_PATH_MAX], folder[DEVICE_PATH_MAX];
    struct gguf *g = NULL;
    struct gguf_writer w;
    if (file_exists(job->path))
        return fail(TACIT_STATE, "%s is there already; name another file",
                    job->path);
    TRY(file_folder(folder, sizeof folder, job->path));
    TRY(networks_check_file(d, from));
    TRY(networks_path(d, from, path));
    TRY(gguf_open(path, &g));
    enum tacit_err err = gguf_writer_init(&w, folder, GGUF_ALIGNMENT);
    if (!err) err = export_to(g, from, job, &w);
    if (!err) err = gguf_writer_commit(&w, job->path, 0644);
    gguf_writer_release(&w);
    gguf_close(g);
    return err;
}

enum tacit_err networks_export_folder(struct device *d,
                                      const struct network_row *from,
                                      const struct networks_job *job)
{
    char path[DEVICE_PATH_MAX];
    struct model_files *f = NULL;
    const int rows = from->type[0] == 'F' || from->type[0] == 'B';
    const struct quant_info *own = rows ? quant_find(from->type) : NULL;
    struct model_folder how = {.type = own ? own->type : QUANT_F32,
                               .licence = from->licence,
                               .source = from->source,
                               .step = job->step,
                               .ctx = job->ctx};
    if (job->type != REPACK_KEEP) how.type = (enum quant_type)job->type;
    TRY(networks_check_file(d, from));
    TRY(networks_path(d, from, path));
    TRY(model_files_open(path, &f));
    enum tacit_err err = model_folder_write(f, job->path, &how);
    model_files_close(f);
    return err;
}
