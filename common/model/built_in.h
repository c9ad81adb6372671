/*
 * built_in: models/encoder.gguf as part of the program, so that it is there in
 * a fresh clone, where the program was installed, and without any network.
 */
#ifndef TACIT_MODEL_BUILT_IN_H
#define TACIT_MODEL_BUILT_IN_H

#include <stddef.h>
#include <stdint.h>

/* A word_table.h file, as long as the program runs. */
const uint8_t *built_in_encoder(void);
size_t built_in_encoder_bytes(void);

#endif
