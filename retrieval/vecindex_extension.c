/* The entry point of tacit_vec.so:
 *
 *   .load ./tacit_vec            in sqlite3
 *   SELECT load_extension('tacit_vec');
 *
 * Compiled into the extension alone. */
#include <sqlite3ext.h>
SQLITE_EXTENSION_INIT1

#include "retrieval/vecindex.h"

__attribute__((visibility("default"))) int sqlite3_tacitvec_init(
    sqlite3 *db, char **message, const sqlite3_api_routines *api);

int sqlite3_tacitvec_init(sqlite3 *db, char **message,
                          const sqlite3_api_routines *api)
{
    SQLITE_EXTENSION_INIT2(api);
    enum tacit_err err = vecindex_register(db);
    if (!err) return SQLITE_OK;
    *message = sqlite3_mprintf("%s", err_message());
    err_clear();
    return SQLITE_ERROR;
}
