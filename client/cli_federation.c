/* Commands towards the coordinator: join, leave, run. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/agent.h"
#include "client/cli.h"
#include "client/keeper.h"
#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/tick.h"
#include "common/crypto/secret.h"
#include "common/wire/session.h"

enum { LINK_BYTES_MAX = 1024, JOIN_MS = 10000, LEAVE_MS = 5000 };

/* The invite: the argument itself, file:PATH, or - for standard input. */
static enum tacit_err read_invite(const char *arg, struct link_invite *out)
{
    char text[LINK_BYTES_MAX] = "";
    enum tacit_err err = TACIT_OK;
    if (strncmp(arg, "file:", 5) == 0) {
        struct buf b;
        buf_init(&b, LINK_BYTES_MAX - 1);
        err = file_read(arg + 5, LINK_BYTES_MAX - 1, &b);
        if (!err) err = buf_end(&b);
        if (!err && b.len) memcpy(text, b.data, b.len);
        buf_wipe(&b);
    } else if (strcmp(arg, "-") == 0) {
        if (!fgets(text, sizeof text, stdin))
            err = fail(TACIT_IO, "no invite on standard input");
    } else {
        snprintf(text, sizeof text, "%s", arg);
    }
    if (!err) err = link_invite_parse(text, out);
    secret_wipe(text, sizeof text);
    return err;
}

static enum tacit_err enrol(struct device *d, const struct link_invite *invite,
                            struct msg_enrolled *out)
{
    struct link_client_config link = {.keys = &d->keys,
                                      .enrol = 1,
                                      .token_id = invite->token_id};
    struct wire_session *s = NULL;
    struct message *m = calloc(2, sizeof *m);
    struct buf storage;
    if (!m) return fail(TACIT_NOMEM, "no memory to join");
    buf_init(&storage, 0);
    memcpy(link.coordinator, invite->coordinator, KEYS_PUBLIC);
    memcpy(link.token, invite->token, LINK_TOKEN);
    m[0].type = MSG_ENROL;
    snprintf(m[0].u.enrol.name, sizeof m[0].u.enrol.name, "device");
    snprintf(m[0].u.enrol.software, sizeof m[0].u.enrol.software, "tacit/1");
    enum tacit_err err = session_open(invite->address, &link, &s);
    if (!err) err = session_call(s, &m[0], &m[1], &storage, JOIN_MS);
    if (!err && (m[1].type != MSG_ENROLLED ||
                 memcmp(m[1].u.enrolled.id, d->keys.id, KEYS_ID) != 0))
        err = fail(TACIT_PROTO, "the coordinator enrolled another device");
    if (!err) *out = m[1].u.enrolled;
    session_close(s);
    secret_wipe(&link, sizeof link);
    buf_release(&storage);
    free(m);
    return err;
}

static enum tacit_err print_joined(const struct options *o,
                                   const struct device *d, int approved)
{
    char coordinator[KEYS_FINGERPRINT], device[KEYS_FINGERPRINT];
    const struct device_federation *f = &d->federation;
    keys_fingerprint(coordinator, f->coordinator_dh);
    keys_fingerprint(device, d->keys.sign_public);
    if (cli_json(o))
        return json_print_ok(stdout,
                             json_pack("{s:s, s:s, s:s, s:s, s:b}",
                                       "federation", f->name, "address",
                                       f->address, "coordinator_fingerprint",
                                       coordinator, "fingerprint", device,
                                       "approved", approved));
    printf("joined %s at %s\ncoordinator  %s\nthis device  %s\n", f->name,
           f->address, coordinator, device);
    cli_hint(o, approved
                    ? "Next: name your data in policy.yaml, then `tacit run`."
                    : "The operator has to approve this device; compare the "
                      "fingerprints by another way, then `tacit run`.");
    return TACIT_OK;
}

enum tacit_err cli_join(const struct options *o)
{
    struct device d;
    struct link_invite invite;
    struct msg_enrolled enrolled = {0};
    struct device_federation f = {0};
    TRY(read_invite(o->args[0], &invite));
    enum tacit_err err = cli_open(o, &d);
    if (err) {
        secret_wipe(&invite, sizeof invite);
        return err;
    }
    if (d.joined)
        err = fail_as(E_ALREADY_JOINED, "this device is a member of %s at %s",
                      d.federation.name, d.federation.address);
    if (!err) err = enrol(&d, &invite, &enrolled);
    if (!err) {
        snprintf(f.name, sizeof f.name, "%s", enrolled.federation);
        snprintf(f.address, sizeof f.address, "%s", invite.address);
        memcpy(f.coordinator_dh, invite.coordinator, KEYS_PUBLIC);
        memcpy(f.coordinator_sign, enrolled.sign_public, KEYS_PUBLIC);
        f.joined_s = tick_wall_s();
        err = device_join(&d, &f);
    }
    if (!err) err = print_joined(o, &d, enrolled.approved);
    secret_wipe(&invite, sizeof invite);
    device_close(&d);
    return err;
}

/* ---- leave -------------------------------------------------------------- */

static enum tacit_err say_leave(struct device *d)
{
    struct link_client_config link = {.keys = &d->keys};
    struct wire_session *s = NULL;
    struct message *m = calloc(2, sizeof *m);
    struct buf storage;
    if (!m) return fail(TACIT_NOMEM, "no memory to leave");
    buf_init(&storage, 0);
    memcpy(link.coordinator, d->federation.coordinator_dh, KEYS_PUBLIC);
    m[0].type = MSG_LEAVE;
    enum tacit_err err = session_open(d->federation.address, &link, &s);
    if (!err) err = session_call(s, &m[0], &m[1], &storage, LEAVE_MS);
    session_close(s);
    buf_release(&storage);
    free(m);
    /* Whoever is no member any more has left. */
    if (!err || err_id() != E_NOT_A_MEMBER) return err;
    err_clear();
    return TACIT_OK;
}

enum tacit_err cli_leave(const struct options *o)
{
    struct device d;
    char name[WIRE_NAME_MAX];
    TRY(cli_open(o, &d));
    enum tacit_err err = TACIT_OK;
    if (!d.joined)
        err = fail_as(E_NOT_JOINED, "%s belongs to no federation", d.home);
    snprintf(name, sizeof name, "%s", d.federation.name);
    if (!err && !options_flag(o, "force")) {
        err = say_leave(&d);
        if (err)
            err = err_context(err, "leave (--force forgets the federation "
                                   "without telling it)");
    }
    if (!err) err = device_leave(&d);
    device_close(&d);
    if (err) return err;
    if (cli_json(o))
        return json_print_ok(stdout, json_pack("{s:s}", "left", name));
    printf("left %s; its models and the ledger stay here\n", name);
    return TACIT_OK;
}

/* ---- run ---------------------------------------------------------------- */

struct running {
    struct agent *agent;
    int signal; /* the one that ended it, or 0 */
};

static sem_t wake;
static volatile sig_atomic_t caught;

static void on_signal(int number)
{
    int kept = errno;
    caught = number;
    sem_post(&wake);
    errno = kept;
}

/* Handlers, and not a mask with sigwait: a library may have made threads before
 * main (OpenBLAS does, say), no mask reaches those, and a signal that one of
 * them does not block would end the process there. */
static enum tacit_err catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    if (sem_init(&wake, 0, 0))
        return fail(TACIT_INTERNAL, "signals: %s", strerror(errno));
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    return TACIT_OK;
}

/* Waits for a signal, or for the run's end, and ends the agent; agent_stop
 * takes locks, which a handler may not. */
static void *wait_for_signal(void *ctx)
{
    struct running *r = ctx;
    while (sem_wait(&wake) && errno == EINTR)
        ;
    if (caught) {
        log_event(LOG_INFO, "stopping", "signal=%d", (int)caught);
        r->signal = caught;
        agent_stop(r->agent);
    }
    return NULL;
}

static enum tacit_err run_agent(struct running *r, enum agent_until until,
                                int64_t patience_ms)
{
    pthread_t waiter;
    if (pthread_create(&waiter, NULL, wait_for_signal, r))
        return fail(TACIT_NOMEM, "no thread to wait for signals");
    enum tacit_err err = agent_run(r->agent, until, patience_ms);
    sem_post(&wake);
    pthread_join(waiter, NULL);
    return err;
}

/* A daemon that is told to stop has done its work; a person's Ctrl-C, or a stop
 * before --once or --until-finished is reached, is an interruption. */
static enum tacit_err how_it_ended(const struct options *o,
                                   const char *federation, int number,
                                   enum agent_until until)
{
    if (number == SIGINT || (number && until != AGENT_FOREVER))
        return fail_as(E_INTERRUPTED, "stopped before the end");
    if (!cli_json(o)) return TACIT_OK;
    return json_print_ok(stdout, json_pack("{s:s, s:s}", "federation",
                                           federation, "ended",
                                           number ? "stopped"
                                           : until == AGENT_ROUND
                                               ? "round over"
                                               : "nothing left to run"));
}

/* A system that lets nobody watch folders does not keep a device from rounds.
 */
static enum tacit_err keep_documents(const struct device *d,
                                     struct keeper **out)
{
    enum tacit_err err = keeper_start(d, out);
    if (err_id() != E_WATCH_LIMIT) return err;
    log_event(LOG_WARN, "folders_unwatched", "reason=\"%s\"", err_message());
    err_clear();
    return TACIT_OK;
}

enum tacit_err cli_run(const struct options *o)
{
    struct device d;
    struct running r = {.agent = NULL};
    struct keeper *keeper = NULL;
    int lock = -1;
    int64_t patience_ms = 0;
    enum agent_until until = options_flag(o, "once") ? AGENT_ROUND
                             : options_flag(o, "until-finished")
                                 ? AGENT_FINISHED
                                 : AGENT_FOREVER;
    TRY(options_duration_ms(o, "wait", 10 * 60 * 1000, &patience_ms));
    log_setup(options_flag(o, "quiet") ? LOG_WARN : LOG_INFO,
              cli_json(o) ? LOG_JSON : LOG_LOGFMT);
    TRY(catch_signals());
    TRY(cli_open(o, &d));
    enum tacit_err err = device_lock(&d, &lock);
    if (!err) err = agent_new(&d, &r.agent);
    /* What ends by itself, after a round, changes no documents. */
    if (!err && until == AGENT_FOREVER) err = keep_documents(&d, &keeper);
    if (!err) {
        log_event(LOG_INFO, "running", "federation=\"%s\" address=%s pid=%ld",
                  d.federation.name, d.federation.address, (long)getpid());
        err = run_agent(&r, until, patience_ms);
    }
    keeper_stop(keeper);
    agent_free(r.agent);
    if (!err) err = how_it_ended(o, d.federation.name, r.signal, until);
    device_close(&d);
    if (lock >= 0) close(lock);
    return err;
}
