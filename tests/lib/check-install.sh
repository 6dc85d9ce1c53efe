#!/bin/bash
# check-install.sh - install into a folder of its own and build the example as a user would.
set -euo pipefail
cd "$(dirname "$0")/../.."

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
make -s install DESTDIR="$root" PREFIX=/usr
export PKG_CONFIG_PATH=$root/usr/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$root
read -ra flags < <(pkg-config --cflags --libs ohem)
cc -Wall -Wextra -Werror -o "$root/trainer" client/examples/trainer.c "${flags[@]}" -lm
LD_LIBRARY_PATH=$root/usr/lib "$root/trainer" --help >/dev/null 2>&1 || [ $? -le 2 ]
LD_LIBRARY_PATH=$root/usr/lib ldd "$root/trainer" >"$root/linked" # not into a grep -q: ldd dislikes a closed pipe
grep -q "$root/usr/lib/libohem.so.0" "$root/linked"
for file in usr/sbin/ohemd usr/bin/ohemctl usr/bin/ohem-import usr/lib/libohem.a \
    usr/lib/systemd/system/ohemd.service usr/lib/systemd/system/ohemd@.service usr/lib/sysusers.d/ohemd.conf etc/ohemd/ohemd.conf; do
    test -s "$root/$file" || { echo "not installed: $file" >&2; exit 1; }
done
units=("$root/usr/lib/systemd/system/ohemd.service" "$root/usr/lib/systemd/system/ohemd@.service")
if grep -q "@[A-Z]*@" "${units[@]}"; then
    echo "placeholder left" >&2
    exit 1
fi
grep -q "^StateDirectory=ohemd-%i$" "${units[1]}"
# 1.5 of 10 at most are open, each by a line that says why
if command -v systemd-analyze >/dev/null; then
    systemd-analyze security --offline=true --threshold=15 --no-pager "${units[0]}" >"$root/exposure"
    tail -1 "$root/exposure"
fi
# the pages and the completion know each option, verb, setting and function
man=$root/usr/share/man
says() { # FILE WORD...: a page, its escaped hyphens aside, has the words
    local text
    text=$(sed 's/\\-/-/g' "$1")
    for word in "${@:2}"; do
        [[ $text == *"$word"* ]] || { echo "$(basename "$1") does not say $word" >&2; exit 1; }
    done
}
options_of() { "$1" --help 2>&1 | grep -o -e '--[a-z][a-z-]*' | sort -u; }
for tool in sbin/ohemd:man8/ohemd.8 bin/ohemctl:man1/ohemctl.1 bin/ohem-import:man1/ohem-import.1; do
    mapfile -t options < <(options_of "$root/usr/${tool%:*}")
    says "$man/${tool#*:}" "${options[@]}"
    says "$root/usr/share/bash-completion/completions/ohemd" "${options[@]}"
done
verbs=(status jobs hist top show quarantine pardon unpardon why reset)
says "$man/man1/ohemctl.1" "${verbs[@]}"
mapfile -t settings < <("$root/usr/sbin/ohemd" --help-config | awk '/^[a-z]/ && NR > 1 {print ".B " $1}')
[ "${#settings[@]}" -gt 60 ]
says "$man/man5/ohemd.conf.5" "${settings[@]}"
mapfile -t functions < <(grep -o 'ohem_[a-z_0-9]*' client/libohem.map)
says "$man/man3/libohem.3" "${functions[@]}"
if command -v man >/dev/null; then
    for page in "$man"/man?/*; do
        LC_ALL=C.UTF-8 man --warnings -E UTF-8 -l -Tutf8 -Z "$page" >/dev/null 2>"$root/warnings"
        [ ! -s "$root/warnings" ] || { cat "$root/warnings" >&2; exit 1; }
    done
fi
(
    # shellcheck disable=SC1091
    source "$root/usr/share/bash-completion/completions/ohemctl"
    COMP_WORDS=(ohemctl unp) COMP_CWORD=1
    _ohemctl
    [ "${COMPREPLY[*]}" = unpardon ]
)
"$root/usr/sbin/ohemd" --version >/dev/null
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$root/usr/lib/python3/dist-packages LD_LIBRARY_PATH=$root/usr/lib \
    /usr/bin/python3 -c 'import ohem; assert ohem.version()'
echo "installed and used: $(find "$root" -type f | wc -l) files"
