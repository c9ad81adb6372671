/* struct ivf_store over the shadow tables. */
#include "retrieval/vecindex_table.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/codes.h"

enum {
    HEADS_MANY = 64 /* whose pages are asked for together */
};
_Static_assert(IVF_SEG_MAX == (1 << VECINDEX_SEG_BITS) - 1,
               "a segment's number fits");

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

static const struct vecindex_keys every_key = {INT64_MIN, INT64_MAX};

static enum tacit_err heads_begin(void *ctx, const int64_t *part)
{
    struct vecindex_table *t = ctx;
    sqlite3_stmt *st;
    vecindex_sql_reset(t, SQL_HEADS);
    TRY(vecindex_sql_get(t, part ? SQL_HEADS_OF : SQL_HEADS, &st));
    if (part) sqlite3_bind_int64(st, 1, *part);
    t->walks_part = part != NULL;
    /* of many partitions, one has few */
    if (t->n_heads >= HEADS_MANY && (!part || !t->args.n_keys))
        vecindex_ahead_want(t, VECINDEX_AHEAD_LIST, &every_key, 1);
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

static enum tacit_err heads_count(void *ctx, uint64_t *n)
{
    struct vecindex_table *t = ctx;
    sqlite3_stmt *st;
    bool has;
    TRY(vecindex_sql_get(t, SQL_HEADS_COUNT, &st));
    TRY(vecindex_sql_step(t, SQL_HEADS_COUNT, &has));
    *n = has ? (uint64_t)sqlite3_column_int64(st, 0) : 0;
    t->n_heads = *n;
    vecindex_sql_reset(t, SQL_HEADS_COUNT);
    return TACIT_OK;
}

/* Not by REPLACE, which the partition's index would make a statement that may
 * break off midway: every table then writes out what it has gathered, lest it
 * be undone in part. */
static enum tacit_err head_write(void *ctx, uint32_t list, int64_t part,
                                 const void *data, size_t n)
{
    struct vecindex_table *t = ctx;
    sqlite3_stmt *st;
    TRY(vecindex_sql_get(t, SQL_HEAD_CHANGE, &st));
    sqlite3_bind_int64(st, 1, list);
    sqlite3_bind_int64(st, 2, part);
    bind_bytes(st, 3, data, n);
    TRY(vecindex_sql_run(t, SQL_HEAD_CHANGE));
    if (sqlite3_changes64(t->db) > 0) return TACIT_OK;
    TRY(vecindex_sql_get(t, SQL_HEAD_WRITE, &st));
    sqlite3_bind_int64(st, 1, list);
    sqlite3_bind_int64(st, 2, part);
    bind_bytes(st, 3, data, n);
    t->n_heads++;
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
    struct vecindex_table *t = ctx;
    t->n_heads -= t->n_heads > 0;
    return run_on(t, SQL_HEAD_DELETE, list);
}

/* ---- segments -------------------------------------------------------------
 */

static int64_t seg_key(uint32_t list, uint32_t seg)
{
    return (int64_t)list << VECINDEX_SEG_BITS | seg;
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
    struct vecindex_table *t = ctx;
    t->scan.is_on = false;
    return seg_range(t, SQL_SEGS, list);
}

/* What changes with the database, whoever writes to it. */
static sqlite3_int64 changes_now(struct vecindex_table *t,
                                 unsigned int *version)
{
    *version = 0;
    sqlite3_file_control(t->db, t->schema, SQLITE_FCNTL_DATA_VERSION, version);
    return sqlite3_total_changes64(t->db);
}

/* Drop all notes when the database is not as it was when they were made. */
static enum tacit_err notes_check(struct vecindex_table *t)
{
    struct vecindex_scan *s = &t->scan;
    unsigned int version;
    sqlite3_int64 changes = changes_now(t, &version);
    if (version != s->version || changes != s->changes || !s->notes) s->made++;
    s->version = version;
    s->changes = changes;
    s->is_checked = true;
    if (s->notes) return TACIT_OK;
    s->notes = calloc(VECINDEX_NOTES, sizeof *s->notes);
    return s->notes ? TACIT_OK : fail(TACIT_NOMEM, "out of memory");
}

static enum tacit_err stamp(void *ctx, uint64_t *now)
{
    struct vecindex_table *t = ctx;
    if (!t->scan.is_checked) TRY(notes_check(t));
    *now = t->scan.made;
    return TACIT_OK;
}

static enum tacit_err scan_begin(void *ctx, uint32_t list)
{
    struct vecindex_table *t = ctx;
    struct vecindex_scan *s = &t->scan;
    if (!s->is_checked) TRY(notes_check(t));
    const struct vecindex_note *note = &s->notes[list / 2 % VECINDEX_NOTES];
    s->is_on = true;
    s->first = 0;
    s->is_noted = note->list == list && note->made == s->made;
    s->note = s->is_noted
                  ? *note
                  : (struct vecindex_note){.list = list, .made = s->made};
    return s->is_noted ? TACIT_OK : seg_range(t, SQL_SEG_KEYS, list);
}

/* The next key of the walk; *has false at its end. */
static enum tacit_err scan_noted(struct vecindex_scan *s, int64_t *key,
                                 bool *has)
{
    uint32_t seg = (uint32_t)(s->note.copies ? __builtin_ctz(s->note.copies)
                                             : IVF_SEG_FIRST + s->first);
    *has = s->note.copies || s->first < s->note.firsts;
    if (!*has) return TACIT_OK;
    if (s->note.copies)
        s->note.copies &= (uint16_t)(s->note.copies - 1);
    else
        s->first++;
    *key = seg_key(s->note.list, seg);
    return TACIT_OK;
}

static enum tacit_err scan_found(struct vecindex_table *t, int64_t *key,
                                 bool *has)
{
    struct vecindex_scan *s = &t->scan;
    TRY(vecindex_sql_step(t, SQL_SEG_KEYS, has));
    if (!*has) {
        vecindex_sql_reset(t, SQL_SEG_KEYS);
        if (s->note.made == s->made)
            s->notes[s->note.list / 2 % VECINDEX_NOTES] = s->note;
        return TACIT_OK;
    }
    *key = sqlite3_column_int64(t->stmt[SQL_SEG_KEYS], 0);
    uint32_t seg = (uint32_t)(*key & IVF_SEG_MAX);
    if (seg < IVF_SEG_FIRST)
        s->note.copies |= (uint16_t)(1U << seg);
    else if (seg - IVF_SEG_FIRST == s->note.firsts &&
             s->note.firsts < UINT16_MAX)
        s->note.firsts++;
    else
        s->note.made--; /* a gap: not to be kept */
    return TACIT_OK;
}

/* As walk(). SQLite copies what a column returns into memory that it takes and
 * gives back for each walk; a blob's bytes go where they are wanted. */
static enum tacit_err scan_next(struct vecindex_table *t, int64_t *id,
                                const void **data, size_t *n)
{
    bool has, there;
    TRY(t->scan.is_noted ? scan_noted(&t->scan, id, &has)
                         : scan_found(t, id, &has));
    *data = NULL;
    *n = 0;
    if (!has) return TACIT_OK;
    TRY(vecindex_blob_seek(t, *id, &there));
    if (!there) return read_on(t, SQL_SEG_READ, *id, data, n);
    *n = (size_t)sqlite3_blob_bytes(t->blob);
    return vecindex_blob_bytes(t, 0, *n, data);
}

static enum tacit_err segs_next(void *ctx, uint32_t *seg, const void **data,
                                size_t *n)
{
    struct vecindex_table *t = ctx;
    int64_t id = 0;
    TRY(t->scan.is_on ? scan_next(t, &id, data, n)
                      : walk(t, SQL_SEGS, &id, data, n));
    *seg = (uint32_t)(id & IVF_SEG_MAX);
    return TACIT_OK;
}

static void segs_end(void *ctx)
{
    vecindex_sql_reset(ctx, SQL_SEGS);
    vecindex_sql_reset(ctx, SQL_SEG_KEYS);
}

static void expect(void *ctx, const struct ivf_span *spans, size_t n)
{
    struct vecindex_keys keys[IVF_SPANS_MAX];
    for (size_t i = 0; i < n; i++)
        keys[i] = (struct vecindex_keys){seg_key(spans[i].list, spans[i].first),
                                         seg_key(spans[i].list, spans[i].last)};
    vecindex_ahead_want(ctx, VECINDEX_AHEAD_SEG, keys, n);
}

static enum tacit_err list_last(void *ctx, uint32_t *list)
{
    struct vecindex_table *t = ctx;
    sqlite3_stmt *st;
    bool has;
    TRY(vecindex_sql_get(t, SQL_LIST_LAST, &st));
    TRY(vecindex_sql_step(t, SQL_LIST_LAST, &has));
    int64_t last = has ? sqlite3_column_int64(st, 0) >> VECINDEX_SEG_BITS : 0;
    vecindex_sql_reset(t, SQL_LIST_LAST);
    if (last < 0 || last > INT32_MAX) return out_of_range(t, "list", last);
    *list = (uint32_t)last;
    return TACIT_OK;
}

static enum tacit_err seg_read(void *ctx, uint32_t list, uint32_t seg,
                               const void **data, size_t *n)
{
    struct vecindex_table *t = ctx;
    int64_t key = seg_key(list, seg);
    bool there = false;
    /* a change goes on to patch it */
    if (t->torn) TRY(vecindex_blob_seek(t, key, &there));
    if (!there) return read_on(t, SQL_SEG_READ, key, data, n);
    *n = (size_t)sqlite3_blob_bytes(t->blob);
    return vecindex_blob_bytes(t, 0, *n, data);
}

static enum tacit_err seg_part(void *ctx, uint32_t list, uint32_t seg,
                               size_t from, size_t n, const void **data)
{
    struct vecindex_table *t = ctx;
    int64_t key = seg_key(list, seg);
    bool there;
    *data = NULL;
    TRY(vecindex_blob_seek(t, key, &there));
    if (!there || (size_t)sqlite3_blob_bytes(t->blob) < from + n)
        return TACIT_OK;
    return vecindex_blob_bytes(t, from, n, data);
}

static enum tacit_err seg_patch(void *ctx, uint32_t list, uint32_t seg,
                                size_t from, size_t n, const void *data)
{
    struct vecindex_table *t = ctx;
    t->scan.made++;
    return vecindex_blob_patch(t, seg_key(list, seg), from, n, data);
}

static enum tacit_err seg_last(void *ctx, uint32_t list, uint32_t *seg,
                               const void **data, size_t *n)
{
    struct vecindex_table *t = ctx;
    bool has;
    TRY(seg_range(t, SQL_SEG_LAST, list));
    TRY(vecindex_sql_step(t, SQL_SEG_LAST, &has));
    int64_t id = has ? sqlite3_column_int64(t->stmt[SQL_SEG_LAST], 0) : 0;
    vecindex_sql_reset(t, SQL_SEG_LAST);
    *data = NULL;
    *seg = (uint32_t)(id & IVF_SEG_MAX);
    return has ? seg_read(t, list, *seg, data, n) : TACIT_OK;
}

static enum tacit_err seg_write(void *ctx, uint32_t list, uint32_t seg,
                                const void *data, size_t n)
{
    struct vecindex_table *t = ctx;
    sqlite3_stmt *st;
    t->scan.made++;
    t->is_moved = true;
    vecindex_sql_reset(t, SQL_SEG_READ);
    vecindex_sql_reset(t, SQL_SEG_LAST);
    TRY(vecindex_sql_get(t, SQL_SEG_WRITE, &st));
    sqlite3_bind_int64(st, 1, seg_key(list, seg));
    bind_bytes(st, 2, data, n);
    return vecindex_sql_run(t, SQL_SEG_WRITE);
}

static enum tacit_err seg_delete(void *ctx, uint32_t list, uint32_t seg)
{
    struct vecindex_table *t = ctx;
    t->is_moved = true;
    t->scan.made++;
    return run_on(t, SQL_SEG_DELETE, seg_key(list, seg));
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
    struct vecindex_spot now = {.is_known = true, .id = id};
    const struct vecindex_spot *last = &t->spot;
    sqlite3_stmt *st;
    now.made = t->scan.made;
    now.changes = changes_now(t, &now.version);
    if (last->is_known && last->id == id && last->made == now.made &&
        last->version == now.version && last->changes == now.changes) {
        *found = true;
        memcpy(lists, last->lists, sizeof now.lists);
        return TACIT_OK;
    }
    TRY(vecindex_sql_get(t, SQL_PLACE_READ, &st));
    sqlite3_bind_int64(st, 1, id);
    TRY(vecindex_sql_step(t, SQL_PLACE_READ, found));
    enum tacit_err err = *found ? column_lists(t, st, 0, lists) : TACIT_OK;
    vecindex_sql_reset(t, SQL_PLACE_READ);
    if (err || !*found) return err;
    memcpy(now.lists, lists, sizeof now.lists);
    t->spot = now;
    return TACIT_OK;
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
        .stamp = stamp,
        .heads_begin = heads_begin,
        .heads_next = heads_next,
        .heads_end = heads_end,
        .heads_count = heads_count,
        .head_read = head_read,
        .head_write = head_write,
        .head_delete = head_delete,
        .segs_begin = segs_begin,
        .segs_next = segs_next,
        .segs_end = segs_end,
        .scan_begin = scan_begin,
        .expect = expect,
        .list_last = list_last,
        .seg_read = seg_read,
        .seg_part = seg_part,
        .seg_patch = seg_patch,
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
