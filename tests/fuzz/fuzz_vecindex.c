/* A table of vectors whose shadow tables are damaged and which is used while
 * they are, as the bytes say; and the text of a CREATE and of a vector: nothing
 * but errors comes of it, and nothing stays recorded. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "retrieval/vecindex.h"
#include "tests/retrieval/vecdamage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROWS = 700 };

/* The table as it is before; made once. */
static sqlite3 *original(void)
{
    static sqlite3 *db;
    if (db) return db;
    sqlite3_open(":memory:", &db);
    if (vecindex_register(db) != TACIT_OK) abort();
    vecdamage_fill(db, ROWS);
    return db;
}

static void use_text(sqlite3 *db, const uint8_t *data, size_t size)
{
    char *create =
        sqlite3_mprintf("CREATE VIRTUAL TABLE w USING tacit_vec(%.*s)",
                        (int)size, data);
    char *find = sqlite3_mprintf("SELECT * FROM v WHERE e MATCH '%.*q' AND"
                                 " k = 3",
                                 (int)size, data);
    if (!memchr(data, 0, size)) {
        vecdamage_run(db, create);
        vecdamage_run(db, find);
    }
    sqlite3_free(create);
    sqlite3_free(find);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sqlite3 *db;
    if (size < 1 || size > 512) return 0;
    struct vecdamage_source s = {data + 1, size - 1};
    sqlite3_open(":memory:", &db);
    if (vecindex_register(db) != TACIT_OK) abort();
    sqlite3_backup *copy = sqlite3_backup_init(db, "main", original(), "main");
    sqlite3_backup_step(copy, -1);
    sqlite3_backup_finish(copy);
    if (data[0] == 't') {
        use_text(db, s.p, s.left);
    } else {
        while (s.left) {
            if (vecdamage_draw(&s, 3) == 0)
                vecdamage_once(db, &s);
            else
                vecdamage_use(db, &s);
        }
        if (data[0] & 1)
            vecdamage_run(db, "INSERT INTO v(v) VALUES ('rebuild')");
    }
    if (!sqlite3_get_autocommit(db)) vecdamage_run(db, "ROLLBACK");
    assert(sqlite3_close(db) == SQLITE_OK);
    assert(err_message()[0] == '\0');
    return 0;
}
