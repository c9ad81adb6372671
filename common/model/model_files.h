/*
 * model_files: one view over a model's files, whoever wrote them: tensors by
 * GGUF's names, hyper-parameters by GGUF's keys, the vocabulary.
 *
 *   model.gguf ──────────────────────────────┐
 *   folder: config.json, model.safetensors ──┼─> model_files ─> network
 *           tokenizer.json | .model | vocab  ┘
 *
 * A Hugging Face folder of the families bert, llama, mistral and qwen2 is read
 * through a table of names. The rows of llama's q and k, which stand there in
 * halves, come out in pairs (interleaved rotary embedding), as GGUF has them.
 *
 * Thread rule: open model files may be read by many threads.
 */
#ifndef TACIT_MODEL_MODEL_FILES_H
#define TACIT_MODEL_MODEL_FILES_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/model/gguf.h"
#include "common/model/vocab.h"

struct model_files;

/* A GGUF file, or a folder with config.json. */
TACIT_CHECKED enum tacit_err model_files_open(const char *path,
                                              struct model_files **out);
void model_files_close(struct model_files *c);

/* general.architecture: "llama", "bert", "qwen2". */
const char *model_files_family(const struct model_files *c);
size_t model_files_n_tensors(const struct model_files *c);
const struct gguf_tensor *model_files_tensor_at(const struct model_files *c,
                                                size_t i);
/* NULL when there is none. Its data is borrowed. */
const struct gguf_tensor *model_files_find(const struct model_files *c,
                                           const char *name);
/* As gguf_forget(). */
void model_files_forget(const struct model_files *c,
                        const struct gguf_tensor *t);
/* A key without the family's prefix is looked up with it: "block_count" is
 * "llama.block_count". Errors as gguf_int() and gguf_real(). */
TACIT_CHECKED enum tacit_err model_files_int(const struct model_files *c,
                                             const char *key, int64_t min,
                                             int64_t max, int64_t *out);
TACIT_CHECKED enum tacit_err model_files_real(const struct model_files *c,
                                              const char *key, double *out);
int model_files_has(const struct model_files *c, const char *key);
/* All metadata, as one GGUF (also of a folder): for other keys and arrays. */
const struct gguf *model_files_metadata(const struct model_files *c);
/* BLAKE2b-256 of the GGUF file, or of the folder's safetensors one behind the
 * other; and how many bytes they have. */
void model_files_hash(const struct model_files *c, struct digest *out,
                      uint64_t *bytes);
/* Owned by the caller: vocab_free(). NOTFOUND when the model has none. */
TACIT_CHECKED enum tacit_err model_files_vocab(const struct model_files *c,
                                               struct vocab **out);

#endif
