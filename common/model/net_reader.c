#include "common/model/net_reader.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/model/metrics.h"
#include "common/model/model_files.h"
#include "common/model/net.h"
#include "common/model/tuned_base.h"
#include "common/model/vocab.h"

enum {
    TAPE_BYTES_MAX = 1 << 30,
    TOKENS_MAX = 512,
    ANSWER_TOKENS_MAX = 30,
    SPAN_OUTPUTS = 2
};

struct net_reader {
    struct model_files *files;
    struct net *net;
    struct vocab *vocab;
    struct tape tape;
};

/* ---- its life ----------------------------------------------------------- */

static enum tacit_err no_spans(const char *path)
{
    return fail_as(E_MODEL_UNSUPPORTED,
                   "%s has no head for spans (qa_outputs): it is no reader; "
                   "import a question-answering network of the family bert",
                   path);
}

static enum tacit_err set_up(struct net_reader *r, const struct net_options *o)
{
    TRY(net_open(r->files, o, &r->net));
    if (net_is_decoder(r->net))
        return fail_as(E_MODEL_UNSUPPORTED,
                       "it predicts text; a reader is an encoder of the family "
                       "bert with a head for spans");
    return model_files_vocab(r->files, &r->vocab);
}

static enum tacit_err fresh(struct net_reader **out)
{
    *out = calloc(1, sizeof **out);
    if (!*out) return fail(TACIT_NOMEM, "no memory for a reader");
    tape_init(&(*out)->tape, TAPE_BYTES_MAX);
    return TACIT_OK;
}

static enum tacit_err finish(enum tacit_err err, struct net_reader *r,
                             struct net_reader **out)
{
    if (err)
        net_reader_free(r);
    else
        *out = r;
    return err;
}

enum tacit_err net_reader_open(const char *path, struct net_reader **out)
{
    const struct net_options o = {.outputs = SPAN_OUTPUTS};
    struct net_reader *r = NULL;
    TRY(fresh(&r));
    enum tacit_err err = model_files_open(path, &r->files);
    if (!err && !model_files_find(r->files, "head.weight"))
        err = no_spans(path);
    if (!err) err = set_up(r, &o);
    return finish(err, r, out);
}

enum tacit_err net_reader_adapted(const struct model_base *base, const float *w,
                                  size_t n, struct net_reader **out)
{
    struct net_options o = tuned_options(base);
    struct net_reader *r = NULL;
    o.outputs = SPAN_OUTPUTS;
    TRY(fresh(&r));
    enum tacit_err err = tuned_base(base, &r->files);
    if (!err) err = set_up(r, &o);
    if (!err && net_params(r->net)->n_flat != n)
        err = fail(TACIT_SHAPE, "an adapter of %zu weights, not %zu",
                   net_params(r->net)->n_flat, n);
    if (!err) memcpy(net_params(r->net)->flat, w, n * sizeof *w);
    return finish(err, r, out);
}

void net_reader_free(struct net_reader *r)
{
    if (!r) return;
    tape_release(&r->tape);
    vocab_free(r->vocab);
    net_close(r->net);
    model_files_close(r->files);
    free(r);
}

/* ---- reading ------------------------------------------------------------ */

/* Tokens with the bytes of the passage that they are of. */
struct row {
    struct vocab_ids ids;
    uint32_t token[TOKENS_MAX], type[TOKENS_MAX];
    size_t first[TOKENS_MAX], end[TOKENS_MAX];
    size_t n, second; /* where the passage begins */
};

static int is_word(char c)
{
    return (signed char)c < 0 || isalnum((unsigned char)c);
}

/* The end of what begins at i: a run of letters, or one other character. */
static size_t piece_end(const struct reader_pair *p, size_t i)
{
    size_t end = i + 1;
    if (!is_word(p->passage[i])) return end;
    while (end < p->passage_bytes && is_word(p->passage[end])) end++;
    return end;
}

/* A passage is cut into words first, so that their places are known. */
static enum tacit_err take_passage(const struct net_reader *r,
                                   const struct reader_pair *p, size_t room,
                                   struct row *row)
{
    row->second = row->n;
    for (size_t i = 0, end; i < p->passage_bytes; i = end) {
        end = piece_end(p, i);
        if (isspace((unsigned char)p->passage[i])) continue;
        row->ids.n = 0;
        TRY(vocab_encode(r->vocab, p->passage + i, end - i, VOCAB_PLAIN,
                         &row->ids));
        if (row->n + row->ids.n > room) break;
        for (size_t k = 0; k < row->ids.n; k++) {
            row->token[row->n] = (uint32_t)row->ids.id[k];
            row->type[row->n] = 1;
            row->first[row->n] = i;
            row->end[row->n++] = end;
        }
    }
    return TACIT_OK;
}

static enum tacit_err take_tokens(const struct net_reader *r,
                                  const struct reader_pair *p, struct row *row)
{
    const struct vocab_marks marks = vocab_marks_of(r->vocab);
    int32_t end = marks.sep >= 0 ? marks.sep : marks.eos;
    size_t context = net_shape(r->net)->context;
    size_t most = context && context < TOKENS_MAX ? context : TOKENS_MAX;
    TRY(vocab_encode(r->vocab, p->question, p->question_bytes,
                     VOCAB_ADD_SPECIAL, &row->ids));
    if (row->ids.n + 2 > most) return TACIT_OK; /* no room for a passage */
    for (size_t i = 0; i < row->ids.n; i++)
        row->token[row->n++] = (uint32_t)row->ids.id[i];
    TRY(take_passage(r, p, most - 1, row));
    if (end >= 0 && row->n > row->second) {
        row->token[row->n] = (uint32_t)end;
        row->type[row->n] = 1;
        row->n++;
    }
    return TACIT_OK;
}

/* Scores of [CLS], then of the passage's tokens, end mark aside. */
static enum tacit_err score(struct net_reader *r, const struct row *row,
                            size_t n_passage, float *z)
{
    uint32_t start[] = {0, (uint32_t)row->n};
    const struct net_run run = {.net = r->net, .tape = &r->tape};
    const struct net_batch batch = {.token = row->token,
                                    .type = row->type,
                                    .n = row->n,
                                    .segments = {start, 1}};
    const struct var *out = net_outputs(&run, net_hidden(&run, &batch));
    if (!out) return r->tape.err;
    memcpy(z, out->v, 2 * sizeof *z);
    memcpy(z + 2, out->v + 2 * row->second, 2 * n_passage * sizeof *z);
    return TACIT_OK;
}

static enum tacit_err read(struct net_reader *r, const struct reader_pair *p,
                           struct row *row, struct span_found *out)
{
    float z[2 * (TOKENS_MAX + 1)] = {0};
    size_t first = 0, last = 0;
    TRY(take_tokens(r, p, row));
    if (row->n <= row->second + 1) return TACIT_OK;
    size_t n_passage = row->n - row->second - 1;
    TRY(score(r, row, n_passage, z));
    metrics_best_span(z, n_passage + 1, ANSWER_TOKENS_MAX, &first, &last);
    if (!first) return TACIT_OK; /* scores that are no numbers */
    *out = (struct span_found){.first = row->first[row->second + first - 1],
                               .end = row->end[row->second + last - 1],
                               .margin = z[2 * first] + z[2 * last + 1] - z[0] -
                                         z[1]};
    return TACIT_OK;
}

enum tacit_err net_reader_read(struct net_reader *r,
                               const struct reader_pair *p,
                               struct span_found *out)
{
    struct row *row = calloc(1, sizeof *row);
    if (!row) return fail(TACIT_NOMEM, "no memory to read a passage");
    *out = (struct span_found){.margin = -INFINITY};
    tape_reset(&r->tape);
    enum tacit_err err = read(r, p, row, out);
    vocab_ids_release(&row->ids);
    free(row);
    return err;
}
