/* tacit-coordinator: the table that its command line is made from. */
#include <stdlib.h>
#ifdef __GLIBC__
# include <malloc.h>
#endif

#include "common/base/options.h"
#include "common/base/rng.h"
#include "coordinator/admin.h"

static const struct option_row global[] = {
    {"home", 0, "DIR", "TACIT_COORDINATOR_HOME",
     "where the coordinator keeps its state"},
    OPTIONS_JSON,
};

static const struct option_row init_options[] = {
    {"name", 0, "NAME", NULL, "what devices call the federation"},
    {"listen", 0, "tcp://HOST:PORT", NULL,
     "where to listen; port 0 chooses one (default 127.0.0.1:7420)"},
    {"address", 0, "HOST:PORT", NULL,
     "what invites carry, when devices reach it under another name"},
};
static const struct option_row run_options[] = {
    {"listen", 0, "tcp://HOST:PORT", NULL, "listen here this time"},
    {"log", 0, "FORMAT", "TACIT_LOG", "logfmt (default) or json, on stderr"},
    {"verbose", 'v', NULL, NULL, "log more"},
};
static const struct option_row invite_options[] = {
    {"ttl", 0, "TIME", NULL, "how long the link works (default 24h)"},
    {"approve", 0, NULL, NULL, "whoever joins by it is approved at once"},
};
static const struct option_row plan_options[] = {
    {"plan", 'p', "PLAN", NULL, "a plan's name or the start of its hash"},
};
static const struct option_row base_options[] = {
    {"base", 'b', "FILE", NULL, "the network that the plan's base names"},
};
static const struct option_row watch_options[] = {
    {"timeout", 0, "TIME", NULL, "give up after this long (default: never)"},
};
static const struct option_row export_options[] = {
    {"plan", 'p', "PLAN", NULL,
     "a plan's name or the start of its hash (default: the newest)"},
    {"version", 0, "N", NULL, "which model (default: the newest)"},
    {"output", 'o', "FILE", NULL, "the safetensors file to write"},
};

static const struct option_command commands[] = {
    {.name = "init",
     .summary = "make keys and an empty store for a new federation",
     .options = init_options,
     .n_options = 3,
     .run = admin_init},
    {.name = "run",
     .summary = "serve the devices until it is told to stop",
     .help = "Prints one line with its address and fingerprint when it "
             "listens. SIGTERM and Ctrl-C end it cleanly; kill -9 loses no "
             "committed round.",
     .options = run_options,
     .n_options = 3,
     .run = admin_run},
    {.name = "invite",
     .args = "NAME…",
     .args_min = 1,
     .args_max = 1024,
     .summary = "make one link per site; each works once",
     .options = invite_options,
     .n_options = 2,
     .run = admin_invite},
    {.name = "members",
     .summary = "list the devices and the invites not used yet",
     .run = admin_members},
    {.name = "approve",
     .args = "NAME…",
     .args_min = 1,
     .args_max = 1024,
     .summary = "let devices take part, from the next round on",
     .run = admin_approve},
    {.name = "revoke",
     .args = "NAME…",
     .args_min = 1,
     .args_max = 1024,
     .summary = "shut devices out, from the next round on",
     .run = admin_revoke},
    {.name = "plan check",
     .args = "FILE",
     .args_min = 1,
     .args_max = 1,
     .summary = "explain what a plan would do, or what is wrong with it",
     .options = base_options,
     .n_options = 1,
     .run = admin_plan_check},
    {.name = "plan submit",
     .args = "FILE",
     .args_min = 1,
     .args_max = 1,
     .summary = "check a plan and queue it",
     .options = base_options,
     .n_options = 1,
     .help = "A plan with a base trains an adapter for a network that devices "
             "have. --base names the same file here, once: blobs/HASH of a "
             "device that has imported it (`tacit model show` prints the "
             "path).",
     .run = admin_plan_submit},
    {.name = "rounds",
     .summary = "show what has run, and how it went",
     .help = "LOSS is the training loss of the model that the round started "
             "from, METRIC its accuracy, RMSE or recall@5 on held-out rows: "
             "weighted means from the secure sum, never one device's own; "
             "under a plan's privacy block neither is sent. A * marks a round "
             "that needed another attempt; #n is the group of a round in "
             "groups, or the buffer of fedbuff.",
     .options = plan_options,
     .n_options = 1,
     .run = admin_rounds},
    {.name = "watch",
     .summary = "follow the rounds until every plan has run",
     .options = watch_options,
     .n_options = 1,
     .run = admin_watch},
    {.name = "models",
     .summary = "list the committed models",
     .options = plan_options,
     .n_options = 1,
     .run = admin_models},
    {.name = "export",
     .args = "-o FILE",
     .args_max = 0,
     .summary = "write a committed model as a safetensors file",
     .options = export_options,
     .n_options = 3,
     .run = admin_export},
    OPTIONS_EXPLAIN,
};

static const struct options_program program = {
    .name = "tacit-coordinator",
    .version = "0.1.0",
    .summary = "lead a federation that learns together and shares no data",
    .help = "The coordinator adds up masked updates and hands out the better "
            "model. It never sees a document, a question, an example, or any "
            "one device's update.",
    .global = global,
    .n_global = sizeof global / sizeof global[0],
    .commands = commands,
    .n_commands = sizeof commands / sizeof commands[0],
};

/* glibc raises the size from which memory is mapped, and given back, with the
 * largest block that it has seen freed. After a model every 256 KiB chunk would
 * then stay with the heap of the thread that received it; so: fixed. */
enum { MAPPED_FROM = 128 << 10 };

static void memory_setup(void)
{
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, MAPPED_FROM);
#endif
}

int main(int argc, char **argv)
{
    memory_setup();
    rng_setup();
    return options_main(&program, argc, argv);
}
