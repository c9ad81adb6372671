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
};

/* Read the options and open the decoder, with room for so many answers at once
 * at most; writer_close() after success. It stays where it is: the generator
 * points into itself. */
TACIT_CHECKED enum tacit_err writer_open(const struct options *o,
                                         struct device *d, size_t sequences,
                                         struct writer *w);
void writer_close(struct writer *w);
/* Say what so many at once will take. */
void writer_hint(const struct writer *w);

/* Where the text of an answer goes as it comes. */
struct writer_page {
    const struct options *o;
    struct buf *later; /* NULL: to the terminal */
    int is_shown;      /* there is some */
};
/* What is to be written for `question`, whose words to search for are in q. All
 * borrowed until it is written. */
struct generate_job writer_job(const struct writer *w, struct corpus *c,
                               const struct search_query *q,
                               const char *question, struct writer_page *page);
/* An answer that was written: it is remembered, and printed whole as JSON, or
 * what stands behind its text. */
TACIT_CHECKED enum tacit_err writer_print(const struct writer *w,
                                          struct reading *r,
                                          const char *question,
                                          const struct generated *g);

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
/* A question that has no answer ends there, and not what comes behind it: 1,
 * also when there is no error. */
int cli_goes_on(enum tacit_err err);
/* Print what was recorded, and forget it. */
void cli_tell(const struct options *o, enum tacit_err err);

/* cli_ask_many.c: `ask --questions FILE`. */
TACIT_CHECKED enum tacit_err cli_ask_many(const struct options *o,
                                          struct reading *r,
                                          enum writer_kind kind);

#endif
