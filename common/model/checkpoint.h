/*
 * checkpoint: one view over a model's files, whoever wrote them: tensors by
 * GGUF's names, hyper-parameters by GGUF's keys, the vocabulary.
 *
 *   model.gguf ──────────────────────────────┐
 *   folder: config.json, model.safetensors ──┼─> checkpoint ─> network
 *           tokenizer.json | .model | vocab  ┘
 *
 * A Hugging Face folder of the families bert, llama, mistral and qwen2 is read
 * through a table of names. The rows of llama's q and k, which stand there in
 * halves, come out in pairs (interleaved rotary embedding), as GGUF has them.
 *
 * Thread rule: an open checkpoint may be read by many threads.
 */
#ifndef TACIT_MODEL_CHECKPOINT_H
#define TACIT_MODEL_CHECKPOINT_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/model/gguf.h"
#include "common/model/vocab.h"

struct checkpoint;

/* A GGUF file, or a folder with config.json. */
TACIT_CHECKED enum tacit_err checkpoint_open(const char *path,
                                             struct checkpoint **out);
void checkpoint_close(struct checkpoint *c);

/* general.architecture: "llama", "bert", "qwen2". */
const char *checkpoint_family(const struct checkpoint *c);
size_t checkpoint_n_tensors(const struct checkpoint *c);
const struct gguf_tensor *checkpoint_tensor_at(const struct checkpoint *c,
                                               size_t i);
/* NULL when there is none. Its data is borrowed from the checkpoint. */
const struct gguf_tensor *checkpoint_find(const struct checkpoint *c,
                                          const char *name);
/* A key without the family's prefix is looked up with it: "block_count" is
 * "llama.block_count". Errors as gguf_int() and gguf_real(). */
TACIT_CHECKED enum tacit_err checkpoint_int(const struct checkpoint *c,
                                            const char *key, int64_t min,
                                            int64_t max, int64_t *out);
TACIT_CHECKED enum tacit_err checkpoint_real(const struct checkpoint *c,
                                             const char *key, double *out);
int checkpoint_has(const struct checkpoint *c, const char *key);
/* All metadata, as one GGUF (also of a folder): for other keys and arrays. */
const struct gguf *checkpoint_metadata(const struct checkpoint *c);
/* BLAKE2b-256 of the GGUF file, or of the folder's safetensors one behind the
 * other; and how many bytes they have. */
void checkpoint_hash(const struct checkpoint *c, struct digest *out,
                     uint64_t *bytes);
/* Owned by the caller: vocab_free(). NOTFOUND when the model has none. */
TACIT_CHECKED enum tacit_err checkpoint_vocab(const struct checkpoint *c,
                                              struct vocab **out);

#endif
