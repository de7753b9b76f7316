#!/bin/sh
# Compares the kernels of every emulated core with their definition, over all layouts and sizes of weights.
#
#   ./kernels.sh
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/scripts/common.sh"
[ $# -eq 0 ] || usage "it takes no argument"
need cargo qemu-system-arm qemu-system-riscv32 timeout
# The program needs no model.
export KINGLET_MODEL=

# compare MACHINE CORE TARGET FLAGS
compare() {
    build "$3" "$4" kernels || die "cannot build for $3"
    emulate "$1" 300 "$built" -serial stdio </dev/null >"$tmp/out" || die "$1, $2: $(tr -d '\r' <"$tmp/out")"
    grep -q agree "$tmp/out" || die "$1, $2: nothing was compared"
    echo "$1, $2: $(tr -d '\r' <"$tmp/out" | grep agree)"
}
each_machine compare
