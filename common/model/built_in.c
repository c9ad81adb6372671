#include "common/model/built_in.h"

/* The assembler copies the file: no compiler has to read it as an array. */
__asm__(".pushsection .rodata\n"
        ".balign 64\n"
        "tacit_encoder_file:\n"
        ".incbin \"models/encoder.gguf\"\n"
        "tacit_encoder_file_end:\n"
        ".byte 0\n"
        ".popsection\n"
        ".globl tacit_encoder_file\n"
        ".globl tacit_encoder_file_end\n"
        ".hidden tacit_encoder_file\n"
        ".hidden tacit_encoder_file_end\n");

extern const uint8_t tacit_encoder_file[];
extern const uint8_t tacit_encoder_file_end[];

const uint8_t *built_in_encoder(void)
{
    return tacit_encoder_file;
}

size_t built_in_encoder_bytes(void)
{
    return (size_t)((uintptr_t)tacit_encoder_file_end -
                    (uintptr_t)tacit_encoder_file);
}
