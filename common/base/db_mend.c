#include "common/base/db_mend.h"

#include <string.h>

#include "common/base/codes.h"

/* Faults that are asked for: SQLite looks for lost pages behind all else of the
 * b-trees, so that a list that is not full has every fault. */
enum { FAULTS_MAX = 1000000 };

/* Lines of one row of the check: how many there are, and whether each is a
 * heading or speaks of a lost page. */
static int only_lost(const char *text, int *n)
{
    while (*text) {
        size_t line = strcspn(text, "\n");
        const char *lost = strstr(text, "never used");
        int is_heading = strncmp(text, "***", 3) == 0;
        if (!is_heading && (!lost || lost >= text + line)) return 0;
        ++*n;
        text += line + (text[line] == '\n');
    }
    return 1;
}

enum tacit_err db_examine(struct db *db, enum db_condition *condition)
{
    enum db_condition found = DB_WHOLE;
    sqlite3_stmt *st = NULL;
    int has_row = 0, n = 0;
    TRY(db_query(db, &st, "SELECT * FROM pragma_integrity_check(?)", "i",
                 (int64_t)FAULTS_MAX));
    enum tacit_err err = db_step(db, st, &has_row);
    while (!err && has_row && found != DB_DAMAGED) {
        const char *text = (const char *)sqlite3_column_text(st, 0);
        if (!text || strcmp(text, "ok") != 0)
            found = text && only_lost(text, &n) && n < FAULTS_MAX
                        ? DB_PAGES_LOST
                        : DB_DAMAGED;
        err = db_step(db, st, &has_row);
    }
    db_finish(st);
    if (!err) *condition = found;
    return err;
}

int db_may_be_damage(enum tacit_err err)
{
    return err_id() == E_STORE_DAMAGED || err_id() == E_INDEX_DAMAGED ||
           err == TACIT_INTERNAL;
}

static enum tacit_err tear_out(struct db *db, const char *name)
{
    TRY(db_exec(db, "PRAGMA writable_schema = on"));
    enum tacit_err err =
        db_run(db,
               "DELETE FROM sqlite_schema WHERE tbl_name = ?1"
               " OR substr(tbl_name, 1, length(?1) + 1) = ?1 || '_'",
               "s", name);
    if (!err) return db_exec(db, "PRAGMA writable_schema = reset");
    (void)sqlite3_exec(db->sql, "PRAGMA writable_schema = reset", NULL, NULL,
                       NULL);
    return err;
}

static enum tacit_err drop(struct db *db, const char *name)
{
    char *sql = sqlite3_mprintf("DROP TABLE IF EXISTS \"%w\"", name);
    if (!sql) return fail(TACIT_NOMEM, "out of memory");
    enum tacit_err err = db_exec(db, sql);
    sqlite3_free(sql);
    return err;
}

static enum tacit_err make_without(struct db *db, const struct db_made *made,
                                   enum tacit_err (*remove)(struct db *db,
                                                            const char *name))
{
    TRY(db_begin(db));
    enum tacit_err err = remove(db, made->name);
    if (!err) err = made->make(db, made->ctx);
    if (!err) err = db_commit(db);
    if (err) db_rollback(db);
    return err;
}

/* Damage may have ended the transaction as well: it begins again. */
enum tacit_err db_make_anew(struct db *db, const struct db_made *made)
{
    enum tacit_err err = make_without(db, made, drop);
    if (!db_may_be_damage(err)) return err;
    err_clear();
    return make_without(db, made, tear_out);
}

/* A store whose VFS knows of no damage has none that this is about. */
static void zeros(struct db *db, int on)
{
    (void)sqlite3_file_control(db->sql, "main", DB_FCNTL_DAMAGE_IS_ZEROS, &on);
}

enum tacit_err db_reclaim(struct db *db)
{
    enum db_condition condition;
    TRY(db_examine(db, &condition));
    if (condition != DB_PAGES_LOST) return TACIT_OK;
    /* VACUUM reads each page that it writes over, the damaged ones, too: of
     * those that belong to something there is none. */
    zeros(db, 1);
    enum tacit_err err = db_exec(db, "VACUUM");
    zeros(db, 0);
    return err;
}
