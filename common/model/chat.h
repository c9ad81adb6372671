/*
 * chat: a conversation as the text that a model was trained on.
 *
 *   llama-2  <s>[INST] <<SYS>>\nS\n<</SYS>>\n\nU [/INST] A </s><s>[INST] …
 *   mistral  <s>[INST] S\n\nU [/INST] A</s>[INST] …
 *   llama-3  <|start_header_id|>user<|end_header_id|>\n\nU<|eot_id|> …
 *   chatml   <|im_start|>user\nU<|im_end|>\n …      Qwen 2, SmolLM2
 *
 * Model files carry a program (Jinja) that writes such text. It is not run: a
 * few words that only one family's program has tell which family it is, and the
 * family's text is written here. Without a program, or with one that is not
 * known, the marks in the vocabulary decide.
 *
 * What a person or document says is never read for marks: chat_encode() gives
 * tokens, in which only the frame's marks are special.
 */
#ifndef TACIT_MODEL_CHAT_H
#define TACIT_MODEL_CHAT_H

#include <stddef.h>

#include "common/base/err.h"
#include "common/model/vocab.h"

enum chat_family {
    CHAT_NONE, /* no template: a model that only goes on */
    CHAT_LLAMA2,
    CHAT_MISTRAL,
    CHAT_LLAMA3,
    CHAT_CHATML
};

enum chat_role { CHAT_SYSTEM, CHAT_USER, CHAT_ASSISTANT };

struct chat_message {
    enum chat_role role;
    const char *text; /* borrowed */
    size_t n;
};

/* From a Jinja program (may be NULL) and a vocabulary. */
enum chat_family chat_family_of(const char *program, size_t n,
                                const struct vocab *v);
const char *chat_family_name(enum chat_family f);

/* Append the tokens of a conversation up to where the assistant speaks next.
 * At most one system message, and it comes first; then user and assistant take
 * turns, beginning and ending with the user: STATE otherwise. UNSUPPORTED for
 * CHAT_NONE; NOTFOUND when the vocabulary lacks one of the family's marks. */
TACIT_CHECKED enum tacit_err chat_encode(enum chat_family f,
                                         const struct vocab *v,
                                         const struct chat_message *messages,
                                         size_t n, struct vocab_ids *out);

#endif
