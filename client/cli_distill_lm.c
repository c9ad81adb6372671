/* `tacit model distill --student`: a decoder that learns from a larger one. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli.h"
#include "client/generator.h"
#include "client/lines.h"
#include "client/networks.h"
#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/pool.h"
#include "common/model/distill_lm.h"
#include "common/model/net_write.h"
#include "common/model/repack.h"

enum { ROW_MAX = 8192, BATCH_MAX = 256, EPOCHS_MAX = 1000, MIB_MAX = 1 << 20 };

struct side {
    struct network_row row;
    struct model_files *files;
    struct net *net;
};

struct distilling {
    const struct options *o;
    struct device *d;
    struct distill_lm_config config;
    int type; /* of the file; REPACK_KEEP: the student's */
    struct side teacher, student;
    struct vocab *vocab;
    struct lines texts;
    struct vocab_ids tokens;
    struct pool *pool;
    struct distill_lm_report before, after;
    struct progress progress;
    int begun;
};

/* ---- options ------------------------------------------------------------- */

static enum tacit_err whole(const struct options *o, const char *name,
                            int64_t min, int64_t max, size_t *out)
{
    int64_t n;
    TRY(options_int(o, name, min, max, (int64_t)*out, &n));
    *out = (size_t)n;
    return TACIT_OK;
}

static enum tacit_err take_options(const struct options *o,
                                   struct distilling *w)
{
    static const char *const tables[] = {"dim", "words", "ngrams", "cache"};
    struct distill_lm_config *c = &w->config;
    const char *type = options_value(o, "type");
    size_t seed = 1, mib = 0;
    if (!options_value(o, "teacher") || !options_value(o, "texts") ||
        !options_value(o, "output"))
        return fail_as(E_USAGE, "--teacher NAME, --texts FOLDER and --output "
                                "NAME say what is made of what");
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        if (options_value(o, tables[i]))
            return fail_as(E_USAGE,
                           "--%s is of an encoder's table; a --student has "
                           "its own shape",
                           tables[i]);
    *c = distill_lm_usual;
    TRY(whole(o, "row", 2, ROW_MAX, &c->row));
    TRY(whole(o, "batch", 1, BATCH_MAX, &c->batch));
    TRY(whole(o, "epochs", 1, EPOCHS_MAX, &c->epochs));
    TRY(whole(o, "seed", 0, INT64_MAX, &seed));
    TRY(whole(o, "memory", 1, MIB_MAX, &mib));
    TRY(options_real(o, "rate", 1e-9, 1, &c->rate));
    TRY(options_real(o, "share", 0, 1, &c->share));
    c->seed = seed;
    c->budget_bytes = mib ? mib << 20 : (size_t)(memory_free() / 4 * 3);
    const struct quant_info *info = type ? quant_find(type) : NULL;
    if (type && (!info || !info->written))
        return fail_as(E_USAGE,
                       "\"%s\" is no type to write: q4_0, q5_0, q8_0, f16 or "
                       "f32",
                       type);
    w->type = info ? (int)info->type : REPACK_KEEP;
    return TACIT_OK;
}

/* ---- the two networks ---------------------------------------------------- */

static enum tacit_err open_side(struct device *d, const char *name,
                                enum net_training train, struct side *s)
{
    const struct net_options how = {.train = train};
    char path[DEVICE_PATH_MAX];
    TRY(networks_find(d, name, &s->row));
    if (!generator_fits(s->row.family))
        return fail_as(E_USAGE,
                       "%s is of the family %s, which writes no text; "
                       "--student learns from a decoder, and is one",
                       s->row.name, s->row.family);
    TRY(networks_path(d, &s->row, path));
    TRY(model_files_open(path, &s->files));
    return net_open(s->files, &how, &s->net);
}

static void close_side(struct side *s)
{
    net_close(s->net);
    model_files_close(s->files);
}

/* Token by token: with another number for a word, all would be learnt wrong. */
static enum tacit_err same_vocab(const struct distilling *w,
                                 const struct vocab *other)
{
    size_t n = vocab_size(w->vocab), at = 0, len[2];
    int same = vocab_size(other) == n;
    for (; same && at < n; at++) {
        const char *a = vocab_token(w->vocab, (int32_t)at, &len[0]);
        const char *b = vocab_token(other, (int32_t)at, &len[1]);
        same = len[0] == len[1] && memcmp(a, b, len[0]) == 0;
    }
    if (same) return TACIT_OK;
    return fail_as(E_USAGE,
                   "%s and %s have different vocabularies (%zu and %zu "
                   "tokens); a student learns from a teacher with its own",
                   w->teacher.row.name, w->student.row.name, vocab_size(other),
                   n);
}

static enum tacit_err open_both(struct distilling *w)
{
    struct vocab *other = NULL;
    TRY(open_side(w->d, options_value(w->o, "teacher"), NET_FROZEN,
                  &w->teacher));
    TRY(open_side(w->d, options_value(w->o, "student"), NET_FULL, &w->student));
    TRY(model_files_vocab(w->student.files, &w->vocab));
    TRY(model_files_vocab(w->teacher.files, &other));
    enum tacit_err err = same_vocab(w, other);
    vocab_free(other);
    return err;
}

/* A text, and the mark that ends it. */
static enum tacit_err encode(struct distilling *w)
{
    int32_t end = vocab_marks_of(w->vocab).eos;
    for (size_t i = 0; i < w->texts.n; i++) {
        const struct text *t = &w->texts.line[i];
        TRY(vocab_encode(w->vocab, t->s, t->n, VOCAB_ADD_SPECIAL, &w->tokens));
        if (w->tokens.n > DISTILL_LM_TOKENS_MAX)
            return fail(TACIT_LIMIT, "the texts have more than %d tokens",
                        DISTILL_LM_TOKENS_MAX);
        if (end >= 0 && w->tokens.n && w->tokens.id[w->tokens.n - 1] != end)
            TRY(vocab_ids_put(&w->tokens, end));
    }
    return TACIT_OK;
}

/* ---- learning ------------------------------------------------------------ */

static enum tacit_err show(void *ctx, const struct distill_lm_report *r)
{
    struct distilling *w = ctx;
    char detail[96];
    if (!w->begun++) {
        w->before = *r;
        progress_begin(&w->progress, cli_progress(w->o), "training", "tokens",
                       r->total);
    }
    snprintf(detail, sizeof detail, "epoch %zu/%zu, loss %.3f",
             r->epoch ? r->epoch : 1, w->config.epochs, r->loss);
    progress_update(&w->progress, r->done, detail);
    return cli_interrupted() ? fail_as(E_INTERRUPTED, "interrupted") : TACIT_OK;
}

static enum tacit_err learn(struct distilling *w)
{
    const struct distill_lm_job job = {.student = w->student.net,
                                       .teacher = w->teacher.net,
                                       .token = (const uint32_t *)w->tokens.id,
                                       .n = w->tokens.n,
                                       .pool = w->pool,
                                       .step = show,
                                       .ctx = w};
    enum tacit_err err = distill_lm_train(&w->config, &job, &w->after);
    if (w->begun) progress_end(&w->progress);
    return err;
}

static enum tacit_err write_student(struct distilling *w, const char *path)
{
    const struct gguf *g = model_files_metadata(w->student.files);
    const struct net_write all = {.type = QUANT_F32};
    struct gguf_writer out;
    enum tacit_err err = gguf_writer_init(&out, w->d->home, GGUF_ALIGNMENT);
    for (size_t i = 0; !err && i < gguf_n_pairs(g); i++)
        if (strcmp(gguf_key_at(g, i), "general.alignment") != 0)
            gguf_put_pair(&out, g, i);
    if (!err) err = net_write(w->student.files, w->student.net, &all, &out);
    if (!err) err = gguf_writer_end(&out, NULL);
    if (!err) err = gguf_writer_commit(&out, path, 0600);
    gguf_writer_release(&out);
    return err;
}

/* Written beside the store, brought in like any other model file. */
static enum tacit_err keep(struct distilling *w, struct network_row *out)
{
    char path[DEVICE_PATH_MAX];
    const char *licence = options_value(w->o, "licence");
    const struct quant_info *own = quant_find(w->student.row.type);
    TRY(file_join(path, sizeof path, w->d->home, ".distilled.gguf"));
    unlink(path);
    TRY(write_student(w, path));
    const struct networks_job job = {
        .path = path,
        .name = options_value(w->o, "output"),
        .licence = licence ? licence : w->teacher.row.licence,
        .source = "distilled with `tacit model distill`",
        .type = w->type == REPACK_KEEP && own ? (int)own->type : w->type};
    enum tacit_err err = networks_import(w->d, &job, out);
    unlink(path);
    return err;
}

/* ---- the command --------------------------------------------------------- */

static enum tacit_err say(const struct distilling *w,
                          const struct network_row *m)
{
    char size[32], hex[DIGEST_HEX];
    const struct distill_lm_report *r = &w->after;
    if (cli_json(w->o)) {
        hex_encode(hex, m->hash.b, DIGEST_BYTES);
        return json_print_ok(
            stdout,
            json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, "
                      "s:s}",
                      "name", m->name, "family", m->family, "hash", hex,
                      "bytes", (json_int_t)m->bytes, "texts",
                      (json_int_t)w->texts.n, "tokens", (json_int_t)r->done,
                      "loss", r->loss, "nats_before", w->before.nats, "nats",
                      r->nats, "agreement_before", w->before.agreement,
                      "agreement", r->agreement, "licence", m->licence));
    }
    printf("made %s, %s: of held-out tokens it holds the teacher's likeliest "
           "for the likeliest in %.1f %% (%.1f before); cross-entropy %.3f "
           "nats (%.3f)\n",
           m->name, cli_size(m->bytes, size), 100 * r->agreement,
           100 * w->before.agreement, r->nats, w->before.nats);
    return TACIT_OK;
}

static enum tacit_err work(struct distilling *w)
{
    struct network_row m;
    TRY(networks_check_free(w->d, options_value(w->o, "output")));
    TRY(lines_read(options_value(w->o, "texts"), &w->texts));
    TRY(open_both(w));
    TRY(encode(w));
    TRY(pool_new(&w->pool, 0));
    enum tacit_err err = learn(w);
    int stopped = err && cli_interrupted() && w->after.done > 0;
    if (err && !stopped) return err;
    if (stopped) err_clear();
    TRY(keep(w, &m));
    if (!stopped) return say(w, &m);
    return fail_as(E_INTERRUPTED,
                   "interrupted after %llu of %llu tokens; what was learnt is "
                   "kept as %s, which can be the next --student",
                   (unsigned long long)w->after.done,
                   (unsigned long long)w->after.total, m.name);
}

enum tacit_err cli_model_distill_lm(const struct options *o)
{
    struct device d;
    struct distilling w = {.o = o, .d = &d};
    TRY(take_options(o, &w));
    TRY(cli_open(o, &d));
    cli_catch_interrupt();
    enum tacit_err err = work(&w);
    close_side(&w.teacher);
    close_side(&w.student);
    vocab_free(w.vocab);
    vocab_ids_release(&w.tokens);
    lines_release(&w.texts);
    pool_free(w.pool);
    device_close(&d);
    return err;
}
