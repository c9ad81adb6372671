/*
 * networks: the models that this device has imported.
 *
 *   model.gguf or folder ──model_files, repack──> <home>/blobs/<hash>
 *                                                row in tacit.db: name, family,
 *                                                type, licence, source, hashes
 *
 * A model lies in blobs/ as one GGUF file under the BLAKE2b-256 of its content,
 * its matrices packed as products want them (weights.h), so it is mapped and
 * used at once. Its bytes follow from the source and the type alone, so that
 * plans can name it by its hash; name, licence and source stand in the row. It
 * appears there whole (gguf_writer_init); what a killed process left is removed
 * by the next import. A model file is not sealed: it holds no text of this
 * device.
 *
 * Thread rule: as the device.
 */
#ifndef TACIT_CLIENT_NETWORKS_H
#define TACIT_CLIENT_NETWORKS_H

#include <stdint.h>

#include "client/device.h"
#include "common/model/gguf.h"

enum {
    NETWORKS_N_MIGRATIONS = 1,
    NETWORK_NAME_MAX = 65, /* NUL included, as all here */
    NETWORK_TEXT_MAX = 512
};
extern const char *const networks_migrations[NETWORKS_N_MIGRATIONS];

struct network_row {
    char name[NETWORK_NAME_MAX];
    char family[32];                /* "llama" */
    char type[16];                  /* of most numbers: "Q8_0" */
    char licence[NETWORK_TEXT_MAX]; /* "" when nobody said */
    char source[NETWORK_TEXT_MAX];
    struct digest hash;        /* of the file in blobs/ */
    struct digest source_hash; /* of what was imported */
    uint64_t bytes, source_bytes, parameters;
    int64_t added_s;
};

struct networks_job {
    const char *path;    /* to import */
    const char *name;    /* NULL: from the path */
    const char *licence; /* NULL: what the file says */
    const char *source;  /* NULL: what the file says, else the path */
    int type;            /* enum quant_type or REPACK_KEEP */
    /* Called while it works; an error of it ends the work. */
    enum tacit_err (*step)(void *ctx, uint64_t done, uint64_t total);
    void *ctx;
};

/* FORMAT, UNSUPPORTED: the file; STATE: the name is taken by another model.
 * The same again gets the licence and source that the job has, and its file
 * anew. */
TACIT_CHECKED enum tacit_err networks_import(struct device *d,
                                             const struct networks_job *job,
                                             struct network_row *out);
/* Before work that will need it: a name may be given to a new model. USAGE: it
 * is none; STATE: it is taken. */
TACIT_CHECKED enum tacit_err networks_check_free(struct device *d,
                                                 const char *name);
/* Each file is what was imported, by its hash; FORMAT, NOTFOUND: the first one
 * that is not. */
TACIT_CHECKED enum tacit_err networks_check(struct device *d);
/* One of them: before anything is made of it. */
TACIT_CHECKED enum tacit_err networks_check_file(const struct device *d,
                                                 const struct network_row *m);
/* Another type of an imported one, as a model of its own named job->name. This
 * and both exports: FORMAT when its file is not what was imported. */
TACIT_CHECKED enum tacit_err networks_quantise(struct device *d,
                                               const struct network_row *from,
                                               const struct networks_job *job,
                                               struct network_row *out);
/* To a plain GGUF file at job->path, which must not be there. */
TACIT_CHECKED enum tacit_err networks_export(struct device *d,
                                             const struct network_row *from,
                                             const struct networks_job *job);
/* To a folder of that name as Hugging Face's libraries read it (safetensors);
 * job->type: QUANT_F32, F16, BF16, or REPACK_KEEP. As model_folder_write(). */
TACIT_CHECKED enum tacit_err networks_export_folder(
    struct device *d, const struct network_row *from,
    const struct networks_job *job);
/* By name. */
TACIT_CHECKED enum tacit_err networks_walk(
    struct device *d,
    enum tacit_err (*visit)(const struct network_row *m, void *ctx), void *ctx);
/* By name, or by eight digits or more of the hash. NOTFOUND. */
TACIT_CHECKED enum tacit_err networks_find(struct device *d, const char *name,
                                           struct network_row *out);
/* What came with the program, under the name that `tacit model use` takes;
 * NOTFOUND: another one. *file is owned, NULL of the reader, which is none. */
TACIT_CHECKED enum tacit_err networks_built_in(const char *name,
                                               struct network_row *out,
                                               struct gguf **file);
/* One thing that a network can be chosen for: a table of one row (one, name,
 * hash), where `number` names a column behind these; NULL: there is none. */
struct networks_role {
    const char *table, *number;
};
struct networks_choice {
    char name[NETWORK_NAME_MAX]; /* "": nobody */
    struct digest hash;          /* of its file in blobs/ */
    int64_t number;
};
TACIT_CHECKED enum tacit_err networks_chosen(struct device *d,
                                             const struct networks_role *role,
                                             struct networks_choice *out);
/* Choose m, durably, in place of another one; NULL: nobody. */
TACIT_CHECKED enum tacit_err networks_choose(struct device *d,
                                             const struct networks_role *role,
                                             const struct network_row *m,
                                             int64_t number);
/* STATE when m is what was chosen; `does` says what it does here ("writes the
 * answers"), `back` what `tacit model use` takes instead. */
TACIT_CHECKED enum tacit_err networks_check_unused(const struct network_row *m,
                                                   const char *chosen,
                                                   const char *does,
                                                   const char *back);
/* Puts in front of an E_BASE_MISSING what is here under the base's name, where
 * that is another file than hash. Returns err, as does what needs no word. */
TACIT_CHECKED enum tacit_err networks_explain_missing(struct device *d,
                                                      const char *name,
                                                      const struct digest *hash,
                                                      enum tacit_err err);
/* Forget it; its file goes when no other name has it: first of all where the
 * disk is full, since the store has to note what it forgets. */
TACIT_CHECKED enum tacit_err networks_remove(struct device *d,
                                             const struct network_row *m);
/* The hash in a column of a row that names one. E_STORE_DAMAGED. */
TACIT_CHECKED enum tacit_err networks_hash_at(const struct device *d,
                                              sqlite3_stmt *st, int column,
                                              struct digest *out);
/* Where its file lies. */
TACIT_CHECKED enum tacit_err networks_path(const struct device *d,
                                           const struct network_row *m,
                                           char out[DEVICE_PATH_MAX]);

#endif
