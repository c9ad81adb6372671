/*
 * gguf: the file in which people have their models: metadata by key, tensors by
 * name, mapped and used as they lie (ggml's docs/gguf.md).
 *
 *   "GGUF" | u32 version | u64 tensors | u64 pairs
 *   pairs    text key | u32 kind | value        text: u64 length | bytes
 *                                               array: u32 kind | u64 n | …
 *   tensors  text name | u32 dims | u64 dim[] (innermost first)
 *            | u32 type | u64 offset
 *   padding to general.alignment (32) | data, each tensor aligned
 *
 * Versions 1 (counts and lengths of 32 bits), 2 and 3 are read, 3 is written.
 * Every count, length, dimension and offset is checked when the file is opened:
 * what a getter hands out lies inside the file. Refused are tensors that
 * overlap, names or keys that stand twice, an alignment that is no power of
 * two, and arrays of arrays. The type numbers are ggml's; GGUF_PACKED + type
 * marks a matrix in the tiles of weight.h, which only our own files have.
 *
 * Thread rule: an open file may be read by many threads.
 */
#ifndef TACIT_MODEL_GGUF_H
#define TACIT_MODEL_GGUF_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/digest.h"
#include "common/base/err.h"
#include "common/base/part.h"

enum {
    GGUF_KEY_MAX = 255, /* bytes of a key or of a tensor's name */
    GGUF_PAIRS_MAX = 1 << 16,
    GGUF_TENSORS_MAX = 1 << 16,
    GGUF_ARRAY_MAX = 1 << 24, /* values in one array */
    GGUF_DIMS_MAX = 4,
    GGUF_ALIGNMENT = 32,
    GGUF_PACKED = 1000
};

enum gguf_kind {
    GGUF_U8 = 0,
    GGUF_I8 = 1,
    GGUF_U16 = 2,
    GGUF_I16 = 3,
    GGUF_U32 = 4,
    GGUF_I32 = 5,
    GGUF_F32 = 6,
    GGUF_BOOL = 7,
    GGUF_TEXT = 8,
    GGUF_ARRAY = 9,
    GGUF_U64 = 10,
    GGUF_I64 = 11,
    GGUF_F64 = 12
};

struct gguf_tensor {
    char name[GGUF_KEY_MAX + 1];
    uint32_t type;                /* ggml's number, or GGUF_PACKED + it */
    unsigned n_dims;              /* 1 to GGUF_DIMS_MAX */
    uint64_t dims[GGUF_DIMS_MAX]; /* innermost first; 1 past n_dims */
    uint64_t bytes;
    uint64_t offset;     /* from the start of the data */
    const uint8_t *data; /* borrowed from the file */
    /* Heads of so many rows stand in data as two halves, and count in turns:
     * gguf_row(). 0: rows count as they stand. Never of what is packed. */
    uint64_t halves;
};

/* Row i of a matrix that is not packed. */
const uint8_t *gguf_row(const struct gguf_tensor *t, uint64_t i);

/* An array value: read its members in order. */
struct gguf_array {
    enum gguf_kind kind; /* of the members */
    uint64_t n;          /* members that are left */
    const uint8_t *at;   /* borrowed */
    int wide;            /* texts have lengths of 64 bits */
};

struct gguf;

/* Map the file. NOTFOUND, IO; FORMAT: not such a file, or damaged (the message
 * says where); UNSUPPORTED: a version or type that is not read, by name. */
TACIT_CHECKED enum tacit_err gguf_open(const char *path, struct gguf **out);
/* The same over n bytes in memory, borrowed until gguf_close(). */
TACIT_CHECKED enum tacit_err gguf_open_bytes(const uint8_t *bytes, size_t n,
                                             struct gguf **out);
void gguf_close(struct gguf *g);

size_t gguf_n_tensors(const struct gguf *g);
const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, size_t i);
/* NULL when there is none of that name. */
const struct gguf_tensor *gguf_find(const struct gguf *g, const char *name);
/* The numbers of this tensor have been used (mapped.h); nothing where the file
 * is in memory. */
void gguf_forget(const struct gguf *g, const struct gguf_tensor *t);
/* All of it will be read (mapped.h). */
void gguf_expect_all(const struct gguf *g);
/* The whole file. */
const uint8_t *gguf_bytes(const struct gguf *g);
uint64_t gguf_file_bytes(const struct gguf *g);

size_t gguf_n_pairs(const struct gguf *g);
const char *gguf_key_at(const struct gguf *g, size_t i);
int gguf_has(const struct gguf *g, const char *key);
/* Whole numbers of any width and bool. NOTFOUND without the key, FORMAT for
 * another kind, LIMIT outside [min, max]. */
TACIT_CHECKED enum tacit_err gguf_int(const struct gguf *g, const char *key,
                                      int64_t min, int64_t max, int64_t *out);
/* f32, f64 or a whole number; FORMAT when it is not finite. */
TACIT_CHECKED enum tacit_err gguf_real(const struct gguf *g, const char *key,
                                       double *out);
/* Borrowed, n bytes, not NUL-terminated. */
TACIT_CHECKED enum tacit_err gguf_text(const struct gguf *g, const char *key,
                                       const char **out, size_t *out_n);
/* A text into out[cap], NUL-terminated and cut where it does not fit; "" when
 * there is no such key. */
void gguf_text_or_empty(const struct gguf *g, const char *key, char *out,
                        size_t cap);
TACIT_CHECKED enum tacit_err gguf_array(const struct gguf *g, const char *key,
                                        struct gguf_array *out);
/* The next member; the caller has looked at a->n and a->kind. */
const char *gguf_next_text(struct gguf_array *a, size_t *out_n);
int64_t gguf_next_int(struct gguf_array *a);
double gguf_next_real(struct gguf_array *a);
/* 1 when members of this kind are whole numbers (or bool). */
int gguf_kind_is_int(enum gguf_kind kind);

/* Name of a tensor type ("Q8_0", "packed Q8_0"), or NULL for an unknown one. */
const char *gguf_type_name(uint32_t type);
/* Bytes of a tensor of this type and shape; 0 when the type is unknown, a row
 * is no whole number of blocks, or it is more than 2^48. */
uint64_t gguf_type_bytes(uint32_t type, const uint64_t dims[GGUF_DIMS_MAX]);

/*
 * Writing: first all pairs, then all tensors (name and shape), then their data
 * in the same order, in pieces of any size.
 *
 * The file appears under its name only in gguf_writer_commit(), whole and on
 * the disk; gguf_writer_release() removes what is unfinished. Errors stick
 * until the commit.
 */
struct gguf_writer {
    struct buf pairs, infos;
    uint64_t n_pairs, n_tensors, alignment;
    uint64_t offset;     /* where the next tensor's data begins */
    uint64_t written;    /* bytes of data so far */
    uint64_t file_bytes; /* of the file, on the disk */
    struct buf out;      /* what is not on the disk yet; all of it in memory */
    struct part part;    /* the unfinished file; fd -1: into memory */
    struct digest_state hash;
    int begun; /* the header is out */
    enum tacit_err err;
};

/* folder: where the unfinished file lies (common/base/part.h). NULL: write into
 * w->out. */
TACIT_CHECKED enum tacit_err gguf_writer_init(struct gguf_writer *w,
                                              const char *folder,
                                              uint64_t alignment);
void gguf_writer_release(struct gguf_writer *w);
void gguf_put_text(struct gguf_writer *w, const char *key, const char *text,
                   size_t n);
void gguf_put_u32(struct gguf_writer *w, const char *key, uint32_t v);
void gguf_put_f32(struct gguf_writer *w, const char *key, float v);
void gguf_put_bool(struct gguf_writer *w, const char *key, int v);
/* Members as they lie in memory, little-endian; for texts see below. */
void gguf_put_array(struct gguf_writer *w, const char *key, enum gguf_kind kind,
                    const void *values, uint64_t n);
/* n texts, each n_bytes[i] long. */
void gguf_put_texts(struct gguf_writer *w, const char *key,
                    const char *const *texts, const size_t *n_bytes,
                    uint64_t n);
/* Pair number i of another file, as it is. */
void gguf_put_pair(struct gguf_writer *w, const struct gguf *from, size_t i);
void gguf_put_tensor(struct gguf_writer *w, const char *name, uint32_t type,
                     unsigned n_dims, const uint64_t *dims);
/* The next bytes of the tensors' data; padding between tensors is not the
 * caller's: call gguf_end_tensor() behind each. */
TACIT_CHECKED enum tacit_err gguf_put_data(struct gguf_writer *w,
                                           const void *bytes, size_t n);
TACIT_CHECKED enum tacit_err gguf_end_tensor(struct gguf_writer *w);
/* Finish; hash (of the whole file) may be NULL. */
TACIT_CHECKED enum tacit_err gguf_writer_end(struct gguf_writer *w,
                                             struct digest *hash);
/* After the end: give the file its name, replacing one that is there. mode:
 * who may read it, e.g. 0600. */
TACIT_CHECKED enum tacit_err gguf_writer_commit(struct gguf_writer *w,
                                                const char *path,
                                                unsigned mode);

#endif
