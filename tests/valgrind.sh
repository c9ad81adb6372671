#!/usr/bin/env bash
# A few test binaries under valgrind: what ASan cannot see is a read of memory
# that was never written, and what libraries without ASan do with ours.
#
#   TACIT_BUILD=build/release tests/valgrind.sh [TEST…]
#
# The cheap ones by default, readers of what others wrote among them, so that
# all of it stays under five minutes on two cores. test_alloc is not among them:
# it brings its own malloc.
set -u
build=${TACIT_BUILD:-build/release}
limit=${TACIT_TEST_LIMIT:-240}
tests=("$@")
if [ ${#tests[@]} -eq 0 ]; then
    tests=(base/test_arena base/test_buf base/test_csv base/test_db
        base/test_err base/test_json base/test_log base/test_options
        base/test_pool base/test_tick base/test_yaml base/test_yaml_edit
        client/test_idx client/test_jsonl client/test_npy client/test_policy
        coordinator/test_tally crypto/test_keys model/test_gguf
        model/test_safetensors plan/test_plan retrieval/test_document_mail
        retrieval/test_document_office retrieval/test_document_rows
        retrieval/test_judged strategy/test_sum tensor/test_optim
        tensor/test_params tensor/test_tape wire/test_blob wire/test_frame
        wire/test_record)
fi
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
export build limit logs

# SIGXFSZ, guarded pages and locked memory are the tests' own business;
# libraries that keep memory until the process ends are not leaks of ours, so
# only what nothing points to any more counts.
one() {
    local name=$1 log
    log=$logs/${name//\//-}
    if [ ! -x "$build/tests/$name" ]; then
        echo "FAILED  $name: not built (make tests)"
        return 1
    fi
    if timeout -k 10 "$limit" valgrind --quiet --leak-check=full \
        --show-leak-kinds=definite --errors-for-leak-kinds=definite \
        --error-exitcode=99 --num-callers=20 --fair-sched=yes \
        "$build/tests/$name" >"$log" 2>&1 </dev/null; then
        echo "ok      $name"
    else
        echo "FAILED  $name (status $?)"
        grep -E '^==|FAILED|ERROR' "$log" | head -60 | sed 's/^/    | /'
        return 1
    fi
}
export -f one
start=$SECONDS
printf '%s\n' "${tests[@]}" |
    xargs -P "$(nproc)" -I{} bash -c 'one {}' || exit 1
echo "valgrind: clean, $((SECONDS - start)) s"
