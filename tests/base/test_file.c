/* file: bounded reads, writes that leave the old file or the new one, walks
 * that end. */
#include "tests/check.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/codes.h"
#include "common/base/file.h"

static char dir[256], path[600], other[600];

static int begin(void **state)
{
    (void)state;
    check_tmpdir(dir);
    snprintf(path, sizeof path, "%s/a", dir);
    snprintf(other, sizeof other, "%s/b", dir);
    return 0;
}

static int end(void **state)
{
    (void)state;
    check_tmpdir_remove(dir);
    return 0;
}

static void put(const char *at, const char *text)
{
    check_ok(file_write(at, text, strlen(text), 0600));
}

static void check_content(const char *at, const char *want)
{
    struct buf b;
    buf_init(&b, 0);
    check_ok(file_read(at, 1 << 20, &b));
    check(b.len == strlen(want) && memcmp(b.data, want, b.len) == 0);
    buf_release(&b);
}

/* Nothing lies in the folder but these. */
static enum tacit_err count_entry(const char *at, void *ctx)
{
    (void)at;
    ++*(int *)ctx;
    return TACIT_OK;
}

static int n_files(void)
{
    int n = 0;
    check_ok(file_walk(dir, count_entry, &n));
    return n;
}

/* ---- reading and writing ------------------------------------------------- */

static void what_is_written_is_read(void **state)
{
    (void)state;
    struct stat st;
    struct buf b;
    put(path, "one");
    check_content(path, "one");
    check_ok(file_write(path, "two!", 4, 0640));
    check_content(path, "two!");
    check(stat(path, &st) == 0 && (st.st_mode & 0777) == 0640);
    check_ok(file_write(path, NULL, 0, 0600));
    check_content(path, "");
    check(n_files() == 1);
    /* Reading appends. */
    put(path, "bc");
    buf_init(&b, 0);
    buf_put(&b, "a", 1);
    check_ok(file_read(path, 2, &b));
    check(b.len == 3 && memcmp(b.data, "abc", 3) == 0);
    buf_release(&b);
}

static void a_file_over_the_limit_is_refused(void **state)
{
    (void)state;
    struct buf b;
    put(path, "0123456789");
    buf_init(&b, 0);
    buf_put(&b, "x", 1);
    check_ok(file_read(path, 10, &b));
    check(b.len == 11);
    b.len = 1;
    check_err(file_read(path, 9, &b), TACIT_LIMIT);
    check_err(file_read(path, 0, &b), TACIT_LIMIT);
    /* Such a file says that it has no bytes, and then has some. */
    check_err(file_read("/proc/self/status", 16, &b), TACIT_LIMIT);
    check(b.len == 1 && b.err == TACIT_OK);
    buf_release(&b);
    buf_init(&b, 5); /* the buffer's own limit */
    check_err(file_read(path, 100, &b), TACIT_LIMIT);
    buf_release(&b);
}

static void what_is_no_file_is_refused(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 0);
    check_err(file_read(path, 10, &b), TACIT_NOTFOUND);
    check_err(file_read(dir, 10, &b), TACIT_UNSUPPORTED);
    check_err(file_read("/dev/zero", 10, &b), TACIT_UNSUPPORTED);
    check(mkfifo(path, 0600) == 0); /* nobody writes to it: no waiting */
    check_err(file_read(path, 10, &b), TACIT_UNSUPPORTED);
    snprintf(other, sizeof other, "%s/a/b", dir); /* below a file */
    check_err(file_read(other, 10, &b), TACIT_NOTFOUND);
    check(b.len == 0);
    buf_release(&b);
}

static void an_unreadable_file_names_itself(void **state)
{
    (void)state;
    struct buf b;
    if (geteuid() == 0) {
        print_message("[ SKIPPED  ] %s: root reads everything\n", __func__);
        skip();
    }
    put(path, "secret");
    check(chmod(path, 0) == 0);
    buf_init(&b, 0);
    enum tacit_err e = file_read(path, 10, &b);
    check(strstr(err_message(), path) != NULL);
    check_err(e, TACIT_IO);
    buf_release(&b);
}

static void writing_where_nothing_can_be_written_fails(void **state)
{
    (void)state;
    char deep[5000];
    snprintf(other, sizeof other, "%s/no/such/folder", dir);
    check_err(file_write(other, "x", 1, 0600), TACIT_NOTFOUND);
    check(mkdir(path, 0700) == 0);
    check_err(file_write(path, "x", 1, 0600), TACIT_IO); /* a folder */
    check(n_files() == 0);
    memset(deep, 'x', sizeof deep);
    deep[sizeof deep - 1] = '\0';
    check_err(file_write(deep, "x", 1, 0600), TACIT_LIMIT);
}

static void a_full_disk_leaves_the_old_file(void **state)
{
    (void)state;
    static char big[1 << 20];
    struct rlimit was, small;
    put(path, "old");
    check(getrlimit(RLIMIT_FSIZE, &was) == 0);
    small = was;
    small.rlim_cur = 1 << 16;
    /* The kernel refuses bytes past the limit as a full disk does. */
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    check(setrlimit(RLIMIT_FSIZE, &small) == 0);
    enum tacit_err e = file_write(path, big, sizeof big, 0600);
    check(setrlimit(RLIMIT_FSIZE, &was) == 0);
    signal(SIGXFSZ, handler);
    check_code(e, E_DISK_FULL);
    check_content(path, "old");
    check(n_files() == 1); /* no temporary is left */
}

/* ---- paths --------------------------------------------------------------- */

static void folders_are_made_with_their_parents(void **state)
{
    (void)state;
    struct stat st;
    snprintf(path, sizeof path, "%s/x//y/z/", dir);
    check_ok(file_mkdirs(path, 0700));
    check_ok(file_mkdirs(path, 0700));
    check(stat(path, &st) == 0 && (st.st_mode & 0777) == 0700);
    check_ok(file_mkdirs(dir, 0700));
    snprintf(path, sizeof path, "%s/f", dir);
    put(path, "file");
    check_err(file_mkdirs(path, 0700), TACIT_IO);
    snprintf(other, sizeof other, "%s/f/g", dir);
    enum tacit_err e = file_mkdirs(other, 0700);
    check(e == TACIT_IO || e == TACIT_NOTFOUND);
    err_clear();
}

static void paths_are_joined_or_refused(void **state)
{
    (void)state;
    char out[8];
    check_ok(file_join(out, sizeof out, "abc", "def"));
    assert_string_equal(out, "abc/def");
    check_ok(file_join(out, sizeof out, "abc/", "def"));
    assert_string_equal(out, "abc/def");
    check_ok(file_join(out, sizeof out, "", "def"));
    assert_string_equal(out, "def");
    check_err(file_join(out, sizeof out, "abcd", "def"), TACIT_LIMIT);
}

static void the_home_follows_flag_then_variable_then_default(void **state)
{
    (void)state;
    char out[64];
    const char *home = getenv("HOME");
    char *was = home ? strdup(home) : NULL;
    setenv("TACIT_TEST_HOME", "/from/env", 1);
    setenv("XDG_DATA_HOME", "/xdg", 1);
    check_ok(file_home(out, sizeof out, "/flag", "TACIT_TEST_HOME", "tacit"));
    assert_string_equal(out, "/flag");
    check_ok(file_home(out, sizeof out, NULL, "TACIT_TEST_HOME", "tacit"));
    assert_string_equal(out, "/from/env");
    unsetenv("TACIT_TEST_HOME");
    check_ok(file_home(out, sizeof out, "", "TACIT_TEST_HOME", "tacit"));
    assert_string_equal(out, "/xdg/tacit");
    setenv("XDG_DATA_HOME", "relative", 1); /* the standard: to be ignored */
    setenv("HOME", "/h", 1);
    check_ok(file_home(out, sizeof out, NULL, NULL, "tacit"));
    assert_string_equal(out, "/h/.local/share/tacit");
    unsetenv("XDG_DATA_HOME");
    unsetenv("HOME");
    check_err(file_home(out, sizeof out, NULL, NULL, "tacit"), TACIT_STATE);
    check_err(file_home(out, 4, "/too/long", NULL, "tacit"), TACIT_LIMIT);
    if (was) setenv("HOME", was, 1);
    free(was);
}

/* ---- walking ------------------------------------------------------------- */

struct seen {
    char names[2048];
    int stop_at, n;
};

static enum tacit_err remember(const char *at, void *ctx)
{
    struct seen *s = ctx;
    size_t used = strlen(s->names);
    snprintf(s->names + used, sizeof s->names - used, "%s ",
             at + strlen(dir) + 1);
    return ++s->n == s->stop_at ? fail(TACIT_FORMAT, "stop") : TACIT_OK;
}

static void make(const char *name, int is_folder)
{
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (is_folder)
        check(mkdir(path, 0700) == 0);
    else
        put(path, name);
}

static void a_walk_is_in_order_and_skips_what_is_hidden(void **state)
{
    (void)state;
    struct seen s = {0};
    make("b", 1);
    make("b/z.md", 0);
    make("b/A.md", 0);
    make("a.txt", 0);
    make("c.txt", 0);
    make(".hidden", 0);
    make(".git", 1);
    make(".git/x", 0);
    make("empty", 1);
    snprintf(path, sizeof path, "%s/link-to-folder", dir);
    check(symlink("b", path) == 0);
    snprintf(path, sizeof path, "%s/link-to-file", dir);
    check(symlink("a.txt", path) == 0);
    snprintf(path, sizeof path, "%s/link-to-nothing", dir);
    check(symlink("gone", path) == 0);
    snprintf(path, sizeof path, "%s/b/round", dir);
    check(symlink("..", path) == 0);
    snprintf(path, sizeof path, "%s/pipe", dir);
    check(mkfifo(path, 0600) == 0);
    check_ok(file_walk(dir, remember, &s));
    assert_string_equal(s.names, "a.txt b/A.md b/z.md c.txt link-to-file ");
}

static void a_walk_over_one_file_visits_it(void **state)
{
    (void)state;
    struct seen s = {0};
    make("only", 0);
    check_ok(file_walk(path, remember, &s));
    assert_string_equal(s.names, "only ");
    snprintf(path, sizeof path, "%s/missing", dir);
    check_err(file_walk(path, remember, &s), TACIT_NOTFOUND);
}

static void a_visitors_error_ends_the_walk(void **state)
{
    (void)state;
    struct seen s = {.stop_at = 2};
    make("1", 0);
    make("2", 1);
    make("2/x", 0);
    make("3", 0);
    check_err(file_walk(dir, remember, &s), TACIT_FORMAT);
    assert_string_equal(s.names, "1 2/x ");
}

static enum tacit_err deepest(const char *at, void *ctx)
{
    struct stat st;
    size_t *n = ctx;
    check(stat(at, &st) == 0 && S_ISDIR(st.st_mode));
    *n = strlen(at);
    return TACIT_OK;
}

static void a_bottomless_folder_ends(void **state)
{
    (void)state;
    char deep[1024];
    size_t n = 0;
    snprintf(deep, sizeof deep, "%s", dir);
    for (int i = 0; i < 100; i++) strcat(deep, "/d");
    check_ok(file_mkdirs(deep, 0700));
    check_ok(file_walk(dir, deepest, &n));
    /* The folder at the limit is visited, so that reading it says why. */
    check(n > strlen(dir) + 100 && n < strlen(deep));
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(what_is_written_is_read),
        IN_FOLDER(a_file_over_the_limit_is_refused),
        IN_FOLDER(what_is_no_file_is_refused),
        IN_FOLDER(an_unreadable_file_names_itself),
        IN_FOLDER(writing_where_nothing_can_be_written_fails),
        IN_FOLDER(a_full_disk_leaves_the_old_file),
        IN_FOLDER(folders_are_made_with_their_parents),
        cmocka_unit_test(paths_are_joined_or_refused),
        cmocka_unit_test(the_home_follows_flag_then_variable_then_default),
        IN_FOLDER(a_walk_is_in_order_and_skips_what_is_hidden),
        IN_FOLDER(a_walk_over_one_file_visits_it),
        IN_FOLDER(a_visitors_error_ends_the_walk),
        IN_FOLDER(a_bottomless_folder_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
