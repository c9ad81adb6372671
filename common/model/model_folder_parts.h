/* model_folder_parts: what the files of model_folder share. */
#ifndef TACIT_MODEL_MODEL_FOLDER_PARTS_H
#define TACIT_MODEL_MODEL_FOLDER_PARTS_H

#include "common/base/json.h"
#include "common/model/model_folder.h"

enum { MODEL_FOLDER_PATH = 4096 };

struct model_folder_writing {
    const struct model_files *f;
    const struct model_folder *how;
    const char *path, *family;
    int is_decoder, pairs; /* pairs: q and k stand in pairs of rows */
    int64_t heads, kv_heads, width, head_width;
    uint64_t done, total;
};

/* The matrix of a head that tells classes; NULL: there is none. */
const struct gguf_tensor *model_folder_classes(
    const struct model_folder_writing *w);
/* 1 for a head that finds spans. */
int model_folder_reads(const struct model_folder_writing *w);

/* model_folder_biases.c: what config.json of a decoder of this type (llama,
 * mistral, qwen2) says of its biases. UNSUPPORTED: such a class has others. */
TACIT_CHECKED enum tacit_err model_folder_biases(const struct model_files *f,
                                                 const char *type,
                                                 json_t *config);
/* model_folder_tensors.c: model.safetensors. SHAPE, LIMIT, E_DISK_FULL, IO;
 * what w->how->step says. */
TACIT_CHECKED enum tacit_err model_folder_tensors(
    struct model_folder_writing *w);

#endif
