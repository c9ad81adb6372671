#include "common/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/utf8.h"

enum { MESSAGE_MAX = 768 };

static _Thread_local struct {
    enum tacit_err err;
    unsigned id;
    char message[MESSAGE_MAX];
} recorded;

static const struct err_code codes[] = {
#define X(name, id, cls, exit, title, help)                                    \
 {(id), TACIT_##cls, TACIT_EXIT_##exit, (title), (help)},
    TACIT_CODE_MAP(X)
#undef X
};
enum { N_CODES = sizeof codes / sizeof codes[0] };

const struct err_code *err_code_find(unsigned id)
{
    for (size_t i = 0; i < N_CODES; i++)
        if (codes[i].id == id) return &codes[i];
    return NULL;
}

const struct err_code *err_code_at(size_t i)
{
    return i < N_CODES ? &codes[i] : NULL;
}

enum tacit_err err_record(enum tacit_err err, unsigned id, const char *fmt, ...)
{
    const struct err_code *code = id ? err_code_find(id) : NULL;
    if (code) err = code->err;
    if (err == TACIT_OK) err = TACIT_INTERNAL;
    if (recorded.err != TACIT_OK) return err;
    char text[MESSAGE_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    utf8_printable(recorded.message, sizeof recorded.message, text);
    recorded.err = err;
    /* A class's default code has the class's own number. */
    recorded.id = code ? id : (unsigned)err;
    return err;
}

enum tacit_err err_context(enum tacit_err err, const char *fmt, ...)
{
    char text[2 * MESSAGE_MAX + 2];
    if (err == TACIT_OK) return err;
    if (recorded.err == TACIT_OK) {
        recorded.err = err;
        recorded.id = (unsigned)err;
        snprintf(recorded.message, sizeof recorded.message, "%s",
                 err_text(err));
    }
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, MESSAGE_MAX, fmt, ap);
    va_end(ap);
    size_t n = strlen(text);
    snprintf(text + n, sizeof text - n, ": %s", recorded.message);
    utf8_printable(recorded.message, sizeof recorded.message, text);
    return err;
}

const char *err_message(void)
{
    return recorded.err == TACIT_OK ? "" : recorded.message;
}

unsigned err_id(void)
{
    return recorded.err == TACIT_OK ? 0 : recorded.id;
}

void err_clear(void)
{
    recorded.err = TACIT_OK;
    recorded.id = 0;
    recorded.message[0] = '\0';
}

const char *err_text(enum tacit_err err)
{
    switch (err) {
#define X(name, value, text, cause)                                            \
 case TACIT_##name: return (text);
        TACIT_ERR_MAP(X)
#undef X
    }
    return "unknown error";
}

enum tacit_exit err_exit(enum tacit_err err)
{
    if (err == TACIT_OK) return TACIT_EXIT_OK;
    const struct err_code *code = err_code_find(
        recorded.err == err && recorded.id ? recorded.id : (unsigned)err);
    return code ? code->exit : TACIT_EXIT_FAILED;
}
