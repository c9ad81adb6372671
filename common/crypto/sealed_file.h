/*
 * sealed_file: what the files of a sealed store share (sealed.h): one struct
 * for an open file, and the methods of its four kinds. Internal to sealed_*.c.
 *
 * A `struct sealed_file` lies in SQLite's memory, the system's own file behind
 * it (`real`). Every function returns an SQLite result code; what a person
 * should know about a fault goes to sealed_fault().
 */
#ifndef TACIT_CRYPTO_SEALED_FILE_H
#define TACIT_CRYPTO_SEALED_FILE_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdint.h>

#include "common/crypto/seal.h"

enum {
    SEALED_HEAD = 4096, /* before page 1 */
    SEALED_PAGE_MIN = 1024,
    SEALED_PAGE_MAX = 65536,
    SEALED_GAP_MAX = 256 << 20, /* pages that are left out; caches hold less */
    SEALED_SALT = 32,
    SEALED_BLOCK = 4096,
    WAL_HEAD = 32,       /* as SQLite has it */
    WAL_FRAME = 24,      /* head of a frame, the same */
    WAL_HEAD_ROOM = 128, /* as it lies in the file */
    WAL_FRAME_ROOM = WAL_FRAME + SEAL_EXTRA
};

struct sealed_vfs {
    sqlite3_vfs base;
    sqlite3_vfs *real;
    uint8_t *key; /* [SEAL_KEY], guarded, owned */
    char name[32];
    pthread_mutex_t lock;      /* over what follows */
    struct sealed_file *files; /* open stores */
    int n_open;                /* open files of every kind */
    char fault[640];           /* the last one, for people */
};

struct sealed_file {
    sqlite3_file base;
    struct sealed_vfs *vfs;
    struct sealed_file *next; /* of vfs->files */
    const char *name;         /* borrowed from SQLite; NULL: temporary */
    sqlite3_file *real;
    uint32_t page;    /* bytes; 0 until the header is known */
    uint8_t *keys;    /* [2 * SEAL_KEY]: pages, masks; guarded, owned; NULL
                       * until the header is known */
    uint8_t *scratch; /* [SEALED_PAGE_MAX + WAL_FRAME_ROOM], owned */
    int damage_is_zeros;
    /* log: the head that was written last */
    int64_t head_of; /* its frame; -1: none */
    uint8_t head[WAL_FRAME];
    /* journal */
    int64_t number_at, masked_at; /* offsets; -1: none */
    uint32_t number;              /* what was read or written at number_at */
    uint8_t nonce[SEAL_NONCE];    /* of the page before masked_at */
    /* temporary file */
    int64_t size; /* as SQLite sees it */
};

/* Keep what a person should know; returns rc. */
int sealed_fault(struct sealed_vfs *v, int rc, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Derive the keys of a file with this salt. */
int sealed_set_keys(struct sealed_file *f, const uint8_t salt[SEALED_SALT]);
/* Scratch memory, once per file. */
int sealed_room(struct sealed_file *f);
/* keys and page of a log or journal, from the open store it belongs to;
 * suffix "-wal" or "-journal". */
int sealed_of_store(struct sealed_file *f, const char *suffix);

extern const sqlite3_io_methods sealed_store_methods, sealed_wal_methods,
    sealed_journal_methods, sealed_temp_methods;

/* sealed_vfs.c: methods that are the same for several kinds. */
int sealed_close_file(sqlite3_file *file);
int sealed_sync(sqlite3_file *file, int flags);
int sealed_lock(sqlite3_file *file, int level);
int sealed_unlock(sqlite3_file *file, int level);
int sealed_reserved(sqlite3_file *file, int *out);
int sealed_control(sqlite3_file *file, int op, void *arg);
int sealed_sector(sqlite3_file *file);
int sealed_traits(sqlite3_file *file);

#endif
