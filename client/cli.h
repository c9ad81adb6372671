/*
 * cli: the commands of `tacit`. Each command has the shape that the option
 * table wants; main.c lists them. Data goes to stdout, progress and hints to
 * stderr; --json prints one envelope.
 */
#ifndef TACIT_CLIENT_CLI_H
#define TACIT_CLIENT_CLI_H

#include "client/device.h"
#include "common/base/json.h"
#include "common/base/options.h"
#include "common/base/progress.h"

/* cli.c: what the commands share. */
TACIT_CHECKED enum tacit_err cli_open(const struct options *o,
                                      struct device *d);
/* For a command that changes nothing, on a read-only medium, too. */
TACIT_CHECKED enum tacit_err cli_open_to_read(const struct options *o,
                                              struct device *d);
static inline int cli_json(const struct options *o)
{
    return options_flag(o, "json");
}
enum progress_mode cli_progress(const struct options *o);
/* A line for people on stderr, unless --quiet or --json. */
void cli_hint(const struct options *o, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Ctrl-C and SIGTERM set a flag from now on; 1 when one has come. */
void cli_catch_interrupt(void);
/* The same as often as they come, for what goes on after one; forgets the last
 * one. */
void cli_watch_interrupt(void);
/* The number of the signal, or 0. */
int cli_interrupted(void);
/* "1.4 MiB". */
const char *cli_size(uint64_t bytes, char out[32]);
/* Full path of a name as given; it need not exist. */
TACIT_CHECKED enum tacit_err cli_full_path(const char *name, char *out,
                                           size_t cap);

/* cli_documents.c */
enum tacit_err cli_init(const struct options *o);
enum tacit_err cli_add(const struct options *o);
enum tacit_err cli_reindex(const struct options *o);
/* cli_ls.c */
enum tacit_err cli_ls(const struct options *o);
enum tacit_err cli_rm(const struct options *o);
/* cli_ask.c */
enum tacit_err cli_search(const struct options *o);
enum tacit_err cli_ask(const struct options *o);
enum tacit_err cli_feedback(const struct options *o);
enum tacit_err cli_tune(const struct options *o);
/* cli_chat.c */
enum tacit_err cli_chat(const struct options *o);
/* cli_open_source.c */
enum tacit_err cli_open_source(const struct options *o);
/* eval_retrieval.c, eval_answers.c */
enum tacit_err cli_eval_retrieval(const struct options *o);
enum tacit_err cli_eval_answers(const struct options *o);
/* cli_train.c */
enum tacit_err cli_train(const struct options *o);
/* cli_federation.c */
enum tacit_err cli_join(const struct options *o);
enum tacit_err cli_leave(const struct options *o);
enum tacit_err cli_run(const struct options *o);
/* cli_site.c */
enum tacit_err cli_audit(const struct options *o);
enum tacit_err cli_policy(const struct options *o);
enum tacit_err cli_status(const struct options *o);
/* cli_doctor.c */
enum tacit_err cli_doctor(const struct options *o);
/* cli_model.c */
enum tacit_err cli_model_import(const struct options *o);
enum tacit_err cli_model_ls(const struct options *o);
enum tacit_err cli_model_show(const struct options *o);
enum tacit_err cli_model_rm(const struct options *o);
enum tacit_err cli_model_export(const struct options *o);
enum tacit_err cli_model_merge(const struct options *o);
enum tacit_err cli_model_quantize(const struct options *o);
/* cli_model_use.c */
enum tacit_err cli_model_use(const struct options *o);
/* cli_distill.c, cli_distill_lm.c */
enum tacit_err cli_model_distill(const struct options *o);
enum tacit_err cli_model_distill_lm(const struct options *o);
/* cli_key.c */
enum tacit_err cli_key(const struct options *o);
/* What --key says, its path made full; the default without it. */
TACIT_CHECKED enum tacit_err cli_key_source(const char *text,
                                            struct store_source *out);

#endif
