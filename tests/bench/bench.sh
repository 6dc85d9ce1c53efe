#!/bin/sh
# bench.sh FLAVOUR_DIR [QUICK] - run the bench in a temporary directory, which goes with it. The
# table is on stdout, the same as JSON in bench.json beside the flavour's directory.
set -eu

[ $# -ge 1 ] || {
    echo "usage: bench.sh FLAVOUR_DIR [QUICK]" >&2
    exit 2
}
flavour=$(cd "$1" && pwd)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

status=0
(cd "$work" && "$flavour/tests/bench/bench" "$flavour/ohemd" "$(dirname "$flavour")/bench.json" ${2:+"$2"}) ||
    status=$?
if [ "$status" -ne 0 ] && [ -s "$work/ohemd.log" ]; then
    echo "bench.sh: the end of ohemd's log:" >&2
    tail -n 20 "$work/ohemd.log" >&2
fi
exit "$status"
