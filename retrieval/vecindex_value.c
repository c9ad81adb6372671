/* SQL values as vectors and as filter words. */
#include "retrieval/vecindex_table.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"

_Static_assert(sizeof(float) == 4, "IEEE 754 single");

static const char *type_name(sqlite3_value *v)
{
    switch (sqlite3_value_type(v)) {
    case SQLITE_INTEGER: return "an integer";
    case SQLITE_FLOAT: return "a real";
    case SQLITE_TEXT: return "text";
    case SQLITE_BLOB: return "a blob";
    default: return "NULL";
    }
}

static const char *vector_name(const struct vecindex_table *t)
{
    return t->args.column[t->args.vector].name;
}

/* ---- vectors --------------------------------------------------------------
 */

double vecindex_value_number(const char *s, char **end)
{
    static locale_t plain;
    locale_t made = __atomic_load_n(&plain, __ATOMIC_ACQUIRE);
    if (!made) {
        locale_t none = (locale_t)0;
        made = newlocale(LC_ALL_MASK, "C", (locale_t)0);
        if (made &&
            !__atomic_compare_exchange_n(&plain, &none, made, 0,
                                         __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
            freelocale(made);
            made = none;
        }
    }
    return made ? strtod_l(s, end, made) : strtod(s, end);
}

static enum tacit_err from_bytes(const struct vecindex_table *t,
                                 sqlite3_value *v, float *out)
{
    const uint8_t *p = sqlite3_value_blob(v);
    size_t n = (size_t)sqlite3_value_bytes(v), dim = t->args.dim;
    if (n % 4 != 0)
        return fail(TACIT_SHAPE,
                    "%s: a blob of %zu bytes is no vector: %zu numbers of 4 "
                    "bytes are wanted",
                    vector_name(t), n, dim);
    if (n / 4 != dim)
        return fail(TACIT_SHAPE, "%s: a vector of %zu numbers, %zu are wanted",
                    vector_name(t), n / 4, dim);
    memcpy(out, p, 4 * dim); /* little-endian, as ivf demands */
    return TACIT_OK;
}

static const char *skip_blanks(const char *s)
{
    return s + strspn(s, " \t\r\n");
}

static enum tacit_err not_json(const struct vecindex_table *t, const char *text,
                               const char *at)
{
    return fail(TACIT_FORMAT,
                "%s: text is no JSON array of numbers (at byte %zu)",
                vector_name(t), (size_t)(at - text));
}

/* A number as JSON writes it begins with a digit or a minus: not inf, nan or
 * hexadecimal, which strtod() also takes. */
static int begins_number(const char *s)
{
    s += *s == '-';
    return *s >= '0' && *s <= '9' && !(s[0] == '0' && (s[1] | 32) == 'x');
}

static enum tacit_err from_json(const struct vecindex_table *t,
                                const char *text, float *out)
{
    const char *s = skip_blanks(text);
    size_t n = 0, dim = t->args.dim;
    if (*s++ != '[') return not_json(t, text, s - 1);
    s = skip_blanks(s);
    while (*s != ']') {
        char *end;
        if (!begins_number(s)) return not_json(t, text, s);
        double v = vecindex_value_number(s, &end);
        if (n < dim) out[n] = (float)v;
        n++;
        s = skip_blanks(end);
        if (*s == ',' && begins_number(skip_blanks(s + 1)))
            s = skip_blanks(s + 1);
        else if (*s != ']')
            return not_json(t, text, s);
    }
    s = skip_blanks(s + 1);
    if (*s) return not_json(t, text, s);
    if (n == dim) return TACIT_OK;
    return fail(TACIT_SHAPE, "%s: a vector of %zu numbers, %zu are wanted",
                vector_name(t), n, dim);
}

enum tacit_err vecindex_value_vector(const struct vecindex_table *t,
                                     sqlite3_value *v, float *out)
{
    int type = sqlite3_value_type(v);
    if (type == SQLITE_BLOB) return from_bytes(t, v, out);
    if (type != SQLITE_TEXT)
        return fail(TACIT_FORMAT,
                    "%s: %s is no vector: give a blob of 32-bit floats or a "
                    "JSON array",
                    vector_name(t), type_name(v));
    const char *text = (const char *)sqlite3_value_text(v);
    if (!text) return fail(TACIT_NOMEM, "out of memory");
    return from_json(t, text, out);
}

/* ---- filter words ---------------------------------------------------------
 */

int64_t vecindex_value_real(double v)
{
    uint64_t bits;
    if (v == 0) v = 0; /* not -0 */
    memcpy(&bits, &v, sizeof bits);
    /* As signed integers: those of negative numbers rise the other way. */
    if (bits >> 63) bits ^= UINT64_C(0x7fffffffffffffff);
    int64_t word;
    memcpy(&word, &bits, sizeof word);
    return word;
}

int64_t vecindex_value_text(const unsigned char *s, size_t n)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < VECINDEX_TEXT_WHOLE; i++)
        bits = bits << 8 | (i < n ? s[i] : 0);
    bits = bits << 8 | (1 + (n < 8 ? n : 8));
    bits ^= UINT64_C(1) << 63;
    int64_t word;
    memcpy(&word, &bits, sizeof word);
    return word;
}

bool vecindex_value_is_shared(int64_t text_word)
{
    return (text_word & 0xff) > 1 + VECINDEX_TEXT_WHOLE;
}

static enum tacit_err wrong_type(const struct vecindex_column *c,
                                 sqlite3_value *v)
{
    static const char *const want[] = {"an integer", "a number", "text"};
    return fail(TACIT_FORMAT, "%s: %s, %s is wanted", c->name, type_name(v),
                want[c->type]);
}

enum tacit_err vecindex_value_word(const struct vecindex_column *c,
                                   sqlite3_value *v, int64_t *word)
{
    int type = sqlite3_value_type(v);
    if (type == SQLITE_NULL) {
        *word = VECINDEX_WORD_NULL;
        return TACIT_OK;
    }
    if (c->type == VECINDEX_TEXT) {
        if (type != SQLITE_TEXT) return wrong_type(c, v);
        const unsigned char *s = sqlite3_value_text(v);
        if (!s) return fail(TACIT_NOMEM, "out of memory");
        *word = vecindex_value_text(s, (size_t)sqlite3_value_bytes(v));
        return TACIT_OK;
    }
    if (c->type == VECINDEX_REAL) {
        if (type != SQLITE_FLOAT && type != SQLITE_INTEGER)
            return wrong_type(c, v);
        *word = vecindex_value_real(sqlite3_value_double(v));
        return TACIT_OK;
    }
    double d = sqlite3_value_double(v);
    if (type == SQLITE_FLOAT && floor(d) == d && fabs(d) < 9.2e18)
        *word = (int64_t)d;
    else if (type == SQLITE_INTEGER)
        *word = sqlite3_value_int64(v);
    else
        return wrong_type(c, v);
    if (*word == VECINDEX_WORD_NULL)
        return fail(TACIT_FORMAT, "%s: the smallest integer stands for NULL",
                    c->name);
    return TACIT_OK;
}
