#include "common/base/faults.h"

#include <stdio.h>

#include "common/base/buf.h"

enum { MESSAGE_BYTES = 720 }; /* of one error, with room for its context */

enum tacit_err faults_take(struct faults *f, enum tacit_err err)
{
    if (err != TACIT_FORMAT) return err;
    if (f->n < FAULTS_MAX) {
        f->id[f->n] = err_id();
        snprintf(f->text[f->n], FAULTS_TEXT, "%s", err_message());
    }
    f->n++;
    err_clear();
    return TACIT_OK;
}

enum tacit_err faults_end(const struct faults *f)
{
    char message[MESSAGE_BYTES], one[FAULTS_TEXT + 32];
    size_t at = 0;
    if (f->n == 0) return TACIT_OK;
    if (f->n == 1) return fail_as(f->id[0], "%s", f->text[0]);
    for (unsigned i = 0; i < f->n && i < FAULTS_MAX; i++) {
        int n = snprintf(one, sizeof one, "%s%s (%u of %u)", i ? "; " : "",
                         f->text[i], i + 1, f->n);
        /* Whole faults only: the counts tell that some are left out. */
        if (n < 0 || at + (size_t)n >= sizeof message) break;
        snprintf(message + at, sizeof message - at, "%s", one);
        at += (size_t)n;
    }
    return fail_as(f->id[0], "%s", message);
}
