#include "retrieval/document_child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    STEP = 1 << 16,
    HANDLES_MAX = 32,
    EXIT_NO_SANDBOX = 125,
    EXIT_NO_PROGRAM = 127,
    FILTER_MAX = 160
};

int child_find(const char *name, char out[CHILD_PATH_MAX])
{
    const char *path = getenv("PATH");
    for (const char *p = path ? path : "/usr/bin:/bin"; *p;) {
        size_t n = strcspn(p, ":");
        int len = snprintf(out, CHILD_PATH_MAX, "%.*s/%s", (int)n, p, name);
        /* A relative folder in PATH is not to be trusted. */
        if (*p == '/' && len > 0 && len < CHILD_PATH_MAX &&
            access(out, X_OK) == 0)
            return 1;
        p += n;
        p += *p == ':';
    }
    return 0;
}

/* ---- the filter -----------------------------------------------------------
 */

#if defined(__x86_64__)
# define FILTER_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
# define FILTER_ARCH AUDIT_ARCH_AARCH64
#endif

#ifdef FILTER_ARCH
/* What a program needs to start, read files, allocate and print. */
static const int allowed[] = {
    __NR_read,
    __NR_pread64,
    __NR_readv,
    __NR_write,
    __NR_writev,
    __NR_close,
    __NR_fstat,
    __NR_newfstatat,
    __NR_statx,
    __NR_lseek,
    __NR_mmap,
    __NR_mprotect,
    __NR_munmap,
    __NR_mremap,
    __NR_brk,
    __NR_madvise,
    __NR_rt_sigaction,
    __NR_rt_sigprocmask,
    __NR_rt_sigreturn,
    __NR_sigaltstack,
    __NR_faccessat,
    __NR_execve,
    __NR_set_tid_address,
    __NR_set_robust_list,
    __NR_getrandom,
    __NR_futex,
    __NR_exit,
    __NR_exit_group,
    __NR_getpid,
    __NR_getppid,
    __NR_getpgid,
    __NR_gettid,
    __NR_getuid,
    __NR_geteuid,
    __NR_getgid,
    __NR_getegid,
    __NR_readlinkat,
    __NR_getcwd,
    __NR_uname,
    __NR_sysinfo,
    __NR_clock_gettime,
    __NR_clock_getres,
    __NR_gettimeofday,
    __NR_times,
    __NR_getdents64,
    __NR_fcntl,
    __NR_dup,
    __NR_fadvise64,
    __NR_sched_yield,
    __NR_sched_getaffinity,
    __NR_getrusage,
    __NR_umask,
# ifdef __NR_rseq
    __NR_rseq,
# endif
# ifdef __NR_faccessat2
    __NR_faccessat2,
# endif
# ifdef __x86_64__
    __NR_stat,
    __NR_lstat,
    __NR_access,
    __NR_readlink,
    __NR_arch_prctl,
    __NR_getpgrp,
    __NR_time,
    __NR_dup2,
# endif
};

/* The calls that open files, and which argument holds the flags. */
static const struct {
    int call;
    unsigned flags_at;
} openers[] = {
    {__NR_openat, 2},
# ifdef __NR_open
    {__NR_open, 1},
# endif
};

/* Flags that could write. */
# define WRITING (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)

struct filter {
    struct sock_filter code[FILTER_MAX];
    unsigned short n;
};

static void put(struct filter *f, struct sock_filter s)
{
    f->code[f->n++] = s;
}

static void build_filter(struct filter *f)
{
    const struct sock_filter no = BPF_STMT(BPF_RET | BPF_K,
                                           SECCOMP_RET_ERRNO | EPERM),
                             yes = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
                             kill = BPF_STMT(BPF_RET | BPF_K,
                                             SECCOMP_RET_KILL_PROCESS);
    f->n = 0;
    put(f, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                        offsetof(struct seccomp_data, arch)));
    put(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FILTER_ARCH,
                                        1, 0));
    put(f, kill);
    put(f, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                        offsetof(struct seccomp_data, nr)));
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++) {
        put(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
                                            (uint32_t)allowed[i], 0, 1));
        put(f, yes);
    }
    for (size_t i = 0; i < sizeof openers / sizeof *openers; i++) {
        put(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
                                            (uint32_t)openers[i].call, 0, 4));
        /* The low half of the argument: both machines are little-endian. */
        put(f,
            (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                         (uint32_t)offsetof(struct seccomp_data,
                                                            args) +
                                             8 * openers[i].flags_at));
        put(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, WRITING,
                                            1, 0));
        put(f, yes);
        put(f, no);
    }
    put(f, no);
}

_Static_assert(2 * sizeof allowed / sizeof *allowed + 5 * 2 + 5 < FILTER_MAX,
               "the filter fits");

static int confine(const struct filter *f)
{
    struct sock_fprog program = {f->n, NULL};
    struct sock_filter code[FILTER_MAX];
    memcpy(code, f->code, sizeof code);
    program.filter = code;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}
#else
struct filter {
    int unused;
};

static void build_filter(struct filter *f)
{
    f->unused = 0;
}

static int confine(const struct filter *f)
{
    (void)f;
    return unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0;
}
#endif

/* ---- the child ------------------------------------------------------------
 */

static int set_limit(int what, rlim_t n)
{
    /* At the soft limit of processor time comes a signal that tells why. */
    const struct rlimit limit = {n, what == RLIMIT_CPU ? n + 1 : n};
    return setrlimit((__rlimit_resource_t)what, &limit) == 0;
}

/* Between fork and exec: nothing but system calls. */
static _Noreturn void become(const char *const *argv, const int *ends,
                             const struct child_limits *l,
                             const struct filter *f, pid_t parent)
{
    static char *const nothing[] = {NULL};
    union { /* execve takes char *const *, and writes none of it */
        const char *const *from;
        char *const *to;
    } args = {argv};
    int ok = prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent;
    ok = ok && dup2(ends[0], 0) == 0 && dup2(ends[1], 1) == 1 &&
         dup2(ends[2], 2) == 2;
    if (ok && syscall(__NR_close_range, 3U, ~0U, 0U) != 0)
        for (int i = 3; i < 4096; i++) close(i);
    ok = ok && chdir("/") == 0 && set_limit(RLIMIT_CPU, l->cpu_s) &&
         set_limit(RLIMIT_AS, l->memory_bytes) && set_limit(RLIMIT_FSIZE, 0) &&
         set_limit(RLIMIT_NOFILE, HANDLES_MAX) && set_limit(RLIMIT_CORE, 0) &&
         prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && confine(f);
    if (!ok) _exit(EXIT_NO_SANDBOX);
    execve(argv[0], args.to, nothing);
    _exit(EXIT_NO_PROGRAM);
}

/* ---- the parent -----------------------------------------------------------
 */

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

struct listening {
    struct pollfd pipe[2]; /* stdout, stderr */
    struct buf *out;
    size_t left; /* bytes that may still come */
    struct child_result *r;
    size_t n_message;
};

static void close_end(int *fd)
{
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

/* Read what is there from pipe i; close it at its end. */
static void hear(struct listening *l, int i)
{
    static const char blank[] = " ";
    unsigned char step[STEP];
    ssize_t n = read(l->pipe[i].fd, step, sizeof step);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (n <= 0) {
        close_end(&l->pipe[i].fd);
        return;
    }
    size_t got = (size_t)n;
    if (i == 0) {
        if (got > l->left) {
            got = l->left;
            l->r->is_cut = 1;
            close_end(&l->pipe[0].fd);
        }
        l->left -= got;
        buf_put(l->out, step, got);
        return;
    }
    for (size_t k = 0; k < got && l->n_message + 1 < CHILD_MESSAGE_MAX; k++)
        l->r->message[l->n_message++] =
            step[k] >= 0x20 && step[k] < 0x7f ? (char)step[k] : *blank;
}

/* Listen until both pipes are closed, or enough was heard, or time is up. */
static void listen_to(struct listening *l, int64_t deadline_ms)
{
    while ((l->pipe[0].fd >= 0 || l->pipe[1].fd >= 0) && !l->r->is_cut &&
           !l->out->err) {
        int64_t left = deadline_ms - now_ms();
        if (left <= 0) return;
        int n = poll(l->pipe, 2, left > 1000 ? 1000 : (int)left);
        if (n < 0 && errno != EINTR) return;
        for (int i = 0; n > 0 && i < 2; i++)
            if (l->pipe[i].fd >= 0 && l->pipe[i].revents) hear(l, i);
    }
}

/* Wait for its end, for which it has until the deadline. */
static void reap(pid_t pid, int64_t deadline_ms, int is_stopped,
                 struct child_result *r)
{
    const struct timespec a_while = {.tv_nsec = 1000000};
    int status = 0, in_time = now_ms() < deadline_ms;
    pid_t got = 0;
    while (!is_stopped && in_time && got == 0) {
        got = waitpid(pid, &status, WNOHANG);
        if (got < 0 && errno == EINTR) got = 0;
        if (got == 0) nanosleep(&a_while, NULL);
        in_time = now_ms() < deadline_ms;
    }
    if (got == 0) {
        kill(pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    }
    int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if ((sig == SIGKILL && !in_time) || sig == SIGXCPU) {
        r->end = CHILD_TOO_LATE;
    } else if (sig && !r->is_cut) {
        r->end = CHILD_KILLED;
        r->status = sig;
    } else {
        r->end = CHILD_EXITED;
        r->status = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    }
}

static enum tacit_err start(const char *const *argv, int input,
                            const struct child_limits *limits, int out[2],
                            int err[2], pid_t *pid)
{
    struct filter filter;
    pid_t parent = getpid();
    build_filter(&filter);
    if (pipe2(out, O_CLOEXEC) != 0)
        return fail(TACIT_IO, "%s: no pipe: %s", argv[0], strerror(errno));
    if (pipe2(err, O_CLOEXEC) != 0)
        return fail(TACIT_IO, "%s: no pipe: %s", argv[0], strerror(errno));
    /* Above 2, so that no dup2() in the child overwrites another. */
    int ends[3] = {fcntl(input, F_DUPFD_CLOEXEC, 3),
                   fcntl(out[1], F_DUPFD_CLOEXEC, 3),
                   fcntl(err[1], F_DUPFD_CLOEXEC, 3)};
    *pid = ends[0] < 0 || ends[1] < 0 || ends[2] < 0 ? -1 : fork();
    if (*pid == 0) become(argv, ends, limits, &filter, parent);
    int why = errno;
    for (int i = 0; i < 3; i++) close_end(&ends[i]);
    if (*pid < 0)
        return fail(TACIT_IO, "%s: cannot start: %s", argv[0], strerror(why));
    return TACIT_OK;
}

enum tacit_err child_run(const char *const *argv, int input,
                         const struct child_limits *limits, struct buf *out,
                         struct child_result *result)
{
    int to_out[2] = {-1, -1}, to_err[2] = {-1, -1};
    pid_t pid = -1;
    *result = (struct child_result){0};
    enum tacit_err err = start(argv, input, limits, to_out, to_err, &pid);
    close_end(&to_out[1]);
    close_end(&to_err[1]);
    if (!err) {
        struct listening l = {
            .pipe = {{.fd = to_out[0], .events = POLLIN},
                     {.fd = to_err[0], .events = POLLIN}},
            .out = out,
            .left = limits->output_bytes,
            .r = result,
        };
        int64_t deadline_ms = now_ms() + limits->wall_ms;
        listen_to(&l, deadline_ms);
        to_out[0] = l.pipe[0].fd;
        to_err[0] = l.pipe[1].fd;
        int is_stopped = to_out[0] >= 0 || result->is_cut;
        reap(pid, deadline_ms, is_stopped, result);
        err = buf_end(out);
    }
    close_end(&to_out[0]);
    close_end(&to_err[0]);
    if (!err && result->end == CHILD_EXITED &&
        result->status == EXIT_NO_SANDBOX)
        return fail(TACIT_UNSUPPORTED, "%s: this system cannot confine it",
                    argv[0]);
    if (!err && result->end == CHILD_EXITED &&
        result->status == EXIT_NO_PROGRAM)
        return fail(TACIT_IO, "%s: cannot be run", argv[0]);
    return err;
}
