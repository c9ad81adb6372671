/*
 * sealed_world: a sealed store below a temporary folder, and looking at its raw
 * files, for tests.
 */
#ifndef TACIT_TESTS_CRYPTO_SEALED_WORLD_H
#define TACIT_TESTS_CRYPTO_SEALED_WORLD_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/db.h"
#include "common/base/file.h"
#include "common/base/rng.h"
#include "common/crypto/sealed.h"

struct world {
    char folder[256], path[512];
    uint8_t key[SEAL_KEY];
    struct sealed_vfs *vfs;
    struct db_vfs door;
    struct db db;
};

static inline void world_open(struct world *w, enum db_mode mode)
{
    check_ok(db_open_through(&w->db, w->path, mode, &w->door, NULL, 0));
}

static inline void world_new(struct world *w)
{
    rng_setup();
    memset(w, 0, sizeof *w);
    check_tmpdir(w->folder);
    snprintf(w->path, sizeof w->path, "%s/tacit.db", w->folder);
    for (int i = 0; i < SEAL_KEY; i++) w->key[i] = (uint8_t)(7 * i + 1);
    check_ok(sealed_new(w->key, &w->vfs));
    w->door = sealed_door(w->vfs);
    world_open(w, DB_CREATE);
}

static inline void world_free(struct world *w)
{
    db_close(&w->db);
    sealed_free(w->vfs);
    check_tmpdir_remove(w->folder);
}

static inline int64_t world_int(struct world *w, const char *sql)
{
    int64_t v = 0;
    check_ok(db_int(&w->db, &v, sql, ""));
    return v;
}

/* "ok", or the first thing that integrity_check finds. */
static inline void world_check(struct db *db)
{
    sqlite3_stmt *st = NULL;
    int has = 0;
    check_ok(db_query(db, &st, "PRAGMA integrity_check(1)", ""));
    check_ok(db_step(db, st, &has));
    assert_string_equal((const char *)sqlite3_column_text(st, 0), "ok");
    db_finish(st);
}

/* Whether `what` [n] stands anywhere in the file. */
static inline int file_holds(const char *path, const void *what, size_t n)
{
    struct buf b;
    buf_init(&b, 0);
    check_ok(file_read(path, (size_t)1 << 30, &b));
    int found = b.len > 0 && memmem(b.data, b.len, what, n) != NULL;
    buf_release(&b);
    return found;
}

/* Whether it stands in any file of the folder; names the file. */
static inline int folder_holds(const char *folder, const void *what, size_t n)
{
    int found = 0;
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        char path[1200];
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (!file_holds(path, what, n)) continue;
        print_message("%s holds it\n", e->d_name);
        found = 1;
    }
    closedir(d);
    return found;
}

#endif
