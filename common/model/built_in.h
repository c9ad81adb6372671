/*
 * built_in: models/encoder.gguf and models/reader.safetensors as part of the
 * program, so that they are there in a fresh clone, where the program was
 * installed, and without any network.
 */
#ifndef TACIT_MODEL_BUILT_IN_H
#define TACIT_MODEL_BUILT_IN_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

/* A word_table.h file, as long as the program runs. */
const uint8_t *built_in_encoder(void);
size_t built_in_encoder_bytes(void);
/* Weights of the architecture "reader" (arch_reader.c), a safetensors file. */
const uint8_t *built_in_reader(void);
size_t built_in_reader_bytes(void);

/* The built-in encoder's table, opened by the first call and shared by all
 * threads for as long as the program runs. NOMEM. */
struct word_table;
TACIT_CHECKED enum tacit_err built_in_words(const struct word_table **out);

#endif
