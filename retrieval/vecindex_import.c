/*
 * Import of a table of sqlite-vec (vec0, flat), from its shadow tables alone:
 * that extension need not be there.
 *
 *   S_chunks           chunk_id, size, validity (a bit per slot), rowids (8
 *                      bytes per slot), partition00 …
 *   S_vector_chunksNN  rowid = chunk, vectors: a slot each, f32 or int8
 *   S_metadatachunksNN rowid = chunk, data: a slot each: a bit, 8 bytes, or 16
 *                      for text: its length, then its first 12 bytes
 *   S_metadatatextNN   rowid, data: a longer text
 *   S_auxiliary        rowid, value00 …
 *   S_rowids           rowid, id: a primary key of text
 *
 * NN counts the columns of a kind. Columns go where this table has one of the
 * same name; one that would be lost is an error.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "retrieval/vecindex_table.h"

enum {
    SOURCE_COLUMNS_MAX = 64,
    SOURCE_NAME_MAX = 128,
    VIEW_BYTES = 16,
    VIEW_TEXT = 12
};

enum source_kind { S_VECTOR, S_METADATA, S_PARTITION, S_AUX, S_KEY };
enum source_type { S_FLOAT, S_INT, S_BOOL, S_TEXT, S_INT8, S_BIT };

struct source_column {
    char name[SOURCE_NAME_MAX];
    enum source_kind kind;
    enum source_type type;
    int at;                  /* NN */
    size_t dim;              /* of a vector */
    int target;              /* column of the table, -1 = none */
    sqlite3_stmt *st, *text; /* of metadata: its chunk, its long texts */
};

struct source {
    struct vecindex_table *t;
    const char *name;
    struct source_column column[SOURCE_COLUMNS_MAX];
    int n_columns, vector;
    int count[S_KEY + 1]; /* columns of each kind so far */
    sqlite3_stmt *chunks, *aux, *ids, *values;
};

static enum tacit_err broken(const struct source *s, const char *what)
{
    return fail(TACIT_FORMAT, "import: %s: %s", s->name, what);
}

/* ---- its declaration ------------------------------------------------------
 */

static const char *skip(const char *s)
{
    while (isspace((unsigned char)*s)) s++;
    return s;
}

static size_t word(const char *s)
{
    size_t n = 0;
    while (isalnum((unsigned char)s[n]) || s[n] == '_') n++;
    return n;
}

static int is_word(const char *s, size_t n, const char *want)
{
    return n == strlen(want) && sqlite3_strnicmp(s, want, (int)n) == 0;
}

static enum tacit_err read_source_type(const struct source *s, const char *type,
                                       size_t n, struct source_column *c)
{
    static const struct {
        const char *name;
        enum source_type type;
    } all[] = {{"float", S_FLOAT},   {"f32", S_FLOAT},     {"double", S_FLOAT},
               {"float64", S_FLOAT}, {"f64", S_FLOAT},     {"int", S_INT},
               {"int64", S_INT},     {"integer64", S_INT}, {"integer", S_INT},
               {"bool", S_BOOL},     {"boolean", S_BOOL},  {"text", S_TEXT},
               {"int8", S_INT8},     {"i8", S_INT8},       {"bit", S_BIT}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (is_word(type, n, all[i].name)) {
            c->type = all[i].type;
            return TACIT_OK;
        }
    return broken(s, "a column of an unknown type");
}

/* One argument: a column, or an option, which has no column. */
static enum tacit_err read_source_column(struct source *s, const char *text)
{
    struct source_column c = {.target = -1};
    text = skip(text);
    int is_aux = *text == '+';
    text = skip(text + is_aux);
    size_t n = word(text);
    if (!n || n >= sizeof c.name) return broken(s, "a column without a name");
    memcpy(c.name, text, n);
    text = skip(text + n);
    if (*text == '=') return TACIT_OK;
    if (s->n_columns == SOURCE_COLUMNS_MAX)
        return broken(s, "it has too many columns");
    n = word(text);
    c.kind = is_aux ? S_AUX : S_METADATA;
    if (!is_aux) {
        TRY(read_source_type(s, text, n, &c));
        text = skip(text + n);
        if (*text == '[') {
            c.kind = S_VECTOR;
            c.dim = (size_t)strtoul(text + 1, NULL, 10);
        } else if (is_word(text, word(text), "partition")) {
            c.kind = S_PARTITION;
        } else if (is_word(text, word(text), "primary")) {
            c.kind = S_KEY;
        }
    }
    c.at = s->count[c.kind]++;
    if (s->count[S_KEY] > 1) return broken(s, "it has two primary keys");
    s->column[s->n_columns++] = c;
    return TACIT_OK;
}

/* The arguments between the parentheses behind USING vec0; text is changed. */
static enum tacit_err read_declaration(struct source *s, char *text)
{
    static const char using[] = "using";
    char *at = text;
    for (; *at; at++)
        if (sqlite3_strnicmp(at, using, (int)sizeof using - 1) == 0 &&
            is_word(skip(at + 5), word(skip(at + 5)), "vec0"))
            break;
    at = strchr(at, '(');
    if (!at) return broken(s, "it is no table of sqlite-vec");
    int depth = 0;
    for (char *from = ++at;; at++) {
        if (*at == '\0') return broken(s, "its declaration has no end");
        depth += *at == '(' || *at == '[';
        if (depth > 0) {
            depth -= *at == ')' || *at == ']';
            continue;
        }
        if (*at != ',' && *at != ')') continue;
        char end = *at;
        *at = '\0';
        TRY(read_source_column(s, from));
        if (end == ')') return TACIT_OK;
        from = at + 1;
    }
}

/* A statement about the source; %w, %w: schema and name. */
static enum tacit_err prepare(struct source *s, sqlite3_stmt **out,
                              const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    char *text = sqlite3_vmprintf(format, ap);
    va_end(ap);
    if (!text) return fail(TACIT_NOMEM, "out of memory");
    int rc = sqlite3_prepare_v2(s->t->db, text, -1, out, NULL);
    sqlite3_free(text);
    return rc ? vecindex_sql_fail(s->t, rc) : TACIT_OK;
}

static enum tacit_err find_source(struct source *s)
{
    sqlite3_stmt *st = NULL;
    TRY(prepare(s, &st,
                "SELECT sql FROM \"%w\".sqlite_master WHERE type = 'table'"
                " AND name = '%q' COLLATE NOCASE",
                s->t->schema, s->name));
    const char *sql = sqlite3_step(st) == SQLITE_ROW
                          ? (const char *)sqlite3_column_text(st, 0)
                          : NULL;
    char *copy = sql ? sqlite3_mprintf("%s", sql) : NULL;
    sqlite3_finalize(st);
    if (!copy) return broken(s, "there is no such table in this database");
    enum tacit_err err = read_declaration(s, copy);
    sqlite3_free(copy);
    return err;
}

/* ---- which column goes where ----------------------------------------------
 */

static int target_of(const struct source *s, const struct source_column *c)
{
    const struct vecindex_args *a = &s->t->args;
    for (int i = 0; i < a->n_columns; i++)
        if (sqlite3_stricmp(a->column[i].name, c->name) == 0) return i;
    return c->kind == S_VECTOR && s->count[S_VECTOR] == 1 ? a->vector : -1;
}

static enum tacit_err map_columns(struct source *s)
{
    const struct vecindex_args *a = &s->t->args;
    s->vector = -1;
    for (int i = 0; i < s->n_columns; i++) {
        struct source_column *c = &s->column[i];
        if (c->kind == S_KEY && c->type != S_TEXT) continue; /* the rowid */
        c->target = target_of(s, c);
        if (c->target < 0 || (c->target == a->vector) != (c->kind == S_VECTOR))
            return fail(TACIT_FORMAT,
                        "import: %s.%s would be lost: %s has no such column",
                        s->name, c->name, s->t->name);
        if (c->kind == S_VECTOR) s->vector = i;
    }
    if (s->vector < 0) return broken(s, "it has no vector column");
    const struct source_column *v = &s->column[s->vector];
    if (v->type != S_FLOAT && v->type != S_INT8)
        return broken(s, "its vectors are bits; only float and int8 have "
                         "numbers");
    if (v->dim != a->dim)
        return fail(TACIT_SHAPE,
                    "import: %s has vectors of %zu numbers, %s of %u", s->name,
                    v->dim, s->t->name, (unsigned)a->dim);
    return TACIT_OK;
}

static enum tacit_err prepare_columns(struct source *s)
{
    const char *schema = s->t->schema;
    for (int i = 0; i < s->n_columns; i++) {
        struct source_column *c = &s->column[i];
        if (c->kind == S_KEY && c->target >= 0)
            TRY(prepare(s, &s->ids,
                        "SELECT id FROM \"%w\".\"%w_rowids\" WHERE rowid = ?1",
                        schema, s->name));
        if (c->kind != S_METADATA) continue;
        TRY(prepare(s, &c->st,
                    "SELECT data FROM \"%w\".\"%w_metadatachunks%02d\""
                    " WHERE rowid = ?1",
                    schema, s->name, c->at));
        if (c->type == S_TEXT)
            TRY(prepare(s, &c->text,
                        "SELECT data FROM \"%w\".\"%w_metadatatext%02d\""
                        " WHERE rowid = ?1",
                        schema, s->name, c->at));
    }
    if (s->count[S_AUX])
        TRY(prepare(s, &s->aux,
                    "SELECT * FROM \"%w\".\"%w_auxiliary\" WHERE rowid = ?1",
                    schema, s->name));
    return prepare(s, &s->chunks,
                   "SELECT v.vectors, c.* FROM \"%w\".\"%w_chunks\" c"
                   " JOIN \"%w\".\"%w_vector_chunks%02d\" v"
                   " ON v.rowid = c.chunk_id ORDER BY c.chunk_id",
                   schema, s->name, schema, s->name, s->column[s->vector].at);
}

/* A statement whose columns are values for vecindex_add(). */
static enum tacit_err prepare_values(struct source *s)
{
    sqlite3_str *str = sqlite3_str_new(s->t->db);
    sqlite3_str_appendall(str, "SELECT ?1");
    for (int i = 1; i < s->t->args.n_columns; i++)
        sqlite3_str_appendf(str, ", ?%d", i + 1);
    char *text = sqlite3_str_finish(str);
    if (!text) return fail(TACIT_NOMEM, "out of memory");
    enum tacit_err err = prepare(s, &s->values, "%s", text);
    sqlite3_free(text);
    return err;
}

/* ---- chunks ---------------------------------------------------------------
 */

struct chunk {
    const uint8_t *validity, *rowids, *vectors;
    size_t n; /* slots */
    int64_t id;
};

/* The bytes of a column of a chunk, at least so many. */
static enum tacit_err chunk_bytes(const struct source *s, sqlite3_stmt *st,
                                  int i, size_t want, const uint8_t **out)
{
    const void *p = sqlite3_column_blob(st, i);
    if (!p || (size_t)sqlite3_column_bytes(st, i) < want)
        return broken(s, "a chunk is shorter than its slots");
    *out = p;
    return TACIT_OK;
}

static int column_named(sqlite3_stmt *st, const char *name)
{
    for (int i = 1; i < sqlite3_column_count(st); i++)
        if (sqlite3_stricmp(sqlite3_column_name(st, i), name) == 0) return i;
    return -1;
}

static enum tacit_err read_chunk(const struct source *s, struct chunk *c)
{
    sqlite3_stmt *st = s->chunks;
    const struct source_column *v = &s->column[s->vector];
    int validity = column_named(st, "validity");
    int rowids = column_named(st, "rowids");
    if (validity < 0 || rowids < 0)
        return broken(s, "its chunks have no slots");
    c->id = sqlite3_column_int64(st, column_named(st, "chunk_id"));
    c->n = (size_t)sqlite3_column_bytes(st, validity) * 8;
    TRY(chunk_bytes(s, st, validity, 0, &c->validity));
    TRY(chunk_bytes(s, st, rowids, c->n * 8, &c->rowids));
    return chunk_bytes(s, st, 0, c->n * v->dim * (v->type == S_FLOAT ? 4 : 1),
                       &c->vectors);
}

static uint64_t le(const uint8_t *p, int n)
{
    uint64_t v = 0;
    for (int i = n - 1; i >= 0; i--) v = v << 8 | p[i];
    return v;
}

static void read_slot_vector(const struct source *s, const struct chunk *c,
                             size_t slot, float *out)
{
    const struct source_column *v = &s->column[s->vector];
    for (size_t i = 0; i < v->dim; i++) {
        size_t at = slot * v->dim + i;
        if (v->type == S_FLOAT) {
            uint32_t bits = (uint32_t)le(c->vectors + 4 * at, 4);
            memcpy(&out[i], &bits, sizeof bits);
        } else {
            out[i] = (float)(int8_t)c->vectors[at];
        }
    }
}

/* The first column of the row that st has for id, bound to `place`. */
static enum tacit_err bind_found(struct source *s, sqlite3_stmt *st, int column,
                                 int64_t id, int place)
{
    sqlite3_bind_int64(st, 1, id);
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        sqlite3_bind_value(s->values, place, sqlite3_column_value(st, column));
    sqlite3_reset(st);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return vecindex_sql_fail(s->t, rc);
    return TACIT_OK;
}

static enum tacit_err bind_text_view(struct source *s, struct source_column *c,
                                     const uint8_t *view, int64_t id, int place)
{
    uint64_t n = le(view, 4);
    if (n > VIEW_TEXT) return bind_found(s, c->text, 0, id, place);
    sqlite3_bind_text(s->values, place, (const char *)view + 4, (int)n,
                      SQLITE_TRANSIENT);
    return TACIT_OK;
}

static enum tacit_err bind_metadata(struct source *s, struct source_column *c,
                                    const struct chunk *chunk, size_t slot,
                                    int64_t id)
{
    static const size_t bytes[] = {
        [S_FLOAT] = 8, [S_INT] = 8, [S_BOOL] = 1, [S_TEXT] = VIEW_BYTES};
    const uint8_t *p = NULL;
    size_t want =
        c->type == S_BOOL ? slot / 8 + 1 : (slot + 1) * bytes[c->type];
    int place = c->target + 1;
    enum tacit_err err = TACIT_OK;
    sqlite3_bind_int64(c->st, 1, chunk->id);
    int rc = sqlite3_step(c->st);
    if (rc != SQLITE_ROW) {
        sqlite3_reset(c->st);
        return rc == SQLITE_DONE ? broken(s, "a chunk has lost its metadata")
                                 : vecindex_sql_fail(s->t, rc);
    }
    err = chunk_bytes(s, c->st, 0, want, &p);
    if (!err && c->type == S_BOOL) {
        sqlite3_bind_int(s->values, place, p[slot / 8] >> slot % 8 & 1);
    } else if (!err && c->type == S_TEXT) {
        err = bind_text_view(s, c, p + slot * VIEW_BYTES, id, place);
    } else if (!err) {
        uint64_t v = le(p + slot * 8, 8);
        double d;
        memcpy(&d, &v, sizeof d);
        if (c->type == S_INT)
            sqlite3_bind_int64(s->values, place, (int64_t)v);
        else
            sqlite3_bind_double(s->values, place, d);
    }
    sqlite3_reset(c->st);
    return err;
}

static enum tacit_err bind_column(struct source *s, struct source_column *c,
                                  const struct chunk *chunk, size_t slot,
                                  int64_t id)
{
    char name[32];
    int at;
    switch (c->kind) {
    case S_METADATA: return bind_metadata(s, c, chunk, slot, id);
    case S_AUX: return bind_found(s, s->aux, 1 + c->at, id, c->target + 1);
    case S_KEY: return bind_found(s, s->ids, 0, id, c->target + 1);
    case S_PARTITION:
        snprintf(name, sizeof name, "partition%02d", c->at);
        at = column_named(s->chunks, name);
        if (at < 0) return broken(s, "its chunks have no partition");
        sqlite3_bind_value(s->values, c->target + 1,
                           sqlite3_column_value(s->chunks, at));
        return TACIT_OK;
    default: return TACIT_OK;
    }
}

/* Row `id` in a slot of a chunk. */
static enum tacit_err import_slot(struct source *s, const struct chunk *chunk,
                                  size_t slot, int64_t id)
{
    struct vecindex_table *t = s->t;
    sqlite3_value *values[VECINDEX_COLUMNS_MAX] = {NULL};
    int n = t->args.n_columns;
    enum tacit_err err = TACIT_OK;
    sqlite3_clear_bindings(s->values);
    for (int i = 0; i < s->n_columns && !err; i++)
        if (s->column[i].target >= 0)
            err = bind_column(s, &s->column[i], chunk, slot, id);
    if (!err && sqlite3_step(s->values) != SQLITE_ROW)
        err = fail(TACIT_NOMEM, "out of memory");
    for (int i = 0; i < n && !err; i++) {
        values[i] = sqlite3_value_dup(sqlite3_column_value(s->values, i));
        if (!values[i]) err = fail(TACIT_NOMEM, "out of memory");
    }
    sqlite3_reset(s->values);
    if (!err) {
        read_slot_vector(s, chunk, slot, t->vector);
        err = vecindex_add(t, id, t->vector, values);
        if (err) err_context(err, "import: row %lld", (long long)id);
    }
    for (int i = 0; i < n; i++) sqlite3_value_free(values[i]);
    return err;
}

static enum tacit_err import_chunks(struct source *s)
{
    int rc;
    while ((rc = sqlite3_step(s->chunks)) == SQLITE_ROW) {
        struct chunk c = {0};
        TRY(read_chunk(s, &c));
        for (size_t i = 0; i < c.n; i++)
            if (c.validity[i / 8] >> i % 8 & 1)
                TRY(import_slot(s, &c, i, (int64_t)le(c.rowids + 8 * i, 8)));
    }
    return rc == SQLITE_DONE ? TACIT_OK : vecindex_sql_fail(s->t, rc);
}

enum tacit_err vecindex_import(struct vecindex_table *t, const char *name)
{
    struct source *s = calloc(1, sizeof *s);
    if (!s) return fail(TACIT_NOMEM, "out of memory");
    s->t = t;
    s->name = name;
    enum tacit_err err = find_source(s);
    if (!err) err = map_columns(s);
    if (!err) err = vecindex_ready(t);
    if (!err) err = prepare_columns(s);
    if (!err) err = prepare_values(s);
    if (!err) err = vecindex_tear(t);
    if (!err) {
        t->is_fresh = true;
        ivf_hold(t->ivf, IVF_HELD);
        err = import_chunks(s);
        ivf_hold(t->ivf, IVF_AT_ONCE);
        if (!err) err = ivf_held_write(t->ivf);
    }
    for (int i = 0; i < s->n_columns; i++) {
        sqlite3_finalize(s->column[i].st);
        sqlite3_finalize(s->column[i].text);
    }
    sqlite3_finalize(s->chunks);
    sqlite3_finalize(s->aux);
    sqlite3_finalize(s->ids);
    sqlite3_finalize(s->values);
    free(s);
    return err;
}
