#include "client/local.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "client/data_idx.h"
#include "client/data_npy.h"
#include "client/embedding.h"
#include "client/pairs.h"
#include "client/token_sets.h"
#include "common/base/codes.h"

enum { PATH_BYTES = 4096 };

/* A file as it was; zeros when it was not there. */
struct stamp {
    struct timespec modified;
    off_t size;
    ino_t inode;
};

/* The file that the policy names, and those that are read with it. */
enum { NAMED, LABELS, TEST_IMAGES, TEST_LABELS, N_FILES };

/* What the examples were read from; they are read again when it differs. */
struct origin {
    struct digest plan_hash;
    struct stamp file[N_FILES];
    int64_t store_version;
};

struct local {
    struct device *d;
    struct dataset data;
    int loaded;
    struct origin origin;
    struct encoder *encoder; /* retriever plans only */
};

enum tacit_err local_new(struct device *d, struct local **out)
{
    struct local *l = calloc(1, sizeof *l);
    if (!l) return fail(TACIT_NOMEM, "no memory for examples");
    l->d = d;
    *out = l;
    return TACIT_OK;
}

void local_free(struct local *l)
{
    if (!l) return;
    if (l->loaded) dataset_release(&l->data);
    encoder_free(l->encoder);
    free(l);
}

static void note_file(const char *path, struct stamp *s)
{
    struct stat st;
    if (stat(path, &st) != 0) return;
    s->modified = st.st_mtim;
    s->size = st.st_size;
    s->inode = st.st_ino;
}

/* Images or vectors have their labels, and maybe a test pair, beside them. A
 * name that has none is the loader's to refuse. */
static void note_beside(const char *path, struct origin *o)
{
    char beside[PATH_BYTES], test[PATH_BYTES];
    if (!idx_label_path(path, beside, sizeof beside) ||
        !npy_label_path(path, beside, sizeof beside))
        note_file(beside, &o->file[LABELS]);
    if (idx_test_path(path, test, sizeof test)) {
        note_file(test, &o->file[TEST_IMAGES]);
        if (!idx_label_path(test, beside, sizeof beside))
            note_file(beside, &o->file[TEST_LABELS]);
    }
    err_clear();
}

static enum tacit_err note_origin(struct local *l, const struct plan *plan,
                                  const char *path, struct origin *o)
{
    memset(o, 0, sizeof *o);
    o->plan_hash = plan->hash;
    if (path) note_file(path, &o->file[NAMED]);
    if (path && (plan->format == PLAN_IMAGES || plan->format == PLAN_VECTORS))
        note_beside(path, o);
    if (plan->task != PLAN_RETRIEVER) return TACIT_OK;
    return db_int(&l->d->db, &o->store_version,
                  "SELECT epoch + (SELECT count(*) + coalesce(sum(good), 0)"
                  " FROM feedback) FROM corpus_state",
                  "");
}

static int same_file(const struct stamp *a, const struct stamp *b)
{
    return a->modified.tv_sec == b->modified.tv_sec &&
           a->modified.tv_nsec == b->modified.tv_nsec && a->size == b->size &&
           a->inode == b->inode;
}

static int same_origin(const struct origin *a, const struct origin *b)
{
    for (int i = 0; i < N_FILES; i++)
        if (!same_file(&a->file[i], &b->file[i])) return 0;
    return digest_equal(&a->plan_hash, &b->plan_hash) &&
           a->store_version == b->store_version;
}

/* What is learnt over another built-in encoder is for other vectors. */
static enum tacit_err check_version(const struct plan *plan)
{
    char version[ENCODER_VERSION_MAX];
    TRY(encoder_built_in_version(version));
    if (!plan->encoder[0] || strcmp(plan->encoder, version) == 0)
        return TACIT_OK;
    return fail_as(E_ENCODER_OTHER,
                   "plan %s is for the built-in encoder %s, and this program "
                   "has %s: it stays out",
                   plan->name, plan->encoder, version);
}

/* Search has to read with the encoder that the plan trains. */
static enum tacit_err check_encoder(const struct plan *plan,
                                    const struct embedding_choice *c)
{
    const char *wanted = plan_has_base(plan) ? plan->base.name : c->name;
    int is_built_in = strcmp(c->name, EMBEDDING_BUILT_IN) == 0;
    if (plan_has_base(plan) ? digest_equal(&c->hash, &plan->base.hash)
                            : is_built_in)
        return plan_has_base(plan) ? TACIT_OK : check_version(plan);
    if (!plan_has_base(plan)) wanted = EMBEDDING_BUILT_IN;
    return fail(TACIT_STATE,
                "plan %s trains search with the encoder %s, and here %s "
                "searches; `tacit model use %s` takes part",
                plan->name, wanted, c->name, wanted);
}

static enum tacit_err load(struct local *l, const struct plan *plan,
                           const char *path)
{
    if (plan->task != PLAN_RETRIEVER && plan_has_base(plan))
        return token_sets_load(plan, path, &l->data);
    if (plan->task != PLAN_RETRIEVER) {
        TRY(check_version(plan));
        return examples_load(plan, path, &l->data);
    }
    struct embedding_choice c;
    TRY(embedding_chosen(l->d, &c));
    TRY(check_encoder(plan, &c));
    /* Without what was adopted: rows are of the untrained encoder. */
    encoder_free(l->encoder);
    l->encoder = NULL;
    TRY(embedding_make(l->d, &c, &l->encoder));
    struct corpus *corpus = NULL;
    TRY(corpus_open(&l->d->db, l->encoder, &corpus));
    enum tacit_err err =
        pairs_load(plan, path, &l->d->db, corpus, l->encoder, &l->data);
    corpus_close(corpus);
    return err;
}

enum tacit_err local_dataset(struct local *l, const struct plan *plan,
                             const struct policy *policy,
                             const struct dataset **out)
{
    struct origin now;
    const char *path = policy_path(policy, plan->source);
    if (!path && plan->task != PLAN_RETRIEVER)
        return fail_as(E_POLICY_REFUSED, "data names no file for source \"%s\"",
                       plan->source);
    TRY(note_origin(l, plan, path, &now));
    if (l->loaded && same_origin(&now, &l->origin)) {
        *out = &l->data;
        return TACIT_OK;
    }
    if (l->loaded) dataset_release(&l->data);
    l->loaded = 0;
    TRY(load(l, plan, path));
    l->loaded = 1;
    l->origin = now;
    *out = &l->data;
    return TACIT_OK;
}
