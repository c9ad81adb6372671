/*
 * cli_generate: an answer that a decoder writes, on a terminal or as JSON: what
 * `ask` and `chat` share.
 */
#ifndef TACIT_CLIENT_CLI_GENERATE_H
#define TACIT_CLIENT_CLI_GENERATE_H

#include "client/generator.h"
#include "client/reading.h"
#include "retrieval/generate.h"

/* Who writes: what --generate, --extract and the choice of this device say. */
enum writer_kind { WRITER_EXTRACTS, WRITER_GENERATES };
TACIT_CHECKED enum tacit_err cli_writer(const struct options *o,
                                        struct device *d,
                                        enum writer_kind *out);

struct writer {
    const struct options *o;
    struct generator generator;
    struct sampling sampling;
    size_t n_max;
    unsigned guesses;
    enum generate_unsupported unsupported;
    int is_shown; /* text of this answer is on the terminal */
};

/* Read the options and open the decoder; writer_close() after success. It stays
 * where it is: the generator points into itself. */
TACIT_CHECKED enum tacit_err writer_open(const struct options *o,
                                         struct device *d, struct writer *w);
void writer_close(struct writer *w);

/* Write an answer to `question`, which is in r->query.text unless something was
 * put in front of it there, and print it; *out (arena of r) for what comes
 * next. */
TACIT_CHECKED enum tacit_err writer_answer(struct writer *w, struct reading *r,
                                           const char *question,
                                           const struct prompt_turn *turns,
                                           size_t n_turns,
                                           struct generated *out);

/* cli_ask.c: an answer of sentences that are quoted, printed. */
TACIT_CHECKED enum tacit_err cli_quote(const struct options *o,
                                       struct reading *r);

#endif
