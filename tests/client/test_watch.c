/* watch: what changes below a folder is told of, once, by the path that it has
 * now. */
#include "tests/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/folders.h"
#include "client/watch.h"
#include "common/base/file.h"

enum { PATIENCE_MS = 10000 };

static char dir[256];
static struct watch *w;
static char visited[4096]; /* each path below dir, and a blank */
static int n_visited;

static char *at(const char *name)
{
    static char path[4][400];
    static int turn;
    char *out = path[turn++ % 4];
    snprintf(out, sizeof path[0], "%s%s%s", dir, *name ? "/" : "", name);
    return out;
}

static void put(const char *name)
{
    FILE *f = fopen(at(name), "we");
    assert_non_null(f);
    assert_int_equal(fputc('x', f), 'x');
    assert_int_equal(fclose(f), 0);
}

static enum tacit_err visit(const char *path, void *ctx)
{
    size_t n = strlen(visited);
    (void)ctx;
    n_visited++;
    snprintf(visited + n, sizeof visited - n, "%s ", path + strlen(dir));
    return TACIT_OK;
}

/* All that is due, however long the machine takes. */
static const char *changes(void)
{
    int is_due = 0;
    visited[0] = '\0';
    n_visited = 0;
    for (int i = 0; i < 20 && !is_due; i++)
        check_ok(watch_wait(w, -1, PATIENCE_MS / 20, &is_due));
    check_ok(watch_take(w, visit, NULL));
    return visited;
}

static int begin(void **state)
{
    char real[256];
    (void)state;
    check_tmpdir(real);
    /* The folder's own path, as folders_path() gives it. */
    char *path = realpath(real, NULL);
    snprintf(dir, sizeof dir, "%s", path);
    free(path);
    check_ok(watch_new(&w));
    check_ok(file_mkdirs(at("docs/deep"), 0700));
    check_ok(watch_folder(w, at("docs"), 0));
    return 0;
}

static int end(void **state)
{
    (void)state;
    watch_free(w);
    check_tmpdir_remove(dir);
    return 0;
}

static void what_is_written_is_told_of_once(void **state)
{
    (void)state;
    put("docs/a.md");
    put("docs/a.md");
    put("docs/.hidden");
    put("docs/deep/b.md");
    assert_non_null(strstr(changes(), "/docs/a.md /docs/deep/b.md "));
    assert_null(strstr(visited, "hidden"));
    assert_int_equal(n_visited, 2);
}

static void a_folder_that_moves_is_followed(void **state)
{
    (void)state;
    assert_int_equal(rename(at("docs/deep"), at("docs/other")), 0);
    assert_string_equal(changes(), "/docs/deep /docs/other ");
    put("docs/other/c.md");
    assert_non_null(strstr(changes(), "/docs/other/c.md "));
    assert_int_equal(rename(at("docs/other"), at("away")), 0);
    assert_string_equal(changes(), "/docs/other ");
    put("away/d.md");
    put("docs/e.md");
    assert_string_equal(changes(), "/docs/e.md ");
}

static void a_new_folder_is_watched_with_all_in_it(void **state)
{
    (void)state;
    check_ok(file_mkdirs(at("docs/1/2/3"), 0700));
    put("docs/1/2/3/a.md");
    assert_string_equal(changes(), "/docs/1 "); /* which holds the rest */
    put("docs/1/2/3/b.md");
    assert_non_null(strstr(changes(), "/docs/1/2/3/b.md "));
}

static void a_circle_of_links_is_no_circle(void **state)
{
    (void)state;
    assert_int_equal(symlink(at("docs"), at("docs/deep/circle")), 0);
    check_ok(watch_folder(w, at("docs/deep"), 0));
    (void)changes();
    put("docs/deep/circle/a.md");
    assert_string_equal(changes(), "/docs/a.md ");
}

static void more_paths_than_can_be_noted_are_the_whole_folder(void **state)
{
    (void)state;
    char path[420];
    for (int i = 0; i < WATCH_PATHS_MAX + 10; i++) {
        snprintf(path, sizeof path, "%s/%d", at("docs/deep"), i);
        check_ok(watch_note(w, path));
    }
    assert_non_null(strstr(changes(), "/docs "));
    check(n_visited < 100);
}

static void a_folder_that_goes_is_not_visited_until_it_is_back(void **state)
{
    (void)state;
    int is_due;
    assert_int_equal(rename(at("docs"), at("gone")), 0);
    check_ok(watch_wait(w, -1, 100, &is_due));
    check_ok(watch_take(w, visit, NULL));
    visited[0] = '\0';
    check_ok(watch_wait(w, -1, 100, &is_due));
    check_ok(watch_take(w, visit, NULL));
    assert_string_equal(visited, "");
    assert_int_equal(rename(at("gone"), at("docs")), 0);
    assert_string_equal(changes(), "/docs ");
    put("docs/deep/a.md");
    assert_string_equal(changes(), "/docs/deep/a.md ");
}

static char told[400];

static void note_told(const char *path, int is_there, void *ctx)
{
    size_t n = strlen(told);
    (void)ctx;
    snprintf(told + n, sizeof told - n, "%s%s ", is_there ? "+" : "-",
             path + strlen(dir));
}

/* What is left of a mounted disk is an empty folder on another one. */
static void the_place_of_an_unplugged_disk_is_no_emptied_folder(void **state)
{
    (void)state;
    int64_t device = 0;
    check_ok(file_mkdirs(at("disk"), 0700));
    assert_int_equal(folders_is_there(at("disk"), &device), 1);
    assert_int_equal(folders_is_there(at("disk"), &device), 1);
    device++;
    assert_int_equal(folders_is_there(at("disk"), &device), 0);
    told[0] = '\0';
    watch_tell(w, note_told, NULL);
    check_ok(watch_folder(w, at("disk"), device));
    assert_string_equal(told, "-/disk ");
    put("disk/a.md");
    assert_string_equal(changes(), "/disk ");
    assert_string_equal(told, "-/disk +/disk ");
    put("disk/b.md");
    assert_string_equal(changes(), "/disk/b.md ");
    assert_int_equal(rename(at("disk"), at("gone")), 0);
    int is_due;
    check_ok(watch_wait(w, -1, 100, &is_due));
    assert_string_equal(told, "-/disk +/disk -/disk ");
}

static void what_is_forgotten_is_not_told_of(void **state)
{
    (void)state;
    check_ok(watch_folder(w, at("docs/deep"), 0));
    watch_forget(w, at("docs"));
    check(!watch_has(w, at("docs")));
    put("docs/a.md");
    put("docs/deep/b.md");
    assert_string_equal(changes(), "/docs/deep/b.md ");
}

static enum tacit_err stop_at_second(const char *path, void *ctx)
{
    (void)path;
    (void)ctx;
    return n_visited++ ? TACIT_STATE : TACIT_OK;
}

static void what_was_not_visited_stays_noted(void **state)
{
    (void)state;
    check_ok(watch_note(w, at("docs/a")));
    check_ok(watch_note(w, at("docs/b")));
    check_ok(watch_note(w, at("docs/c")));
    n_visited = 0;
    assert_int_equal(watch_take(w, stop_at_second, NULL), TACIT_STATE);
    assert_string_equal(changes(), "/docs/b /docs/c ");
}

#define ROW(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(what_is_written_is_told_of_once),
        ROW(a_folder_that_moves_is_followed),
        ROW(a_new_folder_is_watched_with_all_in_it),
        ROW(a_circle_of_links_is_no_circle),
        ROW(more_paths_than_can_be_noted_are_the_whole_folder),
        ROW(a_folder_that_goes_is_not_visited_until_it_is_back),
        ROW(the_place_of_an_unplugged_disk_is_no_emptied_folder),
        ROW(what_is_forgotten_is_not_told_of),
        ROW(what_was_not_visited_stays_noted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
