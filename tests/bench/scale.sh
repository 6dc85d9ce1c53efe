#!/bin/sh
# scale.sh FLAVOUR_DIR [QUICK] - run bench-scale: 10^6 to 10^8 instances, 5 GB of memory, 2 GB of
# disk beside the flavour's directory, five minutes. The table is on stdout, the same as JSON in
# bench-scale.json there. QUICK other than 0: 10^5 and 10^6, seconds. SMALL_PAGES=1 does without huge
# pages.
set -eu

[ $# -ge 1 ] || {
    echo "usage: scale.sh FLAVOUR_DIR [QUICK]" >&2
    exit 2
}
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1/.." && pwd)
quick=
[ "${2:-0}" = 0 ] || quick=-q
small=
[ "${SMALL_PAGES:-0}" = 0 ] || small=-s
state=$(mktemp -d "$build/scale-state.XXXXXX")
trap 'rm -rf "$state"' EXIT
trap 'exit 130' INT TERM

"$1/tests/bench/scale" ${quick:+"$quick"} ${small:+"$small"} "$here/scale.trace" \
    "$here/scale_torch.py" "$state" "$build/bench-scale.json"
