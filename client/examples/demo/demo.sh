#!/bin/sh
# demo.sh FOLDER - the demo: real data, a real daemon, three trainings. FOLDER holds the programs.
#
# Fashion-MNIST becomes a detector's problem: shirts, 1 % of the training set, against all else. All
# that is made lies in a temporary folder, which goes at the end, as the daemon does.
# Exits with 0 only if drawing by hardness ended above uniform drawing in average precision.
set -eu

bin=${1:?usage: demo.sh FOLDER, with ohemd, ohemctl, ohem-import and ohem-demo in it}
data=${FASHION_MNIST:-/usr/share/datasets/fashion-mnist}
shirt=6

daemon=
work=$(mktemp -d "${TMPDIR:-/tmp}/ohem-demo.XXXXXX")

# shellcheck disable=SC2317 # the trap calls it
clean_up() {
    code=$?
    trap - EXIT
    if [ -n "$daemon" ]; then
        kill "$daemon" 2>/dev/null || true
        wait "$daemon" || true
    fi
    if [ "$code" -ne 0 ] && [ -s "$work/ohemd.log" ]; then
        echo "demo.sh: failed; the daemon's last words:" >&2
        tail -n 20 "$work/ohemd.log" >&2
    fi
    rm -rf "$work"
    exit "$code"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Up when it answers. A daemon that ended is not waited for.
wait_for_daemon() {
    tries=0
    until "$bin/ohemctl" status >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ "$tries" -gt 200 ] || ! kill -0 "$daemon" 2>/dev/null; then
            echo "demo.sh: ohemd did not come up" >&2
            exit 1
        fi
        sleep 0.1
    done
}

heading() {
    printf '\n== %s\n\n' "$1"
}

heading "import: Fashion-MNIST, shirts (1 %) against all else"
"$bin/ohem-import" idx "$data/train-images-idx3-ubyte.gz" "$data/train-labels-idx1-ubyte.gz" \
    "$work/shirts" --positive "$shirt" --share 0.01 --seed 1

cat >"$work/ohemd.conf" <<END
[daemon]
listen = ipc://$work/ohemd.sock
status_socket = $work/status.sock

[dataset shirts]
path = $work/shirts

[job uniform]
seed = 1
rho = 1
select = all

[job bias]
seed = 1
rho = 0.5
weight = hard
alpha = 1
lambda = 0.5
beta = 0
select = all

[job bias_ohem]
seed = 1
rho = 0.5
weight = hard
alpha = 1
lambda = 0.5
beta = 0
select = top
keep = 0.5
END
export OHEM_ENDPOINT="ipc://$work/ohemd.sock" OHEM_STATUS="$work/status.sock"
"$bin/ohemd" --config "$work/ohemd.conf" 2>"$work/ohemd.log" &
daemon=$!
wait_for_daemon

heading "one network, one seed, three ways to choose what it learns from"
verdict=0
"$bin/ohem-demo" train "$data/t10k-images-idx3-ubyte.gz" "$data/t10k-labels-idx1-ubyte.gz" ||
    verdict=$?

heading "how hard the instances are to the last of the three (bias_ohem)"
"$bin/ohemctl" --job bias_ohem hist

heading "its ten hardest: shirts that are hard to tell from the rest, and the rest from shirts"
"$bin/ohemctl" --job bias_ohem top -n 10 >"$work/top"
cat "$work/top"
echo
"$bin/ohem-demo" draw bias_ohem <"$work/top"
exit "$verdict"
