#include "sims/mpi_fleet.h"

#include <fcntl.h>
#include <mpi.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "common/base/tick.h"
#include "sims/commands.h"

enum {
    NOTICE_BYTES = 512,
    SPIN_NS = 2000000,    /* a reduction among processes that are all there */
    PAUSE_NS = 50000,     /* between tests after that */
    GRACE_MS = 250,       /* from a signal on; mpirun kills after a second */
    END_MS = 2000,        /* for all to come to the end after a failure … */
    END_OTHERS_MS = 10000 /* … when not the first process ends them */
};

/* One per process, as MPI itself. */
static struct {
    MPI_Comm data, talk; /* reductions; notices and the end */
    int rank, size, n_here;
    int64_t limit_ms;
    uint32_t *chunk; /* [MPI_FLEET_CHUNK], never freed while MPI may write */
    MPI_Request hears;
    char hearing[NOTICE_BYTES], telling[NOTICE_BYTES];
    char heard[NOTICE_BYTES]; /* the lowest process's reason */
    int heard_rank;           /* size: none */
    int is_broken;            /* reductions no longer match */
    int stderr_was;           /* of a silent process */
} all = {.rank = 0, .size = 1, .n_here = 1, .limit_ms = MPI_FLEET_LIMIT_MS};

/* ---- notices ------------------------------------------------------------ */

static void listen_again(void)
{
    if (MPI_Irecv(all.hearing, NOTICE_BYTES, MPI_CHAR, MPI_ANY_SOURCE, 0,
                  all.talk, &all.hears) != MPI_SUCCESS)
        all.hears = MPI_REQUEST_NULL;
}

/* Has any process failed? */
static int hears(void)
{
    for (;;) {
        int done = 0;
        MPI_Status s;
        if (all.hears == MPI_REQUEST_NULL ||
            MPI_Test(&all.hears, &done, &s) != MPI_SUCCESS || !done)
            return all.heard_rank < all.size;
        if (s.MPI_SOURCE < all.heard_rank) {
            all.heard_rank = s.MPI_SOURCE;
            all.hearing[NOTICE_BYTES - 1] = '\0';
            memcpy(all.heard, all.hearing, sizeof all.heard);
        }
        listen_again();
    }
}

/* To all others; small enough that MPI takes it along at once. */
static void tell(const char *why)
{
    MPI_Request r;
    snprintf(all.telling, sizeof all.telling, "%s", why);
    for (int i = 0; i < all.size; i++) {
        if (i == all.rank) continue;
        if (MPI_Isend(all.telling, NOTICE_BYTES, MPI_CHAR, i, 0, all.talk,
                      &r) == MPI_SUCCESS)
            (void)MPI_Request_free(&r);
    }
}

/* ---- waiting ------------------------------------------------------------ */

static void pause_until(int64_t start_ns)
{
    const struct timespec t = {.tv_nsec = PAUSE_NS};
    if (tick_ns() - start_ns < SPIN_NS)
        sched_yield();
    else
        nanosleep(&t, NULL);
}

static enum tacit_err wait_for(MPI_Request *r)
{
    int64_t start = tick_ns(), stopped = 0;
    for (;;) {
        int done = 0;
        if (MPI_Test(r, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS)
            return fail_as(E_PEER_LOST, "MPI reports a failed reduction");
        if (done) return TACIT_OK;
        if (hears())
            return fail_as(E_PEER_LOST, "process %d failed: %s", all.heard_rank,
                           all.heard);
        int64_t now = tick_ns();
        if (now - start > all.limit_ms * 1000000)
            return fail_as(E_PEER_LOST,
                           "another process did not answer for %.3g s "
                           "(--peer-limit)",
                           (double)all.limit_ms / 1000);
        if (!stopped && atomic_load(&sim_stop)) stopped = now;
        if (stopped && now - stopped > GRACE_MS * (int64_t)1000000)
            return fail_as(E_PEER_LOST,
                           "stopped while another process did not answer; if "
                           "one was lost, mpirun says which");
        pause_until(start);
    }
}

static enum tacit_err reduce(int n, MPI_Datatype type, MPI_Op op)
{
    MPI_Request r;
    if (all.is_broken)
        return fail(TACIT_STATE, "the other processes were lost before");
    enum tacit_err err =
        MPI_Iallreduce(MPI_IN_PLACE, all.chunk, n, type, op, all.data, &r) ==
                MPI_SUCCESS
            ? wait_for(&r)
            : fail_as(E_PEER_LOST, "MPI cannot begin a reduction");
    all.is_broken = err != TACIT_OK;
    return err;
}

/* ---- what a fleet asks for ---------------------------------------------- */

static enum tacit_err add(void *ctx, uint32_t *v, size_t n)
{
    (void)ctx;
    for (size_t at = 0; at < n; at += MPI_FLEET_CHUNK) {
        size_t k = n - at < MPI_FLEET_CHUNK ? n - at : MPI_FLEET_CHUNK;
        memcpy(all.chunk, v + at, k * sizeof *v);
        TRY(reduce((int)k, MPI_UINT32_T, MPI_SUM));
        memcpy(v + at, all.chunk, k * sizeof *v);
    }
    return TACIT_OK;
}

/* Words are as good as bytes, and fewer. */
static enum tacit_err merge(void *ctx, void *bytes, size_t n)
{
    uint8_t *p = bytes;
    size_t most = MPI_FLEET_CHUNK * sizeof *all.chunk;
    (void)ctx;
    for (size_t at = 0; at < n; at += most) {
        size_t k = n - at < most ? n - at : most;
        size_t words = (k + sizeof *all.chunk - 1) / sizeof *all.chunk;
        all.chunk[words - 1] = 0;
        memcpy(all.chunk, p + at, k);
        TRY(reduce((int)words, MPI_UINT32_T, MPI_BOR));
        memcpy(p + at, all.chunk, k);
    }
    return TACIT_OK;
}

/* ---- outside ------------------------------------------------------------ */

/* The others have nothing to say while the first one speaks. */
static void be_silent(void)
{
    int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
    all.stderr_was = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    if (nowhere < 0) return;
    (void)dup2(nowhere, STDOUT_FILENO);
    (void)dup2(nowhere, STDERR_FILENO);
    close(nowhere);
}

static int begin(int *argc, char ***argv)
{
    int level;
    MPI_Comm here;
    if (MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &level)) return 0;
    if (level < MPI_THREAD_FUNNELED) return 0;
    if (MPI_Comm_dup(MPI_COMM_WORLD, &all.data)) return 0;
    if (MPI_Comm_dup(MPI_COMM_WORLD, &all.talk)) return 0;
    if (MPI_Comm_set_errhandler(all.data, MPI_ERRORS_RETURN)) return 0;
    if (MPI_Comm_set_errhandler(all.talk, MPI_ERRORS_RETURN)) return 0;
    if (MPI_Comm_rank(all.data, &all.rank)) return 0;
    if (MPI_Comm_size(all.data, &all.size)) return 0;
    if (MPI_Comm_split_type(all.data, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL,
                            &here))
        return 0;
    if (MPI_Comm_size(here, &all.n_here)) return 0;
    return MPI_Comm_free(&here) == MPI_SUCCESS;
}

enum tacit_err peers_begin(int *argc, char ***argv)
{
    if (!begin(argc, argv))
        return fail(TACIT_IO, "MPI cannot be used here; start this program "
                              "with mpirun");
    all.heard_rank = all.size;
    all.chunk = calloc(MPI_FLEET_CHUNK, sizeof *all.chunk);
    if (!all.chunk) return fail(TACIT_NOMEM, "a buffer for reductions");
    listen_again();
    if (all.rank > 0) be_silent();
    return TACIT_OK;
}

const struct fleet_peers *peers(void)
{
    static struct fleet_peers p = {.add = add, .merge = merge};
    p.rank = (unsigned)all.rank;
    p.size = (unsigned)all.size;
    return all.size > 1 ? &p : NULL;
}

unsigned peers_rank(void)
{
    return (unsigned)all.rank;
}

unsigned peers_here(void)
{
    return (unsigned)all.n_here;
}

void peers_wait_at_most(int64_t ms)
{
    all.limit_ms = ms;
}

/* After a success the others may have long files to write. */
static int64_t end_limit_ms(int code)
{
    if (all.is_broken && atomic_load(&sim_stop))
        return all.rank == 0 ? GRACE_MS : 2 * GRACE_MS;
    if (code) return all.rank == 0 ? END_MS : END_OTHERS_MS;
    return all.limit_ms;
}

/* Do all come to the end? */
static int all_end(int code)
{
    MPI_Request r;
    int64_t start = tick_ns(), limit_ms = end_limit_ms(code);
    if (MPI_Ibarrier(all.talk, &r) != MPI_SUCCESS) return 0;
    while (tick_ns() - start < limit_ms * 1000000) {
        int done = 0;
        if (MPI_Test(&r, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS) return 0;
        if (done) return 1;
        (void)hears();
        pause_until(start);
    }
    return 0;
}

int peers_end(int code)
{
    if (code) tell(err_message());
    if (!all_end(code)) {
        if (all.rank > 0 && all.heard_rank > all.rank && code)
            dprintf(all.stderr_was, "error: process %d: %s\n", all.rank,
                    err_message());
        MPI_Abort(MPI_COMM_WORLD, code ? code : TACIT_EXIT_TIMEOUT);
        return code ? code : TACIT_EXIT_TIMEOUT;
    }
    (void)hears();
    if (all.hears != MPI_REQUEST_NULL) {
        (void)MPI_Cancel(&all.hears);
        (void)MPI_Request_free(&all.hears);
    }
    free(all.chunk);
    (void)MPI_Comm_free(&all.data);
    (void)MPI_Comm_free(&all.talk);
    (void)MPI_Finalize();
    return code;
}
