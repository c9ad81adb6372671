/* `tacit model distill`: a small encoder that learns from a large one. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli.h"
#include "client/embedding.h"
#include "client/lines.h"
#include "client/networks.h"
#include "client/teacher.h"
#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/model/distill.h"
#include "common/model/repack.h"

enum { TEXT_ARENA_MAX = 1 << 30 };

/* ---- progress ------------------------------------------------------------ */

struct distilling {
    const struct options *o;
    struct device *d;
    struct distill_config config;
    struct network_row teacher_row;
    struct encoder *encoder;
    struct teacher *teacher;
    struct lines texts;
    struct arena arena;
    struct distill_words words;
    float *text_vector, *word_vector;
    struct distilled *made;
    struct progress progress;
    int begun;
    char cache[DEVICE_PATH_MAX];
};

static enum tacit_err show_embedding(void *ctx, size_t done, size_t total)
{
    struct distilling *w = ctx;
    if (!w->begun++)
        progress_begin(&w->progress, cli_progress(w->o), "asking the teacher",
                       "texts", total);
    progress_update(&w->progress, done, NULL);
    return cli_interrupted()
               ? fail_as(E_INTERRUPTED,
                         "interrupted; what the teacher said so far is kept in "
                         "%s, the same command goes on from there",
                         w->cache)
               : TACIT_OK;
}

static enum tacit_err show_training(void *ctx, const struct distill_report *r)
{
    struct distilling *w = ctx;
    char detail[64];
    snprintf(detail, sizeof detail, "epoch %zu/%zu, cosine %.3f",
             r->epoch + (r->epoch < w->config.epochs), w->config.epochs,
             r->cosine);
    if (!w->begun++)
        progress_begin(&w->progress, cli_progress(w->o), "training", "texts",
                       r->total);
    progress_update(&w->progress, r->done, detail);
    return cli_interrupted()
               ? fail_as(E_INTERRUPTED,
                         "interrupted; the teacher's vectors are kept in %s",
                         w->cache)
               : TACIT_OK;
}

static void end_progress(struct distilling *w)
{
    if (w->begun) progress_end(&w->progress);
    w->begun = 0;
}

/* ---- the work ------------------------------------------------------------ */

static enum tacit_err embed(struct distilling *w, const struct text *texts,
                            size_t n, float **out)
{
    *out = calloc(n * teacher_dim(w->teacher) + 1, sizeof **out);
    if (!*out) return fail(TACIT_NOMEM, "no memory for %zu vectors", n);
    const struct teacher_job job = {
        .texts = texts, .n = n, .out = *out, .step = show_embedding, .ctx = w};
    enum tacit_err err = teacher_embed(w->teacher, &job);
    end_progress(w);
    return err;
}

static enum tacit_err open_teacher(struct distilling *w)
{
    struct embedding_choice c;
    char name[48], hex[DIGEST_HEX];
    const char *given = options_value(w->o, "cache");
    TRY(networks_find(w->d, options_value(w->o, "teacher"), &w->teacher_row));
    TRY(embedding_read(w->d, w->teacher_row.name, NULL, NULL, &c));
    TRY(embedding_make(w->d, &c, &w->encoder));
    hex_encode(hex, c.hash.b, DIGEST_BYTES);
    snprintf(name, sizeof name, "teacher-%.16s", hex);
    if (given)
        TRY(cli_full_path(given, w->cache, sizeof w->cache));
    else
        TRY(file_join(w->cache, sizeof w->cache, w->d->home, name));
    return teacher_open(w->cache, w->encoder, &w->teacher);
}

static enum tacit_err learn(struct distilling *w)
{
    struct lines *r = &w->texts;
    TRY(distill_count(&w->arena, r->line, r->n, w->config.words, &w->words));
    TRY(embed(w, r->line, r->n, &w->text_vector));
    TRY(embed(w, w->words.word, w->words.n, &w->word_vector));
    const struct distill_job job = {.texts = r->line,
                                    .n = r->n,
                                    .words = &w->words,
                                    .teacher_dim = teacher_dim(w->teacher),
                                    .text_vector = w->text_vector,
                                    .word_vector = w->word_vector,
                                    .step = show_training,
                                    .ctx = w};
    enum tacit_err err = distill_train(&w->config, &job, &w->made);
    end_progress(w);
    return err;
}

/* Written beside the store, brought in like any other model file. */
static enum tacit_err keep(struct distilling *w, struct network_row *out)
{
    char path[DEVICE_PATH_MAX], teacher_hash[DIGEST_HEX],
        texts_hash[DIGEST_HEX];
    const char *name = options_value(w->o, "output");
    const char *licence = options_value(w->o, "licence");
    hex_encode(teacher_hash, w->teacher_row.source_hash.b, DIGEST_BYTES);
    hex_encode(texts_hash, w->texts.hash.b, DIGEST_BYTES);
    const struct distill_origin origin = {
        .name = name,
        .licence = licence ? licence : w->teacher_row.licence,
        .source = "distilled with `tacit model distill`",
        .teacher = w->teacher_row.name,
        .teacher_hash = teacher_hash,
        .texts_hash = texts_hash};
    TRY(file_join(path, sizeof path, w->d->home, ".distilled.gguf"));
    TRY(distilled_write(w->made, &origin, w->d->home, path, NULL));
    const struct networks_job job = {.path = path,
                                     .name = name,
                                     .type = REPACK_KEEP};
    enum tacit_err err = networks_import(w->d, &job, out);
    unlink(path);
    return err;
}

static enum tacit_err say(const struct distilling *w,
                          const struct network_row *m)
{
    const struct distill_report *r = distilled_report(w->made);
    char size[32], hex[DIGEST_HEX];
    if (cli_json(w->o)) {
        hex_encode(hex, m->hash.b, DIGEST_BYTES);
        return json_print_ok(
            stdout,
            json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:f, s:f, s:s}", "name",
                      m->name, "family", m->family, "hash", hex, "bytes",
                      (json_int_t)m->bytes, "texts", (json_int_t)w->texts.n,
                      "words", (json_int_t)w->words.n, "loss", r->loss,
                      "cosine", r->cosine, "licence", m->licence));
    }
    printf("made %s: %zu words and n-grams of %zu numbers, %s; its vectors of "
           "texts that it did not learn from have a cosine of %.3f to the "
           "teacher's\n",
           m->name, w->words.n, w->config.dim, cli_size(m->bytes, size),
           r->cosine);
    return TACIT_OK;
}

static enum tacit_err take_options(const struct options *o,
                                   struct distill_config *c)
{
    const char *type = options_value(o, "type");
    int64_t n;
    *c = distill_usual;
    if (!options_value(o, "teacher") || !options_value(o, "texts") ||
        !options_value(o, "output"))
        return fail_as(E_USAGE, "--teacher NAME, --texts FOLDER and --output "
                                "NAME say what is made of what");
    TRY(options_int(o, "dim", 32, DISTILL_DIM_MAX, (int64_t)c->dim, &n));
    c->dim = (size_t)n;
    TRY(options_int(o, "words", 1, DISTILL_WORDS_MAX, (int64_t)c->words, &n));
    c->words = (size_t)n;
    TRY(options_int(o, "ngrams", 1, DISTILL_BUCKETS_MAX, (int64_t)c->buckets,
                    &n));
    c->buckets = (size_t)n;
    TRY(options_int(o, "epochs", 0, DISTILL_EPOCHS_MAX, (int64_t)c->epochs,
                    &n));
    c->epochs = (size_t)n;
    TRY(options_int(o, "seed", 0, INT64_MAX, (int64_t)c->seed, &n));
    c->seed = (uint64_t)n;
    TRY(options_real(o, "rate", 1e-9, 1, &c->rate));
    const struct quant_info *info = type ? quant_find(type) : NULL;
    if (type && (!info || !info->written || c->dim % info->block != 0))
        return fail_as(E_USAGE,
                       "\"%s\" is no type to write: q4_0, q5_0, q8_0, f16 or "
                       "f32",
                       type);
    if (info) c->type = info->type;
    return TACIT_OK;
}

static enum tacit_err work(struct distilling *w, struct network_row *out)
{
    TRY(networks_check_free(w->d, options_value(w->o, "output")));
    TRY(open_teacher(w));
    TRY(lines_read(options_value(w->o, "texts"), &w->texts));
    TRY(learn(w));
    return keep(w, out);
}

enum tacit_err cli_model_distill(const struct options *o)
{
    struct device d;
    struct distilling w = {.o = o, .d = &d};
    struct network_row m;
    if (options_value(o, "student")) return cli_model_distill_lm(o);
    TRY(take_options(o, &w.config));
    TRY(cli_open(o, &d));
    cli_catch_interrupt();
    arena_init(&w.arena, TEXT_ARENA_MAX);
    enum tacit_err err = work(&w, &m);
    if (!err) err = say(&w, &m);
    distilled_free(w.made);
    teacher_close(w.teacher);
    encoder_free(w.encoder);
    free(w.text_vector);
    free(w.word_vector);
    lines_release(&w.texts);
    arena_release(&w.arena);
    device_close(&d);
    return err;
}
