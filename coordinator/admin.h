/*
 * admin: the commands of tacit-coordinator, one function per row of the table
 * in main.c. They open the store by themselves, so all of them work beside a
 * running daemon, which sees their changes within SERVER_LOOK_MS.
 *
 * Data goes to stdout (with --json as one envelope), hints to stderr.
 */
#ifndef TACIT_COORDINATOR_ADMIN_H
#define TACIT_COORDINATOR_ADMIN_H

#include "common/base/err.h"
#include "common/base/options.h"
#include "coordinator/store.h"

/* The home that --home, its variable or the default names; into out[512]. */
TACIT_CHECKED enum tacit_err admin_home(const struct options *o, char *out);
/* Open the store of that home; fails with the way out when there is none. */
TACIT_CHECKED enum tacit_err admin_open(const struct options *o,
                                        struct store *s);

enum tacit_err admin_init(const struct options *o);
enum tacit_err admin_run(const struct options *o);
enum tacit_err admin_invite(const struct options *o);
enum tacit_err admin_members(const struct options *o);
enum tacit_err admin_approve(const struct options *o);
enum tacit_err admin_revoke(const struct options *o);
enum tacit_err admin_plan_check(const struct options *o);
enum tacit_err admin_plan_submit(const struct options *o);
enum tacit_err admin_rounds(const struct options *o);
enum tacit_err admin_watch(const struct options *o);
enum tacit_err admin_models(const struct options *o);
enum tacit_err admin_export(const struct options *o);

#endif
