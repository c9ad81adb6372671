/* params: one flat vector, its tensors, and the limits of both. */
#include "tests/check.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/tensor/params.h"

static void add(struct params *p, const char *name, size_t rows, size_t cols)
{
    const size_t dims[2] = {rows, cols};
    check_ok(params_add(p, name, dims, 2));
}

static void the_flat_vector_holds_all_tensors_in_order(void **state)
{
    (void)state;
    struct params p;
    const size_t three[3] = {2, 3, 4}, one[1] = {5};
    params_init(&p);
    add(&p, "w", 13, 2);
    check_ok(params_add(&p, "deep", three, 3));
    check_ok(params_add(&p, "b", one, 1));
    check_ok(params_add(&p, "scalar", NULL, 0));
    check_ok(params_alloc(&p));
    check(p.n_params == 4 && p.n_flat == 26 + 24 + 5 + 1);
    check((uintptr_t)p.flat % 64 == 0);
    for (size_t i = 0; i < p.n_flat; i++) check(p.flat[i] == 0);
    const struct param *deep = params_find(&p, "deep");
    check(deep && deep->offset == 26 && deep->len == 24 && deep->n_dims == 3);
    check(deep->dims[0] == 2 && deep->dims[2] == 4);
    check(params_data(&p, deep) == p.flat + 26);
    check(params_find(&p, "scalar")->len == 1);
    check(params_find(&p, "missing") == NULL);
    params_release(&p);
    check(p.flat == NULL && p.n_params == 0);
}

static void what_is_too_large_is_refused(void **state)
{
    (void)state;
    static const size_t zero[2] = {3, 0}, huge[2] = {SIZE_MAX / 2, 3};
    static const size_t wraps[2] = {(size_t)1 << 32, (size_t)1 << 32};
    static const size_t limit[1] = {(size_t)1 << 28}, five[5] = {1, 1, 1, 1, 1};
    char name[PARAMS_NAME_MAX + 1];
    struct params p;
    params_init(&p);
    check_err(params_add(&p, "w", zero, 2), TACIT_SHAPE);
    check_err(params_add(&p, "w", huge, 2), TACIT_SHAPE);
    check_err(params_add(&p, "w", wraps, 2), TACIT_SHAPE);
    check_err(params_add(&p, "w", five, 5), TACIT_LIMIT);
    memset(name, 'n', sizeof name);
    name[PARAMS_NAME_MAX] = '\0';
    check_err(params_add(&p, name, zero, 0), TACIT_LIMIT);
    check(p.n_params == 0 && p.n_flat == 0);
    name[PARAMS_NAME_MAX - 1] = '\0';
    check_ok(params_add(&p, name, zero, 0));
    check(params_find(&p, name) == &p.list[0]);
    check_err(params_add(&p, "w", limit, 1), TACIT_SHAPE); /* one too many */
    params_release(&p);
}

static void the_list_has_an_end(void **state)
{
    (void)state;
    struct params p;
    char name[16];
    params_init(&p);
    for (unsigned i = 0; i < PARAMS_MAX; i++) {
        snprintf(name, sizeof name, "w%u", i);
        add(&p, name, 1, 1);
    }
    const size_t one[1] = {1};
    check_err(params_add(&p, "more", one, 1), TACIT_LIMIT);
    check_ok(params_alloc(&p));
    check_err(params_add(&p, "more", one, 1), TACIT_STATE);
    params_release(&p);
}

static void no_tensors_are_a_model_too(void **state)
{
    (void)state;
    struct params p;
    params_init(&p);
    check_ok(params_alloc(&p));
    check(p.flat != NULL && p.n_flat == 0);
    params_release(&p);
    params_release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_flat_vector_holds_all_tensors_in_order),
        cmocka_unit_test(what_is_too_large_is_refused),
        cmocka_unit_test(the_list_has_an_end),
        cmocka_unit_test(no_tensors_are_a_model_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
