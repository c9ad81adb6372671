/* tacit-sim compare: finished runs side by side. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/codes.h"
#include "common/base/json.h"
#include "sims/commands.h"
#include "sims/compare.h"

enum tacit_err sim_target(const struct options *o, double *out)
{
    const char *text = options_value(o, "target");
    char *end = NULL;
    if (!text) {
        *out = NAN;
        return TACIT_OK;
    }
    *out = strtod(text, &end);
    if (end == text || *end || !isfinite(*out))
        return fail_as(E_USAGE, "--target %s: a number is wanted, as in 0.85",
                       text);
    return TACIT_OK;
}

static enum tacit_err tell(const struct options *o, const struct compare *c)
{
    const char *page = options_value(o, "out");
    if (page) TRY(compare_page(c, page));
    if (options_flag(o, "json")) {
        json_t *data = compare_json(c);
        if (!data) return fail(TACIT_NOMEM, "out of memory");
        if (page) json_object_set_new(data, "page", json_string(page));
        return json_print_ok(stdout, data);
    }
    compare_print(stdout, c);
    if (page) printf("%s\n", page);
    return TACIT_OK;
}

enum tacit_err sim_compare(const struct options *o)
{
    struct compare c;
    double target = NAN;
    TRY(sim_target(o, &target));
    TRY(compare_init(&c, target));
    enum tacit_err err = TACIT_OK;
    for (int i = 0; !err && i < o->n_args; i++)
        err = compare_add(&c, o->args[i]);
    if (!err) err = compare_group(&c);
    if (!err) err = tell(o, &c);
    compare_release(&c);
    return err;
}
