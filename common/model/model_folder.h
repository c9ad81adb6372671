/*
 * model_folder: a network as the folder that Hugging Face's libraries read.
 *
 *   model_files ─┬─> config.json
 *                ├─> model.safetensors          f32, f16 or bf16
 *                ├─> tokenizer.json | tokenizer.model, tokenizer_config.json
 *                └─> modules.json, 1_Pooling/ …  of an encoder
 *                                     (sentence-transformers)
 *
 * What model_files.h reads of a folder is what stands in it here: opened again,
 * it is the same network with the same tokens. Rows of llama's q and k go back
 * into halves.
 *
 * Thread rule: one writer of a folder.
 */
#ifndef TACIT_MODEL_MODEL_FOLDER_H
#define TACIT_MODEL_MODEL_FOLDER_H

#include "common/model/model_files.h"
#include "common/tensor/quant.h"

struct model_folder {
    enum quant_type type;         /* of all numbers: QUANT_F32, F16 or BF16 */
    const char *licence, *source; /* "" when nobody said */
    /* With the bytes that were written; an error of it ends the work. NULL:
     * none. */
    enum tacit_err (*step)(void *ctx, uint64_t done, uint64_t total);
    void *ctx;
};

/* Makes the folder, which must not be there (STATE): beside it, as a part
 * (common/base/part.h), until it is whole. After an error there is none.
 * UNSUPPORTED (E_MODEL_UNSUPPORTED): a family or a setting that such a folder
 * has no place for, by name; LIMIT: a number too large for the type;
 * E_DISK_FULL, IO. */
TACIT_CHECKED enum tacit_err model_folder_write(const struct model_files *f,
                                                const char *path,
                                                const struct model_folder *how);

#endif
