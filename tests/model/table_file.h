/* A small word table in memory, for tests. */
#ifndef TACIT_TESTS_MODEL_TABLE_FILE_H
#define TACIT_TESTS_MODEL_TABLE_FILE_H

#include "common/model/gguf.h"
#include "common/model/word_table.h"
#include "common/tensor/quant.h"

enum { TABLE_FILE_DIM = 32, TABLE_FILE_WORDS = 3, TABLE_FILE_BUCKETS = 8 };

/* Row r has one at r, zeros elsewhere. */
static inline void table_file(struct buf *out)
{
    static const char *const words[] = {"wound", "dressing", "of"};
    static const size_t n_bytes[] = {5, 8, 2};
    static float rows[TABLE_FILE_WORDS + TABLE_FILE_BUCKETS][TABLE_FILE_DIM];
    const uint64_t dims[] = {TABLE_FILE_DIM,
                             TABLE_FILE_WORDS + TABLE_FILE_BUCKETS};
    struct gguf_writer w;
    memset(rows, 0, sizeof rows);
    for (size_t i = 0; i < dims[1]; i++) rows[i][i] = 1;
    check_ok(gguf_writer_init(&w, NULL, GGUF_ALIGNMENT));
    gguf_put_text(&w, "general.architecture", "words", 5);
    gguf_put_u32(&w, "words.embedding_length", TABLE_FILE_DIM);
    gguf_put_u32(&w, "words.feature_version", FEATURES_VERSION);
    gguf_put_u32(&w, "words.bucket_count", TABLE_FILE_BUCKETS);
    gguf_put_texts(&w, "words.list", words, n_bytes, TABLE_FILE_WORDS);
    gguf_put_tensor(&w, "table.weight", QUANT_F32, 2, dims);
    check_ok(gguf_put_data(&w, rows, sizeof rows));
    check_ok(gguf_end_tensor(&w));
    check_ok(gguf_writer_end(&w, NULL));
    buf_init(out, 0);
    buf_put(out, w.out.data, w.out.len);
    check_ok(buf_end(out));
    gguf_writer_release(&w);
}

#endif
