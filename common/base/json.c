#include "common/base/json.h"

static enum tacit_err parse(const char *text, size_t n, size_t flags,
                            json_t **out)
{
    json_error_t e;
    if (n > JSON_BYTES_MAX)
        return fail(TACIT_LIMIT, "JSON of %zu bytes; the limit is %d", n,
                    JSON_BYTES_MAX);
    json_t *v = json_loadb(text, n, JSON_REJECT_DUPLICATES | flags, &e);
    /* jansson explains every fault of the text, and memory only sometimes. */
    if (!v && (!e.text[0] || json_error_code(&e) == json_error_out_of_memory))
        return fail(TACIT_NOMEM, "out of memory");
    if (!v)
        return fail(TACIT_FORMAT, "not valid JSON: line %d, column %d: %s",
                    e.line, e.column, e.text);
    *out = v;
    return TACIT_OK;
}

enum tacit_err json_parse(const char *text, size_t n, json_t **out)
{
    return parse(text, n, 0, out);
}

enum tacit_err json_parse_reals(const char *text, size_t n, json_t **out)
{
    return parse(text, n, JSON_DECODE_INT_AS_REAL, out);
}

static int print(FILE *f, json_t *envelope)
{
    int rc = json_dumpf(envelope, f, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(envelope);
    if (rc == 0) rc = fputc('\n', f) == EOF ? -1 : fflush(f);
    return rc;
}

enum tacit_err json_print_ok(FILE *f, json_t *data)
{
    json_t *envelope = json_pack("{s:i,s:s,s:o}", "schema_version", 1, "status",
                                 "ok", "data", data);
    if (!envelope) return fail(TACIT_NOMEM, "out of memory");
    if (print(f, envelope) != 0)
        return fail(TACIT_IO, "cannot write to the output");
    return TACIT_OK;
}

void json_print_error(FILE *f, enum tacit_err err)
{
    char code[32];
    const struct err_code *entry = err_code_find(err_id());
    if (!entry) entry = err_code_find((unsigned)err);
    snprintf(code, sizeof code, "TACIT-E%04u", entry ? entry->id : 0);
    /* Without a recorded message the class still says something. */
    const char *message = *err_message() ? err_message() : err_text(err);
    json_t *envelope =
        json_pack("{s:i,s:s,s:{s:s,s:s,s:s}}", "schema_version", 1, "status",
                  "error", "error", "code", code, "message", message, "help",
                  entry ? entry->help : "");
    if (envelope) print(f, envelope);
}
