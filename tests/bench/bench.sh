#!/bin/sh
# bench.sh FLAVOUR_DIR [QUICK] - run the bench in a temporary directory, which goes with it (3 GB).
# The table is on stdout, the same as JSON in bench.json beside the flavour's directory. QUICK other
# than 0 takes a minute.
set -eu

[ $# -ge 1 ] || {
    echo "usage: bench.sh FLAVOUR_DIR [QUICK]" >&2
    exit 2
}
flavour=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
quick=
[ "${2:-0}" = 0 ] || quick=-q

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

status=0
(cd "$work" && "$flavour/tests/bench/bench" ${quick:+"$quick"} -p "$here/peer_dataloader.py" \
    -s "$here/peer_select.py" \
    "$flavour/ohemd" "$(dirname "$flavour")/bench.json") || status=$?
if [ "$status" -ne 0 ] && [ -s "$work/ohemd.log" ]; then
    echo "bench.sh: the end of ohemd's log:" >&2
    tail -n 20 "$work/ohemd.log" >&2
fi
exit "$status"
