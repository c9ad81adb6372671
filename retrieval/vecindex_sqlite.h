/*
 * vecindex_sqlite: which SQLite the table calls. Inside a program that is
 * linked with SQLite: that one. As the loadable extension (the Makefile defines
 * TACIT_VEC_EXTENSION): the program's own, through the table of functions that
 * sqlite3_tacitvec_init() is given.
 */
#ifndef TACIT_RETRIEVAL_VECINDEX_SQLITE_H
#define TACIT_RETRIEVAL_VECINDEX_SQLITE_H

#ifdef TACIT_VEC_EXTENSION
# include <sqlite3ext.h>
extern const sqlite3_api_routines *sqlite3_api;
#else
# include <sqlite3.h>
#endif

/* sqlite3_vtab_in() and LIMIT as a constraint. */
enum { VECINDEX_SQLITE_MIN = 3038000 };

#endif
