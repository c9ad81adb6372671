/*
 * err: one error enum, one thread-local message, and the catalogue of numbered
 * codes that a person sees.
 *
 * A function that can fail returns `enum tacit_err`, marked TACIT_CHECKED, and
 * leaves its out-parameters untouched on failure. The place that discovers the
 * fault calls fail() or fail_as(), which records ONE message for this thread:
 * the first failure wins, callers may only put context in front of it with
 * err_context(). A message never holds a user's text or a key. What
 * cannot be printed in it (a file name may hold any byte) is shown as '?'.
 *
 * What a person sees:  "add: notes.pdf: encrypted PDF; decrypt it first
 * (TACIT-E0203)". `explain E0203` prints the catalogue entry (codes.h).
 *
 * Thread rule: the recorded message belongs to the calling thread.
 */
#ifndef TACIT_BASE_ERR_H
#define TACIT_BASE_ERR_H

#include <stdbool.h>
#include <stddef.h>

#define TACIT_CHECKED __attribute__((warn_unused_result))

/* X(name, value, text, a sample cause) */
#define TACIT_ERR_MAP(X)                                                       \
 X(OK, 0, "no error", "")                                                      \
 X(NOMEM, 1, "out of memory", "a model larger than free memory")               \
 X(IO, 2, "input or output failed", "a full disk, an unreadable file")         \
 X(FORMAT, 3, "malformed data", "a damaged file, text where numbers belong")   \
 X(SHAPE, 4, "shapes do not fit", "an update made for another model")          \
 X(LIMIT, 5, "over a limit", "a file or message larger than is accepted")      \
 X(PROTO, 6, "protocol violation", "a peer's message out of order")            \
 X(AUTH, 7, "not authenticated", "a key that is not the expected one")         \
 X(STATE, 8, "not possible now", "a command before `init`")                    \
 X(TIMEOUT, 9, "took too long", "a coordinator that does not answer")          \
 X(NOTFOUND, 10, "not found", "a document, plan or member that is not there")  \
 X(UNSUPPORTED, 11, "not supported", "a store written by a newer version")     \
 X(INTERNAL, 12, "a bug in Tacit", "a broken invariant; please report it")

enum tacit_err {
#define X(name, value, text, cause) TACIT_##name = (value),
    TACIT_ERR_MAP(X)
#undef X
};

/* Exit codes of every program (tested): see DESIGN, CLI contract. */
enum tacit_exit {
    TACIT_EXIT_OK = 0,
    TACIT_EXIT_FAILED = 1,
    TACIT_EXIT_CONNECTION = 2, /* connection or authentication */
    TACIT_EXIT_TIMEOUT = 3,
    TACIT_EXIT_USAGE = 4,
    TACIT_EXIT_BUG = 5,
    TACIT_EXIT_NOTHING = 6, /* nothing relevant found */
    TACIT_EXIT_BUDGET = 7,  /* privacy budget spent */
    TACIT_EXIT_INTERRUPTED = 130
};

/* One catalogue entry; `id` is the number in TACIT-Ennnn. */
struct err_code {
    unsigned id;
    enum tacit_err err;
    enum tacit_exit exit;
    const char *title; /* what happened, in a few words */
    const char *help;  /* why, and what to do about it */
};

/* Record a failure under the default code of `err` and return `err`. */
#define fail(err, ...) err_failed(err_record((err), 0, __VA_ARGS__))
/* Record a failure under catalogue code `id` (an E_… name of codes.h) and
 * return that code's err. */
#define fail_as(id, ...) err_failed(err_record(TACIT_OK, (id), __VA_ARGS__))

enum tacit_err err_record(enum tacit_err err, unsigned id, const char *fmt, ...)
    __attribute__((format(printf, 3, 4), cold));

/* err_record() never returns OK: said here, where analysers can see it. */
static inline enum tacit_err err_failed(enum tacit_err err)
{
    if (err == TACIT_OK) __builtin_unreachable();
    return err;
}

/* Put "context: " in front of the recorded message. Returns err unchanged. */
enum tacit_err err_context(enum tacit_err err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), cold));

/* The recorded message ("" when none); borrowed, valid until the next
 * fail()/err_clear() of this thread. */
const char *err_message(void);
/* The catalogue id of the recorded failure; 0 when none. */
unsigned err_id(void);
/* Forget the recorded failure: call where an error has been dealt with. */
void err_clear(void);

/* The X-macro's text for err. */
const char *err_text(enum tacit_err err);
/* The entry for id, or NULL. */
const struct err_code *err_code_find(unsigned id);
/* Entry number i in id order, or NULL past the end. */
const struct err_code *err_code_at(size_t i);
/* The exit code for a failure: the catalogue's, or that of the class. */
enum tacit_exit err_exit(enum tacit_err err);

/* The only macro that hides a return: propagate when nothing is owned. */
#define TRY(expr)                                                              \
 do {                                                                          \
  enum tacit_err try_err_ = (expr);                                            \
  if (try_err_ != TACIT_OK) return try_err_;                                   \
 } while (0)

#endif
