#!/bin/sh
# Compares what scripts/cycles.c counts with the cycles of a few instructions by the rules that it states.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/scripts/common.sh"
need cargo qemu-system-arm awk timeout "${CC:-cc}"
export KINGLET_MODEL=

"${CC:-cc}" -O2 -Wall -Wextra -Werror -shared -fPIC -o "$tmp/cycles.so" "$here/scripts/cycles.c" ||
    die "cannot compile scripts/cycles.c"

# rules MACHINE CORE COLUMN: the program in $built by the rules of a core. It is code for the Cortex-M3 that the rules of
# m0 judge, too: what a Cortex-M0 has is in it, and the rest is marked.
rules() {
    emulate "$1" 60 "$built" -plugin "$tmp/cycles.so,core=$2,out=$tmp/regions" -serial stdio </dev/null >"$tmp/out" ||
        die "$1 did not finish"
    awk -F '\t' -v core="$2" -v column="$3" '
        FNR == NR { split($0, region, " "); insns[++n] = region[1]; cycles[n] = region[2]; next }
        NF == 6 {
            row++
            if ($column == 0 && row > 1) next # the first is empty: what the markers themselves count
            i = insns[row] - insns[1]; c = cycles[row] - cycles[1]
            if (i != $2 || c != $column) { printf "%s: %s: expected %d instructions, %d cycles; counted %d, %d\n", core, $1, $2, $column, i, c; wrong = 1 }
            checked++
        }
        END {
            if (row != n || row == 0) { printf "%s: %d regions counted of %d\n", core, n, row; wrong = 1 }
            if (!wrong) printf "%s: %d regions as the rules say\n", core, checked
            exit wrong
        }' "$tmp/regions" "$tmp/out" || die "scripts/cycles.c does not do what it says"
}
build thumbv7m-none-eabi "--features cycles" cycles || die "cannot build for thumbv7m-none-eabi"
rules mps2-an385 m0 3
rules mps2-an385 m3 4
rules mps2-an385 m4 5
build thumbv8m.main-none-eabihf "--config boards/mps3-an547.toml --features cycles" cycles || die "cannot build for the M55"
rules mps3-an547 m55 6
