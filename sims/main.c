/* tacit-sim: run a plan with many clients on this machine. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/options.h"
#include "common/base/rng.h"
#include "sims/commands.h"
#include "sims/peers.h"

#define COUNT(rows) (sizeof(rows) / sizeof *(rows))

static const struct option_row global[] = {
    OPTIONS_JSON,
    OPTIONS_QUIET,
};
static const struct option_row run_options[] = {
    {"out", 'o', "DIR", NULL, "folder for the results (sim-out)"},
    {"data", 'd', "PATH", NULL, "your own data, instead of invented ones"},
    {"base", 'b', "FILE", NULL, "the network that the plan's base names"},
    {"set", 0, "KEY=VALUE", NULL, "change a key of the plan; may be repeated"},
    {"clients", 'c', "N", NULL, "the same as --set sim.clients=N"},
    {"rounds", 'r', "N", NULL, "the same as --set rounds=N"},
    {"seed", 's', "N", NULL, "the same as --set seed=N"},
    {"threads", 't', "N", NULL, "worker threads; 0 = one per core"},
    {"resume", 0, NULL, NULL, "go on from DIR/checkpoint, to the same bits"},
    {"peer-limit", 0, "TIME", NULL,
     "with mpirun: give up waiting for a process (10m)"},
};
static const struct option_row sweep_options[] = {
    {"set", 0, "KEY=A,B", NULL, "the values to try; may be repeated"},
    {"seeds", 's', "N", NULL, "runs of each, from the plan's seed on (1)"},
    {"jobs", 'j', "N", NULL, "runs at once (one per core)"},
    {"out", 'o', "DIR", NULL, "folder for the results (sim-sweep)"},
    {"data", 'd', "PATH", NULL, "your own data, instead of invented ones"},
    {"threads", 't', "N", NULL, "worker threads of each run"},
    {"target", 0, "X", NULL, "also tell when the metric first reached X"},
};
static const struct option_row compare_options[] = {
    {"out", 'o', "FILE", NULL, "also write a page with tables and curves"},
    {"target", 0, "X", NULL, "also tell when the metric first reached X"},
};
static const struct option_row data_options[] = {
    {"out", 'o', "DIR", NULL, "folder for the arrays (sim-data)"},
    {"data", 'd', "PATH", NULL, "your own data, instead of invented ones"},
    {"set", 0, "KEY=VALUE", NULL, "change a key of the plan; may be repeated"},
};
static const struct option_row patient_options[] = {
    {"rows", 'n', "N", NULL, "how many patients"},
    {"first", 0, "N", NULL, "number of the first one (0)"},
    {"seed", 's', "N", NULL, "which world (1)"},
};
static const struct option_command commands[] = {
    {.name = "new",
     .args = "NAME",
     .args_min = 1,
     .args_max = 1,
     .summary = "write an example plan, NAME.yaml",
     .run = sim_new},
    {.name = "run",
     .args = "PLAN",
     .args_min = 1,
     .args_max = 1,
     .summary = "run a plan and write metrics, the model and a report",
     .help = "Devices and coordinator are the production code with secure "
             "aggregation; only sockets and clocks are simulated. The same "
             "plan, seed and data give the same model to the bit, whatever "
             "the number of threads. Files: run.json, metrics.csv, "
             "metrics.jsonl, metrics.sqlite, model.safetensors, report.html "
             "and an event file for TensorBoard. While the run goes on, and "
             "after a crash, the rounds so far are in metrics.jsonl.part; "
             "DIR/checkpoint is written every sim.checkpoint_every rounds and "
             "when the run is stopped.",
     .options = run_options,
     .n_options = COUNT(run_options),
     .run = sim_run},
    {.name = "sweep",
     .args = "PLAN",
     .args_min = 1,
     .args_max = 1,
     .summary = "run a plan in variants, with several seeds",
     .help = "Every combination of the values is a variant, as in --set "
             "strategy.kind=fedavg,fedadam --set local.learning_rate=0.1,0.01 "
             "--seeds 5. All of them are checked before the first one starts. "
             "A list or a mapping is one value: --set model.hidden=[16],[32]. "
             "Run the same command again to go on with what is not finished; "
             "a run that fails is listed with its reason, and the others go "
             "on. Results: DIR/VARIANT/seed-N, compare.html, sweep.json.",
     .options = sweep_options,
     .n_options = COUNT(sweep_options),
     .run = sim_sweep},
    {.name = "compare",
     .args = "DIR…",
     .args_min = 1,
     .args_max = -1,
     .summary = "compare finished runs: mean and spread over seeds",
     .help = "Each DIR is a run's folder or holds some. Runs of one plan that "
             "differ in the seed alone are one line: mean ± standard "
             "deviation.",
     .options = compare_options,
     .n_options = COUNT(compare_options),
     .run = sim_compare},
    {.name = "data",
     .args = "PLAN",
     .args_min = 1,
     .args_max = 1,
     .summary = "write the rows as a run deals them out, as NumPy arrays",
     .help = "x.npy and y.npy hold the rows, client.npy whose each is (-1: of "
             "a test set for all), test.npy is 1 where a row is held out. So "
             "another program can learn from the same bytes.",
     .options = data_options,
     .n_options = COUNT(data_options),
     .run = sim_data},
    {.name = "patients",
     .args = "SITE",
     .args_min = 1,
     .args_max = 1,
     .summary = "print invented patients of a site as CSV",
     .help = "Sites: northgate, harbour, lakeside, hillcrest. No row is a "
             "person.",
     .options = patient_options,
     .n_options = COUNT(patient_options),
     .run = sim_patients},
    {.name = "report",
     .args = "DIR",
     .args_min = 1,
     .args_max = 1,
     .summary = "make DIR/report.html again, of a run or a federation",
     .help = "DIR is a run's folder (run.json; of one that goes on or was "
             "killed, the rounds so far), or holds the JSON that a "
             "federation's commands printed (rounds.json and others).",
     .run = sim_report},
    OPTIONS_EXPLAIN,
};
static const struct options_program program = {
    .name = "tacit-sim",
    .version = "0.1.0",
    .summary = "simulate a federation on one machine",
    .help = "Runs a plan with hundreds or thousands of clients under a virtual "
            "clock. A plan alone is a run. mpirun -n N tacit-sim-mpi PLAN does "
            "the same in N processes, to the same bits.",
    .global = global,
    .n_global = COUNT(global),
    .commands = commands,
    .n_commands = COUNT(commands),
};

/* A plan alone is a run: mpirun -n 4 tacit-sim-mpi PLAN */
static int is_plan(const char *word)
{
    for (size_t i = 0; i < COUNT(commands); i++)
        if (strcmp(word, commands[i].name) == 0) return 0;
    return word[0] != '-' && strcmp(word, "help") != 0 && file_exists(word);
}

static int run_plan(int argc, char **argv)
{
    static char run[] = "run";
    char **words = calloc((size_t)argc + 2, sizeof *words);
    if (!words) return TACIT_EXIT_FAILED;
    words[0] = argv[0];
    words[1] = run;
    for (int i = 1; i < argc; i++) words[i + 1] = argv[i];
    int code = options_main(&program, argc + 1, words);
    free(words);
    return code;
}

/* Only a run is shared by several processes. */
static int is_run(int argc, char **argv)
{
    struct options o;
    int yes = options_parse(&program, argc, (const char *const *)argv, &o) ==
                  TACIT_OK &&
              o.command && o.command->run == sim_run && !o.want_help;
    err_clear();
    return yes;
}

int main(int argc, char **argv)
{
    int code = TACIT_EXIT_OK;
    rng_setup();
    enum tacit_err err = peers_begin(&argc, &argv);
    if (err) {
        options_print_error(stderr, program.name, err);
        return err_exit(err);
    }
    if (argc > 1 && is_plan(argv[1]))
        code = run_plan(argc, argv);
    else if (peers_rank() == 0 || is_run(argc, argv))
        code = options_main(&program, argc, argv);
    return peers_end(code);
}
