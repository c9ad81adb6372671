/* mapped: a file as bytes, and what is said when it is cut meanwhile. */
#include "tests/check.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/model/mapped.h"

enum { BYTES = 1 << 16 };

static char dir[256], path[600];

static int begin(void **state)
{
    static uint8_t bytes[BYTES];
    (void)state;
    check_tmpdir(dir);
    memset(bytes, 7, sizeof bytes);
    snprintf(path, sizeof path, "%s/model.gguf", dir);
    check_ok(file_write(path, bytes, sizeof bytes, 0600));
    return 0;
}

static int end(void **state)
{
    (void)state;
    check_tmpdir_remove(dir);
    return 0;
}

/* Cuts the file and reads its last byte, in a process of its own whose status
 * comes back; what it says on stderr goes to said. */
static int read_behind_the_end(const volatile uint8_t *bytes, char said[700])
{
    int tell[2], status = 0;
    assert_int_equal(pipe(tell), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(tell[1], STDERR_FILENO);
        if (truncate(path, 1)) _exit(90);
        _exit(bytes[BYTES - 1] ? 91 : 92);
    }
    close(tell[1]);
    size_t n = 0;
    for (ssize_t k; n < 699; n += (size_t)k)
        if ((k = read(tell[0], said + n, 699 - n)) <= 0) break;
    said[n] = '\0';
    close(tell[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

/* One test, since cmocka's own handler comes back with each. */
static void a_file_that_is_cut_is_named(void **state)
{
    const uint8_t *bytes = NULL;
    char said[700];
    size_t n = 0;
    (void)state;
    check_ok(mapped_open(path, &bytes, &n));
    assert_int_equal(n, BYTES);
    assert_int_equal(bytes[BYTES - 1], 7);
    int status = read_behind_the_end(bytes, said);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    assert_non_null(strstr(said, path));
    assert_non_null(strstr(said, "cut short while it was in use"));
    mapped_close(bytes, n);

    /* What others map is left to the system. */
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(truncate(path, BYTES), 0);
    void *other = mmap(NULL, BYTES, PROT_READ, MAP_PRIVATE, fd, 0);
    assert_ptr_not_equal(other, MAP_FAILED);
    status = read_behind_the_end(other, said);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    assert_string_equal(said, "");
    munmap(other, BYTES);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_file_that_is_cut_is_named, begin,
                                        end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
