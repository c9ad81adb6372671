/* device: a home is made once and private, opened only when it is whole, and
 * remembers its federation and its models. */
#include "tests/client/home.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/ledger.h"
#include "common/base/codes.h"
#include "common/base/file.h"

/* "<home>/name" (static). */
static const char *in_home(const char *name)
{
    static char path[400];
    snprintf(path, sizeof path, "%s/%s", home, name);
    return path;
}

static unsigned mode_of(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) fail_msg("%s is not there", path);
    return st.st_mode & 0777;
}

static void read_whole(const char *name, struct buf *out)
{
    buf_init(out, 0);
    check_ok(file_read(in_home(name), 1 << 24, out));
}

static void check_same(const char *name, struct buf *before)
{
    struct buf after;
    read_whole(name, &after);
    assert_int_equal(after.len, before->len);
    assert_memory_equal(after.data, before->data, before->len);
    buf_release(&after);
    buf_release(before);
}

static void check_closed(unsigned id, enum tacit_err want, const char *names)
{
    struct device d;
    enum tacit_err err = device_open(&d, home);
    if (!err) fail_msg("a device was opened");
    if (!strstr(err_message(), names))
        fail_msg("\"%s\" does not name %s", err_message(), names);
    assert_int_equal(err, want);
    check_code(err, id ? id : (unsigned)want);
}

static void open_home(struct device *d)
{
    check_ok(device_open(d, home));
}

static void change_store(const char *sql)
{
    struct device d;
    open_home(&d);
    check_ok(db_exec(&d.db, sql));
    device_close(&d);
}

/* ---- making a home ------------------------------------------------------- */

static void a_new_home_is_private_and_whole(void **state)
{
    (void)state;
    struct device d;
    struct policy p;
    assert_int_equal(mode_of(home), 0700);
    assert_int_equal(mode_of(in_home("blobs")), 0700);
    assert_int_equal(mode_of(in_home("keys")), 0600);
    assert_int_equal(mode_of(in_home("policy.yaml")), 0600);
    assert_int_equal(mode_of(in_home("tacit.db")), 0600);
    open_home(&d);
    check(!d.joined);
    assert_string_equal(d.home, home);
    check_ok(device_policy(&d, &p));
    assert_int_equal(p.min_cohort, 3);
    /* The journals of the store are as private as it is. */
    check_ok(db_exec(&d.db, "CREATE TABLE x(y)"));
    assert_int_equal(mode_of(in_home("tacit.db-wal")), 0600);
    assert_int_equal(mode_of(in_home("tacit.db-shm")), 0600);
    device_close(&d);
}

static void a_store_in_an_open_folder_is_private_too(void **state)
{
    (void)state;
    snprintf(home, sizeof home, "%s/open", dir);
    assert_int_equal(mkdir(home, 0755), 0);
    check_ok(device_init(home));
    assert_int_equal(mode_of(in_home("tacit.db")), 0600);
    assert_int_equal(mode_of(in_home("keys")), 0600);
}

static void two_homes_are_two_devices(void **state)
{
    (void)state;
    struct device a, b;
    open_home(&a);
    snprintf(home, sizeof home, "%s/b", dir);
    check_ok(device_init(home));
    open_home(&b);
    check(memcmp(a.keys.id, b.keys.id, KEYS_ID) != 0);
    check(memcmp(a.keys.dh_public, b.keys.dh_public, KEYS_PUBLIC) != 0);
    device_close(&a);
    device_close(&b);
}

static void a_home_is_never_made_over(void **state)
{
    (void)state;
    struct buf keys, policy;
    char message[400];
    check_ok(file_write(in_home("policy.yaml"), "min_cohort: 9\n", 14, 0600));
    read_whole("keys", &keys);
    read_whole("policy.yaml", &policy);
    enum tacit_err err = device_init(home);
    snprintf(message, sizeof message, "%s: there is a device here already",
             home);
    assert_string_equal(err_message(), message);
    check_err(err, TACIT_STATE);
    check_same("keys", &keys);
    check_same("policy.yaml", &policy);
}

static void a_home_left_half_made_is_finished_and_keeps_its_policy(void **state)
{
    (void)state;
    struct device d;
    struct policy p;
    check_ok(file_write(in_home("policy.yaml"), "min_cohort: 9\n", 14, 0600));
    assert_int_equal(unlink(in_home("keys")), 0);
    check_closed(E_NOT_INITIALISED, TACIT_STATE, home);
    check_ok(device_init(home));
    open_home(&d);
    check_ok(device_policy(&d, &p));
    assert_int_equal(p.min_cohort, 9);
    device_close(&d);
}

/* What a power cut leaves of a store whose header was being written. */
static void a_store_left_without_a_page_is_made_again(void **state)
{
    (void)state;
    struct device d;
    struct buf whole;
    static const uint8_t zeros[4096];
    read_whole("tacit.db", &whole);
    for (int i = 0; i < 4; i++) {
        if (i < 3)
            check_ok(file_write(in_home("tacit.db"), i ? whole.data : zeros,
                                i == 1 ? 70 : 4096, 0600));
        else
            assert_int_equal(unlink(in_home("seal")), 0);
        if (i == 3) check_ok(file_write(in_home("tacit.db"), "", 0, 0600));
        assert_int_equal(unlink(in_home("keys")), 0);
        check_ok(device_init(home));
        open_home(&d);
        assert_non_null(d.vfs); /* sealed */
        device_close(&d);
    }
    buf_release(&whole);
}

static void a_home_that_cannot_be_made_says_why(void **state)
{
    (void)state;
    char path[DEVICE_PATH_MAX + 10], message[400];
    struct device d;
    snprintf(path, sizeof path, "%s/file", dir);
    check_ok(file_write(path, "x", 1, 0600));
    enum tacit_err err = device_init(path);
    check(strstr(err_message(), path) != NULL);
    check_err(err, TACIT_IO);
    memset(path, 'h', sizeof path);
    path[0] = '/';
    path[sizeof path - 1] = '\0';
    snprintf(message, sizeof message, "the home's path is longer than %d bytes",
             DEVICE_PATH_MAX - 1);
    err = device_init(path);
    assert_string_equal(err_message(), message);
    check_err(err, TACIT_LIMIT);
    check_err(device_open(&d, path), TACIT_LIMIT);
    /* Short enough itself, but not with the files in it. */
    path[DEVICE_PATH_MAX - 3] = '\0';
    check_err(device_init(path), TACIT_LIMIT);
}

/* ---- opening it ---------------------------------------------------------- */

static void a_folder_without_a_device_says_what_to_do(void **state)
{
    (void)state;
    char message[400];
    struct device d;
    enum tacit_err err = device_open(&d, dir);
    snprintf(message, sizeof message, "%s: no device here; run `tacit init`",
             dir);
    assert_string_equal(err_message(), message);
    check_code(err, E_NOT_INITIALISED);
    check_code(device_open(&d, "/nowhere/at/all"), E_NOT_INITIALISED);
    check_code(device_open(&d, ""), E_NOT_INITIALISED);
}

static void keys_that_others_can_read_are_refused(void **state)
{
    (void)state;
    static const mode_t modes[] = {0640, 0604, 0660, 0602, 0610};
    struct device d;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        assert_int_equal(chmod(in_home("keys"), modes[i]), 0);
        check_closed(E_KEYS_READABLE, TACIT_AUTH, in_home("keys"));
    }
    assert_int_equal(chmod(in_home("keys"), 0600), 0);
    open_home(&d);
    device_close(&d);
}

static void damaged_keys_are_refused(void **state)
{
    (void)state;
    struct buf keys;
    read_whole("keys", &keys);
    keys.data[keys.len - 1] ^= 1;
    check_ok(file_write(in_home("keys"), keys.data, keys.len, 0600));
    check_closed(0, TACIT_FORMAT, in_home("keys"));
    check_ok(file_write(in_home("keys"), keys.data, keys.len / 2, 0600));
    check_closed(0, TACIT_FORMAT, in_home("keys"));
    check_ok(file_write(in_home("keys"), "", 0, 0600));
    check_closed(0, TACIT_FORMAT, in_home("keys"));
    buf_release(&keys);
}

static void a_store_of_a_newer_version_is_refused_untouched(void **state)
{
    (void)state;
    struct buf store;
    change_store("PRAGMA user_version = 9999");
    read_whole("tacit.db", &store);
    check_closed(E_STORE_NEWER, TACIT_UNSUPPORTED, in_home("tacit.db"));
    check_closed(E_STORE_NEWER, TACIT_UNSUPPORTED, "store 9999");
    check_same("tacit.db", &store);
}

/* What a store was before documents had notes and folders were remembered. */
static void a_store_of_an_older_version_is_brought_up_to_date(void **state)
{
    (void)state;
    struct device d;
    int64_t n;
    change_store(
        "INSERT INTO document(path, title, kind, hash, size_bytes, n_chunks,"
        " added_s) VALUES('/a.md', 'A', 'markdown', x'00', 1, 0, 0);"
        "DROP TABLE trial;"
        "DROP TABLE answer_reader;"
        "DROP TABLE ledger_noise;"
        "DROP TABLE reranker;"
        "DROP TABLE generator;"
        "DROP TABLE adapter_encoder;"
        "DROP TABLE search_encoder;"
        "DROP TABLE model;"
        "DROP TABLE folder;"
        "DROP INDEX chunk_by_print;"
        "ALTER TABLE chunk DROP COLUMN print;"
        "ALTER TABLE document DROP COLUMN note;"
        "ALTER TABLE document DROP COLUMN made_by;"
        "DROP INDEX document_by_encoder;"
        "ALTER TABLE document DROP COLUMN enc_version;"
        "DROP TABLE passage_vector;"
        "CREATE TABLE vector(chunk_id INTEGER PRIMARY KEY"
        " REFERENCES chunk(id), enc_version TEXT NOT NULL, v BLOB NOT NULL);"
        "PRAGMA user_version = 7;");
    open_home(&d);
    check_ok(db_int(&d.db, &n, "SELECT count(*) FROM folder", ""));
    assert_int_equal(n, 0);
    check_ok(db_int(&d.db, &n,
                    "SELECT count(*) FROM document WHERE made_by = 0"
                    " AND note = ''",
                    ""));
    assert_int_equal(n, 1);
    check_ok(db_int(&d.db, &n, "SELECT count(print) FROM chunk", ""));
    check_ok(db_int(&d.db, &n, "SELECT count(*) FROM citation_place", ""));
    check_ok(db_int(&d.db, &n, "SELECT count(*) FROM passage_vector", ""));
    device_close(&d);
}

static void a_missing_store_is_named(void **state)
{
    (void)state;
    assert_int_equal(unlink(in_home("tacit.db")), 0);
    check_closed(E_NOT_INITIALISED, TACIT_STATE, in_home("tacit.db"));
    check(!file_exists(in_home("tacit.db")));
}

static void a_damaged_store_is_named(void **state)
{
    (void)state;
    static uint8_t noise[8192];
    struct buf store;
    read_whole("tacit.db", &store);
    memset(noise, 0xa5, sizeof noise);
    check_ok(file_write(in_home("tacit.db"), noise, sizeof noise, 0600));
    check_closed(E_STORE_DAMAGED, TACIT_FORMAT, in_home("tacit.db"));
    check_ok(file_write(in_home("tacit.db"), "SQLite for", 10, 0600));
    check_closed(E_STORE_DAMAGED, TACIT_FORMAT, in_home("tacit.db"));
    /* Its header is whole, its pages are not. */
    memset(store.data + 100, 0xa5, store.len - 100);
    check_ok(file_write(in_home("tacit.db"), store.data, store.len, 0600));
    check_closed(E_STORE_DAMAGED, TACIT_FORMAT, in_home("tacit.db"));
    buf_release(&store);
}

static void a_missing_policy_is_an_error_not_a_default(void **state)
{
    (void)state;
    struct device d;
    struct policy p;
    open_home(&d);
    assert_int_equal(unlink(in_home("policy.yaml")), 0);
    enum tacit_err err = device_policy(&d, &p);
    check(strstr(err_message(), in_home("policy.yaml")) != NULL);
    check_err(err, TACIT_NOTFOUND);
    device_close(&d);
}

/* ---- the federation ------------------------------------------------------ */

static struct device_federation federation(void)
{
    struct device_federation f = {.joined_s = 1700000000};
    memset(f.name, 'n', sizeof f.name - 1);
    memset(f.address, 'a', sizeof f.address - 1);
    memset(f.coordinator_dh, 3, KEYS_PUBLIC);
    memset(f.coordinator_sign, 4, KEYS_PUBLIC);
    return f;
}

static void a_federation_is_remembered_until_it_is_left(void **state)
{
    (void)state;
    struct device d;
    const struct device_federation f = federation();
    open_home(&d);
    check_ok(device_join(&d, &f));
    check(d.joined);
    device_close(&d);
    open_home(&d);
    check(d.joined);
    assert_memory_equal(&d.federation, &f, sizeof f);
    check_ok(device_leave(&d));
    check(!d.joined);
    check_ok(device_leave(&d)); /* nothing to leave */
    device_close(&d);
    open_home(&d);
    check(!d.joined);
    check_ok(device_join(&d, &f));
    device_close(&d);
}

static void only_one_of_two_that_join_at_once_does(void **state)
{
    (void)state;
    struct device a, b;
    struct device_federation f = federation(), g = federation();
    memset(g.coordinator_sign, 9, KEYS_PUBLIC);
    open_home(&a);
    open_home(&b);
    check_ok(device_join(&a, &f));
    check_code(device_join(&b, &g), E_ALREADY_JOINED);
    check(!b.joined);
    device_close(&b);
    open_home(&b);
    assert_memory_equal(b.federation.coordinator_sign, f.coordinator_sign,
                        KEYS_PUBLIC);
    device_close(&a);
    device_close(&b);
}

static void damaged_keys_of_a_federation_are_refused(void **state)
{
    (void)state;
    struct device d;
    const struct device_federation f = federation();
    open_home(&d);
    check_ok(device_join(&d, &f));
    device_close(&d);
    change_store("UPDATE federation SET sign = x'00'");
    check_closed(E_STORE_DAMAGED, TACIT_FORMAT,
                 "the federation's keys are damaged");
}

/* ---- models -------------------------------------------------------------- */

static struct plan plan_of(const char *name, enum plan_task task)
{
    struct plan p = {.task = task};
    snprintf(p.name, sizeof p.name, "%s", name);
    snprintf(p.model, sizeof p.model, "%s",
             task == PLAN_RETRIEVER ? "static" : "linear");
    memset(p.hash.b, name[0], DIGEST_BYTES);
    return p;
}

/* A model whose every weight is `value`, of n_inputs. */
static struct model *model_of(const struct plan *p, size_t n_inputs,
                              float value)
{
    struct model *m = NULL;
    const struct model_spec spec = {.kind = p->model,
                                    .task = p->task == PLAN_RETRIEVER
                                                ? MODEL_RETRIEVER
                                                : MODEL_REGRESS,
                                    .n_inputs = n_inputs};
    check_ok(model_new(&spec, &m));
    struct params *w = model_params(m);
    for (size_t i = 0; i < w->n_flat; i++) w->flat[i] = value;
    return m;
}

/* Put such a model into the blobs and adopt it, with what is kept, or NULL;
 * returns its hash. */
static struct digest adopt_with(struct device *d, const struct plan *p,
                                uint32_t version, float value,
                                const float *state, size_t n_state)
{
    struct msg_over over = {.plan_hash = p->hash,
                            .model_version = version,
                            .n_clients = 4};
    struct model *m = model_of(p, 8, value);
    over.model_hash = home_put_model(d, m);
    check_ok(device_adopt(d, p, &over, state, n_state));
    model_free(m);
    return over.model_hash;
}

static struct digest adopt(struct device *d, const struct plan *p,
                           uint32_t version, float value)
{
    return adopt_with(d, p, version, value, NULL, 0);
}

static void check_weights(struct device *d, const struct plan *p, float value)
{
    struct model *m = model_of(p, 8, -1);
    struct params *w = model_params(m);
    check_ok(device_weights(d, &p->hash, w));
    for (size_t i = 0; i < w->n_flat; i++) check_near(w->flat[i], value, 0);
    model_free(m);
}

static void a_plan_without_a_model_is_known_as_version_0(void **state)
{
    (void)state;
    struct device d;
    const struct plan p = plan_of("risk", PLAN_REGRESS);
    struct participate_known k = {.version = 99};
    struct model *m = model_of(&p, 8, 0);
    open_home(&d);
    check_ok(device_known(&d, &p.hash, &k));
    const struct digest zeros = {{0}};
    assert_int_equal(k.version, 0);
    check(digest_equal(&k.plan_hash, &p.hash));
    check(digest_equal(&k.model_hash, &zeros));
    enum tacit_err err = device_weights(&d, &p.hash, model_params(m));
    assert_string_equal(err_message(), "no model of this plan was adopted yet");
    check_err(err, TACIT_NOTFOUND);
    model_free(m);
    device_close(&d);
}

static void a_newer_model_replaces_the_one_before(void **state)
{
    (void)state;
    struct device d;
    struct participate_known k;
    const struct plan p = plan_of("risk", PLAN_REGRESS);
    open_home(&d);
    struct digest first = adopt(&d, &p, 1, 0.25F);
    check_weights(&d, &p, 0.25F);
    check(blob_has(d.blobs, &first));
    struct digest second = adopt(&d, &p, 4, 0.5F);
    device_close(&d);
    open_home(&d);
    check_weights(&d, &p, 0.5F);
    check(!blob_has(d.blobs, &first));
    check(blob_has(d.blobs, &second));
    check_ok(device_known(&d, &p.hash, &k));
    assert_int_equal(k.version, 4);
    check(digest_equal(&k.model_hash, &second));
    /* The same once more, as after a crash before it was noted. */
    adopt(&d, &p, 4, 0.5F);
    check_weights(&d, &p, 0.5F);
    device_close(&d);
}

static void an_older_model_is_refused(void **state)
{
    (void)state;
    struct device d;
    const struct plan p = plan_of("risk", PLAN_REGRESS);
    struct msg_over over = {.plan_hash = p.hash, .model_version = 3};
    open_home(&d);
    adopt(&d, &p, 4, 0.5F);
    enum tacit_err err = device_adopt(&d, &p, &over, NULL, 0);
    assert_string_equal(err_message(), "version 3 is older than 4");
    check_code(err, E_MODEL_REFUSED);
    check_weights(&d, &p, 0.5F);
    device_close(&d);
}

static void a_model_that_two_plans_share_stays_for_the_other(void **state)
{
    (void)state;
    struct device d;
    const struct plan p = plan_of("risk", PLAN_REGRESS),
                      q = plan_of("stay", PLAN_REGRESS);
    open_home(&d);
    struct digest a = adopt(&d, &p, 1, 0.25F), b = adopt(&d, &q, 1, 0.25F);
    check(digest_equal(&a, &b));
    adopt(&d, &p, 2, 0.5F);
    check_weights(&d, &q, 0.25F);
    adopt(&d, &q, 2, 0.75F);
    check(!blob_has(d.blobs, &a));
    device_close(&d);
}

/* ---- what a strategy keeps here ------------------------------------------ */

/* Adopt a version together with what is kept, or with NULL. */
static enum tacit_err adopt_keeping(struct device *d, const struct plan *p,
                                    uint32_t version, const float *state,
                                    size_t n)
{
    struct msg_over over = {.plan_hash = p->hash,
                            .model_version = version,
                            .n_clients = 4};
    memset(over.model_hash.b, (int)version, DIGEST_BYTES);
    return device_adopt(d, p, &over, state, n);
}

static void check_kept(struct device *d, const struct plan *p, size_t n,
                       const float *want)
{
    float *got = NULL;
    check_ok(device_state(d, &p->hash, n, &got));
    check((got != NULL) == (want != NULL));
    if (want) check_tensor(got, want, n, 0);
    free(got);
}

static void what_a_plan_keeps_is_its_own_and_survives(void **state)
{
    (void)state;
    struct device d;
    const struct plan p = plan_of("risk", PLAN_REGRESS),
                      q = plan_of("stay", PLAN_REGRESS);
    const float a[3] = {1, -2, 3}, b[2] = {7, 8};
    open_home(&d);
    check_kept(&d, &p, 3, NULL);
    check_ok(adopt_keeping(&d, &p, 1, a, 3));
    check_ok(adopt_keeping(&d, &q, 1, b, 2));
    device_close(&d);
    open_home(&d);
    check_kept(&d, &p, 3, a);
    check_kept(&d, &q, 2, b);
    device_close(&d);
}

static void a_round_without_this_device_leaves_what_is_kept(void **state)
{
    (void)state;
    struct device d;
    const struct plan p = plan_of("risk", PLAN_REGRESS);
    const float a[3] = {1, -2, 3}, b[3] = {4, 5, 6};
    open_home(&d);
    check_ok(adopt_keeping(&d, &p, 1, NULL, 0));
    check_kept(&d, &p, 3, NULL);
    check_ok(adopt_keeping(&d, &p, 2, a, 3));
    check_ok(adopt_keeping(&d, &p, 3, NULL, 0));
    check_kept(&d, &p, 3, a);
    check_ok(adopt_keeping(&d, &p, 4, b, 3));
    check_kept(&d, &p, 3, b);
    device_close(&d);
}

static void what_is_kept_changes_with_the_version_or_not_at_all(void **state)
{
    (void)state;
    struct device d;
    struct participate_known k;
    const struct plan p = plan_of("risk", PLAN_REGRESS);
    const float a[3] = {1, -2, 3}, b[3] = {4, 5, 6};
    open_home(&d);
    check_ok(adopt_keeping(&d, &p, 5, a, 3));
    check_code(adopt_keeping(&d, &p, 4, b, 3), E_MODEL_REFUSED);
    check_kept(&d, &p, 3, a);
    /* The second of the two writes fails. */
    check_ok(db_exec(&d.db, "CREATE TRIGGER no BEFORE INSERT ON adopted BEGIN "
                            "SELECT RAISE(ABORT, 'no'); END"));
    enum tacit_err err = adopt_keeping(&d, &p, 6, b, 3);
    check(err != TACIT_OK);
    err_clear();
    check_kept(&d, &p, 3, a);
    check_ok(device_known(&d, &p.hash, &k));
    check(k.version == 5);
    check_ok(db_exec(&d.db, "DROP TRIGGER no"));
    check_ok(adopt_keeping(&d, &p, 6, b, 3));
    check_kept(&d, &p, 3, b);
    device_close(&d);
}

static void what_is_kept_of_another_size_is_damage(void **state)
{
    (void)state;
    struct device d;
    const struct plan p = plan_of("risk", PLAN_REGRESS);
    const float a[3] = {1, -2, 3};
    float *got = NULL;
    open_home(&d);
    check_ok(adopt_keeping(&d, &p, 1, a, 3));
    enum tacit_err err = device_state(&d, &p.hash, 4, &got);
    check(strstr(err_message(), "what a plan keeps here is damaged") != NULL);
    check_code(err, E_STORE_DAMAGED);
    check(got == NULL);
    check_code(device_state(&d, &p.hash, 2, &got), E_STORE_DAMAGED);
    device_close(&d);
    change_store("UPDATE kept SET state = x''");
    open_home(&d);
    check_code(device_state(&d, &p.hash, 3, &got), E_STORE_DAMAGED);
    device_close(&d);
    change_store("DELETE FROM kept");
    open_home(&d);
    check_kept(&d, &p, 3, NULL);
    device_close(&d);
}

struct listed {
    char text[256];
    size_t n;
};

static enum tacit_err list(const struct device_model *m, void *ctx)
{
    struct listed *l = ctx;
    assert_int_equal(m->n_clients, 4);
    check(m->adopted_s > 0);
    l->n += (size_t)snprintf(l->text + l->n, sizeof l->text - l->n,
                             "%s %s v%u; ", m->plan, m->kind, m->version);
    return TACIT_OK;
}

static void models_are_listed_with_the_last_adopted_last(void **state)
{
    (void)state;
    struct device d;
    struct listed l = {.n = 0};
    const struct plan p = plan_of("risk", PLAN_REGRESS),
                      q = plan_of("guide", PLAN_RETRIEVER);
    open_home(&d);
    check_ok(device_models(&d, list, &l));
    assert_int_equal(l.n, 0);
    adopt(&d, &p, 1, 0.25F);
    adopt(&d, &q, 1, 0.5F);
    adopt(&d, &p, 2, 0.75F);
    check_ok(device_models(&d, list, &l));
    assert_string_equal(l.text, "guide static v1; risk linear v2; ");
    device_close(&d);
    change_store("UPDATE adopted SET model_hash = x'11'");
    open_home(&d);
    check_code(device_models(&d, list, &l), E_STORE_DAMAGED);
    device_close(&d);
}

static void weights_that_are_damaged_gone_or_of_another_model_are_refused(
    void **state)
{
    (void)state;
    struct device d;
    char path[DEVICE_PATH_MAX + 100];
    const struct plan p = plan_of("risk", PLAN_REGRESS);
    struct model *same = model_of(&p, 8, 7), *other = model_of(&p, 9, 7);
    open_home(&d);
    struct digest hash = adopt(&d, &p, 1, 0.25F);
    check_err(device_weights(&d, &p.hash, model_params(other)), TACIT_SHAPE);
    check_ok(blob_path(d.blobs, &hash, path, sizeof path));
    check_ok(file_write(path, "damaged", 7, 0600));
    check_err(device_weights(&d, &p.hash, model_params(same)), TACIT_FORMAT);
    assert_int_equal(unlink(path), 0);
    check_err(device_weights(&d, &p.hash, model_params(same)), TACIT_NOTFOUND);
    check_near(model_params(same)->flat[0], 7, 0);
    check_near(model_params(other)->flat[0], 7, 0);
    model_free(same);
    model_free(other);
    device_close(&d);
}

static void the_adapter_is_that_of_the_newest_retriever(void **state)
{
    (void)state;
    struct device d;
    float *w = &(float){1};
    const struct plan p = plan_of("risk", PLAN_REGRESS),
                      q = plan_of("guide", PLAN_RETRIEVER),
                      r = plan_of("later", PLAN_RETRIEVER);
    open_home(&d);
    check_ok(device_adapter(&d, 8, &w));
    check(w == NULL);
    adopt(&d, &q, 5, 0.5F);
    adopt(&d, &r, 1, 0.75F);
    adopt(&d, &p, 9, 0.25F);
    check_ok(device_adapter(&d, 8, &w));
    for (size_t i = 0; i < 64; i++) check_near(w[i], 0.75, 0);
    free(w);
    w = NULL;
    enum tacit_err err = device_adapter(&d, 16, &w);
    check(strstr(err_message(), "the retriever model of plan later") != NULL);
    check_err(err, TACIT_SHAPE);
    check(w == NULL);
    /* A program with another built-in encoder has no use for it, nor for what
     * was adopted before this was written down. */
    check_ok(db_exec(&d.db, "UPDATE adapter_encoder"
                            " SET version = 'static-1-4379beb478'"));
    check_ok(device_adapter(&d, 8, &w));
    check(w == NULL);
    check_ok(db_exec(&d.db, "DELETE FROM adapter_encoder"));
    check_ok(device_adapter(&d, 8, &w));
    check(w == NULL);
    device_close(&d);
}

static void check_adapter(struct device *d, float value)
{
    float *w = NULL;
    check_ok(device_adapter(d, 8, &w));
    check(w != NULL);
    for (size_t i = 0; i < 64; i++) check_near(w[i], (double)value, 0);
    free(w);
}

static void the_devices_own_model_searches_where_its_plan_keeps_one(
    void **state)
{
    (void)state;
    static const char *const kinds[] = {"ditto", "finetune", "scaffold",
                                        "fedper"};
    float own[64];
    for (int i = 0; i < 64; i++) own[i] = 0.125F;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct device d;
        open_home(&d);
        struct plan *p = home_put_plan(&d, "static", kinds[i]);
        int has = 1;
        adopt(&d, p, 1, 0.5F);
        check_adapter(&d, 0.5F);
        check_ok(device_own(&d, &p->hash, NULL, &has));
        check(!has);
        adopt_with(&d, p, 2, 0.75F, own, 64);
        check_adapter(&d, i < 2 ? 0.125F : 0.75F);
        check_ok(device_own(&d, &p->hash, NULL, &has));
        check(has == (i < 2));
        /* A round without this device: it goes on with its own. */
        adopt(&d, p, 3, 0.25F);
        check_adapter(&d, i < 2 ? 0.125F : 0.25F);
        check_weights(&d, p, 0.25F);
        device_close(&d);
        plan_free(p);
    }
}

static void an_own_model_of_another_encoder_does_not_search(void **state)
{
    (void)state;
    struct device d;
    float own[64] = {1};
    open_home(&d);
    struct plan *p = home_put_plan(&d, "static", "ditto");
    adopt_with(&d, p, 1, 0.5F, own, 64);
    check_ok(db_exec(&d.db, "UPDATE adapter_encoder"
                            " SET version = 'static-1-4379beb478'"));
    adopt(&d, p, 2, 0.25F);
    check_adapter(&d, 0.25F);
    adopt_with(&d, p, 3, 0.75F, own, 3);
    float *w = NULL;
    check_code(device_adapter(&d, 8, &w), E_STORE_DAMAGED);
    check(w == NULL);
    plan_free(p);
    device_close(&d);
}

/* ---- two at once --------------------------------------------------------- */

static void one_daemon_works_on_a_home(void **state)
{
    (void)state;
    struct device a, b;
    int fd = -1, other = -1;
    char message[400];
    open_home(&a);
    open_home(&b);
    assert_int_equal(device_is_running(&a), 0);
    check_ok(device_lock(&a, &fd));
    assert_int_equal(device_is_running(&b), 1);
    assert_string_equal(err_message(), "");
    enum tacit_err err = device_lock(&b, &other);
    snprintf(message, sizeof message,
             "%s: another `tacit run` works on this home", home);
    assert_string_equal(err_message(), message);
    check_code(err, E_STORE_BUSY);
    assert_int_equal(other, -1);
    close(fd);
    assert_int_equal(device_is_running(&b), 0);
    check_ok(device_lock(&b, &other));
    close(other);
    device_close(&a);
    device_close(&b);
}

static void asking_for_a_daemon_never_keeps_one_out(void **state)
{
    (void)state;
    struct device d;
    open_home(&d);
    pid_t child = fork();
    check(child >= 0);
    if (child == 0)
        for (;;) (void)device_is_running(&d);
    int status = 0;
    for (int i = 0; i < 20000; i++) {
        int fd = -1;
        check_ok(device_lock(&d, &fd));
        close(fd);
    }
    kill(child, SIGKILL);
    check(waitpid(child, &status, 0) == child);
    device_close(&d);
}

static void a_killed_daemon_leaves_no_lock(void **state)
{
    (void)state;
    struct device d;
    int fd, ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    check(child >= 0);
    if (child == 0) {
        if (device_open(&d, home) || device_lock(&d, &fd)) _exit(1);
        if (write(ready[1], "x", 1) != 1) _exit(1);
        pause();
        _exit(1);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    open_home(&d);
    assert_int_equal(device_is_running(&d), 1);
    int status = 0;
    kill(child, SIGKILL);
    check(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
    assert_int_equal(device_is_running(&d), 0);
    close(ready[0]);
    device_close(&d);
}

/* The command line works beside the daemon: what one writes the other reads. */
static void two_open_one_home_and_see_each_others_changes(void **state)
{
    (void)state;
    struct device a, b;
    struct policy_spent spent;
    const struct plan p = plan_of("risk", PLAN_REGRESS);
    uint64_t bad = 99;
    open_home(&a);
    open_home(&b);
    for (int i = 0; i < 4; i++) {
        struct ledger_row row = {.time_s = 1700000000 + i, .plan = "risk"};
        check_ok(ledger_debit(i % 2 ? &a.db : &b.db, &row));
        assert_int_equal(row.id, i + 1);
    }
    check_ok(ledger_spent(&b.db, 1700000000, &spent));
    assert_int_equal(spent.updates, 4);
    adopt(&a, &p, 1, 0.25F);
    check_weights(&b, &p, 0.25F);
    device_close(&a);
    /* Leaving takes neither models nor ledger along. */
    check_ok(device_leave(&b));
    check_weights(&b, &p, 0.25F);
    check_ok(ledger_walk(&b.db, NULL, NULL, &bad));
    assert_int_equal(bad, 0);
    device_close(&b);
}

int main(void)
{
#define ROW(name) cmocka_unit_test_setup_teardown(name, home_begin, home_end)
    const struct CMUnitTest tests[] = {
        ROW(a_new_home_is_private_and_whole),
        ROW(a_store_in_an_open_folder_is_private_too),
        ROW(two_homes_are_two_devices),
        ROW(a_home_is_never_made_over),
        ROW(a_home_left_half_made_is_finished_and_keeps_its_policy),
        ROW(a_store_left_without_a_page_is_made_again),
        ROW(a_home_that_cannot_be_made_says_why),
        ROW(a_folder_without_a_device_says_what_to_do),
        ROW(keys_that_others_can_read_are_refused),
        ROW(damaged_keys_are_refused),
        ROW(a_store_of_a_newer_version_is_refused_untouched),
        ROW(a_store_of_an_older_version_is_brought_up_to_date),
        ROW(a_missing_store_is_named),
        ROW(a_damaged_store_is_named),
        ROW(a_missing_policy_is_an_error_not_a_default),
        ROW(a_federation_is_remembered_until_it_is_left),
        ROW(only_one_of_two_that_join_at_once_does),
        ROW(damaged_keys_of_a_federation_are_refused),
        ROW(a_plan_without_a_model_is_known_as_version_0),
        ROW(a_newer_model_replaces_the_one_before),
        ROW(an_older_model_is_refused),
        ROW(a_model_that_two_plans_share_stays_for_the_other),
        ROW(what_a_plan_keeps_is_its_own_and_survives),
        ROW(a_round_without_this_device_leaves_what_is_kept),
        ROW(what_is_kept_changes_with_the_version_or_not_at_all),
        ROW(what_is_kept_of_another_size_is_damage),
        ROW(models_are_listed_with_the_last_adopted_last),
        ROW(weights_that_are_damaged_gone_or_of_another_model_are_refused),
        ROW(the_adapter_is_that_of_the_newest_retriever),
        ROW(the_devices_own_model_searches_where_its_plan_keeps_one),
        ROW(an_own_model_of_another_encoder_does_not_search),
        ROW(one_daemon_works_on_a_home),
        ROW(a_killed_daemon_leaves_no_lock),
        ROW(asking_for_a_daemon_never_keeps_one_out),
        ROW(two_open_one_home_and_see_each_others_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
