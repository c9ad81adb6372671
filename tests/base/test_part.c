/* part: nothing has a name before it is whole, and nothing stays that nobody
 * holds. */
#include "tests/check.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/file.h"
#include "common/base/part.h"

static char dir[256], path[600];

static int begin(void **state)
{
    (void)state;
    check_tmpdir(dir);
    snprintf(path, sizeof path, "%s/whole", dir);
    return 0;
}

static int end(void **state)
{
    (void)state;
    check_tmpdir_remove(dir);
    return 0;
}

static void put(const char *folder, const char *name)
{
    char at[PART_PATH];
    check_ok(file_join(at, sizeof at, folder, name));
    check_ok(file_write(at, "1", 1, 0600));
}

static unsigned mode_of(const char *at)
{
    struct stat st;
    assert_int_equal(stat(at, &st), 0);
    return (unsigned)st.st_mode & 0777;
}

static void it_has_its_name_when_it_is_whole(void **state)
{
    char inner[700];
    struct part p;
    (void)state;
    check_ok(part_begin(&p, dir, PART_FILE));
    assert_int_equal(write(p.fd, "ab", 2), 2);
    assert_false(file_exists(path));
    check_ok(part_commit(&p, path, 0644));
    part_release(&p);
    assert_int_equal(mode_of(path), 0644);
    assert_int_equal(unlink(path), 0);

    check_ok(part_begin(&p, dir, PART_FOLDER));
    put(p.path, "a");
    assert_false(file_exists(path));
    check_ok(part_commit(&p, path, 0755));
    part_release(&p);
    assert_int_equal(mode_of(path), 0755);
    snprintf(inner, sizeof inner, "%s/a", path);
    assert_true(file_exists(inner));
}

static void what_is_given_up_is_gone(void **state)
{
    char was[PART_PATH], inner[PART_PATH];
    struct part p;
    (void)state;
    for (int kind = PART_FILE; kind <= PART_FOLDER; kind++) {
        check_ok(part_begin(&p, dir, (enum part_kind)kind));
        memcpy(was, p.path, sizeof was);
        if (kind == PART_FOLDER) {
            check_ok(file_join(inner, sizeof inner, was, "within"));
            check_ok(file_mkdirs(inner, 0700));
            put(inner, "a");
        }
        part_release(&p);
        assert_false(file_exists(was));
    }
    check_err(part_begin(&p, "/nowhere/at/all", PART_FILE), TACIT_NOTFOUND);
    part_release(&p);
}

/* A process that ends with a part of each kind unfinished; dir/link, in the
 * folder, points to what is not its own. */
static void leave_some(char was[2][PART_PATH])
{
    int tell[2];
    assert_int_equal(pipe(tell), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        for (int kind = PART_FILE; kind <= PART_FOLDER; kind++) {
            struct part p;
            if (part_begin(&p, dir, (enum part_kind)kind)) _exit(1);
            if (kind == PART_FOLDER) {
                int at = open(p.path, O_RDONLY | O_DIRECTORY);
                if (at < 0 || symlinkat(path, at, "link")) _exit(1);
            }
            if (write(tell[1], p.path, sizeof p.path) != sizeof p.path)
                _exit(1);
            (void)fcntl(p.fd, F_DUPFD, 3); /* held until the process ends */
        }
        _exit(0);
    }
    for (int i = 0; i < 2; i++)
        assert_int_equal(read(tell[0], was[i], PART_PATH), PART_PATH);
    int status = 1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close(tell[0]);
    close(tell[1]);
}

static void what_killed_ones_left_goes_with_the_next(void **state)
{
    char was[2][PART_PATH], foreign[PART_PATH];
    struct part held, p;
    (void)state;
    check_ok(file_mkdirs(path, 0700));
    put(path, "mine");
    check_ok(file_join(foreign, sizeof foreign, dir, ".tacit-part-of-mine"));
    check_ok(file_mkdirs(foreign, 0700));
    leave_some(was);
    for (int i = 0; i < 2; i++) assert_true(file_exists(was[i]));
    check_ok(part_begin(&held, dir, PART_FOLDER));
    for (int i = 0; i < 2; i++) assert_false(file_exists(was[i]));
    check_ok(part_begin(&p, dir, PART_FILE));
    assert_true(file_exists(held.path));
    assert_true(file_exists(foreign));
    part_release(&p);
    part_release(&held);
    check_ok(file_join(foreign, sizeof foreign, path, "mine"));
    assert_true(file_exists(foreign));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_has_its_name_when_it_is_whole, begin,
                                        end),
        cmocka_unit_test_setup_teardown(what_is_given_up_is_gone, begin, end),
        cmocka_unit_test_setup_teardown(
            what_killed_ones_left_goes_with_the_next, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
