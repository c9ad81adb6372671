/* err: the first failure wins, one per thread, and the catalogue is sound. */
#include "tests/check.h"

#include <pthread.h>
#include <string.h>

#include "common/base/codes.h"
#include "common/base/err.h"

static void the_first_failure_wins(void **state)
{
    (void)state;
    err_clear();
    check(fail(TACIT_IO, "the %s", "first") == TACIT_IO);
    check(fail(TACIT_FORMAT, "the second") == TACIT_FORMAT);
    check(fail_as(E_DISK_FULL, "the third") == TACIT_IO);
    assert_string_equal(err_message(), "the first");
    check(err_id() == E_DEFAULT_IO);
    err_clear();
    assert_string_equal(err_message(), "");
    check(err_id() == 0);
}

static void context_goes_in_front(void **state)
{
    (void)state;
    enum tacit_err e = fail_as(E_DISK_FULL, "notes.pdf");
    check(err_context(e, "add %d", 3) == TACIT_IO);
    check(err_context(e, "device") == TACIT_IO);
    assert_string_equal(err_message(), "device: add 3: notes.pdf");
    check(err_id() == E_DISK_FULL);
    err_clear();
    check(err_context(TACIT_OK, "nothing") == TACIT_OK);
    assert_string_equal(err_message(), "");
    /* Without a recorded message the class's text stands in. */
    check(err_context(TACIT_TIMEOUT, "poll") == TACIT_TIMEOUT);
    assert_string_equal(err_message(), "poll: took too long");
    err_clear();
}

static void a_failure_is_never_ok(void **state)
{
    (void)state;
    check(fail(TACIT_OK, "no class") == TACIT_INTERNAL);
    err_clear();
    check(fail_as(9999, "no such code") == TACIT_INTERNAL);
    check(err_id() == E_DEFAULT_INTERNAL);
    err_clear();
}

static void a_message_is_harmless_and_bounded(void **state)
{
    (void)state;
    char name[2000];
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    (void)fail(TACIT_IO, "bad\nname\x1b[2J");
    assert_string_equal(err_message(), "bad?name?[2J");
    (void)err_context(TACIT_IO, "\xff");
    assert_string_equal(err_message(), "?: bad?name?[2J");
    err_clear();
    (void)fail(TACIT_IO, "%s", name);
    (void)err_context(TACIT_IO, "%s", name);
    check(strlen(err_message()) < 1000);
    err_clear();
}

static void *other_thread(void *arg)
{
    (void)arg;
    if (err_message()[0]) return "sees another thread's message";
    (void)fail(TACIT_PROTO, "mine");
    return NULL;
}

static void each_thread_has_its_own_message(void **state)
{
    (void)state;
    pthread_t t;
    void *said = NULL;
    (void)fail(TACIT_IO, "main's");
    check(pthread_create(&t, NULL, other_thread, NULL) == 0);
    check(pthread_join(t, &said) == 0);
    check(said == NULL);
    assert_string_equal(err_message(), "main's");
    err_clear();
}

static void the_catalogue_is_in_order_and_complete(void **state)
{
    (void)state;
    unsigned last = 0;
    size_t n = 0;
    for (const struct err_code *c; (c = err_code_at(n)); n++) {
        check(c->id > last && c->id < 1000);
        check(c->err > TACIT_OK && c->err <= TACIT_INTERNAL);
        check((c->exit >= TACIT_EXIT_FAILED && c->exit <= TACIT_EXIT_BUDGET) ||
              c->exit == TACIT_EXIT_INTERRUPTED);
        check(strlen(c->title) > 3 && strlen(c->help) > 10);
        /* Titles go into lists; help is made of sentences. */
        check(c->title[strlen(c->title) - 1] != '.');
        check(strchr(".!?", c->help[strlen(c->help) - 1]) != NULL);
        check(err_code_find(c->id) == c);
        last = c->id;
    }
    check(n > 20 && err_code_at(n + 5) == NULL);
    check(err_code_find(0) == NULL && err_code_find(999) == NULL);
    /* A class's default entry has the class's number. */
    for (unsigned e = 1; e <= TACIT_INTERNAL; e++)
        check(err_code_find(e) && (unsigned)err_code_find(e)->err == e);
}

static void exits_follow_the_code_then_the_class(void **state)
{
    (void)state;
    err_clear();
    check(err_exit(TACIT_OK) == TACIT_EXIT_OK);
    check(err_exit(TACIT_AUTH) == TACIT_EXIT_CONNECTION);
    check(err_exit(TACIT_TIMEOUT) == TACIT_EXIT_TIMEOUT);
    check(err_exit(TACIT_INTERNAL) == TACIT_EXIT_BUG);
    check(err_exit(TACIT_IO) == TACIT_EXIT_FAILED);
    (void)fail_as(E_USAGE, "what?");
    check(err_exit(TACIT_STATE) == TACIT_EXIT_USAGE);
    /* Another class than the recorded one speaks for itself. */
    check(err_exit(TACIT_TIMEOUT) == TACIT_EXIT_TIMEOUT);
    err_clear();
}

static void every_class_has_a_text(void **state)
{
    (void)state;
    for (int e = TACIT_OK; e <= TACIT_INTERNAL; e++)
        check(strcmp(err_text((enum tacit_err)e), "unknown error") != 0);
    assert_string_equal(err_text((enum tacit_err)99), "unknown error");
}

static enum tacit_err tries(enum tacit_err e, int *went_on)
{
    TRY(e);
    *went_on = 1;
    return TACIT_OK;
}

static void try_hides_one_return(void **state)
{
    (void)state;
    int went_on = 0;
    check(tries(TACIT_SHAPE, &went_on) == TACIT_SHAPE && !went_on);
    check(tries(TACIT_OK, &went_on) == TACIT_OK && went_on);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_failure_wins),
        cmocka_unit_test(context_goes_in_front),
        cmocka_unit_test(a_failure_is_never_ok),
        cmocka_unit_test(a_message_is_harmless_and_bounded),
        cmocka_unit_test(each_thread_has_its_own_message),
        cmocka_unit_test(the_catalogue_is_in_order_and_complete),
        cmocka_unit_test(exits_follow_the_code_then_the_class),
        cmocka_unit_test(every_class_has_a_text),
        cmocka_unit_test(try_hides_one_return),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
