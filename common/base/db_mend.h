/*
 * db_mend: what can be done about a store of which pages cannot be read.
 *
 * DROP TABLE reads every page of a table, so a table with an unreadable one
 * stays. What is made of other rows (an index) can be torn out instead: the
 * schema forgets it and its pages are left to nobody, until the store is
 * written anew without them.
 */
#ifndef TACIT_BASE_DB_MEND_H
#define TACIT_BASE_DB_MEND_H

#include "common/base/db.h"

enum db_condition {
    DB_WHOLE,
    DB_PAGES_LOST, /* whole, but for pages that belong to nothing */
    DB_DAMAGED
};

/* What SQLite's own check of the whole store finds. E_STORE_DAMAGED where the
 * check itself cannot go on. */
TACIT_CHECKED enum tacit_err db_examine(struct db *db,
                                        enum db_condition *condition);
/* Whether err, the recorded one, may come of damage: not when the disk or the
 * memory is full. */
int db_may_be_damage(enum tacit_err err);
/* A virtual table that is made of other rows. */
struct db_made {
    const char *name;
    enum tacit_err (*make)(struct db *db, void *ctx); /* CREATE and fill it */
    void *ctx;
};
/* Drop it and make it again, in one transaction. Where it cannot be dropped it
 * and its shadow tables (name_…) are torn out, without reading a page. */
TACIT_CHECKED enum tacit_err db_make_anew(struct db *db,
                                          const struct db_made *made);
/* Give back pages that belong to nothing, where that is the only fault:
 * another would be copied, and hidden. Nothing else may be under way. */
TACIT_CHECKED enum tacit_err db_reclaim(struct db *db);

#endif
