/* struct ivf_store over the shadow tables. */
#include "retrieval/vecindex_table.h"

#include "common/base/codes.h"

enum { SEG_BITS = 20 };
_Static_assert(IVF_SEG_MAX == (1 << SEG_BITS) - 1, "a segment's number fits");

/* Bind [n] bytes, also none. */
static void bind_bytes(sqlite3_stmt *st, int i, const void *data, size_t n)
{
    sqlite3_bind_blob64(st, i, n ? data : "", n, SQLITE_STATIC);
}

/* Column i as bytes that ivf will judge. */
static void column_bytes(sqlite3_stmt *st, int i, const void **data, size_t *n)
{
    *data = sqlite3_column_blob(st, i);
    *n = (size_t)sqlite3_column_bytes(st, i);
    if (!*data) {
        *data = "";
        *n = 0;
    }
}

static enum tacit_err out_of_range(const struct vecindex_table *t,
                                   const char *what, int64_t value)
{
    return fail_as(E_INDEX_DAMAGED, "%s: %s %lld", t->name, what,
                   (long long)value);
}

/* Step a walk; *data NULL at the end, which also resets the statement. */
static enum tacit_err walk(struct vecindex_table *t, enum vecindex_stmt which,
                           int64_t *id, const void **data, size_t *n)
{
    bool has;
    TRY(vecindex_sql_step(t, which, &has));
    *data = NULL;
    *n = 0;
    if (!has) {
        vecindex_sql_reset(t, which);
        return TACIT_OK;
    }
    *id = sqlite3_column_int64(t->stmt[which], 0);
    column_bytes(t->stmt[which], 1, data, n);
    return TACIT_OK;
}

/* ---- meta and heads -------------------------------------------------------
 */

static enum tacit_err meta_read(void *ctx, const void **data, size_t *n)
{
    struct vecindex_table *t = ctx;
    sqlite3_stmt *st;
    bool has;
    TRY(vecindex_sql_get(t, SQL_META_READ, &st));
    TRY(vecindex_sql_step(t, SQL_META_READ, &has));
    *data = "";
    *n = 0;
    if (has) column_bytes(st, 0, data, n);
    return TACIT_OK;
}

static enum tacit_err meta_write(void *ctx, const void *data, size_t n)
{
    struct vecindex_table *t = ctx;
    sqlite3_stmt *st;
    TRY(vecindex_sql_get(t, SQL_META_WRITE, &st));
    bind_bytes(st, 1, data, n);
    return vecindex_sql_run(t, SQL_META_WRITE);
}

static enum tacit_err heads_begin(void *ctx, const int64_t *part)
{
    struct vecindex_table *t = ctx;
    sqlite3_stmt *st;
    vecindex_sql_reset(t, SQL_HEADS);
    TRY(vecindex_sql_get(t, part ? SQL_HEADS_OF : SQL_HEADS, &st));
    if (part) sqlite3_bind_int64(st, 1, *part);
    t->walks_part = part != NULL;
    return TACIT_OK;
}

static enum tacit_err heads_next(void *ctx, uint32_t *list, const void **data,
                                 size_t *n)
{
    struct vecindex_table *t = ctx;
    int64_t id = 1;
    TRY(walk(t, t->walks_part ? SQL_HEADS_OF : SQL_HEADS, &id, data, n));
    if (id < 1 || id > INT32_MAX) return out_of_range(t, "list", id);
    *list = (uint32_t)id;
    return TACIT_OK;
}

static void heads_end(void *ctx)
{
    struct vecindex_table *t = ctx;
    vecindex_sql_reset(t, SQL_HEADS);
    vecindex_sql_reset(t, SQL_HEADS_OF);
}

static enum tacit_err head_write(void *ctx, uint32_t list, int64_t part,
                                 const void *data, size_t n)
{
    struct vecindex_table *t = ctx;
    sqlite3_stmt *st;
    TRY(vecindex_sql_get(t, SQL_HEAD_WRITE, &st));
    sqlite3_bind_int64(st, 1, list);
    sqlite3_bind_int64(st, 2, part);
    bind_bytes(st, 3, data, n);
    return vecindex_sql_run(t, SQL_HEAD_WRITE);
}

/* A statement whose only argument is an id. */
static enum tacit_err run_on(struct vecindex_table *t, enum vecindex_stmt which,
                             int64_t id)
{
    sqlite3_stmt *st;
    TRY(vecindex_sql_get(t, which, &st));
    sqlite3_bind_int64(st, 1, id);
    return vecindex_sql_run(t, which);
}

/* The blob under an id; *data NULL when there is none. */
static enum tacit_err read_on(struct vecindex_table *t,
                              enum vecindex_stmt which, int64_t id,
                              const void **data, size_t *n)
{
    sqlite3_stmt *st;
    bool has;
    TRY(vecindex_sql_get(t, which, &st));
    sqlite3_bind_int64(st, 1, id);
    TRY(vecindex_sql_step(t, which, &has));
    *data = NULL;
    *n = 0;
    if (has) column_bytes(st, 0, data, n);
    return TACIT_OK;
}

static enum tacit_err head_read(void *ctx, uint32_t list, const void **data,
                                size_t *n)
{
    return read_on(ctx, SQL_HEAD_READ, list, data, n);
}

static enum tacit_err head_delete(void *ctx, uint32_t list)
{
    return run_on(ctx, SQL_HEAD_DELETE, list);
}

/* ---- segments -------------------------------------------------------------
 */

static int64_t seg_key(uint32_t list, uint32_t seg)
{
    return (int64_t)list << SEG_BITS | seg;
}

/* Of the segments of a list, all. */
static enum tacit_err seg_range(struct vecindex_table *t,
                                enum vecindex_stmt which, uint32_t list)
{
    sqlite3_stmt *st;
    TRY(vecindex_sql_get(t, which, &st));
    sqlite3_bind_int64(st, 1, seg_key(list, 0));
    sqlite3_bind_int64(st, 2, seg_key(list, IVF_SEG_MAX));
    return TACIT_OK;
}

static enum tacit_err segs_begin(void *ctx, uint32_t list)
{
    return seg_range(ctx, SQL_SEGS, list);
}

static enum tacit_err segs_next(void *ctx, uint32_t *seg, const void **data,
                                size_t *n)
{
    int64_t id = 0;
    TRY(walk(ctx, SQL_SEGS, &id, data, n));
    *seg = (uint32_t)(id & IVF_SEG_MAX);
    return TACIT_OK;
}

static void segs_end(void *ctx)
{
    vecindex_sql_reset(ctx, SQL_SEGS);
}

static enum tacit_err list_last(void *ctx, uint32_t *list)
{
    struct vecindex_table *t = ctx;
    sqlite3_stmt *st;
    bool has;
    TRY(vecindex_sql_get(t, SQL_LIST_LAST, &st));
    TRY(vecindex_sql_step(t, SQL_LIST_LAST, &has));
    int64_t last = has ? sqlite3_column_int64(st, 0) >> SEG_BITS : 0;
    vecindex_sql_reset(t, SQL_LIST_LAST);
    if (last < 0 || last > INT32_MAX) return out_of_range(t, "list", last);
    *list = (uint32_t)last;
    return TACIT_OK;
}

static enum tacit_err seg_read(void *ctx, uint32_t list, uint32_t seg,
                               const void **data, size_t *n)
{
    return read_on(ctx, SQL_SEG_READ, seg_key(list, seg), data, n);
}

static enum tacit_err seg_last(void *ctx, uint32_t list, uint32_t *seg,
                               const void **data, size_t *n)
{
    int64_t id = 0;
    TRY(seg_range(ctx, SQL_SEG_LAST, list));
    TRY(walk(ctx, SQL_SEG_LAST, &id, data, n));
    *seg = (uint32_t)(id & IVF_SEG_MAX);
    return TACIT_OK;
}

static enum tacit_err seg_write(void *ctx, uint32_t list, uint32_t seg,
                                const void *data, size_t n)
{
    struct vecindex_table *t = ctx;
    sqlite3_stmt *st;
    /* SQLite would keep the place of a reader. */
    vecindex_sql_reset(t, SQL_SEG_READ);
    vecindex_sql_reset(t, SQL_SEG_LAST);
    TRY(vecindex_sql_get(t, SQL_SEG_WRITE, &st));
    sqlite3_bind_int64(st, 1, seg_key(list, seg));
    bind_bytes(st, 2, data, n);
    return vecindex_sql_run(t, SQL_SEG_WRITE);
}

static enum tacit_err seg_delete(void *ctx, uint32_t list, uint32_t seg)
{
    return run_on(ctx, SQL_SEG_DELETE, seg_key(list, seg));
}

/* ---- places ---------------------------------------------------------------
 */

/* Columns `from` and the next: a list, and another or 0. */
static enum tacit_err column_lists(struct vecindex_table *t, sqlite3_stmt *st,
                                   int from, uint32_t lists[2])
{
    for (int i = 0; i < 2; i++) {
        int64_t list = sqlite3_column_int64(st, from + i);
        if (list < 1 - i || list > INT32_MAX)
            return out_of_range(t, "a place in list", list);
        lists[i] = (uint32_t)list;
    }
    return TACIT_OK;
}

static enum tacit_err place_read(void *ctx, int64_t id, bool *found,
                                 uint32_t lists[2])
{
    struct vecindex_table *t = ctx;
    sqlite3_stmt *st;
    TRY(vecindex_sql_get(t, SQL_PLACE_READ, &st));
    sqlite3_bind_int64(st, 1, id);
    TRY(vecindex_sql_step(t, SQL_PLACE_READ, found));
    enum tacit_err err = *found ? column_lists(t, st, 0, lists) : TACIT_OK;
    vecindex_sql_reset(t, SQL_PLACE_READ);
    return err;
}

static enum tacit_err place_write(void *ctx, int64_t id,
                                  const uint32_t lists[2])
{
    struct vecindex_table *t = ctx;
    sqlite3_stmt *st;
    TRY(vecindex_sql_get(t, SQL_PLACE_WRITE, &st));
    sqlite3_bind_int64(st, 1, id);
    sqlite3_bind_int64(st, 2, lists[0]);
    sqlite3_bind_int64(st, 3, lists[1]);
    return vecindex_sql_run(t, SQL_PLACE_WRITE);
}

static enum tacit_err place_delete(void *ctx, int64_t id)
{
    return run_on(ctx, SQL_PLACE_DELETE, id);
}

static enum tacit_err places_begin(void *ctx)
{
    sqlite3_stmt *st;
    return vecindex_sql_get(ctx, SQL_PLACES, &st);
}

static enum tacit_err places_next(void *ctx, bool *found, int64_t *id,
                                  uint32_t lists[2])
{
    struct vecindex_table *t = ctx;
    TRY(vecindex_sql_step(t, SQL_PLACES, found));
    if (!*found) return TACIT_OK;
    *id = sqlite3_column_int64(t->stmt[SQL_PLACES], 0);
    return column_lists(t, t->stmt[SQL_PLACES], 1, lists);
}

static void places_end(void *ctx)
{
    vecindex_sql_reset(ctx, SQL_PLACES);
}

void vecindex_store_init(struct vecindex_table *t)
{
    t->store = (struct ivf_store){
        .ctx = t,
        .meta_read = meta_read,
        .meta_write = meta_write,
        .heads_begin = heads_begin,
        .heads_next = heads_next,
        .heads_end = heads_end,
        .head_read = head_read,
        .head_write = head_write,
        .head_delete = head_delete,
        .segs_begin = segs_begin,
        .segs_next = segs_next,
        .segs_end = segs_end,
        .list_last = list_last,
        .seg_read = seg_read,
        .seg_last = seg_last,
        .seg_write = seg_write,
        .seg_delete = seg_delete,
        .place_read = place_read,
        .place_write = place_write,
        .place_delete = place_delete,
        .places_begin = places_begin,
        .places_next = places_next,
        .places_end = places_end,
    };
}
