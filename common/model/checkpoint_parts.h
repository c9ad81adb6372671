/* checkpoint_parts: what the files of checkpoint share. */
#ifndef TACIT_MODEL_CHECKPOINT_PARTS_H
#define TACIT_MODEL_CHECKPOINT_PARTS_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/model/checkpoint.h"
#include "common/model/safetensors_file.h"

enum { CHECKPOINT_FILES_MAX = 256 };

struct checkpoint {
    char family[32];
    struct gguf *meta;  /* of a folder: over `written` */
    struct buf written; /* metadata as GGUF, made from the folder's files */
    struct arena arena; /* tensors that are not as the folder has them */
    struct safetensors_file **files; /* owned */
    size_t n_files;
    struct gguf_tensor *tensors; /* NULL: those of meta; owned */
    size_t n_tensors;
};

/* checkpoint_folder.c: fills an empty checkpoint. */
TACIT_CHECKED enum tacit_err checkpoint_open_folder(struct checkpoint *c,
                                                    const char *path);

/* What the name map has to know of a model. */
struct checkpoint_shape {
    int64_t heads, kv_heads, head_width;
    int tied, pairs; /* pairs: q and k are to be interleaved */
};
/* checkpoint_names.c: the tensors of the files under GGUF's names. */
TACIT_CHECKED enum tacit_err checkpoint_rename(struct checkpoint *c,
                                               const struct checkpoint_shape *s,
                                               const float *factors,
                                               size_t n_factors);

#endif
