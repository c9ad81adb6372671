#include "client/folders.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/codes.h"

const char *const folders_migrations[FOLDERS_N_MIGRATIONS] = {
    "CREATE TABLE folder("
    " path TEXT PRIMARY KEY, added_s INTEGER NOT NULL) STRICT;",
    "ALTER TABLE folder ADD COLUMN all_links INTEGER NOT NULL DEFAULT 0;",
    "ALTER TABLE folder ADD COLUMN device INTEGER NOT NULL DEFAULT 0;"};

enum tacit_err folders_path(const char *path, char *out)
{
    char real[PATH_MAX];
    if (!realpath(path, real))
        return fail_as(E_DOCUMENT_MISSING, "%s: %s", path, strerror(errno));
    if (strlen(real) >= FOLDER_PATH_MAX)
        return fail_as(E_DOCUMENT_PATH, "%s: a path too long", path);
    memcpy(out, real, strlen(real) + 1);
    return TACIT_OK;
}

enum tacit_err folders_remember(struct db *db, const char *path,
                                enum folder_links links, int64_t now_s)
{
    int64_t n = 0;
    TRY(db_int(db, &n, "SELECT count(*) FROM folder WHERE path <> ?", "s",
               path));
    if (n >= FOLDERS_MAX)
        return fail(TACIT_LIMIT,
                    "%d folders are remembered already: `tacit rm` forgets "
                    "one; or add the folder above them",
                    FOLDERS_MAX);
    return db_run(db,
                  "INSERT INTO folder(path, added_s, all_links)"
                  " VALUES(?, ?, ?) ON CONFLICT DO"
                  " UPDATE SET all_links = excluded.all_links",
                  "sii", path, now_s, (int64_t)links);
}

enum tacit_err folders_may_follow(struct db *db, const char *path,
                                  const char *real, int *may)
{
    char above[PATH_MAX], folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int64_t n = 0;
    int len = snprintf(above, sizeof above, "%.*s/",
                       slash ? (int)(slash - path) : 0, path);
    *may = 0;
    if (len < 0 || (size_t)len >= sizeof above) return TACIT_OK;
    if (!realpath(above, folder)) return TACIT_OK; /* it went meanwhile */
    TRY(db_int(db, &n,
               "SELECT count(*) FROM folder WHERE"
               " instr(?1 || '/', rtrim(path, '/') || '/') = 1 OR all_links AND"
               " instr(?2 || '/', rtrim(path, '/') || '/') = 1",
               "ss", real, folder));
    *may = n > 0;
    return TACIT_OK;
}

/* ---- folders whose disk may be unplugged --------------------------------- */

const char folders_why_away[] =
    "away, as when its disk is unplugged: its documents are kept until `tacit "
    "rm` forgets them";

static int is_bare(const char *path)
{
    DIR *dir = opendir(path);
    int n = 0;
    if (!dir) return 0;
    while (n < 3 && readdir(dir)) n++; /* ".", "..", and one more */
    closedir(dir);
    return n < 3;
}

int folders_is_there(const char *path, int64_t *device)
{
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) return 0;
    int64_t now = (int64_t)st.st_dev;
    if (*device && *device != now && is_bare(path)) return 0;
    *device = now;
    return 1;
}

enum tacit_err folders_device(struct db *db, const char *path, int64_t *device)
{
    return db_int(db, device,
                  "SELECT coalesce((SELECT device FROM folder WHERE path = ?),"
                  " 0)",
                  "s", path);
}

enum tacit_err folders_was_read(struct db *db, const char *path)
{
    int64_t was = 0, now = 0;
    TRY(folders_device(db, path, &was));
    if (!folders_is_there(path, &now) || now == was) return TACIT_OK;
    return db_run(db, "UPDATE folder SET device = ? WHERE path = ?", "is", now,
                  path);
}

/* Cut a path off before its last name; 0 where nothing is above it. */
static int go_up(char *path)
{
    char *slash = strrchr(path, '/');
    if (!slash || slash == path) return 0;
    *slash = '\0';
    return 1;
}

enum tacit_err folders_found_disk(struct db *db, const char *file,
                                  uint64_t disk, int64_t now_s)
{
    char at[PATH_MAX], above[PATH_MAX];
    struct stat own, st;
    int64_t known = 0;
    if (snprintf(at, sizeof at, "%s", file) >= (int)sizeof at || !go_up(at) ||
        stat(at, &own) != 0 || (uint64_t)own.st_dev == disk)
        return TACIT_OK;
    memcpy(above, at, sizeof above);
    while (go_up(above) && stat(above, &st) == 0 && st.st_dev == own.st_dev)
        memcpy(at, above, sizeof at);
    TRY(folders_device(db, at, &known));
    if (known == (int64_t)own.st_dev) return TACIT_OK;
    if (!known) TRY(folders_remember(db, at, FOLDER_LINKS_INSIDE, now_s));
    return folders_was_read(db, at);
}

enum tacit_err folders_away(struct db *db, const char *path, int *is_away)
{
    sqlite3_stmt *st;
    int has_row = 0;
    *is_away = 0;
    TRY(db_query(db, &st,
                 "SELECT path, device FROM folder WHERE"
                 " instr(?1 || '/', rtrim(path, '/') || '/') = 1",
                 "s", path));
    enum tacit_err err = db_step(db, st, &has_row);
    while (!err && has_row && !*is_away) {
        const char *folder = (const char *)sqlite3_column_text(st, 0);
        int64_t device = sqlite3_column_int64(st, 1);
        *is_away = folder && !folders_is_there(folder, &device);
        err = db_step(db, st, &has_row);
    }
    db_finish(st);
    return err;
}

/* ---- the list ------------------------------------------------------------ */

enum tacit_err folders_forget(struct db *db, const char *path, size_t *n)
{
    char from[FOLDER_PATH_MAX + 2], to[FOLDER_PATH_MAX + 2];
    const char *slash = strcmp(path, "/") == 0 ? "" : "/";
    snprintf(from, sizeof from, "%.*s%s", FOLDER_PATH_MAX, path, slash);
    snprintf(to, sizeof to, "%s", from);
    to[strlen(to) - 1] = '/' + 1; /* the first path behind the folder */
    TRY(db_run(db,
               "DELETE FROM folder WHERE path = ?1"
               " OR (path >= ?2 AND path < ?3)",
               "sss", path, from, to));
    *n = (size_t)sqlite3_changes(db->sql);
    return TACIT_OK;
}

enum tacit_err folders_list(struct db *db, struct buf *out)
{
    sqlite3_stmt *st;
    int has_row = 0;
    TRY(db_query(db, &st, "SELECT path FROM folder ORDER BY path", ""));
    enum tacit_err err = db_step(db, st, &has_row);
    while (!err && has_row) {
        const char *path = (const char *)sqlite3_column_text(st, 0);
        if (path) buf_put(out, path, strlen(path) + 1);
        err = db_step(db, st, &has_row);
    }
    db_finish(st);
    return err ? err : buf_end(out);
}
