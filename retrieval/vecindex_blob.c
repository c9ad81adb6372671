/* One segment in its table, by SQLite's incremental I/O: sought anew faster
 * than a statement, and read and written in part. */
#include <stdlib.h>

#include "common/base/codes.h"
#include "retrieval/vecindex_table.h"

void vecindex_blob_rest(struct vecindex_table *t)
{
    sqlite3_blob_close(t->blob);
    t->blob = NULL;
    t->scan.is_checked = false;
}

enum tacit_err vecindex_blob_seek(struct vecindex_table *t, int64_t key,
                                  bool *there)
{
    int rc = SQLITE_OK;
    if (!t->blob) {
        char *table = sqlite3_mprintf("%s_seg", t->name);
        if (!table) return fail(TACIT_NOMEM, "out of memory");
        /* a change reads what it writes */
        t->is_inside = true;
        rc = sqlite3_blob_open(t->db, t->schema, table, "data", key, t->torn,
                               &t->blob);
        sqlite3_free(table);
    } else if (t->is_moved || t->blob_key != key) {
        t->is_inside = true;
        rc = sqlite3_blob_reopen(t->blob, key);
    }
    t->is_inside = t->is_moved = false;
    t->blob_key = key;
    *there = rc == SQLITE_OK;
    if (*there) return TACIT_OK;
    vecindex_blob_rest(t);
    return rc == SQLITE_ERROR ? TACIT_OK : vecindex_sql_fail(t, rc);
}

enum tacit_err vecindex_blob_bytes(struct vecindex_table *t, size_t from,
                                   size_t n, const void **data)
{
    if (n > t->room) {
        uint8_t *grown = realloc(t->bytes, n);
        if (!grown) return fail(TACIT_NOMEM, "out of memory");
        t->bytes = grown;
        t->room = n;
    }
    t->is_inside = true;
    int rc = sqlite3_blob_read(t->blob, t->bytes, (int)n, (int)from);
    t->is_inside = false;
    if (rc) return vecindex_sql_fail(t, rc);
    *data = t->bytes;
    return TACIT_OK;
}

enum tacit_err vecindex_blob_reach(struct vecindex_table *t, int64_t key,
                                   size_t n)
{
    bool there;
    TRY(vecindex_blob_seek(t, key, &there));
    if (there && (size_t)sqlite3_blob_bytes(t->blob) >= n) return TACIT_OK;
    return fail_as(E_INDEX_DAMAGED, "%s: segment %u of list %u is short",
                   t->name, (uint32_t)(key & IVF_SEG_MAX),
                   (uint32_t)(key >> VECINDEX_SEG_BITS) / 2);
}

enum tacit_err vecindex_blob_patch(struct vecindex_table *t, int64_t key,
                                   size_t from, size_t n, const void *data)
{
    TRY(vecindex_blob_reach(t, key, from + n));
    t->is_inside = true;
    int rc = sqlite3_blob_write(t->blob, data, (int)n, (int)from);
    t->is_inside = false;
    return rc ? vecindex_sql_fail(t, rc) : TACIT_OK;
}
