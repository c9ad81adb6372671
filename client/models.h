/*
 * models: the networks that this device has imported.
 *
 *   model.gguf or folder ──checkpoint, repack──> <home>/blobs/<hash>
 *                                                row in tacit.db: name, family,
 *                                                type, licence, source, hashes
 *
 * A model lies in blobs/ as one GGUF file under the BLAKE2b-256 of its content,
 * its matrices packed as products want them (weights.h), so it is mapped and
 * used at once. It appears there whole: until then it is a hidden file that its
 * process holds locked; what a killed process left is removed by the next
 * import. A model file is not sealed: it holds no text of this device.
 *
 * Thread rule: as the device.
 */
#ifndef TACIT_CLIENT_MODELS_H
#define TACIT_CLIENT_MODELS_H

#include <stdint.h>

#include "client/device.h"

enum {
    MODELS_N_MIGRATIONS = 1,
    MODEL_NAME_MAX = 65, /* NUL included, as all here */
    MODEL_TEXT_MAX = 512,
    MODELS_MAX = 1024
};
extern const char *const models_migrations[MODELS_N_MIGRATIONS];

struct model_row {
    char name[MODEL_NAME_MAX];
    char family[32];              /* "llama" */
    char type[16];                /* of most numbers: "Q8_0" */
    char licence[MODEL_TEXT_MAX]; /* "" when nobody said */
    char source[MODEL_TEXT_MAX];
    struct digest hash;        /* of the file in blobs/ */
    struct digest source_hash; /* of what was imported */
    uint64_t bytes, source_bytes, parameters;
    int64_t added_s;
};

struct models_job {
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
 * Importing the same again changes nothing. */
TACIT_CHECKED enum tacit_err models_import(struct device *d,
                                           const struct models_job *job,
                                           struct model_row *out);
/* Another type of an imported one, as a model of its own named job->name. */
TACIT_CHECKED enum tacit_err models_quantise(struct device *d,
                                             const struct model_row *from,
                                             const struct models_job *job,
                                             struct model_row *out);
/* To a plain GGUF file at job->path, which must not be there. */
TACIT_CHECKED enum tacit_err models_export(struct device *d,
                                           const struct model_row *from,
                                           const struct models_job *job);
/* By name. */
TACIT_CHECKED enum tacit_err models_walk(
    struct device *d,
    enum tacit_err (*visit)(const struct model_row *m, void *ctx), void *ctx);
/* By name, or by eight digits or more of the hash. NOTFOUND. */
TACIT_CHECKED enum tacit_err models_find(struct device *d, const char *name,
                                         struct model_row *out);
/* Forget it; its file goes when no other name has it. */
TACIT_CHECKED enum tacit_err models_remove(struct device *d,
                                           const struct model_row *m);
/* Where its file lies. */
TACIT_CHECKED enum tacit_err models_path(const struct device *d,
                                         const struct model_row *m,
                                         char out[DEVICE_PATH_MAX]);

#endif
