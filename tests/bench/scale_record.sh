#!/bin/sh
# scale_record.sh FLAVOUR_DIR TRACE - train once on Fashion-MNIST and record the losses that
# bench-scale plays. The data is the demo's: shirts, 1 %, against all else.
set -eu

bin=${1:?usage: scale_record.sh FLAVOUR_DIR TRACE}
trace=${2:?usage: scale_record.sh FLAVOUR_DIR TRACE}
data=${FASHION_MNIST:-/usr/share/datasets/fashion-mnist}

work=$(mktemp -d)
daemon=
# shellcheck disable=SC2317 # the trap calls it
clean_up() {
    [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

"$bin/ohem-import" idx "$data/train-images-idx3-ubyte.gz" "$data/train-labels-idx1-ubyte.gz" \
    "$work/shirts" --positive 6 --share 0.01 --seed 1
cat >"$work/ohemd.conf" <<END
[daemon]
listen = ipc://$work/ohemd.sock
status_socket = $work/status.sock

[dataset shirts]
path = $work/shirts

[job record]
seed = 1
rho = 1
lambda = 0.5
select = all
END
"$bin/ohemd" --config "$work/ohemd.conf" 2>"$work/ohemd.log" &
daemon=$!
export OHEM_ENDPOINT="ipc://$work/ohemd.sock"
"$bin/tests/bench/scale_record" "$data/t10k-images-idx3-ubyte.gz" \
    "$data/t10k-labels-idx1-ubyte.gz" "$trace"
