#!/bin/bash
# The shape of the tree: who may include whom, and that documents list what the code has.
set -euo pipefail

source=${OHEM_SOURCE:-.}

none() { # a pattern that must stand nowhere in these files
    if grep -nE "$@"; then return 1; fi
}

engine_is_pure() {
    none '#include *[<"](zmq|uv|lmdb|msgpack|pthread|time|sys/time|sys/socket|unistd|fcntl|threads)\.h' \
        "$source"/daemon/engine/*.[ch]
    # nor does it call what reads a clock or opens a file
    none '\b(fopen|open|clock_gettime|time|gettimeofday|pthread_[a-z]+|socket|rand|random)\(' \
        "$source"/daemon/engine/*.c
}

includes_only() { # header, then the files that may include it
    local header=$1
    shift
    local found
    found=$(cd "$source" && grep -lE "#include *<$header>" -r daemon client proto --include='*.[ch]' | sort | tr '\n' ' ')
    for file in $found; do
        case " $* " in
        *" $file "*) ;;
        *) echo "$file includes $header" && return 1 ;;
        esac
    done
}

libraries_have_one_place() {
    includes_only zmq.h daemon/router.c client/batch.h client/link.h
    includes_only msgpack.h proto/codec.c proto/layout.c proto/layout.h
    includes_only microhttpd.h daemon/http.c daemon/http.h
    includes_only ini.h daemon/config.c daemon/config_read.c
    local lmdb
    lmdb=$(cd "$source" && grep -lE '#include *<lmdb.h>' -r daemon client proto --include='*.[ch]')
    for file in $lmdb; do
        case $file in
        daemon/dataset.c | daemon/dataset_env.h | daemon/state_disk.h | client/import/*) ;;
        *) echo "$file includes lmdb.h" && return 1 ;;
        esac
    done
}

proto_and_client_stand_alone() {
    none '#include *"\.\./(daemon|client|tests)' "$source"/proto/*.[ch]
    none '#include *"(\.\./)+daemon' "$source"/client/*.[ch] "$source"/client/import/*.[ch]
}

top_level_is_as_agreed() {
    local extra
    extra=$(git -C "$source" ls-files | cut -d/ -f1 | sort -u |
        grep -vE '^(daemon|client|proto|tests|deploy|Makefile|README\.md|LICENSE|CHANGELOG\.md|\..*)$' || true)
    [ -z "$extra" ] || { echo "not agreed: $extra" && return 1; }
}

every_exported_symbol_is_in_the_map_and_the_header() {
    local exported listed declared
    exported=$(nm -D --defined-only "$OHEM_BUILD"/libohem.so.0 | awk '/ T /{sub(/@.*/, "", $3); print $3}' | sort)
    listed=$(grep -oE '\bohem_[a-z_]+' "$source"/client/libohem.map | sort)
    declared=$(grep -A2 OHEM_API "$source"/client/ohem.h | grep -oE '\bohem_[a-z_]+ *\(' | tr -d ' (' | sort -u)
    [ "$exported" = "$listed" ] || { diff <(echo "$exported") <(echo "$listed"); return 1; }
    [ "$exported" = "$declared" ] || { diff <(echo "$exported") <(echo "$declared"); return 1; }
}

cases=(engine_is_pure libraries_have_one_place proto_and_client_stand_alone top_level_is_as_agreed
    every_exported_symbol_is_in_the_map_and_the_header)
if [ "${1:-}" = --list ]; then
    printf '%s\n' "${cases[@]}"
else
    "$1"
fi
