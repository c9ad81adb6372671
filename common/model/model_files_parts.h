/* model_files_parts: what the files of model_files share. */
#ifndef TACIT_MODEL_MODEL_FILES_PARTS_H
#define TACIT_MODEL_MODEL_FILES_PARTS_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/model/model_files.h"
#include "common/model/safetensors_file.h"

enum { MODEL_FILES_MAX = 256 };

struct model_files {
    char family[32];
    struct gguf *meta;  /* of a folder: over `written` */
    struct buf written; /* metadata as GGUF, made from the folder's files */
    struct arena arena; /* tensors that are not as the folder has them */
    struct safetensors_file **files; /* owned */
    size_t n_files;
    struct gguf_tensor *tensors; /* NULL: those of meta; owned */
    size_t n_tensors;
};

/* model_files_folder.c: fills an empty one. */
TACIT_CHECKED enum tacit_err model_files_open_folder(struct model_files *c,
                                                     const char *path);

/* What the name map has to know of a model. */
struct model_files_shape {
    int64_t heads, kv_heads, head_width;
    int tied, pairs; /* pairs: q and k are to be interleaved */
    int has_head;    /* of classes; then its pooler counts, too */
};
/* model_files_names.c: the tensors of the files under GGUF's names. */
TACIT_CHECKED enum tacit_err model_files_rename(
    struct model_files *c, const struct model_files_shape *s,
    const float *factors, size_t n_factors);
/* The other way: what a folder calls a tensor of GGUF's name. UNSUPPORTED. */
TACIT_CHECKED enum tacit_err model_files_their_name(const char *name,
                                                    int is_decoder,
                                                    char out[GGUF_KEY_MAX + 1]);

#endif
