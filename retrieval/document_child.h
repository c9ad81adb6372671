/*
 * document_child: run a program that reads a hostile file, so that the worst it
 * can do is print nonsense.
 *
 *   fork ─ child: stdin = the file, stdout and stderr = pipes, no other handle,
 *   │             empty environment, folder /, dies with its parent
 *   │             rlimits: processor time, memory, no file written, few handles
 *   │             no_new_privs and a seccomp filter: a list of system calls
 *   │             that read files, allocate and exit; files open for reading
 *   │             alone; no socket, no process, no signal to others
 *   └ parent: reads both pipes up to a bound and a moment, then kills by pid
 *
 * A call that is not in the list fails with EPERM, as it would without rights.
 * The filter knows x86-64 and AArch64; elsewhere the child gets its own user
 * and network namespace, or does not run.
 *
 * Thread rule: any thread; between fork and exec only system calls are made.
 */
#ifndef TACIT_RETRIEVAL_DOCUMENT_CHILD_H
#define TACIT_RETRIEVAL_DOCUMENT_CHILD_H

#include "common/base/buf.h"
#include "common/base/err.h"

enum { CHILD_PATH_MAX = 512, CHILD_MESSAGE_MAX = 512 };

struct child_limits {
    unsigned cpu_s, wall_ms;
    size_t memory_bytes, output_bytes;
};

enum child_end {
    CHILD_EXITED,  /* `status` is its exit status */
    CHILD_KILLED,  /* by signal `status` */
    CHILD_TOO_LATE /* processor or wall time was up */
};

struct child_result {
    enum child_end end;
    int status;
    int is_cut;                      /* it printed more than output_bytes */
    char message[CHILD_MESSAGE_MAX]; /* what it said on stderr, first bytes */
};

/* The program of that name in $PATH, into out; 0 when there is none. */
int child_find(const char *name, char out[CHILD_PATH_MAX]);
/* Run argv (argv[0] is its full path) over the handle as stdin, append what it
 * prints to out. IO when it cannot be run. Whatever it does is in *result. */
TACIT_CHECKED enum tacit_err child_run(const char *const *argv, int input,
                                       const struct child_limits *limits,
                                       struct buf *out,
                                       struct child_result *result);

#endif
