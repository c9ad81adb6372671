/*
 * sealed: SQLite over files that nobody without the key can read: a VFS that
 * lies over the system's own and seals what SQLite writes, page by page. SQL,
 * FTS5, virtual tables, several processes, crash recovery, VACUUM and backup
 * work as ever; nothing above db_open() knows of it.
 *
 *   tacit.db        header [4096]: magic, page size P, salt, proof of the key,
 *                   checksum; then each page where it would be, 4096 later:
 *                   page n:  sealed [P - 40] ‖ nonce [24] ‖ tag [16]
 *                   SQLite leaves the last 40 bytes of a page unused (byte 20
 *                   of its own header: SEALED_RESERVE) and sees them as zeros.
 *   tacit.db-wal    header, sealed [32] + 40, padded to 128; then frames:
 *                   head, sealed [24] + 40 ‖ page as above
 *   tacit.db-journal  its pages as above; checksums of pages masked; what else
 *                   it holds is page numbers and sizes
 *   temporary files blocks of 4096 + 40 under a key that is never stored:
 *                   sorting, statement journals, VACUUM
 *   tacit.db-shm    not sealed: numbers of pages and frames, and the log's
 *                   running checksum (64 bits over all that is in the log)
 *
 * Each sealing names what it is and where it belongs (seal.h), so that a page
 * that is damaged, swapped with another or taken from another store does not
 * open: the read fails (SQLITE_IOERR_DATA) and the fault names file and page.
 *
 * Torn writes: SQLite's own rules hold, since a sealed page or frame head lies
 * where one write of SQLite's goes and nothing else does. While a log is
 * recovered, a frame that does not open reads as zeros, which SQLite takes for
 * the end of the log; at any other time it is an error. Pages that SQLite never
 * wrote (holes) are written here, so that a page of zeros is damage.
 *
 * Not covered: whoever can write the files may put back an older whole state
 * of them, or of one page, or cut the log; names, sizes and times of writes
 * show; the memory of a running program holds plain pages.
 *
 * Differences from SQLite's documentation: the page size is fixed by the first
 * write; no memory mapping, and so nothing that is asked of the disk ahead of a
 * search (retrieval/vecindex_ahead.c); WAL needs a file system with POSIX locks
 * as ever.
 *
 * Thread rule: as SQLite's: a connection belongs to one thread, any number of
 * connections may share a VFS.
 */
#ifndef TACIT_CRYPTO_SEALED_H
#define TACIT_CRYPTO_SEALED_H

#include <stdint.h>

#include "common/base/db.h"
#include "common/base/err.h"
#include "common/crypto/seal.h"

enum { SEALED_RESERVE = SEAL_EXTRA };

struct sealed_vfs;

/* What a file is, by its first bytes. SEALED_EMPTY: it holds no page yet. */
enum sealed_look { SEALED_ABSENT, SEALED_EMPTY, SEALED_PLAIN, SEALED_STORE };

/* A VFS for one data key, which is copied to guarded memory. Owned. */
TACIT_CHECKED enum tacit_err sealed_new(const uint8_t key[SEAL_KEY],
                                        struct sealed_vfs **out);
/* After the last connection through it was closed; wipes the key. */
void sealed_free(struct sealed_vfs *v);
/* A key of its own for what lies beside the store: it changes when the store
 * is sealed anew, not when its key is kept elsewhere. */
void sealed_derive(const struct sealed_vfs *v, const char *purpose,
                   uint8_t out[SEAL_KEY]);
/* What db_open_through() wants; borrowed. */
struct db_vfs sealed_door(const struct sealed_vfs *v);
TACIT_CHECKED enum tacit_err sealed_look(const char *path,
                                         enum sealed_look *out);
/* E_STORE_KEY when path is sealed by another key, E_STORE_DAMAGED when its
 * header is. A file that is absent or empty is fine. */
TACIT_CHECKED enum tacit_err sealed_try(struct sealed_vfs *v, const char *path);

#endif
