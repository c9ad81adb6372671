#include "common/model/built_in.h"

#include <pthread.h>

#include "common/model/word_table.h"

/* The assembler copies the file: no compiler has to read it as an array. */
#define INCLUDE_FILE(symbol, path)                                             \
 __asm__(".pushsection .rodata\n"                                              \
         ".balign 64\n" symbol ":\n"                                           \
         ".incbin \"" path "\"\n" symbol "_end:\n"                             \
         ".byte 0\n"                                                           \
         ".popsection\n"                                                       \
         ".globl " symbol "\n"                                                 \
         ".globl " symbol "_end\n"                                             \
         ".hidden " symbol "\n"                                                \
         ".hidden " symbol "_end\n")

INCLUDE_FILE("tacit_encoder_file", "models/encoder.gguf");
INCLUDE_FILE("tacit_reader_file", "models/reader.safetensors");

extern const uint8_t tacit_encoder_file[], tacit_encoder_file_end[];
extern const uint8_t tacit_reader_file[], tacit_reader_file_end[];

static size_t bytes_between(const uint8_t *from, const uint8_t *end)
{
    return (size_t)((uintptr_t)end - (uintptr_t)from);
}

const uint8_t *built_in_encoder(void)
{
    return tacit_encoder_file;
}

size_t built_in_encoder_bytes(void)
{
    return bytes_between(tacit_encoder_file, tacit_encoder_file_end);
}

const uint8_t *built_in_reader(void)
{
    return tacit_reader_file;
}

size_t built_in_reader_bytes(void)
{
    return bytes_between(tacit_reader_file, tacit_reader_file_end);
}

/* ---- its words ---------------------------------------------------------- */

static pthread_mutex_t words_lock = PTHREAD_MUTEX_INITIALIZER;
static struct gguf *words_file;
static struct word_table *words;

static enum tacit_err open_words(void)
{
    if (!words_file)
        TRY(gguf_open_bytes(built_in_encoder(), built_in_encoder_bytes(),
                            &words_file));
    return words ? TACIT_OK : word_table_open(words_file, &words);
}

enum tacit_err built_in_words(const struct word_table **out)
{
    pthread_mutex_lock(&words_lock);
    enum tacit_err err = open_words();
    pthread_mutex_unlock(&words_lock);
    if (!err) *out = words;
    return err;
}
