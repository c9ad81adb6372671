/* admin: setting up, members and plans. Rounds and models are in
 * admin_rounds.c. */
#include "coordinator/admin.h"

#include <assert.h>
#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/base/rng.h"
#include "common/base/terminal.h"
#include "common/base/tick.h"
#include "common/base/utf8.h"
#include "common/crypto/keys.h"
#include "common/plan/plan.h"
#include "common/wire/blob.h"
#include "common/wire/link.h"
#include "coordinator/aggregate.h"
#include "coordinator/server.h"

static const char default_address[] = "127.0.0.1:7420";

enum tacit_err admin_home(const struct options *o, char *out)
{
    return file_home(out, 512, options_value(o, "home"),
                     "TACIT_COORDINATOR_HOME", "tacit-coordinator");
}

/* The same failure, said in the words of whoever typed the command. */
static enum tacit_err in_words(enum tacit_err err, const char *home)
{
    if (err == TACIT_OK || err_id() != E_NOT_INITIALISED) return err;
    err_clear();
    return fail_as(E_NOT_INITIALISED,
                   "%s: no coordinator here; run `tacit-coordinator init` or "
                   "pass --home",
                   home);
}

enum tacit_err admin_open(const struct options *o, struct store *s)
{
    char home[512];
    TRY(admin_home(o, home));
    return in_words(store_open(s, home, DB_EXISTING), home);
}

/* ---- init --------------------------------------------------------------- */

/* "host:port" or "tcp://host:port" to "tcp://host:port" in out[256]. */
static enum tacit_err address(const char *option, const char *text, long min,
                              char *out)
{
    const char *host = strncmp(text, "tcp://", 6) == 0 ? text + 6 : text;
    const char *colon = strrchr(host, ':');
    char *end = NULL;
    long port = colon ? strtol(colon + 1, &end, 10) : -1;
    int clean = colon && colon != host && strlen(host) < 200;
    for (const char *c = host; clean && *c; c++)
        clean = isgraph((unsigned char)*c) && *c != '/' && *c != '#';
    if (!clean || !colon[1] || *end || port < min || port > 65535)
        return fail_as(E_USAGE, "--%s %.64s: wants HOST:PORT, e.g. %s", option,
                       text, default_address);
    snprintf(out, 256, "tcp://%s", host);
    return TACIT_OK;
}

static enum tacit_err init_federation(const struct options *o,
                                      struct store_federation *f)
{
    const char *name = options_value(o, "name");
    const char *listen = options_value(o, "listen");
    const char *public = options_value(o, "address");
    int n = snprintf(f->name, sizeof f->name, "%s", name ? name : "federation");
    if (n < 1 || (size_t)n >= sizeof f->name ||
        !utf8_is_clean(f->name, sizeof f->name))
        return fail_as(E_USAGE, "--name: wants 1 to %zu bytes of plain text",
                       sizeof f->name - 1);
    if (public) TRY(address("address", public, 1, f->address));
    if (listen) return address("listen", listen, 0, f->listen);
    if (!public) return address("listen", default_address, 0, f->listen);
    /* Reachable under a public name: listen on every interface. */
    snprintf(f->listen, sizeof f->listen, "tcp://0.0.0.0%s",
             strrchr(f->address, ':'));
    return TACIT_OK;
}

/* Keys left by an init that was interrupted are used, never overwritten. */
static enum tacit_err init_keys(const char *home, struct keys *k)
{
    char path[512];
    TRY(file_join(path, sizeof path, home, "keys"));
    if (file_exists(path)) return keys_load(k, path);
    TRY(keys_new(k));
    enum tacit_err err = keys_save(k, path);
    if (err != TACIT_OK) keys_release(k);
    return err;
}

static enum tacit_err init_folders(const char *home)
{
    static const char *const folders[] = {"", "blobs", "spool"};
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        char path[512];
        TRY(file_join(path, sizeof path, home, folders[i]));
        TRY(file_mkdirs(path, 0700));
    }
    return TACIT_OK;
}

enum tacit_err admin_init(const struct options *o)
{
    char home[512], fingerprint[KEYS_FINGERPRINT];
    struct store_federation f = {0};
    struct store s;
    struct keys k;
    TRY(admin_home(o, home));
    TRY(init_federation(o, &f));
    TRY(init_folders(home));
    TRY(store_open(&s, home, DB_CREATE));
    enum tacit_err err = init_keys(home, &k);
    if (err == TACIT_OK) {
        keys_fingerprint(fingerprint, k.dh_public);
        keys_release(&k);
        err = store_federation_set(&s, &f, tick_wall_s());
    }
    store_close(&s);
    TRY(err);
    if (options_flag(o, "json"))
        return json_print_ok(stdout,
                             json_pack("{s:s, s:s, s:s, s:s, s:s}", "home",
                                       home, "name", f.name, "listen", f.listen,
                                       "address",
                                       f.address[0] ? f.address : f.listen,
                                       "fingerprint", fingerprint));
    printf("federation   %s\nhome         %s\nlistens on   %s\n", f.name, home,
           f.listen);
    if (f.address[0]) printf("invites say  %s\n", f.address);
    printf("fingerprint  %s\n", fingerprint);
    terminal_say(stderr, 0,
                 "Next: `tacit-coordinator run`, then `tacit-coordinator "
                 "invite SITE`.");
    return TACIT_OK;
}

/* ---- run ---------------------------------------------------------------- */

static volatile sig_atomic_t stop_signal;

static void on_signal(int number)
{
    stop_signal = number;
}

/* A descriptor for each connection: as many as the system allows us. */
static void raise_descriptors(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur == r.rlim_max) return;
    r.rlim_cur = r.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &r); /* else fewer: the rest has to wait */
}

static enum tacit_err run_log(const struct options *o)
{
    const char *format = options_value(o, "log");
    if (format && strcmp(format, "json") != 0 && strcmp(format, "logfmt") != 0)
        return fail_as(E_USAGE, "--log %.32s: wants logfmt or json", format);
    log_setup(options_flag(o, "verbose") ? LOG_DEBUG : LOG_INFO,
              format && strcmp(format, "json") == 0 ? LOG_JSON : LOG_LOGFMT);
    return TACIT_OK;
}

enum tacit_err admin_run(const struct options *o)
{
    char home[512], listen[256];
    struct server_config c = {.home = home};
    struct server *s = NULL;
    TRY(admin_home(o, home));
    TRY(run_log(o));
    raise_descriptors();
    if (options_value(o, "listen")) {
        TRY(address("listen", options_value(o, "listen"), 0, listen));
        c.listen = listen;
    }
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    TRY(in_words(server_new(&c, &s), home));
    if (options_flag(o, "json"))
        TRY(json_print_ok(stdout,
                          json_pack("{s:s, s:s}", "address", server_address(s),
                                    "fingerprint", server_fingerprint(s))));
    else
        printf("listening on %s  fingerprint %s\n", server_address(s),
               server_fingerprint(s));
    fflush(stdout);
    enum tacit_err err = server_run(s, &stop_signal);
    if (err != TACIT_OK) options_print_error(stderr, o->program->name, err);
    /* Everything is on disk; nng's own close may never return. */
    fflush(NULL);
    _exit(err != TACIT_OK         ? (int)err_exit(err)
          : stop_signal == SIGINT ? TACIT_EXIT_INTERRUPTED
                                  : TACIT_EXIT_OK);
}

/* ---- invite ------------------------------------------------------------- */

static enum tacit_err check_name(const char *name)
{
    size_t n = strlen(name);
    int clean = n >= 1 && n < WIRE_NAME_MAX && utf8_is_clean(name, n + 1);
    for (const char *c = name; clean && *c; c++)
        clean = isalnum((unsigned char)*c) || strchr("._-", *c) ||
                (unsigned char)*c >= 0x80;
    if (clean) return TACIT_OK;
    return fail_as(E_USAGE,
                   "invite %.64s: a name has 1 to %d letters, digits and . _ -",
                   name, WIRE_NAME_MAX - 1);
}

static enum tacit_err invite_address(const struct store_federation *f,
                                     char out[256])
{
    const char *best = f->address[0] ? f->address
                       : f->bound[0] ? f->bound
                                     : f->listen;
    size_t n = strlen(best);
    if (n < 3 || strcmp(best + n - 2, ":0") == 0)
        return fail(TACIT_STATE,
                    "no address for the invite yet: start `tacit-coordinator "
                    "run` first, or set one by `init --address HOST:PORT`");
    snprintf(out, 256, "%s", best);
    return TACIT_OK;
}

struct inviting {
    struct store store;
    struct link_invite link; /* address and key */
    int64_t ttl_s;
    int approve;
    json_t *list; /* with --json */
};

static enum tacit_err invite_one(struct inviting *v, const char *name)
{
    struct store_invite row = {.approve = v->approve};
    char text[512], expires[21];
    int64_t now_s = tick_wall_s();
    rng_secure(&v->link.token_id, sizeof v->link.token_id);
    rng_secure(v->link.token, sizeof v->link.token);
    link_token_psk(row.psk, v->link.token);
    row.token_id = v->link.token_id;
    row.expires_s = now_s + v->ttl_s;
    snprintf(row.name, sizeof row.name, "%s", name);
    TRY(link_invite_format(&v->link, text, sizeof text));
    TRY(store_invite_add(&v->store, &row, now_s));
    tick_iso8601(row.expires_s, expires);
    if (v->list)
        json_array_append_new(v->list,
                              json_pack("{s:s, s:s, s:s, s:b}", "name", name,
                                        "link", text, "expires", expires,
                                        "approve", v->approve));
    else
        printf("%s  %s\n", name, text);
    return TACIT_OK;
}

static enum tacit_err invite_begin(const struct options *o, struct inviting *v)
{
    char home[512], path[512];
    struct store_federation f;
    struct keys k;
    int64_t ttl_ms = 0;
    TRY(options_duration_ms(o, "ttl", 24LL * 3600 * 1000, &ttl_ms));
    if (ttl_ms < 1000 || ttl_ms > 90LL * 24 * 3600 * 1000)
        return fail_as(E_USAGE, "--ttl: wants 1s to 90d");
    v->ttl_s = ttl_ms / 1000;
    v->approve = options_flag(o, "approve");
    for (int i = 0; i < o->n_args; i++) TRY(check_name(o->args[i]));
    TRY(store_federation(&v->store, &f));
    TRY(invite_address(&f, v->link.address));
    TRY(admin_home(o, home));
    TRY(file_join(path, sizeof path, home, "keys"));
    TRY(keys_load(&k, path));
    memcpy(v->link.coordinator, k.dh_public, sizeof v->link.coordinator);
    keys_release(&k);
    return TACIT_OK;
}

enum tacit_err admin_invite(const struct options *o)
{
    struct inviting v = {.list = NULL};
    TRY(admin_open(o, &v.store));
    enum tacit_err err = invite_begin(o, &v);
    if (err == TACIT_OK && options_flag(o, "json")) v.list = json_array();
    for (int i = 0; err == TACIT_OK && i < o->n_args; i++)
        err = invite_one(&v, o->args[i]);
    store_close(&v.store);
    if (err != TACIT_OK) {
        json_decref(v.list);
        return err;
    }
    if (v.list)
        return json_print_ok(stdout, json_pack("{s:o}", "invites", v.list));
    fflush(stdout); /* a hint comes behind what it is about */
    terminal_say(stderr, 0,
                 "Each works once, for %lld h. On the device: `tacit join "
                 "LINK`%s",
                 (long long)(v.ttl_s / 3600),
                 v.approve ? "."
                           : "; then here: `tacit-coordinator approve NAME`.");
    return TACIT_OK;
}

/* ---- members ------------------------------------------------------------ */

static void ago(char out[32], int64_t then_s)
{
    int64_t s = tick_wall_s() - then_s;
    if (s < 0) s = 0;
    if (s < 120)
        snprintf(out, 32, "%lld s ago", (long long)s);
    else if (s < 7200)
        snprintf(out, 32, "%lld min ago", (long long)(s / 60));
    else if (s < 48 * 3600)
        snprintf(out, 32, "%lld h ago", (long long)(s / 3600));
    else
        snprintf(out, 32, "%lld d ago", (long long)(s / 86400));
}

static enum tacit_err print_member(void *ctx, const struct store_member *m)
{
    json_t *list = ctx;
    char fingerprint[KEYS_FINGERPRINT], id[2 * KEYS_ID + 1], seen[32], at[21];
    keys_fingerprint(fingerprint, m->identity);
    hex_encode(id, m->id, sizeof m->id);
    if (list) {
        tick_iso8601(m->last_seen_s, at);
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}",
                                              "name", m->name, "state",
                                              store_member_state_name(m->state),
                                              "id", id, "fingerprint",
                                              fingerprint, "software",
                                              m->software, "last_seen", at));
        return TACIT_OK;
    }
    ago(seen, m->last_seen_s);
    printf("%-20s  %-9s  %-12s  %s\n", m->name,
           store_member_state_name(m->state), seen, fingerprint);
    return TACIT_OK;
}

static enum tacit_err print_invited(void *ctx, const struct store_invite *i)
{
    json_t *list = ctx;
    int64_t now_s = tick_wall_s();
    const char *state = now_s < i->expires_s ? "invited" : "expired";
    char at[21];
    tick_iso8601(i->expires_s, at);
    if (list)
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s}", "name", i->name,
                                        "state", state, "expires", at));
    else
        printf("%-20s  %-9s  %-12s  %s %s\n", i->name, state, "-",
               now_s < i->expires_s ? "expires" : "expired", at);
    return TACIT_OK;
}

enum tacit_err admin_members(const struct options *o)
{
    struct store s;
    TRY(admin_open(o, &s));
    json_t *list = options_flag(o, "json") ? json_array() : NULL;
    if (!list)
        printf("%-20s  %-9s  %-12s  %s\n", "NAME", "STATE", "LAST SEEN",
               "FINGERPRINT");
    enum tacit_err err = store_members(&s, print_member, list);
    if (err == TACIT_OK) err = store_invites(&s, print_invited, list);
    store_close(&s);
    if (err == TACIT_OK && list)
        return json_print_ok(stdout, json_pack("{s:o}", "members", list));
    json_decref(list);
    return err;
}

static enum tacit_err set_members(const struct options *o,
                                  enum member_state state)
{
    struct store s;
    int total = 0;
    TRY(admin_open(o, &s));
    enum tacit_err err = TACIT_OK;
    for (int i = 0; err == TACIT_OK && i < o->n_args; i++) {
        int n = 0;
        err = store_member_set(&s, o->args[i], state, tick_wall_s(), &n);
        total += n;
    }
    store_close(&s);
    TRY(err);
    if (options_flag(o, "json"))
        return json_print_ok(stdout,
                             json_pack("{s:i, s:s}", "changed", total, "state",
                                       store_member_state_name(state)));
    printf("%d %s %s\n", total, total == 1 ? "member" : "members",
           store_member_state_name(state));
    return TACIT_OK;
}

enum tacit_err admin_approve(const struct options *o)
{
    return set_members(o, MEMBER_APPROVED);
}

enum tacit_err admin_revoke(const struct options *o)
{
    return set_members(o, MEMBER_REVOKED);
}

/* ---- plans -------------------------------------------------------------- */

/* What the plan's file alone does not show: building its model and strategy is
 * part of the check. The caller frees. */
static enum tacit_err plan_build(const struct plan *plan,
                                 struct aggregate **out)
{
    enum tacit_err err = task_production(plan);
    if (!err) err = aggregate_new(plan, out);
    return err ? err_context(err, "plan %s", plan->name) : TACIT_OK;
}

static enum tacit_err blob_folder(const struct options *o, char out[512])
{
    char home[512];
    TRY(admin_home(o, home));
    return file_join(out, 512, home, "blobs");
}

/* Where a plan's base is: the file that --base names, or among the blobs. */
static enum tacit_err find_base(const struct options *o, struct plan *plan,
                                char blobs[512])
{
    TRY(blob_folder(o, blobs));
    plan->base.where = options_value(o, "base");
    if (!plan->base.where) plan->base.where = blobs;
    return TACIT_OK;
}

/* The coordinator builds the plan's model at every start, so it keeps the base.
 */
static enum tacit_err keep_base(const struct options *o,
                                const struct plan *plan, const char *blobs)
{
    const char *path = options_value(o, "base");
    struct buf bytes;
    struct digest hash;
    if (!path || !plan_has_base(plan) || blob_has(blobs, &plan->base.hash))
        return TACIT_OK;
    buf_init(&bytes, WIRE_BLOB_MAX);
    enum tacit_err err = file_read(path, WIRE_BLOB_MAX, &bytes);
    if (!err) err = blob_put(blobs, bytes.data, bytes.len, &hash);
    buf_release(&bytes);
    return err;
}

/* What a plan means for devices. */
static enum tacit_err plan_print(const struct options *o,
                                 const struct plan *plan, const char *status)
{
    struct aggregate *a = NULL;
    char hex[DIGEST_HEX];
    TRY(plan_build(plan, &a));
    assert(a);
    struct ring_layout layout = a->layout;
    char privacy[TASK_PRIVACY_TEXT];
    size_t n_params = a->n;
    task_privacy_text(plan, privacy);
    aggregate_free(a);
    double upload = (double)ring_coords(&layout) * plan->ring_bits / 8;
    hex_encode(hex, plan->hash.b, DIGEST_BYTES);
    if (options_flag(o, "json"))
        return json_print_ok(
            stdout,
            json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:i, "
                      "s:I, s:I, s:s}",
                      "status", status, "plan", plan->name, "hash", hex,
                      "model", plan->model, "strategy", plan->strategy.kind,
                      "groups", (int)plan->strategy.groups, "rounds",
                      (int)plan->rounds, "cohort", (int)plan->cohort_size,
                      "invited", (int)task_invite_max(plan), "parameters",
                      (json_int_t)n_params, "upload_bytes", (json_int_t)upload,
                      "privacy", privacy));
    printf("%s %s: %s, %s with %zu parameters, by %s", status, plan->name,
           plan_task_name(plan->task), plan->model, n_params,
           plan->strategy.kind);
    if (plan->strategy.groups)
        printf(" across %u groups", plan->strategy.groups);
    printf("\n%u rounds of %u devices (%u to %u take part), %u local %s\n"
           "each device sends %.1f KiB a round, under secure aggregation\n"
           "%s\nhash %s\n",
           plan->rounds, plan->cohort_size,
           plan->min_reports *
               (plan->strategy.groups ? plan->strategy.groups : 1),
           task_invite_max(plan),
           plan->privacy.record ? 1
           : plan->local_epochs ? plan->local_epochs
                                : plan->local_steps,
           plan->privacy.record ? "gradient"
           : plan->local_epochs ? "epochs"
                                : "steps",
           upload / 1024, privacy, hex);
    return TACIT_OK;
}

enum tacit_err admin_plan_check(const struct options *o)
{
    struct plan *plan = NULL;
    char blobs[512];
    TRY(plan_load(o->args[0], &plan));
    enum tacit_err err = find_base(o, plan, blobs);
    if (!err) err = plan_print(o, plan, "valid");
    plan_free(plan);
    return err;
}

static enum tacit_err count_approved(void *ctx, const struct store_member *m)
{
    *(unsigned *)ctx += m->state == MEMBER_APPROVED;
    return TACIT_OK;
}

static enum tacit_err submit(const struct options *o, const struct plan *plan,
                             const struct buf *text, int *again,
                             unsigned *n_approved)
{
    char home[512], blobs[512];
    struct digest hash;
    struct aggregate *a = NULL;
    struct store s;
    TRY(plan_build(plan, &a));
    aggregate_free(a);
    TRY(admin_home(o, home));
    TRY(admin_open(o, &s));
    enum tacit_err err = file_join(blobs, sizeof blobs, home, "blobs");
    if (err == TACIT_OK) err = keep_base(o, plan, blobs);
    if (err == TACIT_OK) err = blob_put(blobs, text->data, text->len, &hash);
    if (err == TACIT_OK) err = store_plan_add(&s, plan, tick_wall_s(), again);
    if (err == TACIT_OK) err = store_members(&s, count_approved, n_approved);
    store_close(&s);
    return err;
}

enum tacit_err admin_plan_submit(const struct options *o)
{
    struct plan *plan = NULL;
    struct buf text;
    int again = 0;
    unsigned n_approved = 0;
    buf_init(&text, PLAN_BYTES_MAX);
    enum tacit_err err = file_read(o->args[0], PLAN_BYTES_MAX, &text);
    if (err == TACIT_OK)
        err = plan_parse(o->args[0], (const char *)text.data, text.len, &plan);
    char base[512];
    if (err == TACIT_OK) err = find_base(o, plan, base);
    if (err == TACIT_OK) err = submit(o, plan, &text, &again, &n_approved);
    if (err == TACIT_OK)
        err = plan_print(o, plan, again ? "already submitted" : "submitted");
    if (err == TACIT_OK && n_approved < plan->min_reports &&
        !options_flag(o, "json"))
        terminal_say(stderr, 0,
                     "%s waits for devices: a round takes at least %u, and %u "
                     "are approved",
                     plan->name, plan->min_reports, n_approved);
    buf_release(&text);
    plan_free(plan);
    return err;
}
