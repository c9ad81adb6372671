/*
 * ivf_state: what the files of ivf share. Not for callers of ivf.h.
 *
 *   ivf.c         create, open, insert, delete, words
 *   ivf_layout.c  segments, heads, meta, rows as bytes
 *   ivf_walk.c    heads and segments of the store, one after another
 *   ivf_tree.c    the centroids of a partition in memory
 *   ivf_near.c    the nearest lists
 *   ivf_list.c    one list read into memory, changed, written back
 *   ivf_held.c    entries that are held back, written together
 *   ivf_entry.c   one entry put into a list, found, taken out
 *   ivf_means.c   2-means
 *   ivf_split.c   splits, merges; ivf_mover.h, ivf_pull.c: how entries move
 *   ivf_search.c  search: partitions, lists, ids
 *   ivf_probe.c   which lists, in what order, and how far
 *   ivf_pool.c    candidates by estimate, their rows, the k best
 *   ivf_kept.c    entries that searches have read, for the next
 *   ivf_filter.c  conditions on words
 *   ivf_check.c   optimise, validate, rebuild
 */
#ifndef TACIT_RETRIEVAL_IVF_STATE_H
#define TACIT_RETRIEVAL_IVF_STATE_H

#include <string.h>

#include "common/base/arena.h"
#include "retrieval/ivf.h"
#include "retrieval/rabitq.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "blobs are little-endian and are read in place");
_Static_assert((int)IVF_DIM_MAX == (int)RABITQ_DIM_MAX, "one limit");

enum {
    IVF_HEADER = 16,
    IVF_HEAD_FIXED = 16, /* before a centroid's bytes */
    IVF_ROWS_HEADER = 8,
    IVF_ROW_FIXED = 12, /* id and length */
    IVF_ROW_INT8 = 8,   /* scale and norm2 */
    IVF_BLOCK = RABITQ_BLOCK,
    /* A list read whole; only a damaged one holds more. */
    IVF_LIST_SLOTS_MAX = 8 * IVF_LIST_MAX,
    IVF_NEAR_MAX = 32,
    IVF_LISTS_MAX = (1 << 30) - 1,
    IVF_FOLLOWED = 0x8000, /* in a segment's number of blocks */
    IVF_MIXED = 0x8000,    /* in its number of rows: by RABITQ_MIXING */
    IVF_TAILS = 1 << 14,
    IVF_LEVELS = 64, /* of a histogram of the probing rule */
    IVF_RANKS = 3    /* histograms: of the 10, 100, 1000 nearest */
};

/* Where things lie in a block. */
struct ivf_shape {
    size_t width, columns;
    size_t coarse; /* numbers that tell most lists apart; 0 = all are needed */
    size_t scalars, ids, words, block; /* offsets; bytes of a block */
    size_t blocks_max;                 /* of a segment */
    size_t slots_max;
    size_t list_max,
        list_min;         /* entries: a list is split above, merged below */
    size_t row, rows_max; /* bytes of a row; rows of a segment */
};

/* The counters that change with lists, as the meta blob has them. */
struct ivf_counters {
    uint64_t epoch;
    uint32_t next_list;
    uint32_t sweep; /* where ivf_optimise() goes on */
    uint32_t heads; /* 1 + lists there are; 0 = not counted: format 2 */
    float levels[IVF_RANKS][IVF_LEVELS];
};

/* The lists of one partition. */
struct ivf_tree {
    int64_t part;
    size_t n, room;
    uint32_t *list;       /* [room], rising is not kept */
    float *scale;         /* [room] */
    float *norm2;         /* [room] */
    int8_t *codes;        /* [room, width] */
    uint8_t *bits;        /* [room / 16] blocks, relative to mean */
    uint8_t *coarse;      /* the same of the first shape.coarse numbers */
    unsigned coarse_rest; /* searches to come that go without */
    float *mean;          /* [width], = mean_scale * mean_codes */
    int8_t *mean_codes;
    float mean_scale, mean_norm2;
    size_t n_mean; /* lists when it was taken */
    uint64_t used; /* for eviction */
    bool is_met;   /* a search has read of its lists */
};

struct ivf_near {
    uint32_t at; /* place in the tree */
    float d2;    /* squared distance (or - product) to the query */
};

struct ivf_scratch; /* of a search: ivf_searcher.h */
struct ivf_kept;    /* of searches: ivf_kept.c */

/* Entries that are held back: ivf_held.c. */
struct ivf_held {
    size_t n, room;
    void *data;               /* [room] of them, owned */
    uint64_t *order;          /* [room] owned */
    uint8_t share[IVF_TAILS]; /* how many, by list */
    bool is_full;
};

struct ivf {
    const struct ivf_store *store;
    struct ivf_settings set;
    struct ivf_shape shape, lean; /* lean: blocks that are kept, without ids */
    struct ivf_counters count;
    bool stale;     /* counters are read anew before they are used */
    bool heads_met; /* as many heads as count.heads says, since trees were */
    struct rabitq *rq;
    const struct rabitq_kernels *kernels;
    enum rabitq_metric metric;

    struct ivf_tree **trees;
    size_t n_trees, room_trees;
    int64_t *parts; /* all partitions, once parts_known; rising */
    size_t n_parts, room_parts;
    bool parts_known;
    uint64_t clock;

    struct rabitq_query *query; /* of the vector being placed or sought */
    struct rabitq_query *pivot, *pivot2; /* of centroids, in a split */
    float *x, *c;                        /* [width] each */
    float *v;         /* [dim]: the vector, of unit length under cosine */
    uint8_t *segment; /* one, being changed */
    uint8_t *rows;    /* a segment of rows, being changed */
    uint8_t *row;     /* one record */
    uint8_t tail[IVF_TAILS]; /* the last segments of lists, as they were */
    float *estimates;        /* [room_dots] */
    size_t room_dots;
    struct arena arena; /* of one split or merge */
    struct ivf_scratch *scratch;
    struct ivf_kept *kept; /* or NULL */
    enum ivf_wait wait;    /* of what is inserted */
    struct ivf_held held;
    void (*step)(void *ctx, uint64_t done, uint64_t total); /* or NULL */
    void *step_ctx;
};

#define IVF_DAMAGED(...) fail_as(E_INDEX_DAMAGED, __VA_ARGS__)

/* ---- ivf_layout.c ---- */
TACIT_CHECKED enum tacit_err ivf_shape_set(const struct ivf_settings *set,
                                           struct ivf_shape *shape);
size_t ivf_head_bytes(const struct ivf *ix);
TACIT_CHECKED enum tacit_err ivf_meta_write(struct ivf *ix);
TACIT_CHECKED enum tacit_err ivf_meta_decode(const void *data, size_t n,
                                             struct ivf_settings *set,
                                             struct ivf_counters *count);
TACIT_CHECKED enum tacit_err ivf_meta_store(const struct ivf_store *store,
                                            const struct ivf_settings *set,
                                            const struct ivf_counters *count);
/* What the store calls the entries and the rows of a list. */
static inline uint32_t ivf_entries_of(uint32_t list)
{
    return 2 * list;
}
static inline uint32_t ivf_rows_of(uint32_t list)
{
    return 2 * list + 1;
}
/* Rows that a segment has at most, whatever the page size it was made for. */
size_t ivf_rows_most(const struct ivf *ix);
/* Segment blobs are well-formed; `whole` also when they were made for another
 * page size. */
TACIT_CHECKED enum tacit_err ivf_segment_check(const struct ivf *ix,
                                               uint32_t list, uint32_t seg,
                                               const void *data, size_t n);
TACIT_CHECKED enum tacit_err ivf_rows_whole(const struct ivf *ix, uint32_t list,
                                            uint32_t seg, const void *data,
                                            size_t n);
TACIT_CHECKED enum tacit_err ivf_rows_check(const struct ivf *ix, uint32_t list,
                                            uint32_t seg, const void *data,
                                            size_t n);
/* A row record [shape.row] for v [dim], which ivf_prepare() has seen. */
void ivf_row_make(const struct ivf *ix, int64_t id, const float *v,
                  float length, uint8_t *row);
/* x [width] from a row record, of unit length under cosine. */
TACIT_CHECKED enum tacit_err ivf_row_rotated(const struct ivf *ix,
                                             const uint8_t *row, float *x);
/* Squared distance, or - product, of ix->query (of ix->v) to a row record. */
TACIT_CHECKED enum tacit_err ivf_row_d2(const struct ivf *ix,
                                        const uint8_t *row, float *d2);
/* v [dim] as it was given, near enough. */
TACIT_CHECKED enum tacit_err ivf_row_vector(const struct ivf *ix,
                                            const uint8_t *row, float *v);
/* What a caller sees of a d2. */
float ivf_distance(const struct ivf *ix, float d2);

static inline uint16_t ivf_u16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint32_t ivf_u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline int64_t ivf_i64(const uint8_t *p)
{
    int64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline float ivf_f32(const uint8_t *p)
{
    float v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Parts of a segment; slot counts through its blocks. */
static inline size_t ivf_blocks(const uint8_t *seg)
{
    return ivf_u16(seg + 8) & (IVF_FOLLOWED - 1);
}
/* Whether the list has a segment behind this one. */
static inline bool ivf_followed(const uint8_t *seg)
{
    return ivf_u16(seg + 8) & IVF_FOLLOWED;
}
static inline size_t ivf_live(const uint8_t *seg)
{
    return ivf_u16(seg + 10);
}
static inline const uint8_t *ivf_block(const struct ivf_shape *s,
                                       const uint8_t *seg, size_t b)
{
    return seg + IVF_HEADER + b * s->block;
}
static inline bool ivf_slot_live(const struct ivf_shape *s, const uint8_t *seg,
                                 size_t slot)
{
    const uint8_t *b = ivf_block(s, seg, slot / IVF_BLOCK);
    return ivf_u16(b + s->scalars + 2 * (IVF_BLOCK + slot % IVF_BLOCK)) != 0;
}
static inline int64_t ivf_slot_id(const struct ivf_shape *s, const uint8_t *seg,
                                  size_t slot)
{
    const uint8_t *b = ivf_block(s, seg, slot / IVF_BLOCK);
    return ivf_i64(b + s->ids + 8 * (slot % IVF_BLOCK));
}
static inline int64_t ivf_slot_word(const struct ivf_shape *s,
                                    const uint8_t *seg, size_t slot,
                                    size_t column)
{
    const uint8_t *b = ivf_block(s, seg, slot / IVF_BLOCK);
    return ivf_i64(b + s->words + 8 * (column * IVF_BLOCK + slot % IVF_BLOCK));
}

/* An entry on its way into a list. */
struct ivf_entry {
    int64_t id;
    const int64_t *words; /* [columns] */
    const uint8_t *bits;  /* [width / 8] */
    struct rabitq_entry scalars;
};
void ivf_segment_start(const struct ivf_shape *s, uint8_t *seg, uint32_t list,
                       uint32_t number);
/* The first empty slot, a new block when there is room for one; slots_max when
 * the segment is full. */
size_t ivf_segment_free(const struct ivf_shape *s, uint8_t *seg);
/* Another segment is to stand behind this one, which is full. */
void ivf_segment_follow(uint8_t *seg);
void ivf_segment_put(const struct ivf_shape *s, uint8_t *seg, size_t slot,
                     const struct ivf_entry *e);
void ivf_segment_zero(const struct ivf_shape *s, uint8_t *seg, size_t slot);
size_t ivf_segment_bytes(const struct ivf_shape *s, const uint8_t *seg);

/* ---- ivf_walk.c ---- */
/* A head by the number of its list, or a segment by its own; the bytes are
 * borrowed until it returns. An error ends the walk. */
typedef enum tacit_err ivf_visit(void *ctx, uint32_t number, const void *data,
                                 size_t n);
/* Heads of a partition, or of all (NULL), in their order. */
TACIT_CHECKED enum tacit_err ivf_heads_walk(const struct ivf_store *s,
                                            const int64_t *part,
                                            ivf_visit *visit, void *ctx);
/* Segments of a run (ivf_entries_of(), ivf_rows_of()), rising. */
TACIT_CHECKED enum tacit_err ivf_segs_walk(const struct ivf_store *s,
                                           uint32_t run, ivf_visit *visit,
                                           void *ctx);

/* ---- ivf_tree.c, ivf_near.c ---- */
/* Bytes of a block of centroids: codes and scalars. */
static inline size_t ivf_tree_block(size_t width)
{
    return width / 8 * IVF_BLOCK + 2 * sizeof(uint16_t) * IVF_BLOCK;
}
TACIT_CHECKED enum tacit_err ivf_head_check(const struct ivf *ix, uint32_t list,
                                            const uint8_t *head, size_t n);
TACIT_CHECKED enum tacit_err ivf_tree_get(struct ivf *ix, int64_t part,
                                          struct ivf_tree **out);
void ivf_trees_forget(struct ivf *ix);
/* All partitions into ix->parts. */
TACIT_CHECKED enum tacit_err ivf_parts_get(struct ivf *ix);
size_t ivf_trees_bytes(const struct ivf *ix);
/* Replace or add the list with centroid c [width], here and in the store; c
 * becomes what its bytes stand for. */
TACIT_CHECKED enum tacit_err ivf_tree_put(struct ivf *ix, struct ivf_tree *t,
                                          uint32_t list, float *c);
TACIT_CHECKED enum tacit_err ivf_tree_drop(struct ivf *ix, struct ivf_tree *t,
                                           uint32_t list);
/* c [width] of place `at`. */
void ivf_tree_centroid(const struct ivf *ix, const struct ivf_tree *t,
                       size_t at, float *c);
size_t ivf_tree_find(const struct ivf_tree *t, uint32_t list);
/* The nearest lists to q by squared distance, at most `want`, at most
 * IVF_NEAR_MAX, rising; their number. Those farther than `within` times the
 * nearest may be others than the nearest of them. */
size_t ivf_tree_nearest(struct ivf *ix, struct ivf_tree *t,
                        const struct rabitq_query *q, size_t want, float within,
                        struct ivf_near *out);
/* <q, c> and |q - c|^2 of place `at`. */
float ivf_tree_product(const struct ivf *ix, const struct ivf_tree *t,
                       const struct rabitq_query *q, size_t at);
float ivf_tree_d2(const struct ivf *ix, const struct ivf_tree *t,
                  const struct rabitq_query *q, size_t at);
/* Estimates and lower bounds of all |q - c|^2: [n rounded up to 16]. */
void ivf_tree_estimate(const struct ivf *ix, const struct ivf_tree *t,
                       const struct rabitq_query *q, float *estimate,
                       float *lower);

static inline const uint8_t *ivf_row_at(const struct ivf_shape *s,
                                        const uint8_t *rows, size_t i)
{
    return rows + IVF_ROWS_HEADER + i * s->row;
}
/* The rows that a segment of rows has. */
static inline size_t ivf_rows_count(const uint8_t *rows)
{
    return ivf_u16(rows + 6) & (IVF_MIXED - 1);
}
/* Whether they are rotated as ix rotates. */
static inline bool ivf_rows_turned(const struct ivf *ix, const uint8_t *rows)
{
    return !(ivf_u16(rows + 6) & IVF_MIXED) == !(ix->set.seed & RABITQ_MIXING);
}

/* ---- ivf_list.c ---- */
enum ivf_kind { IVF_FIRST, IVF_COPIES };

/* The live entries of a list. All arrays from ix->arena. */
struct ivf_gather {
    size_t n, n_segs, n_rows_segs;
    int64_t *id;    /* [n] */
    int64_t *words; /* [n, columns] */
    uint8_t *rows;  /* [n, row]: NULL for copies */
};
/* With room for `spare` more entries. */
TACIT_CHECKED enum tacit_err ivf_list_gather(struct ivf *ix, uint32_t list,
                                             enum ivf_kind kind, size_t spare,
                                             struct ivf_gather *g);
/* Writes a list's entries and rows anew, segment by segment; c is the list's
 * centroid. */
struct ivf_writer {
    struct ivf *ix;
    uint32_t list;
    const float *c;
    size_t slot;
};
void ivf_writer_start(struct ivf_writer *w, struct ivf *ix, uint32_t list,
                      const float *c);
TACIT_CHECKED enum tacit_err ivf_writer_add(struct ivf_writer *w,
                                            const float *x, const uint8_t *row,
                                            const int64_t *words);
/* Write the rest and delete the old segments after it. */
TACIT_CHECKED enum tacit_err ivf_writer_end(struct ivf_writer *w,
                                            size_t old_segs,
                                            size_t old_rows_segs);
/* Write the list's live entries without the holes. */
TACIT_CHECKED enum tacit_err ivf_list_pack(struct ivf *ix,
                                           const struct ivf_tree *t,
                                           uint32_t list);
/* Delete every segment of a list. */
TACIT_CHECKED enum tacit_err ivf_list_drop(struct ivf *ix, uint32_t list,
                                           size_t segs, size_t rows_segs);

/* A segment of rows, and row i of it, which must be that of *id, where id is
 * known; both borrowed from the store. */
TACIT_CHECKED enum tacit_err ivf_rows_read(struct ivf *ix, uint32_t list,
                                           uint32_t seg, const uint8_t **rows);
TACIT_CHECKED enum tacit_err ivf_rows_row(const struct ivf *ix, uint32_t list,
                                          const uint8_t *rows, size_t i,
                                          const int64_t *id,
                                          const uint8_t **row);
/* The row record of a slot, which must be that of *id, where id is known, read
 * alone: the store has a seg_part; borrowed from it. */
TACIT_CHECKED enum tacit_err ivf_row_part(struct ivf *ix, uint32_t list,
                                          size_t slot, const int64_t *id,
                                          const uint8_t **row);
/* The row record of a slot, which must be that of id; borrowed from the store.
 */
TACIT_CHECKED enum tacit_err ivf_list_row(struct ivf *ix, uint32_t list,
                                          size_t slot, int64_t id,
                                          const uint8_t **row);
/* Write the row of a slot; NULL empties it. */
TACIT_CHECKED enum tacit_err ivf_row_put(struct ivf *ix, uint32_t list,
                                         size_t slot, const uint8_t *row);
/* Write ix->segment. */
TACIT_CHECKED enum tacit_err ivf_segment_write(struct ivf *ix, uint32_t list,
                                               uint32_t seg);

/* ---- ivf_held.c ---- */
/* Hold an entry for a list, with its row, or, without one, a copy of one that
 * is in list `first`. When ix->held.is_full it is time to write. */
TACIT_CHECKED enum tacit_err ivf_held_add(struct ivf *ix, int64_t part,
                                          uint32_t first, uint32_t list,
                                          const struct ivf_entry *e,
                                          const uint8_t *row);
void ivf_held_drop(struct ivf *ix);
void ivf_held_free(struct ivf *ix);
size_t ivf_held_bytes(const struct ivf *ix);

/* ---- ivf_entry.c ---- */
/* Add an entry without its row, which belongs to *slot of the list. */
TACIT_CHECKED enum tacit_err ivf_list_enter(struct ivf *ix, uint32_t list,
                                            const struct ivf_entry *e,
                                            size_t *slot);
/* Add an entry with its row; *slots gets how far the list reaches. */
TACIT_CHECKED enum tacit_err ivf_list_add(struct ivf *ix, uint32_t list,
                                          const struct ivf_entry *e,
                                          const uint8_t *row, size_t *slots);
/* Add a copy; *added false when the list has no room for more of them. */
TACIT_CHECKED enum tacit_err ivf_list_copy(struct ivf *ix, uint32_t list,
                                           const struct ivf_entry *e,
                                           bool *added);
/* Where an id is. The segment is in ix->segment. */
struct ivf_spot {
    bool found;
    uint32_t seg;
    size_t slot;       /* in the segment */
    size_t live, room; /* of the segment: entries, slots */
};
/* Entries of a list, copies aside, and the slots they have. */
TACIT_CHECKED enum tacit_err ivf_list_count(struct ivf *ix, uint32_t list,
                                            size_t *live, size_t *room);
/* How far a list reaches, copies aside: the slots up to its last. */
TACIT_CHECKED enum tacit_err ivf_list_slots(struct ivf *ix, uint32_t list,
                                            size_t *slots);
TACIT_CHECKED enum tacit_err ivf_list_find(struct ivf *ix, uint32_t list,
                                           enum ivf_kind kind, int64_t id,
                                           struct ivf_spot *spot);
/* Zero the slot of id, and its row; E_INDEX_DAMAGED when it is not there. *spot
 * tells what was found. */
TACIT_CHECKED enum tacit_err ivf_list_remove(struct ivf *ix, uint32_t list,
                                             enum ivf_kind kind, int64_t id,
                                             struct ivf_spot *spot);
/* As ivf_list_row(), where only the first list is known. */
TACIT_CHECKED enum tacit_err ivf_row_find(struct ivf *ix, uint32_t list,
                                          int64_t id, const uint8_t **row);
/* An entry for x [width] near centroid c; bits [width / 8] is filled. */
struct ivf_entry ivf_entry_make(const struct ivf *ix, const float *x,
                                const float *c, int64_t id,
                                const int64_t *words, uint8_t *bits);

/* ---- ivf_means.c ---- */
struct ivf_halves {
    size_t n, width;
    const float *x; /* [n, width] */
    float *c[2];    /* [width] */
    float *along;   /* [width] */
    float *margin;  /* [n]: below 0 = half 0 */
    uint8_t *side;  /* [n] */
    bool even;      /* the nearest mean would put nearly all on one side */
};
/* Cut n >= 2 rows in two by 2-means, neither part smaller than a share of them:
 * equal rows too, so that no list grows without bound. Fills c, side, even. */
TACIT_CHECKED enum tacit_err ivf_halves_cut(struct ivf *ix,
                                            struct ivf_halves *h);
/* y += a x. */
void ivf_row_add(float *restrict y, float a, const float *restrict x, size_t n);

/* ---- ivf_split.c ---- */
/* The entries above which a list of t is split. */
size_t ivf_list_limit(const struct ivf *ix, const struct ivf_tree *t);
/* A list that reaches over its limit: pack or split it. */
TACIT_CHECKED enum tacit_err ivf_split(struct ivf *ix, struct ivf_tree *t,
                                       uint32_t list);
/* Move the entries of a small list to its neighbours, and drop it. */
TACIT_CHECKED enum tacit_err ivf_merge(struct ivf *ix, struct ivf_tree *t,
                                       uint32_t list);
/* Take the list's mean for its centroid, and move what is nearer to others. */
TACIT_CHECKED enum tacit_err ivf_refine(struct ivf *ix, struct ivf_tree *t,
                                        uint32_t list);
/* A second list is worth it below this times the first squared distance. */
#define IVF_CLOSURE 1.15F
/* Whether the second nearest list, at d2 from a vector that is at best2 from
 * its nearest, gets a copy; between2 is the squared distance of the two. */
bool ivf_second(float best2, float d2, float between2);
/* Squared distances are known to so much, between vectors of squared lengths a2
 * and b2; and their squared distance, 0 where it is no more than that. */
float ivf_rounding(float a2, float b2);
float ivf_gap2(float a2, float b2, float product);

/* ---- ivf.c ---- */
/* Counters as the store has them now. */
TACIT_CHECKED enum tacit_err ivf_fresh(struct ivf *ix);
/* v made unit under cosine, into ix->v and rotated into ix->x. */
TACIT_CHECKED enum tacit_err ivf_prepare(struct ivf *ix, const float *v,
                                         float *length);
/* Give a row record its places and entries. */
TACIT_CHECKED enum tacit_err ivf_place(struct ivf *ix, int64_t part,
                                       const float *x, const uint8_t *row,
                                       const int64_t *words);

/* ---- ivf_search.c ---- */
/* Learn from a row x [width] in which lists its neighbours lie: the rule by
 * which searches stop. */
TACIT_CHECKED enum tacit_err ivf_learn(struct ivf *ix, struct ivf_tree *t,
                                       const float *x);

/* ---- ivf_pool.c ---- */
void ivf_scratch_free(struct ivf_scratch *s);
size_t ivf_scratch_bytes(const struct ivf_scratch *s);
/* In order, with the distances that a caller sees. */
void ivf_hits_sort(const struct ivf *ix, struct ivf_hit *h, size_t n);

/* ---- ivf_kept.c ---- */
struct ivf_kept_list {
    uint32_t list;           /* 0 = none */
    uint32_t copies, firsts; /* blocks: of ix->shape, then of ix->lean */
    uint8_t *data;
};
/* A search begins: what was written since the one before is not kept. */
TACIT_CHECKED enum tacit_err ivf_kept_begin(struct ivf *ix);
/* The list as it was read before, or NULL. */
const struct ivf_kept_list *ivf_kept_find(const struct ivf *ix, uint32_t list);
/* A list is read: its segments, which are well-formed, and its end. */
void ivf_kept_start(struct ivf *ix);
void ivf_kept_add(struct ivf *ix, uint32_t seg, const uint8_t *data);
void ivf_kept_end(struct ivf *ix, uint32_t list);
void ivf_kept_free(struct ivf_kept *k);
size_t ivf_kept_bytes(const struct ivf_kept *k);

/* ---- ivf_filter.c ---- */
TACIT_CHECKED enum tacit_err ivf_filter_check(const struct ivf *ix,
                                              const struct ivf_filter *f);
/* v is in set [n], rising. */
bool ivf_among(const int64_t *set, size_t n, int64_t v);
/* Bit i: the words of entry i pass. */
uint32_t ivf_filter_block(const struct ivf_filter *f,
                          const struct ivf_shape *shape, const uint8_t *block);
bool ivf_filter_words(const struct ivf_filter *f, const int64_t *words);

#endif
