/*
 * A process that dies while it adds, replaces and removes documents leaves a
 * store whose text, word index and vectors agree, and which takes the rest.
 *
 * The same of a sealed store.
 *
 * A child works through a shelf of documents in a loop and is killed (SIGKILL:
 * nothing of it runs any more) after a drawn time, CRASHES times over the same
 * store. After each, the store is opened and checked here.
 */
#include "tests/check.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/crypto/sealed.h"
#include "tests/retrieval/shelf.h"

enum { CRASHES = 40, DOCUMENTS = 6, LIFE_US_MAX = 40000 };

/* Write document i in a given version: another text and another length. */
static void write_version(const struct shelf *s, int i, unsigned version)
{
    char name[32];
    static char text[8192];
    size_t n = 0;
    snprintf(name, sizeof name, "d%d.md", i);
    n += (size_t)snprintf(text, sizeof text, "# Document %d\n\n", i);
    for (unsigned k = 0; k <= 2 + version % 5; k++)
        n +=
            (size_t)snprintf(text + n, sizeof text - n,
                             "## Part %u of version %u\n\nPump %u is checked "
                             "on ward %d by the nurse in charge. It is cleaned "
                             "and returned to its place.\n\n",
                             k, version, k * version, i);
    shelf_write(s, name, text);
}

/* The child: never returns, never leaves this loop by itself. */
static _Noreturn void work(struct shelf *s, unsigned seed, int ready)
{
    struct rng rng;
    rng_init(&rng, seed, 1, 0);
    shelf_open(s);
    if (write(ready, "r", 1) != 1) _exit(2);
    for (unsigned version = seed * 1000;; version++) {
        char path[512];
        int i = (int)rng_below(&rng, DOCUMENTS);
        enum corpus_outcome outcome;
        size_t n;
        snprintf(path, sizeof path, "%s/d%d.md", s->folder, i);
        if (rng_below(&rng, 5) == 0) {
            if (corpus_remove(s->corpus, path, &n)) _exit(3);
            continue;
        }
        write_version(s, i, version);
        if (corpus_add(s->corpus, path, &outcome, &n)) _exit(4);
    }
}

/* Let a child work for a drawn time, then kill it. */
static void crash(struct shelf *s, unsigned seed)
{
    struct rng rng;
    int ready[2], status;
    char c;
    rng_init(&rng, seed, 2, 0);
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) work(s, seed, ready[1]);
    close(ready[1]);
    assert_int_equal(read(ready[0], &c, 1), 1);
    close(ready[0]);
    struct timespec life = {.tv_nsec =
                                1000 * (long)rng_below(&rng, LIFE_US_MAX)};
    while (nanosleep(&life, &life) != 0 && errno == EINTR) continue;
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    /* It was killed at work: it had not given up before. */
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* Whether each document's own count of passages is what is there. */
static void check_documents(struct shelf *s)
{
    int64_t n_wrong, n_orphans;
    check_ok(db_int(&s->db, &n_wrong,
                    "SELECT count(*) FROM document WHERE n_chunks <> (SELECT "
                    "count(*) FROM chunk WHERE document_id = document.id)",
                    ""));
    check_ok(db_int(&s->db, &n_orphans,
                    "SELECT count(*) FROM chunk WHERE document_id NOT IN "
                    "(SELECT id FROM document)",
                    ""));
    assert_int_equal(n_wrong, 0);
    assert_int_equal(n_orphans, 0);
}

static void kill_additions(const struct db_vfs *door)
{
    struct shelf s;
    int n_changed = 0;
    int64_t last_epoch = 0, epoch;
    shelf_new_through(&s, door);
    shelf_close(&s);
    for (unsigned seed = 1; seed <= CRASHES; seed++) {
        crash(&s, seed);
        shelf_open(&s);
        shelf_check(&s);
        check_documents(&s);
        check_ok(db_int(&s.db, &epoch, "SELECT epoch FROM corpus_state", ""));
        n_changed += epoch > last_epoch;
        last_epoch = epoch;
        shelf_close(&s);
    }
    print_message("%d kills, %d behind a committed change, %lld changes\n",
                  CRASHES, n_changed, (long long)last_epoch);
    assert_true(n_changed > 0);
    /* And the store takes what comes. */
    shelf_open(&s);
    for (int i = 0; i < DOCUMENTS; i++) {
        char path[512];
        enum corpus_outcome outcome;
        size_t n;
        write_version(&s, i, 7);
        snprintf(path, sizeof path, "%s/d%d.md", s.folder, i);
        check_ok(corpus_add(s.corpus, path, &outcome, &n));
    }
    assert_int_equal(shelf_check(&s).n_documents, DOCUMENTS);
    size_t n;
    struct search_hit *hits = shelf_search(&s, "pump on a ward", NULL, 5, &n);
    assert_true(n == 5 && hits[0].rank_words >= 1 && hits[0].rank_vectors >= 1);
    shelf_free(&s);
}

static void the_indexes_agree_wherever_an_addition_is_killed(void **state)
{
    (void)state;
    kill_additions(NULL);
}

static void so_do_those_of_a_sealed_store(void **state)
{
    (void)state;
    static const uint8_t key[SEAL_KEY] = {3};
    struct sealed_vfs *vfs;
    check_ok(sealed_new(key, &vfs));
    struct db_vfs door = sealed_door(vfs);
    kill_additions(&door);
    sealed_free(vfs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_indexes_agree_wherever_an_addition_is_killed),
        cmocka_unit_test(so_do_those_of_a_sealed_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
