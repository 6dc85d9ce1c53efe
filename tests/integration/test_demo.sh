#!/bin/bash
# test_demo.sh - the examples: the demo's own parts, its command line, and the trainer that users copy.
#
# The trainings themselves are `make demo`; here is what can go wrong without them.
set -eu

source=${OHEM_SOURCE:-.}
build=${OHEM_BUILD:-build/gcc}
demo_sources=("$source"/client/examples/demo/*.c)

skip() {
    echo "$1"
    exit 77
}

# Beside the build's own library; the demo is no part of `make tests`.
build_demo() {
    case $(basename "$build") in *address* | *thread*) skip "plain builds only" ;; esac
    pkg-config --exists openblas || skip "openblas is not installed"
    # shellcheck disable=SC2046 # flags are words
    "${CC:-gcc}" -std=c11 -D_GNU_SOURCE -DOHEM_IN_TREE -O1 -o ohem-demo "${demo_sources[@]}" \
        "$build/libohem.a" \
        $(pkg-config --cflags --libs openblas libzmq libsodium zlib \
            "$(pkg-config --exists msgpack-c && echo msgpack-c || echo msgpack)") -lm
}

demo_parts_agree_with_hand_computed_cases_and_differences() {
    build_demo
    ./ohem-demo selftest
}

demo_refuses_a_damaged_test_set_by_name() {
    build_demo
    printf 'no pictures' | gzip >damaged.gz
    if ./ohem-demo train damaged.gz damaged.gz 2>error; then
        echo "a damaged file was taken"
        return 1
    fi
    grep -q '^ohem-demo: damaged.gz: not an IDX file' error
}

example_trainer_compiles_against_the_installed_header() {
    mkdir -p include/ohem
    cp "$source/client/ohem.h" "$source/proto/error.h" include/ohem/
    "${CC:-gcc}" -Wall -Wextra -Werror -Iinclude -c "$source/client/examples/trainer.c"
}

cases="demo_parts_agree_with_hand_computed_cases_and_differences
demo_refuses_a_damaged_test_set_by_name
example_trainer_compiles_against_the_installed_header"

case ${1:-} in
--list) echo "$cases" ;;
'') for name in $cases; do "$name"; done ;;
*) grep -qx -- "$1" <<<"$cases" && "$1" ;;
esac
