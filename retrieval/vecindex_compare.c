/* SQL values compared as SQLite does. */
#include <string.h>

#include "retrieval/vecindex_table.h"

int vecindex_compare_int(int64_t i, double d)
{
    if (d >= 9223372036854775808.0) return -1;
    if (d < -9223372036854775808.0) return 1;
    int64_t whole = (int64_t)d;
    if (i != whole) return i < whole ? -1 : 1;
    double rest = d - (double)whole;
    return rest > 0 ? -1 : rest < 0;
}

static int sign_of(double a, double b)
{
    return (a > b) - (a < b);
}

static int compare_text(const void *a, size_t n_a, const void *b, size_t n_b)
{
    int order = memcmp(a, b, n_a < n_b ? n_a : n_b);
    return order ? order : (n_a > n_b) - (n_a < n_b);
}

/* Column i of a row, which is not NULL, with a value that is not NULL. */
static int compare_value(enum vecindex_type type, sqlite3_stmt *row, int i,
                         sqlite3_value *v)
{
    int kind = type == VECINDEX_TEXT ? sqlite3_value_type(v)
                                     : sqlite3_value_numeric_type(v);
    if (kind == SQLITE_BLOB) return -1;
    if (type == VECINDEX_TEXT) {
        const void *a = sqlite3_column_text(row, i);
        const void *b = sqlite3_value_text(v);
        if (!a || !b) return -1;
        return compare_text(a, (size_t)sqlite3_column_bytes(row, i), b,
                            (size_t)sqlite3_value_bytes(v));
    }
    if (kind == SQLITE_TEXT) return -1;
    if (type == VECINDEX_REAL)
        return sign_of(sqlite3_column_double(row, i), sqlite3_value_double(v));
    int64_t n = sqlite3_column_int64(row, i), m = sqlite3_value_int64(v);
    if (kind == SQLITE_FLOAT)
        return vecindex_compare_int(n, sqlite3_value_double(v));
    return (n > m) - (n < m);
}

static bool passes(char how, int order)
{
    switch (how) {
    case COMPARE_EQ:
    case COMPARE_IS: return order == 0;
    case COMPARE_NE: return order != 0;
    case COMPARE_LT: return order < 0;
    case COMPARE_LE: return order <= 0;
    case COMPARE_GT: return order > 0;
    default: return order >= 0;
    }
}

bool vecindex_compare_holds(enum vecindex_type type, sqlite3_stmt *row, int i,
                            char how, sqlite3_value *v)
{
    bool is_null = sqlite3_column_type(row, i) == SQLITE_NULL;
    if (how == COMPARE_NULL) return is_null;
    if (how == COMPARE_VALUE) return !is_null;
    if (sqlite3_value_type(v) == SQLITE_NULL)
        return how == COMPARE_IS && is_null;
    if (is_null) return false;
    return passes(how, compare_value(type, row, i, v));
}
