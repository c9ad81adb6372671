/*
 * vecindex_args: what CREATE VIRTUAL TABLE … USING tacit_vec(…) says.
 *
 *   embedding float[384] metric=cosine store=int8 recall=0.95   the vectors
 *   dept int filter        tested inside the scan: int, real, text
 *   tenant text partition key      lists of its own: int, text
 *   +chunk text                    kept beside, any type
 *
 * Options may also stand alone, as an argument of their own.
 */
#ifndef TACIT_RETRIEVAL_VECINDEX_ARGS_H
#define TACIT_RETRIEVAL_VECINDEX_ARGS_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "retrieval/ivf.h"

enum {
    VECINDEX_FILTERS_MAX = IVF_COLUMNS_MAX,
    VECINDEX_KEYS_MAX = 4,
    VECINDEX_AUX_MAX = 32,
    VECINDEX_COLUMNS_MAX =
        1 + VECINDEX_FILTERS_MAX + VECINDEX_KEYS_MAX + VECINDEX_AUX_MAX,
    VECINDEX_NAME_MAX = 128 /* with its NUL */
};

enum vecindex_kind {
    VECINDEX_VECTOR,
    VECINDEX_FILTER,
    VECINDEX_KEY,
    VECINDEX_AUX
};
enum vecindex_type { VECINDEX_INT, VECINDEX_REAL, VECINDEX_TEXT, VECINDEX_ANY };

struct vecindex_column {
    char name[VECINDEX_NAME_MAX];
    char declared[VECINDEX_NAME_MAX]; /* an auxiliary column's type, or "" */
    enum vecindex_kind kind;
    enum vecindex_type type;
    int at; /* which of its kind, from 0 */
};

struct vecindex_args {
    uint32_t dim;
    enum ivf_metric metric;
    enum ivf_rows rows;
    double recall; /* what a search aims at unless told otherwise */
    int vector;    /* the vectors' column */
    int n_columns, n_filters, n_keys, n_aux;
    struct vecindex_column column[VECINDEX_COLUMNS_MAX];
};

/* Parse n arguments. FORMAT, SHAPE or LIMIT with the column and what is wrong.
 * `table` is the table's name, which no column may have. */
TACIT_CHECKED enum tacit_err vecindex_args_parse(const char *table, int n,
                                                 const char *const *text,
                                                 struct vecindex_args *out);
/* The column of this kind with number `at`. */
const struct vecindex_column *vecindex_args_column(
    const struct vecindex_args *a, enum vecindex_kind kind, int at);
/* strtod() that knows a point, whatever the locale (vecindex_value.c). */
double vecindex_value_number(const char *s, char **end);
/* Whether a column or hidden column of the table is called so. */
int vecindex_args_has_name(const struct vecindex_args *a, const char *name);

#endif
