#!/bin/bash
# lint.sh - form and static analysis: clang-format, shellcheck, cppcheck, clang-tidy. Silent when clean.
set -euo pipefail
cd "$(dirname "$0")/../.."

mapfile -t sources < <(git ls-files '*.c' '*.h')
mapfile -t units < <(git ls-files '*.c')
mapfile -t scripts < <(git ls-files '*.sh' .ci/run)
packages="libzmq lmdb libuv libsodium libmicrohttpd jansson inih libsystemd cmocka libarchive zlib libcurl openblas fuse3"
msgpack=$(pkg-config --exists msgpack-c && echo msgpack-c || echo msgpack)
# shellcheck disable=SC2086 # a list of words
read -ra cflags < <(pkg-config --cflags $packages "$msgpack")
cflags+=(-std=c11 -D_GNU_SOURCE -DOHEM_IN_TREE '-DOHEMD_VERSION="lint"')

installed=$(mktemp -d) # the headers as an example includes them
trap 'rm -rf "$installed"' EXIT
mkdir "$installed/ohem"
cp client/ohem.h proto/error.h "$installed/ohem"
ln -s "$PWD/proto" "$installed/proto"
cflags+=("-I$installed")

echo "clang-format: ${#sources[@]} files"
clang-format --dry-run -Werror "${sources[@]}"

echo "shellcheck: ${#scripts[@]} files"
shellcheck -x "${scripts[@]}"

echo "cppcheck"
cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,performance,portability \
    --inline-suppr --suppress=missingIncludeSystem --suppress=unknownMacro \
    --suppress=uninitvar --suppress=preprocessorErrorDirective \
    -D__BYTE_ORDER__=1234 -D__ORDER_LITTLE_ENDIAN__=1234 \
    -DOHEM_IN_TREE -D'OHEMD_VERSION="lint"' -j 2 "${units[@]}"

echo "clang-tidy"
printf '%s\n' "${units[@]}" | xargs -P 2 -I{} clang-tidy --quiet {} -- "${cflags[@]}" 2>/dev/null
