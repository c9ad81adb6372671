/* tacit-sim new: an example plan to begin with. */
#include <stdio.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/plan/plan.h"
#include "sims/commands.h"

static const char example[] =
    "# A plan: the same file runs in simulation (tacit-sim run) and in a\n"
    "# federation (tacit-coordinator plan submit).\n"
    "name: %s\n"
    "task: classify     # classify | regress | cox | lm | retriever | reader\n"
    "model: {kind: logistic}        # or {kind: mlp, hidden: [16]}; or base:\n"
    "# {name: …, hash: …}, an adapter of a network that the devices have\n"
    "# (classify over texts or pairs, retriever, reader, lm)\n"
    "data:\n"
    "  source: patients             # each device's policy maps it to a file\n"
    "  label: disease\n"
    "  columns:\n"
    "    - {name: age}\n"
    "    - {name: sex}\n"
    "    - {name: cp, values: [1, 2, 3, 4]}   # one-hot\n"
    "    - {name: trestbps}\n"
    "    - {name: chol}\n"
    "    - {name: thalach}\n"
    "    - {name: exang}\n"
    "    - {name: oldpeak}\n"
    "  standardise: site            # site | plan (mean and sd per column) | "
    "none\n"
    "  holdout: 0.25                # rows kept for measuring, never trained\n"
    "rounds: 30\n"
    "cohort: {size: 10, min_reports: 8, over_select: 1.2}\n"
    "local: {steps: 20, batch: 16, optimizer: sgd, learning_rate: 0.1}\n"
    "weighting: {by: examples, cap: 1000}\n"
    "clip: 4\n"
    "secagg: {ring_bits: 32}\n"
    "deadline: {stage: 30s, train: 10m}\n"
    "seed: 1\n"
    "# Only the simulator reads this: how many clients it invents, and how it\n"
    "# deals the patients out (sites: four unlike hospitals; iid: all alike).\n"
    "sim: {clients: 100, rows: 60, partition: sites, dropout: 0.05}\n";

enum tacit_err sim_new(const struct options *o)
{
    char path[SIM_PATH];
    struct buf text;
    const char *name = o->args[0];
    int n = snprintf(path, sizeof path, "%s.yaml", name);
    if (n < 0 || (size_t)n >= sizeof path)
        return fail(TACIT_LIMIT, "the name is too long");
    if (file_exists(path))
        return fail(TACIT_STATE, "%s exists; choose another name", path);
    const char *last = strrchr(name, '/');
    buf_init(&text, 0);
    buf_printf(&text, example, last ? last + 1 : name);
    enum tacit_err err = buf_end(&text);
    struct plan *plan = NULL;
    if (!err) err = plan_parse(path, (const char *)text.data, text.len, &plan);
    if (!err) err = file_write(path, text.data, text.len, 0644);
    plan_free(plan);
    buf_release(&text);
    if (err) return err;
    if (options_flag(o, "json"))
        return json_print_ok(stdout, json_pack("{s:s}", "file", path));
    printf("%s\n", path);
    if (!sim_is_quiet(o)) fprintf(stderr, "Next: tacit-sim run %s\n", path);
    return TACIT_OK;
}
