#include "common/model/word_table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/tensor/kernels.h"
#include "common/tensor/quant.h"

struct word_table {
    struct lexicon *lexicon; /* owned */
    const uint8_t *rows;     /* borrowed */
    enum quant_type type;
    size_t dim, row_bytes;
};

static enum tacit_err read_words(const struct gguf *g, size_t n_buckets,
                                 struct lexicon **out)
{
    struct gguf_array a;
    TRY(gguf_array(g, WORD_TABLE_FAMILY ".list", &a));
    if (a.kind != GGUF_TEXT || a.n > FEATURES_ROWS_MAX)
        return fail(TACIT_FORMAT, "its list of words is none");
    size_t n = (size_t)a.n;
    const char **words = calloc(n + 1, sizeof *words);
    size_t *n_bytes = calloc(n + 1, sizeof *n_bytes);
    enum tacit_err err = TACIT_OK;
    if (!words || !n_bytes)
        err = fail(TACIT_NOMEM, "no memory for %zu words", n);
    for (size_t i = 0; !err && i < n; i++)
        words[i] = gguf_next_text(&a, &n_bytes[i]);
    if (!err) err = lexicon_new(words, n_bytes, n, n_buckets, out);
    free(words);
    free(n_bytes);
    return err;
}

static enum tacit_err read_shape(const struct gguf *g, struct word_table *t)
{
    const struct gguf_tensor *table = gguf_find(g, "table.weight");
    int64_t version, dim, buckets;
    TRY(gguf_int(g, WORD_TABLE_FAMILY ".feature_version", 0, INT32_MAX,
                 &version));
    if (version != FEATURES_VERSION)
        return fail_as(E_MODEL_UNSUPPORTED,
                       "it was made for features of version %lld; version %d "
                       "is read",
                       (long long)version, FEATURES_VERSION);
    TRY(gguf_int(g, WORD_TABLE_FAMILY ".embedding_length", 1,
                 WORD_TABLE_DIM_MAX, &dim));
    TRY(gguf_int(g, WORD_TABLE_FAMILY ".bucket_count", 1, FEATURES_ROWS_MAX,
                 &buckets));
    TRY(read_words(g, (size_t)buckets, &t->lexicon));
    t->dim = (size_t)dim;
    if (!table || !quant_info(table->type))
        return fail(TACIT_FORMAT, "it has no table that can be read");
    t->type = (enum quant_type)table->type;
    t->row_bytes = quant_bytes(t->type, t->dim);
    t->rows = table->data;
    if (table->n_dims != 2 || table->dims[0] != t->dim || t->row_bytes == 0 ||
        table->dims[1] != lexicon_rows(t->lexicon))
        return fail(TACIT_SHAPE, "its table is not one of %zu rows of %zu",
                    lexicon_rows(t->lexicon), t->dim);
    return TACIT_OK;
}

enum tacit_err word_table_open(const struct gguf *g, struct word_table **out)
{
    struct word_table *t = calloc(1, sizeof *t);
    if (!t) return fail(TACIT_NOMEM, "no memory for the text encoder");
    enum tacit_err err = read_shape(g, t);
    if (err)
        word_table_free(t);
    else
        *out = t;
    return err;
}

void word_table_free(struct word_table *t)
{
    if (!t) return;
    lexicon_free(t->lexicon);
    free(t);
}

size_t word_table_dim(const struct word_table *t)
{
    return t->dim;
}

const struct lexicon *word_table_lexicon(const struct word_table *t)
{
    return t->lexicon;
}

/* A row is anywhere in megabytes: the processor fetches it while it adds those
 * before. */
static void ask_for(const struct word_table *t, uint32_t id)
{
    enum { LINE = 64 };
    const uint8_t *row = t->rows + id * t->row_bytes;
    for (size_t i = 0; i < t->row_bytes; i += LINE) __builtin_prefetch(row + i);
}

enum tacit_err word_table_embed(const struct word_table *t,
                                struct arena *scratch, const char *text,
                                size_t n, float *out)
{
    enum { AHEAD = 8 };
    struct features f = {0};
    TRY(features_of(t->lexicon, scratch, FEATURES_OF_TEXT, text, n, &f));
    memset(out, 0, t->dim * sizeof *out);
    for (size_t i = 0; i < f.n; i++) {
        if (i + AHEAD < f.n) ask_for(t, f.id[i + AHEAD]);
        quant_axpy(t->type, t->rows + f.id[i] * t->row_bytes, f.weight[i], out,
                   t->dim);
    }
    kernel_normalise(out, t->dim);
    return isfinite(kernel_dot(out, out, t->dim))
               ? TACIT_OK
               : fail(TACIT_FORMAT, "its rows are no numbers: the file is "
                                    "damaged");
}
