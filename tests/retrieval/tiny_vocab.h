/*
 * tiny_vocab: a vocabulary of all bytes, the marks of ChatML and a few words of
 * the caller's, as SentencePiece has it.
 */
#ifndef TACIT_TESTS_RETRIEVAL_TINY_VOCAB_H
#define TACIT_TESTS_RETRIEVAL_TINY_VOCAB_H

#include <stdio.h>
#include <string.h>

#include "common/model/gguf.h"
#include "common/model/vocab.h"

enum { TINY_MARKS = 5, TINY_FIRST_WORD = TINY_MARKS + 256, TINY_WORDS = 32 };

/* Words are tokens TINY_FIRST_WORD + i. */
static inline struct vocab *tiny_vocab(const char *const *words, size_t n)
{
    static const char *const marks[TINY_MARKS] = {"<unk>", "<s>", "</s>",
                                                  "<|im_start|>", "<|im_end|>"};
    enum { ALL = TINY_FIRST_WORD + TINY_WORDS };
    static char bytes[256][8];
    const char *list[ALL];
    size_t len[ALL], all = TINY_FIRST_WORD + n;
    int32_t class[ALL];
    float score[ALL] = {0};
    struct gguf_writer w;
    struct gguf *g = NULL;
    struct vocab *v = NULL;
    check(n <= TINY_WORDS);
    for (size_t i = 0; i < all; i++) {
        class[i] = VOCAB_NORMAL;
        if (i < TINY_MARKS) {
            list[i] = marks[i];
            class[i] = i ? VOCAB_CONTROL : VOCAB_UNKNOWN;
        } else if (i < TINY_FIRST_WORD) {
            snprintf(bytes[i - TINY_MARKS], 8, "<0x%02X>",
                     (unsigned)(i - TINY_MARKS));
            list[i] = bytes[i - TINY_MARKS];
            class[i] = VOCAB_BYTE;
        } else {
            list[i] = words[i - TINY_FIRST_WORD];
        }
        len[i] = strlen(list[i]);
    }
    check_ok(gguf_writer_init(&w, NULL, GGUF_ALIGNMENT));
    gguf_put_text(&w, "tokenizer.ggml.model", "llama", 5);
    gguf_put_texts(&w, "tokenizer.ggml.tokens", list, len, all);
    gguf_put_array(&w, "tokenizer.ggml.scores", GGUF_F32, score, all);
    gguf_put_array(&w, "tokenizer.ggml.token_type", GGUF_I32, class, all);
    gguf_put_u32(&w, "tokenizer.ggml.bos_token_id", 1);
    gguf_put_u32(&w, "tokenizer.ggml.eos_token_id", 2);
    gguf_put_u32(&w, "tokenizer.ggml.unknown_token_id", 0);
    check_ok(gguf_writer_end(&w, NULL));
    check_ok(gguf_open_bytes(w.out.data, w.out.len, &g));
    check_ok(vocab_from_gguf(g, &v));
    gguf_close(g);
    gguf_writer_release(&w);
    return v;
}

#endif
