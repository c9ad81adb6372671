/* tacit: the device's program. One table makes the parser, the help, the man
 * page and the completion. */
#include "client/cli.h"
#include "common/base/rng.h"

static const struct option_row global[] = {
    {"home", 0, "DIR", "TACIT_HOME", "where this device keeps its state"},
    {"json", 0, NULL, NULL, "print one JSON envelope on stdout"},
    {"quiet", 'q', NULL, NULL, "no progress and no hints"},
};

static const struct option_row read_options[] = {
    {"in", 0, "GLOB", NULL, "only documents whose path matches, as '*.md'"},
    {"limit", 'n', "N", NULL, "how many passages to show (5)"},
};
static const struct option_row feedback_options[] = {
    {"citation", 'c', "N", NULL, "which citation is meant (1)"},
};
static const struct option_row train_options[] = {
    {"plan", 'p', "FILE", NULL, "the plan: task, model, data, training"},
    {"data", 'd', "FILE", NULL, "learn from this CSV, not the policy's"},
    {"eval", 0, NULL, NULL, "measure only, train nothing"},
    {"output", 'o', "FILE", NULL,
     "write this device's own model (safetensors)"},
};
static const struct option_row leave_options[] = {
    {"force", 0, NULL, NULL, "forget the federation without telling it"},
};
static const struct option_row run_options[] = {
    {"once", 0, NULL, NULL, "end after one round"},
    {"until-finished", 0, NULL, NULL, "end when no plan has rounds left"},
    {"wait", 0, "TIME", NULL,
     "with the two above: give up after this long without progress (10m)"},
};

static const struct option_row doctor_options[] = {
    {"index", 0, NULL, NULL,
     "check the whole vector index and measure its recall; a damaged one is "
     "made anew"},
};

#define OPTIONS(list)                                                          \
 .options = (list), .n_options = sizeof(list) / sizeof *(list)

static const struct option_command commands[] = {
    {.name = "init",
     .summary = "make this device's store and keys",
     .run = cli_init},
    {.name = "add",
     .args = "PATH…",
     .args_min = 1,
     .args_max = -1,
     .summary = "index files and folders",
     .help = "Text, Markdown and HTML are read. Adding again does nothing for "
             "an unchanged file, replaces a changed one, and drops those that "
             "are gone from the folder.",
     .run = cli_add},
    {.name = "ls", .summary = "list the documents", .run = cli_ls},
    {.name = "rm",
     .args = "PATH…",
     .args_min = 1,
     .args_max = -1,
     .summary = "forget documents; the files stay",
     .run = cli_rm},
    {.name = "search",
     .args = "WORDS…",
     .args_min = 1,
     .args_max = -1,
     .summary = "show the passages that match best",
     OPTIONS(read_options),
     .run = cli_search},
    {.name = "ask",
     .args = "QUESTION…",
     .args_min = 1,
     .args_max = -1,
     .summary = "answer from the documents, with sources",
     .help = "The answer is made of sentences taken word by word from the "
             "documents, each with a numbered source. Where nothing answers "
             "the question it says so and exits with 6.",
     .options = read_options,
     .n_options = 1,
     .run = cli_ask},
    {.name = "feedback",
     .args = "ANSWER good|bad",
     .args_min = 2,
     .args_max = 2,
     .summary = "say whether an answer's source was right",
     .help = "Good sources become training pairs for a retriever plan. They "
             "stay on this device.",
     OPTIONS(feedback_options),
     .run = cli_feedback},
    {.name = "train",
     .args = "--plan FILE",
     .args_max = 0,
     .summary = "learn on this device alone, and compare",
     .help = "Trains as many steps as the plan's federation would, on this "
             "device's rows only, and measures the untrained model, this one "
             "and the federation's newest on held-out rows. Nothing leaves.",
     OPTIONS(train_options),
     .run = cli_train},
    {.name = "join",
     .args = "LINK",
     .args_min = 1,
     .args_max = 1,
     .summary = "join a federation with an invite",
     .help = "LINK is the invite itself, file:PATH, or - to read it from "
             "standard input. It works once.",
     .run = cli_join},
    {.name = "leave",
     .summary = "leave the federation",
     OPTIONS(leave_options),
     .run = cli_leave},
    {.name = "run",
     .summary = "take part in rounds (the daemon)",
     .help = "Dials out to the coordinator, waits for rounds that policy.yaml "
             "allows, trains, and sends masked updates. Ends on SIGTERM or "
             "Ctrl-C; a round in flight is lost for this device only.",
     OPTIONS(run_options),
     .run = cli_run},
    {.name = "audit",
     .summary = "list everything that ever left this device",
     .run = cli_audit},
    {.name = "policy",
     .summary = "show what this device allows",
     .run = cli_policy},
    {.name = "status",
     .summary = "documents, federation, models",
     .run = cli_status},
    {.name = "doctor",
     .summary = "look for what is wrong, and what to do",
     OPTIONS(doctor_options),
     .run = cli_doctor},
    {.name = "explain",
     .args = "[CODE]",
     .args_max = 1,
     .summary = "say what an error code means and what to do",
     .run = options_explain},
};

static const struct options_program program = {
    .name = "tacit",
    .version = "0.1.0",
    .summary = "answers from your own documents, learning without telling",
    .help = "Answers questions offline from this device's documents, and "
            "improves its model together with other devices: each trains at "
            "home and sends only masked updates.",
    .global = global,
    .n_global = sizeof global / sizeof *global,
    .commands = commands,
    .n_commands = sizeof commands / sizeof *commands,
};

int main(int argc, char **argv)
{
    rng_setup();
    return options_main(&program, argc, argv);
}
