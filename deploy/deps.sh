#!/bin/sh
# deps.sh PACKAGE... - install the Debian packages that are missing; says nothing when none is.
set -eu

missing=
for package in "$@"; do
    status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) || status=
    [ "$status" = 'install ok installed' ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
    as_root=sudo
    command -v sudo >/dev/null || {
        echo "deps.sh: as root, install:$missing" >&2
        exit 1
    }
fi
echo "installing:$missing"
$as_root apt-get update -qq
# shellcheck disable=SC2086 # package names hold no spaces
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing \
    >/dev/null
