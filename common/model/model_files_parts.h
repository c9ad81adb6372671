/* model_files_parts: what the files of model_files share. */
#ifndef TACIT_MODEL_MODEL_FILES_PARTS_H
#define TACIT_MODEL_MODEL_FILES_PARTS_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/json.h"
#include "common/model/model_files.h"
#include "common/model/safetensors_file.h"

enum { MODEL_FILES_MAX = 256, MODEL_FILES_PATH = 4096 };

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

/* UNSUPPORTED, with a way out, when the file is plainly another thing: a
 * pickle, a web page, a pointer of Git LFS. kind: how the name of what may be
 * begins ("a file of safetensors"). */
TACIT_CHECKED enum tacit_err model_files_expect(const char *path,
                                                const char *kind);

/* model_files_folder.c: fills an empty one. */
TACIT_CHECKED enum tacit_err model_files_open_folder(struct model_files *c,
                                                     const char *path);

/* model_files_sentences.c: what stands beside an encoder about its vectors. */
TACIT_CHECKED enum tacit_err model_files_sentences(const char *folder,
                                                   const char *family,
                                                   int has_head,
                                                   struct gguf_writer *w);
/* Its path in out; 0 when there is none. */
int model_files_beside(const char *folder, const char *name,
                       char out[MODEL_FILES_PATH]);
/* Owned by the caller. */
TACIT_CHECKED enum tacit_err model_files_json(const char *path, json_t **out);
/* tokenizer_config.json, where libraries write a tokenizer without a longest
 * text as one of 10^30 tokens: whole numbers as reals. */
TACIT_CHECKED enum tacit_err model_files_settings(const char *path,
                                                  json_t **out);
/* A whole number of config.json, 1 to max. FORMAT. */
TACIT_CHECKED enum tacit_err model_files_whole(const json_t *o, const char *key,
                                               int64_t max, int64_t *out);
/* model_files_kinds.c: FORMAT names what is there, but of another kind. */
TACIT_CHECKED enum tacit_err model_files_kinds(const json_t *config);

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
