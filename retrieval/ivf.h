/*
 * ivf: lists of near vectors that split and merge on their own, and the search
 * that reads few of them. No SQL: a caller gives a store (struct ivf_store).
 *
 *   heads   list -> partition, centroid       cached by struct ivf, 1.6 MB for
 *                                             4,096 lists of width 384
 *   segs    the entries of a list             bits, scalars, id, filter words
 *           and, beside them, its rows        one byte per number (or f32)
 *   places  id -> list, second list or 0      12 bytes
 *   meta    one blob: settings, counters, calibration
 *
 *   insert  nearest list (and the second, when almost as near, gets a copy of
 *           the entry), at once or, of many, list by list (ivf_held.c); the
 *           last segment gets a slot; a list over IVF_LIST_MAX live entries is
 *           split by 2-means over its own rows, then entries of its neighbours
 *           that are now nearer to a new centroid move (bounded)
 *   delete  places -> list -> the slot is zeroed; sparse lists are packed,
 *           lists under IVF_LIST_MIN merged into their neighbours
 *   search  lists by distance; all entries of a list are estimated (rabitq.h),
 *           those whose lower bound beats the k-th best are read as rows,
 *           best first; it stops when another list is unlikely to matter
 *
 * Up to IVF_LIST_MAX vectors are one list: every search is then exact but for
 * the bytes. Nothing is ever trained. Rows lie with their list, so that what a
 * search reads, and a split, is under neighbouring keys. Where a partition
 * has 1,024 lists, each holds twice as much from then on: more lists would cost
 * a transaction more pages, and an insert more comparisons, than they would
 * spare a search. What a search reads of entries is kept for the next, until
 * something is written (ivf_kept.c).
 *
 * List L has two runs of segments, which the store knows as lists 2 L and
 * 2 L + 1. Entries, in 2 L: segments 0 … 15 hold copies, those from
 * IVF_SEG_FIRST the entries whose first list this is; slot s of these is row s
 * of 2 L + 1. A segment, at most settings.segment_bytes (at least one block),
 * grows by blocks of 16 slots, so a small partition is a small blob:
 *
 *   0   u32  2 L               16 + block B:  codes   [width / 8][16] u8
 *   4   u32  segment                          add     [16] bfloat16
 *   8   u16  blocks, + 2^15: one follows      mul     [16] bfloat16, 0 = empty
 *   10  u16  live slots                       id      [16] i64
 *   12  u16  width                            word    [columns][16] i64
 *   14  u16  columns
 *
 *   0   u32  2 L + 1           8 + row R:     i64 id
 *   4   u16  segment                          f32 length, 0 = empty
 *   6   u16  rows, + 2^15: RABITQ_MIXING      f32 scale, f32 norm2, i8 [width]
 *                                             or f32 [dim] as given
 *
 * A list has one segment of entries at least, and meta the number of heads, so
 * that a search notices what is gone. All little-endian. A head: i64 partition,
 * f32 scale, f32 norm2, i8 [width]. A row's bytes are rotated; under cosine of
 * unit length, and `length` is what it was (1 under other metrics).
 *
 * Chen et al.: SPANN, arXiv 2111.08566; Xu et al.: SPFresh (LIRE), arXiv
 * 2410.14452; differs in: 1. all maintenance is inside the caller's write, with
 * a bound on its work; 2. reassignment is judged by estimates first, so few
 * rows are read; 3. probing stops by a measured rule (ivf_search.c); 4. a list
 * of equal vectors is cut in two halves, and between lists that are equally
 * near within rounding an entry stays where it is, so that every list stays
 * bounded.
 *
 * Errors of the store go through unchanged. What the store returns is checked:
 * a malformed blob is E_INDEX_DAMAGED (FORMAT), never undefined behaviour.
 * After a failed write the caller must roll its store back and call
 * ivf_forget(). Thread rule: one thread at a time per struct ivf.
 */
#ifndef TACIT_RETRIEVAL_IVF_H
#define TACIT_RETRIEVAL_IVF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

enum {
    IVF_DIM_MAX = 4096,
    IVF_COLUMNS_MAX = 16,
    IVF_TERMS_MAX = 32,
    IVF_K_MAX = 4096,
    IVF_LIST_MAX = 512, /* so many entries may be one list */
    IVF_LIST_AIM =
        192, /* of several, each holds so many or a segment's worth; of a
                thousand and more, twice that */
    IVF_SEG_MAX = 0xfffff,
    IVF_SEG_FIRST = 16,
    IVF_SEGMENT_BYTES_MIN = 512,
    IVF_SEGMENT_BYTES_MAX = 65536,
    IVF_META_MAX = 4096
};

enum ivf_metric { IVF_COSINE, IVF_L2, IVF_DOT };
enum ivf_rows { IVF_ROWS_INT8, IVF_ROWS_F32 };

/* Segments first … last of a list, as the store knows them. */
struct ivf_span {
    uint32_t list, first, last;
};
enum { IVF_SPANS_MAX = 64 };

/* Where everything lies. Lists of segments are 2 … 2^31 - 1, of heads half of
 * that; segments 0 … IVF_SEG_MAX. Blobs that are handed out are borrowed until
 * the next call of the same family (meta_, heads_, segs_, seg_, places_) or its
 * _end. Each _begin is followed by one _end, also after an error of _next; the
 * families may be interleaved (seg_read inside a walk of segs_), a family's
 * walks are never nested. A write replaces; a delete of nothing is OK. Any
 * error ends the operation. */
struct ivf_store {
    void *ctx;
    enum tacit_err (*meta_read)(void *ctx, const void **data, size_t *n);
    enum tacit_err (*meta_write)(void *ctx, const void *data, size_t n);
    /* A number that is another once anything has been written, by anyone; of a
     * search. May be NULL: then nothing is kept from one search to the next. */
    enum tacit_err (*stamp)(void *ctx, uint64_t *stamp);

    /* Heads of one partition, or of all when part is NULL (then ordered by
     * partition); *data NULL at the end. */
    enum tacit_err (*heads_begin)(void *ctx, const int64_t *part);
    enum tacit_err (*heads_next)(void *ctx, uint32_t *list, const void **data,
                                 size_t *n);
    void (*heads_end)(void *ctx);
    /* How many there are, of all partitions. */
    enum tacit_err (*heads_count)(void *ctx, uint64_t *n);
    /* One head; *data NULL when there is none. */
    enum tacit_err (*head_read)(void *ctx, uint32_t list, const void **data,
                                size_t *n);
    enum tacit_err (*head_write)(void *ctx, uint32_t list, int64_t part,
                                 const void *data, size_t n);
    enum tacit_err (*head_delete)(void *ctx, uint32_t list);

    /* Segments of a list, rising; *data NULL at the end. No segment is written
     * between _begin and _end. */
    enum tacit_err (*segs_begin)(void *ctx, uint32_t list);
    enum tacit_err (*segs_next)(void *ctx, uint32_t *seg, const void **data,
                                size_t *n);
    void (*segs_end)(void *ctx);
    /* As segs_begin(), for a search, which writes nothing; may be NULL. */
    enum tacit_err (*scan_begin)(void *ctx, uint32_t list);
    /* These are read soon, at most IVF_SPANS_MAX: a hint, for a search whose
     * pages are on the disk. May be NULL. */
    void (*expect)(void *ctx, const struct ivf_span *spans, size_t n);
    /* The highest list that has a segment; 0 when there is none. */
    enum tacit_err (*list_last)(void *ctx, uint32_t *list);
    /* One segment; *data NULL when there is none. Called most of all. */
    enum tacit_err (*seg_read)(void *ctx, uint32_t list, uint32_t seg,
                               const void **data, size_t *n);
    /* Bytes [from, from + n) of one segment, or none when it does not reach so
     * far; of a search, too, and of the family of seg_read. May be NULL. */
    enum tacit_err (*seg_part)(void *ctx, uint32_t list, uint32_t seg,
                               size_t from, size_t n, const void **data);
    /* Bytes [from, from + n) of one segment, which reaches so far, anew. NULL
     * where there is no seg_part. */
    enum tacit_err (*seg_patch)(void *ctx, uint32_t list, uint32_t seg,
                                size_t from, size_t n, const void *data);
    /* The segment with the highest number; *data NULL when there is none. */
    enum tacit_err (*seg_last)(void *ctx, uint32_t list, uint32_t *seg,
                               const void **data, size_t *n);
    enum tacit_err (*seg_write)(void *ctx, uint32_t list, uint32_t seg,
                                const void *data, size_t n);
    enum tacit_err (*seg_delete)(void *ctx, uint32_t list, uint32_t seg);

    /* *found: whether id has a place; lists[0] its list, lists[1] the second
     * or 0. */
    enum tacit_err (*place_read)(void *ctx, int64_t id, bool *found,
                                 uint32_t lists[2]);
    enum tacit_err (*place_write)(void *ctx, int64_t id,
                                  const uint32_t lists[2]);
    enum tacit_err (*place_delete)(void *ctx, int64_t id);
    /* All places by rising id; *found false at the end. */
    enum tacit_err (*places_begin)(void *ctx);
    enum tacit_err (*places_next)(void *ctx, bool *found, int64_t *id,
                                  uint32_t lists[2]);
    void (*places_end)(void *ctx);
};

struct ivf_settings {
    uint32_t dim;     /* 1 … IVF_DIM_MAX */
    uint32_t columns; /* filter words per entry, 0 … IVF_COLUMNS_MAX */
    enum ivf_metric metric;
    enum ivf_rows rows;
    /* A segment blob is at most so long, but holds one block at least: the
     * payload that fits one page. 0 = 4050. */
    uint32_t segment_bytes;
    uint64_t seed; /* names the rotation: rabitq.h */
};

struct ivf; /* owned; the store is borrowed and must outlive it */

/* Write the meta blob of a new, empty index. SHAPE: dim, columns or
 * segment_bytes out of range. */
TACIT_CHECKED enum tacit_err ivf_create(const struct ivf_store *store,
                                        const struct ivf_settings *settings);
/* Read meta; heads are read when first needed. E_INDEX_DAMAGED, UNSUPPORTED (a
 * newer version), NOMEM. */
TACIT_CHECKED enum tacit_err ivf_open(const struct ivf_store *store,
                                      struct ivf **out);
void ivf_close(struct ivf *ix);
const struct ivf_settings *ivf_settings(const struct ivf *ix);

/* The cache. Drop it after a rollback (also to a savepoint) and after a failed
 * write. */
void ivf_forget(struct ivf *ix);
/* Read meta and drop the cache when another writer changed heads since: call
 * when the store may have changed underneath (another connection). */
TACIT_CHECKED enum tacit_err ivf_refresh(struct ivf *ix);
/* Bytes that ix holds. */
size_t ivf_bytes(const struct ivf *ix);

/* v [dim] is acceptable: finite, and not of length zero under cosine.
 * E_VECTOR_VALUE (FORMAT) with the position. */
TACIT_CHECKED enum tacit_err ivf_check(const struct ivf *ix, const float *v);

/* Add v [dim] under a new id in partition part with its filter words [columns].
 * E_VECTOR_VALUE; STATE when id is there. */
TACIT_CHECKED enum tacit_err ivf_insert(struct ivf *ix, int64_t part,
                                        int64_t id, const float *v,
                                        const int64_t *words);
/* The same where the caller has looked: id is not there. */
TACIT_CHECKED enum tacit_err ivf_insert_new(struct ivf *ix, int64_t part,
                                            int64_t id, const float *v,
                                            const int64_t *words);
/* Whether insertions may hold back entries, at most 16 MiB of them in memory.
 * Where some are, ivf_held_write() comes before anything but an insertion,
 * ivf_forget() and ivf_close(), which drop them. */
enum ivf_wait { IVF_AT_ONCE, IVF_HELD };
void ivf_hold(struct ivf *ix, enum ivf_wait wait);
bool ivf_is_held(const struct ivf *ix);
TACIT_CHECKED enum tacit_err ivf_held_write(struct ivf *ix);
/* NOTFOUND when there is none. */
TACIT_CHECKED enum tacit_err ivf_delete(struct ivf *ix, int64_t id);
/* Delete, then insert, under one id (the vector or the partition changes). */
TACIT_CHECKED enum tacit_err ivf_update(struct ivf *ix, int64_t part,
                                        int64_t id, const float *v,
                                        const int64_t *words);
/* Replace the filter words of id alone. NOTFOUND. */
TACIT_CHECKED enum tacit_err ivf_set_words(struct ivf *ix, int64_t id,
                                           const int64_t *words);
/* The filter words [columns] of id. NOTFOUND. */
TACIT_CHECKED enum tacit_err ivf_words(struct ivf *ix, int64_t id,
                                       int64_t *words);
/* v [dim] of id, as close as it is kept. NOTFOUND, E_INDEX_DAMAGED. */
TACIT_CHECKED enum tacit_err ivf_vector(struct ivf *ix, int64_t id, float *v);

/* One condition on a filter word; words compare as int64. */
struct ivf_term {
    uint32_t column;
    bool negate;
    int64_t lo, hi;     /* lo <= word <= hi, when set is NULL */
    const int64_t *set; /* or one of these [n], rising; borrowed */
    size_t n;
};

/* All of what is given must hold. */
struct ivf_filter {
    const struct ivf_term *terms; /* [n_terms] */
    size_t n_terms;
    const int64_t *ids; /* rowid IN: rising, each once; NULL = any */
    size_t n_ids;
    /* Asked about an id whose words pass, before it is returned, where words
     * alone cannot decide; NULL = they can. */
    enum tacit_err (*verify)(void *arg, int64_t id, bool *keep);
    void *arg;
};

enum ivf_mode { IVF_APPROXIMATE, IVF_EXACT };

struct ivf_query {
    const float *v;      /* [dim] */
    size_t k;            /* 1 … IVF_K_MAX */
    enum ivf_mode mode;  /* exact: over all rows as they are kept */
    float recall;        /* aim, in (0, 1]; 0 = 0.95; 1 = all lists */
    uint32_t probes;     /* lists to read at most and at least; 0 = by recall */
    const int64_t *part; /* NULL = all partitions */
    const struct ivf_filter *filter; /* NULL = none */
};

struct ivf_hit {
    int64_t id;
    float distance; /* cosine: 1 - cos; l2: Euclidean; dot: -<q, v> */
};

/* What a search did. */
struct ivf_work {
    uint32_t lists, segments, entries, rows;
};

/* The k nearest, by rising (distance, id), into hits [k], their number into
 * *n_hits; work may be NULL. Fewer than k only when fewer pass the filter.
 * E_VECTOR_VALUE; LIMIT: k, or over IVF_TERMS_MAX terms. Interleaved writes are
 * not allowed. */
TACIT_CHECKED enum tacit_err ivf_search(struct ivf *ix,
                                        const struct ivf_query *query,
                                        struct ivf_hit *hits, size_t *n_hits,
                                        struct ivf_work *work);

/* Improve what writes left behind: pack, merge and split lists, take their
 * means for centroids, move entries to nearer lists; at most `budget` lists.
 * Goes on where the last call stopped; *done when every list has had its turn.
 */
TACIT_CHECKED enum tacit_err ivf_optimise(struct ivf *ix, uint64_t budget,
                                          bool *done);

/* What a complete check found. */
struct ivf_report {
    uint64_t rows, lists, entries, second, partitions;
    uint64_t blocks_bytes; /* all segments */
    uint64_t problems;     /* 0 = sound */
    char first[160];       /* what the first problem is */
};
/* ivf_validate() and ivf_rebuild() say how far they are, in lists; NULL: to
 * nobody. */
void ivf_watch(struct ivf *ix,
               void (*step)(void *ctx, uint64_t done, uint64_t total),
               void *ctx);
/* Check that every row has its one or two slots, each slot its row, that codes
 * agree with rows, and that all is well-formed. Damage is counted, not
 * returned; the store's errors are. */
TACIT_CHECKED enum tacit_err ivf_validate(struct ivf *ix,
                                          struct ivf_report *report);

/* Make heads, entries and places anew from the rows, wherever one can be read.
 * `describe` gives the partition and words [columns] of an id; where it returns
 * NOTFOUND the row is left out. */
TACIT_CHECKED enum tacit_err ivf_rebuild(
    struct ivf *ix,
    enum tacit_err (*describe)(void *arg, int64_t id, int64_t *part,
                               int64_t *words),
    void *arg);

#endif
