/* `tacit tune`: the weight of the vectors beside the words. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli.h"
#include "client/embedding.h"
#include "client/tuning.h"
#include "common/base/tick.h"

static enum tacit_err tune(const struct options *o, struct device *d,
                           struct corpus *c, const struct tuning_model *m,
                           struct weight_learnt *w)
{
    TRY(tuning_learn(&d->db, c, m, options_value(o, "data"), w));
    return tuning_keep(&d->db, m, w, tick_wall_s());
}

static enum tacit_err print(const struct options *o,
                            const struct weight_learnt *w)
{
    if (cli_json(o))
        return json_print_ok(stdout,
                             json_pack("{s:f, s:f, s:f, s:I}", "weight",
                                       w->weight, "ndcg", w->ndcg, "by_words",
                                       w->by_words, "questions",
                                       (json_int_t)w->n_questions));
    printf("vectors %.0f %%, words %.0f %%: nDCG@10 %.3f on %zu questions, "
           "%.3f by words alone\n",
           100 * w->weight, 100 * (1 - w->weight), w->ndcg, w->n_questions,
           w->by_words);
    return TACIT_OK;
}

enum tacit_err cli_tune(const struct options *o)
{
    struct device d;
    struct tuning_model m = {0};
    struct encoder *encoder = NULL;
    struct corpus *corpus = NULL;
    struct weight_learnt learnt;
    float *adapter = NULL;
    TRY(cli_open(o, &d));
    enum tacit_err err = embedding_open(&d, &encoder);
    if (!err) err = corpus_open(&d.db, encoder, &corpus);
    if (!err) err = embedding_adapter(&d, encoder, &adapter);
    m = (struct tuning_model){encoder, adapter};
    if (!err) err = tune(o, &d, corpus, &m, &learnt);
    if (!err) err = print(o, &learnt);
    corpus_close(corpus);
    encoder_free(encoder);
    free(adapter);
    device_close(&d);
    return err;
}
