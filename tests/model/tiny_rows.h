/* tiny_rows: a tiny network's file on disk, and rows of each task for it. */
#ifndef TACIT_TESTS_MODEL_TINY_ROWS_H
#define TACIT_TESTS_MODEL_TINY_ROWS_H

#include <math.h>

#include "common/base/digest.h"
#include "common/base/file.h"
#include "common/base/rng.h"
#include "common/model/model.h"
#include "tests/model/tiny_net.h"

enum { N = 24, MOST = 9, WIDTH = 64, HARD = 2 };

/* A base on disk and rows for each task. */
struct world {
    char dir[256], path[300];
    struct digest hash;
    uint32_t token[N * MOST], start[N + 1], second[N], span[2 * N],
        hard[N * HARD];
    float p[N * WIDTH], y[N];
    uint32_t group[N];
    struct token_rows text;
    struct examples ex;
};

static inline void put_base(struct world *w, const struct tiny_family *family,
                            uint32_t type)
{
    struct gguf_writer file;
    tiny_file(family, type, &file);
    digest_of(&w->hash, file.out.data, file.out.len);
    snprintf(w->path, sizeof w->path, "%s/base.gguf", w->dir);
    check_ok(file_write(w->path, file.out.data, file.out.len, 0600));
    gguf_writer_release(&file);
}

/* Row i is about topic i % 4: its first token. The passage of a topic, the
 * span, the class and the tokens that follow depend on it alone. */
static inline void make_rows(struct world *w, size_t width)
{
    struct rng r;
    rng_init(&r, 5, 0, 0);
    for (uint32_t i = 0, at = 0; i < N; i++) {
        uint32_t topic = i % 4, n = 6 + i % 4;
        w->start[i] = at;
        w->second[i] = 3;
        w->span[2 * i] = 1 + topic % 2;
        w->span[2 * i + 1] = 3 + topic % 2;
        for (uint32_t k = 0; k < n; k++)
            w->token[at + k] =
                k < 3 ? (k ? (uint32_t)rng_below(&r, 64) : 10 + topic)
                      : (20 + 5 * topic + k) % 64;
        at += n;
        w->start[i + 1] = at;
        w->y[i] = (float)(topic % 3);
        w->group[i] = i;
        w->hard[HARD * i] = (i + 1) % N;
        w->hard[HARD * i + 1] = (i + 2) % N;
        tiny_draw("topic",
                  topic == 0   ? "a"
                  : topic == 1 ? "b"
                  : topic == 2 ? "c"
                               : "d",
                  w->p + i * width, width);
        float sum = 0;
        for (size_t k = 0; k < width; k++)
            sum += w->p[i * width + k] * w->p[i * width + k];
        for (size_t k = 0; k < width; k++) w->p[i * width + k] /= sqrtf(sum);
    }
    w->text = (struct token_rows){w->token, w->start, w->second, w->span};
    w->ex = (struct examples){.n_rows = N,
                              .x_dim = width,
                              .y = w->y,
                              .p = w->p,
                              .pool = w->p,
                              .n_pool = N,
                              .pool_group = w->group,
                              .row_group = w->group,
                              .hard = w->hard,
                              .n_hard = HARD,
                              .text = &w->text};
}

static inline void begin(struct world *w, enum model_task task, uint32_t type)
{
    memset(w, 0, sizeof *w);
    check_tmpdir(w->dir);
    put_base(w, &tiny_families[task == MODEL_LM ? 0 : 3], type);
}

static inline void end(struct world *w)
{
    check_tmpdir_remove(w->dir);
}

static inline struct model_spec spec_of(const struct world *w,
                                        enum model_task task,
                                        enum model_adapter adapter)
{
    return (struct model_spec){.kind = "net",
                               .task = task,
                               .classes = task == MODEL_CLASSIFY ? 3 : 0,
                               .temperature = 0.2,
                               .base = {.where = w->path,
                                        .name = "tiny",
                                        .hash = w->hash,
                                        .adapter = adapter,
                                        .rank = 4,
                                        .alpha = 8,
                                        .seed = 9}};
}

/* Rows as wide as the base: the tiny networks' width stands in their files. */
static inline void make_rows_for(struct world *w, enum model_task task)
{
    struct gguf *g;
    int64_t width;
    check_ok(gguf_open(w->path, &g));
    check_ok(gguf_int(g,
                      task == MODEL_LM ? "llama.embedding_length"
                                       : "bert.embedding_length",
                      1, WIDTH, &width));
    gguf_close(g);
    make_rows(w, (size_t)width);
}

#endif
