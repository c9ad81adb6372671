/* Out of memory at every single request: nothing crashes, nothing leaks, and
 * the error says so by name. */
#include "tests/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/db.h"
#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/pool.h"
#include "common/crypto/keys.h"
#include "common/crypto/noise.h"
#include "common/crypto/sealed.h"
#include "common/crypto/secagg.h"
#include "common/model/model.h"
#include "common/model/safetensors.h"
#include "common/plan/plan.h"
#include "common/tensor/ops.h"
#include "common/tensor/optim.h"
#include "common/tensor/params.h"
#include "common/wire/blob.h"
#include "common/wire/link.h"
#include "common/wire/messages.h"
#include "tests/fault/exhaust.h"

/* ---- what is run --------------------------------------------------------- */

static char dir[256], path[300];

static enum tacit_err run_plan(void)
{
    static const char text[] =
        "name: heart\ntask: classify\nmodel: {kind: mlp, hidden: [4]}\n"
        "data:\n  source: patients\n  label: disease\n  columns:\n"
        "    - {name: age, mean: 54, sd: 9}\n"
        "    - {name: cp, values: [1, 2, 3, 4]}\n  standardise: plan\n"
        "cohort: {size: 4, min_reports: 3}\nlocal: {optimizer: adam}\n"
        "deadline: {stage: 5s}\n";
    struct plan *p = NULL;
    TRY(plan_parse("x", text, sizeof text - 1, &p));
    plan_free(p);
    return TACIT_OK;
}

static void a_plan_that_does_not_fit_is_out_of_memory(void **state)
{
    (void)state;
    exhaust("plan", SAYS_NOMEM, run_plan);
}

static enum tacit_err train_step(struct params *p, struct tape *t, float *grad,
                                 struct optim **o)
{
    static float x[6] = {1, 2, 3, 4, 5, 6};
    static const float y[2] = {0, 1};
    static const size_t w_dims[2] = {3, 1}, b_dims[2] = {1, 1};
    const struct optim_config c = {"adam", 0.1, 0, 0};
    TRY(params_add(p, "w", w_dims, 2));
    TRY(params_add(p, "b", b_dims, 2));
    TRY(params_alloc(p));
    TRY(optim_new(&c, p->n_flat, o));
    for (int step = 0; step < 3; step++) {
        tape_reset(t);
        memset(grad, 0, 4 * sizeof *grad);
        struct var *w = tape_parameter(t, p->flat, grad, 3, 1);
        struct var *b = tape_parameter(t, p->flat + 3, grad + 3, 1, 1);
        struct var *z = op_linear(t, tape_constant(t, x, 2, 3), w, b);
        TRY(tape_backward(t, op_bce(t, op_tanh(t, z), y)));
        optim_step(*o, p->flat, grad);
    }
    return TACIT_OK;
}

static enum tacit_err run_training(void)
{
    float grad[4];
    struct params p;
    struct tape t;
    struct optim *o = NULL;
    params_init(&p);
    tape_init(&t, 0);
    enum tacit_err err = train_step(&p, &t, grad, &o);
    optim_free(o);
    tape_release(&t);
    params_release(&p);
    return err;
}

static void a_training_step_is_out_of_memory(void **state)
{
    (void)state;
    exhaust("training", SAYS_NOMEM, run_training);
}

/* One model of each family. */
static const struct model_spec specs[] = {
    {.kind = "mlp",
     .task = MODEL_CLASSIFY,
     .n_inputs = 3,
     .n_hidden = 1,
     .hidden = {4}},
    {.kind = "cox", .task = MODEL_COX, .n_inputs = 3},
    {.kind = "cnn",
     .task = MODEL_CLASSIFY,
     .classes = 2,
     .channels = 1,
     .height = 12,
     .width = 12,
     .n_hidden = 2,
     .hidden = {2, 3},
     .norm = "batch"},
    {.kind = "gru",
     .task = MODEL_LM,
     .classes = 2,
     .seq = 3,
     .n_hidden = 2,
     .hidden = {2, 3}},
    {.kind = "transformer",
     .task = MODEL_LM,
     .classes = 2,
     .seq = 3,
     .n_hidden = 1,
     .hidden = {4}},
};
static const struct model_spec *spec_now;

static enum tacit_err train(struct model *m, uint32_t steps)
{
    static const float x[4 * 144] = {1, 0, 1, 1, 0, 0, 1}, y[12] = {0, 1, 1};
    const struct examples ex = {.n_rows = 4,
                                .x_dim = spec_now->channels ? 144 : 3,
                                .x = x,
                                .y = y,
                                .y_dim = spec_now->task == MODEL_LM    ? 3
                                         : spec_now->task == MODEL_COX ? 2
                                                                       : 1};
    const struct model_training how = {.optimizer = "adamw",
                                       .steps = steps,
                                       .batch = 2,
                                       .learning_rate = 0.1};
    struct model_metrics metrics;
    TRY(model_train(m, &how, &ex));
    return model_evaluate(m, &ex, &metrics);
}

static enum tacit_err run_model(void)
{
    struct model *m = NULL;
    TRY(model_new(spec_now, &m));
    model_init(m, 1);
    enum tacit_err err = train(m, 3);
    model_free(m);
    return err;
}

static void a_model_is_out_of_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        spec_now = &specs[i];
        exhaust(specs[i].kind, SAYS_NOMEM, run_model);
    }
}

static void a_warm_training_takes_no_memory_per_step(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        struct model *m = NULL;
        long requests[2];
        spec_now = &specs[i];
        check_ok(model_new(spec_now, &m));
        model_init(m, 1);
        check_ok(train(m, 8));
        for (uint32_t k = 0; k < 2; k++) {
            failing_arm(REQUESTS_MAX, FAIL_ONCE);
            enum tacit_err err = train(m, 1 + 40 * k);
            requests[k] = failing_disarm().requests;
            check_ok(err);
        }
        check(requests[0] == requests[1]);
        model_free(m);
    }
}

static enum tacit_err run_messages(void)
{
    static struct message m, back;
    struct buf b;
    memset(&m, 0, sizeof m);
    m.type = MSG_ENROL;
    snprintf(m.u.enrol.name, sizeof m.u.enrol.name, "ward 3");
    buf_init(&b, 0);
    enum tacit_err err = message_encode(&m, &b);
    if (!err) err = buf_end(&b);
    if (!err) err = message_decode(b.data, b.len, &back);
    buf_release(&b);
    return err;
}

static void a_message_is_out_of_memory(void **state)
{
    (void)state;
    exhaust("messages", SAYS_NOMEM, run_messages);
}

static enum tacit_err run_json(void)
{
    json_t *v = NULL;
    static const char text[] = "{\"a\":[1,2.5,\"x\"],\"b\":{\"c\":null}}";
    TRY(json_parse(text, sizeof text - 1, &v));
    json_decref(v);
    return TACIT_OK;
}

static void json_is_out_of_memory(void **state)
{
    (void)state;
    exhaust("json", MAY_SAY_LESS, run_json);
}

static enum tacit_err run_files(void)
{
    struct digest hash;
    struct buf b;
    static uint8_t bytes[5000];
    buf_init(&b, 0);
    enum tacit_err err = blob_put(dir, bytes, sizeof bytes, &hash);
    if (!err) err = blob_verify(dir, &hash);
    if (!err) err = blob_get(dir, &hash, 10000, &b);
    buf_release(&b);
    return err;
}

static void a_blob_is_out_of_memory(void **state)
{
    (void)state;
    check_tmpdir(dir);
    exhaust("blob", SAYS_NOMEM, run_files);
    check_tmpdir_remove(dir);
}

static enum tacit_err count_file(const char *at, void *ctx)
{
    (void)at;
    ++*(int *)ctx;
    return TACIT_OK;
}

static enum tacit_err run_walk(void)
{
    int n = 0;
    return file_walk(dir, count_file, &n);
}

static void a_walk_is_out_of_memory(void **state)
{
    (void)state;
    check_tmpdir(dir);
    for (int i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "%s/%d", dir, i);
        check_ok(file_mkdirs(path, 0700));
        snprintf(path, sizeof path, "%s/%d/x.md", dir, i);
        check_ok(file_write(path, "x", 1, 0600));
    }
    exhaust("walk", SAYS_NOMEM, run_walk);
    check_tmpdir_remove(dir);
}

static enum tacit_err run_keys(void)
{
    struct keys k, again;
    TRY(keys_new(&k));
    remove(path);
    enum tacit_err err = keys_save(&k, path);
    keys_release(&k);
    if (err) return err;
    TRY(keys_load(&again, path));
    keys_release(&again);
    return TACIT_OK;
}

static void keys_are_out_of_memory(void **state)
{
    (void)state;
    check_tmpdir(dir);
    snprintf(path, sizeof path, "%s/keys", dir);
    exhaust("keys", SAYS_NOMEM, run_keys);
    check_tmpdir_remove(dir);
}

static const char *const steps[] = {
    "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT);"};

static enum tacit_err use_store(struct db *db)
{
    int64_t v;
    TRY(db_begin(db));
    enum tacit_err err =
        db_run(db, "INSERT INTO t(name) VALUES(?)", "s", "ward 3");
    if (!err) err = db_commit(db);
    if (err) {
        db_rollback(db);
        return err;
    }
    return db_int(db, &v, "SELECT count(*) FROM t", "");
}

static enum tacit_err run_store(void)
{
    struct db db;
    TRY(db_open(&db, path, DB_CREATE, steps, 1));
    enum tacit_err err = use_store(&db);
    db_close(&db);
    return err;
}

static void a_store_is_out_of_memory(void **state)
{
    (void)state;
    check_tmpdir(dir);
    snprintf(path, sizeof path, "%s/store.db", dir);
    exhaust("store", SAYS_NOMEM, run_store);
    check_tmpdir_remove(dir);
}

static enum tacit_err run_sealed(void)
{
    static const uint8_t key[SEAL_KEY] = {5};
    struct sealed_vfs *vfs;
    struct db db;
    TRY(sealed_new(key, &vfs));
    struct db_vfs door = sealed_door(vfs);
    enum tacit_err err = db_open_through(&db, path, DB_CREATE, &door, steps, 1);
    if (!err) {
        err = use_store(&db);
        db_close(&db);
    }
    sealed_free(vfs);
    return err;
}

static void a_sealed_store_is_out_of_memory(void **state)
{
    (void)state;
    check_tmpdir(dir);
    snprintf(path, sizeof path, "%s/sealed.db", dir);
    exhaust("sealed", SAYS_NOMEM, run_sealed);
    check_tmpdir_remove(dir);
}

static enum tacit_err run_pool(void)
{
    struct pool *p = NULL;
    TRY(pool_new(&p, 2));
    pool_free(p);
    return TACIT_OK;
}

static void a_pool_is_out_of_memory(void **state)
{
    (void)state;
    exhaust("pool", SAYS_NOMEM, run_pool);
}

/* ---- the protocols ------------------------------------------------------- */

static enum tacit_err shake_hands(struct noise *a, struct noise *b,
                                  struct buf *msg, struct buf *payload)
{
    uint8_t sealed[3 + NOISE_TAG], open[3];
    for (int i = 0; i < 3; i++) {
        struct noise *from = i % 2 ? b : a, *to = i % 2 ? a : b;
        buf_clear(msg);
        TRY(noise_write(from, "hi", 2, msg));
        TRY(buf_end(msg));
        TRY(noise_read(to, msg->data, msg->len, payload));
        TRY(buf_end(payload));
    }
    TRY(noise_encrypt(a, 0, NULL, 0, (const uint8_t *)"abc", 3, sealed));
    return noise_decrypt(b, 0, NULL, 0, sealed, sizeof sealed, open);
}

static enum tacit_err handshake(const struct keys *k, struct noise **a,
                                struct noise **b, struct buf *msg,
                                struct buf *payload)
{
    struct noise_config c = {.pattern = "XK",
                             .role = NOISE_INITIATOR,
                             .s_secret = k->dh_secret,
                             .rs_public = k->dh_public};
    TRY(noise_new(&c, a));
    c.role = NOISE_RESPONDER;
    c.rs_public = NULL;
    TRY(noise_new(&c, b));
    return shake_hands(*a, *b, msg, payload);
}

static enum tacit_err run_noise(void)
{
    struct keys k;
    struct noise *a = NULL, *b = NULL;
    struct buf msg, payload;
    TRY(keys_new(&k));
    buf_init(&msg, 0);
    buf_init(&payload, 0);
    enum tacit_err err = handshake(&k, &a, &b, &msg, &payload);
    noise_free(a);
    noise_free(b);
    buf_release(&msg);
    buf_release(&payload);
    keys_release(&k);
    return err;
}

static void a_handshake_is_out_of_memory(void **state)
{
    (void)state;
    exhaust("noise", SAYS_NOMEM, run_noise);
}

static enum tacit_err talk(struct link_client *c, struct link_server *l,
                           struct buf *up, struct buf *down)
{
    enum link_event event = LINK_REPLY;
    struct link_peer peer;
    for (int i = 0; i < 2; i++) {
        buf_clear(up);
        buf_clear(down);
        TRY(link_client_hello(c, up));
        TRY(buf_end(up));
        TRY(link_server_receive(l, 1, up->data, up->len, &event, &peer, down));
        TRY(buf_end(down));
        TRY(link_client_answer(c, down->data, down->len));
    }
    buf_clear(up);
    buf_clear(down);
    TRY(link_client_seal(c, (const uint8_t *)"ask", 3, up));
    TRY(buf_end(up));
    TRY(link_server_receive(l, 2, up->data, up->len, &event, &peer, down));
    TRY(buf_end(down));
    if (event != LINK_MESSAGE) return fail(TACIT_STATE, "no session");
    buf_clear(up);
    TRY(link_server_seal(l, &peer, (const uint8_t *)"answer", 6, up));
    TRY(buf_end(up));
    buf_clear(down);
    return link_client_open(c, up->data, up->len, down);
}

static enum tacit_err run_link(void)
{
    struct keys k;
    struct link_client *c = NULL;
    struct link_server *l = NULL;
    struct buf up, down;
    TRY(keys_new(&k));
    struct link_client_config config = {.keys = &k};
    const struct link_server_config server = {.keys = &k};
    memcpy(config.coordinator, k.dh_public, KEYS_PUBLIC);
    buf_init(&up, 0);
    buf_init(&down, 0);
    enum tacit_err err = link_client_new(&config, &c);
    if (!err) err = link_server_new(&server, &l);
    if (!err) err = talk(c, l, &up, &down);
    if (!err) err = buf_end(&down);
    link_client_free(c);
    link_server_free(l);
    buf_release(&up);
    buf_release(&down);
    keys_release(&k);
    return err;
}

static void a_session_is_out_of_memory(void **state)
{
    (void)state;
    exhaust("link", MAY_SAY_LESS, run_link);
}

enum { DEVICES = 3, COORDS = 8 };

struct session {
    struct secagg_terms terms;
    struct keys keys[DEVICES];
    struct secagg_client *clients[DEVICES]; /* in the roster's order */
    struct secagg_server *server;
    uint32_t sum[COORDS];
};

static enum tacit_err begin_session(struct session *s)
{
    struct secagg_advert a;
    struct secagg_client *c[DEVICES] = {NULL};
    enum tacit_err err = secagg_server_new(&s->terms, &s->server);
    for (unsigned i = 0; !err && i < DEVICES; i++) {
        err = secagg_client_new(&s->terms, s->keys[i].id,
                                s->keys[i].sign_secret, &c[i]);
        if (err) break;
        secagg_client_advert(c[i], &a);
        err = secagg_server_advert(s->server, &a);
    }
    if (!err) err = secagg_server_close_adverts(s->server);
    for (unsigned i = 0; i < DEVICES; i++) {
        int at = err ? (int)i : secagg_server_member(s->server, s->keys[i].id);
        s->clients[at] = c[i];
    }
    return err;
}

static enum tacit_err share_and_mask(struct session *s)
{
    uint8_t sealed[DEVICES * SECAGG_SEALED];
    uint16_t senders[DEVICES];
    for (unsigned i = 0; i < DEVICES; i++) {
        TRY(secagg_client_share(s->clients[i], secagg_server_roster(s->server),
                                DEVICES, sealed));
        TRY(secagg_server_shares(s->server, i, sealed));
    }
    TRY(secagg_server_close_shares(s->server));
    for (unsigned i = 0; i < DEVICES; i++) {
        uint32_t y[COORDS] = {i};
        unsigned n = 0;
        secagg_server_shares_for(s->server, i, senders, sealed, &n);
        TRY(secagg_client_receive(s->clients[i], senders, sealed, n));
        TRY(secagg_client_mask(s->clients[i], y));
        /* The last one's input gets lost: its mask has to be rebuilt. */
        if (i == DEVICES - 1) continue;
        for (int k = 0; k < COORDS; k++) s->sum[k] += y[k];
        TRY(secagg_server_input(s->server, i));
    }
    return secagg_server_close_inputs(s->server);
}

static enum tacit_err sign_and_reveal(struct session *s)
{
    uint8_t sigs[DEVICES * SECAGG_SIGNATURE];
    uint16_t signers[DEVICES];
    struct secagg_share shares[2 * DEVICES];
    unsigned n = 0;
    for (unsigned i = 0; i < DEVICES - 1; i++) {
        TRY(secagg_client_sign(s->clients[i], secagg_server_u3(s->server),
                               sigs));
        TRY(secagg_server_signature(s->server, i, sigs));
    }
    secagg_server_signatures(s->server, signers, sigs, &n);
    for (unsigned i = 0; i < DEVICES - 1; i++) {
        unsigned n_shares = 0;
        TRY(secagg_client_reveal(s->clients[i], signers, sigs, n, shares,
                                 &n_shares));
        TRY(secagg_server_reveal(s->server, i, shares, n_shares));
    }
    return secagg_server_unmask(s->server, s->sum);
}

static enum tacit_err run_session(void)
{
    struct session s = {
        .terms = {.ring_bits = 32, .round = 1, .n_coords = COORDS, .u_min = 2}};
    enum tacit_err err = TACIT_OK;
    unsigned made = 0;
    while (!err && made < DEVICES) {
        err = keys_new(&s.keys[made]);
        if (!err) made++;
    }
    if (!err) err = begin_session(&s);
    if (!err) err = share_and_mask(&s);
    if (!err) err = sign_and_reveal(&s);
    for (unsigned i = 0; i < DEVICES; i++) secagg_client_free(s.clients[i]);
    for (unsigned i = 0; i < made; i++) keys_release(&s.keys[i]);
    secagg_server_free(s.server);
    return err;
}

static void a_secure_sum_is_out_of_memory(void **state)
{
    (void)state;
    exhaust("secagg", SAYS_NOMEM, run_session);
}

/* What was written is a whole model, or nothing was. */
static enum tacit_err run_model_file(void)
{
    static const char *const metadata[] = {"a", "b", "c", "d", NULL};
    const size_t dims[] = {2, 3};
    struct params p, back;
    struct buf out;
    params_init(&p);
    params_init(&back);
    buf_init(&out, 0);
    enum tacit_err err = params_add(&p, "w", dims, 2);
    if (!err) err = params_add(&p, "b", dims, 1);
    if (!err) err = params_alloc(&p);
    if (!err) err = safetensors_encode(&p, metadata, &out);
    if (!err) {
        int was = failing_hold();
        check_ok(params_add(&back, "w", dims, 2));
        check_ok(params_add(&back, "b", dims, 1));
        check_ok(params_alloc(&back));
        check_ok(safetensors_decode(out.data, out.len, &back));
        params_release(&back);
        failing_go(was);
    }
    buf_release(&out);
    params_release(&p);
    return err;
}

static void a_model_file_is_out_of_memory(void **state)
{
    (void)state;
    exhaust("model file", SAYS_NOMEM, run_model_file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_that_does_not_fit_is_out_of_memory),
        cmocka_unit_test(a_training_step_is_out_of_memory),
        cmocka_unit_test(a_model_is_out_of_memory),
        cmocka_unit_test(a_warm_training_takes_no_memory_per_step),
        cmocka_unit_test(a_message_is_out_of_memory),
        cmocka_unit_test(json_is_out_of_memory),
        cmocka_unit_test(a_blob_is_out_of_memory),
        cmocka_unit_test(a_walk_is_out_of_memory),
        cmocka_unit_test(keys_are_out_of_memory),
        cmocka_unit_test(a_store_is_out_of_memory),
        cmocka_unit_test(a_sealed_store_is_out_of_memory),
        cmocka_unit_test(a_pool_is_out_of_memory),
        cmocka_unit_test(a_handshake_is_out_of_memory),
        cmocka_unit_test(a_session_is_out_of_memory),
        cmocka_unit_test(a_secure_sum_is_out_of_memory),
        cmocka_unit_test(a_model_file_is_out_of_memory),
    };
#ifdef __SANITIZE_THREAD__
    puts("memory cannot be made to run out under TSan");
    return 77;
#endif
    return cmocka_run_group_tests(tests, failing_begin, NULL);
}
