#!/bin/sh
# Counts the instructions of operations on emulated boards, exact and the same at every run, and models their cycles.
#
#   ./bench.sh [--json | --check | --update]
#
# --check fails when a count has grown by more than 1 % over bench.counts, or that file does not list the same work;
# --update writes the file.
#
# The counts are of the runtime as a model runs it, description decoded and inputs gathered. The cycles follow the rules
# in scripts/cycles.c, with memory that never waits; RISC-V has none. Beside them: CMSIS-NN, its functions alone, counted
# in the same way (scripts/cmsis-nn.tsv).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/scripts/common.sh"

mode=table
case ${1-} in
--json | --check | --update) mode=${1#--} ;;
'') ;;
*) usage "unknown argument $1; it takes --json, --check or --update" ;;
esac
[ $# -le 1 ] || usage "one argument at most"
need cargo qemu-system-arm qemu-system-riscv32 awk timeout "${CC:-cc}"
# The programs bring their own blobs; the shell's is not used.
export KINGLET_MODEL=
counts=$here/bench.counts

"${CC:-cc}" -O2 -shared -fPIC -o "$tmp/cycles.so" "$here/scripts/cycles.c" || die "cannot compile scripts/cycles.c"

# measure MACHINE CORE TARGET FLAGS: adds to $tmp/all a line for each shape: machine, core, kernel, in, what its size is
# called, size, instructions, cycles.
measure() {
    # The micro:bit's flash holds no more than its firmware has.
    [ "$1" = microbit ] && features=bench || features=bench,all
    build "$3" "$4 --features $features" bench || die "cannot build for $3"
    : >"$tmp/regions"
    case $2 in
    rv32) plugin= ;;
    *) plugin="-plugin $tmp/cycles.so,core=$2,out=$tmp/regions" ;;
    esac
    # shellcheck disable=SC2086 # two words
    emulate "$1" 300 "$built" -icount shift=6 $plugin -serial stdio </dev/null >"$tmp/out" || die "$1 did not finish"
    grep -q instructions "$tmp/out" || die "$1 measured nothing"
    ! grep -q null "$tmp/out" || die "$1 cannot run: $(grep null "$tmp/out")"
    # A shape's four regions: more positions and one with the operation, the same without.
    awk -v machine="$1" -v core="$2" -v counted="$plugin" '
        function step(a, b, c, d) { return int((a - b - (c - d)) / steps + 0.5) }
        FILENAME == ARGV[2] { n++; insns[n] = $1; cycles[n] = $2; next }
        /instructions/ {
            gsub(/[{}"\r]/, "")
            split($0, member, /[,:]/)
            steps = member[8]; r = 4 * rows++; c = "-"
            if (counted != "") {
                c = step(cycles[r + 1], cycles[r + 2], cycles[r + 3], cycles[r + 4])
                other = step(insns[r + 1], insns[r + 2], insns[r + 3], insns[r + 4])
                if (other > 1.01 * member[10] || other < 0.99 * member[10]) {
                    printf "bench.sh: %s %s: %d instructions by the clock, %d by the plugin\n", core, member[2], member[10], other >"/dev/stderr"
                    wrong = 1
                }
            }
            print machine, core, member[2], member[4], member[5], member[6], member[10], c
        }
        END {
            if (counted != "" && n != 4 * rows) { printf "bench.sh: %s: %d regions for %d shapes\n", machine, n, rows >"/dev/stderr"; wrong = 1 }
            exit wrong
        }' OFS='\t' "$tmp/regions" "$tmp/out" >>"$tmp/all" || die "the two ways of counting disagree on $1"
}
each_machine measure

# The work of each core, once: Cortex-M0 code counts the same on both of its machines.
work() {
    awk -F '\t' '!seen[$2, $3, $4, $6]++ { print $2, $3, $4, $6, $7 }' OFS='\t' "$tmp/all"
}

case $mode in
update)
    {
        echo "# Instructions by core, kernel, inputs and size; written by bench.sh --update, held by bench.sh --check."
        work
    } >"$counts"
    echo "$(grep -vc '^#' "$counts") counts written to $counts"
    ;;
check)
    [ -r "$counts" ] || die "there is no $counts; bench.sh --update writes it"
    awk -F '\t' '
        /^#/ { next }
        FNR == NR { was[$1, $2, $3, $4] = $5; left[$1, $2, $3, $4] = $1 " " $2 " " $3 " " $4; next }
        {
            key = $2 SUBSEP $3 SUBSEP $4 SUBSEP $6; name = $2 " " $3 " " $4 " " $6
            if (!(key in was)) { if (!told[key]++) { print name ": not in bench.counts"; wrong++ } next }
            delete left[key]
            if (100 * $7 > 101 * was[key]) { printf "%s on %s: %d instructions, %d before: %+.1f %%\n", name, $1, $7, was[key], 100 * ($7 / was[key] - 1); wrong++ }
            else if (100 * $7 < 99 * was[key]) fewer++
            checked++
        }
        END {
            for (key in left) { print left[key] ": in bench.counts, but not measured"; wrong++ }
            if (wrong) print "when that is meant to be: bench.sh --update"
            else printf "%d counts, none more than 1 %% above bench.counts%s\n", checked, fewer ? sprintf("; %d more than 1 %% below it: bench.sh --update keeps that", fewer) : ""
            exit wrong > 0
        }' "$counts" "$tmp/all" >"$tmp/verdict" || { sed 's/^/bench.sh: /' "$tmp/verdict" >&2 && exit 1; }
    cat "$tmp/verdict"
    ;;
*)
    awk -F '\t' -v json="$mode" '
        BEGIN {
            json = json == "json"
            if (!json) printf "%-10s %-4s %-18s %5s %5s %13s %8s %9s %8s %9s %6s\n", "machine", "core", "kernel", "in", "size", "instructions", "per MAC", "cycles", "per MAC", "CMSIS-NN", "ratio"
        }
        /^#/ { next }
        FNR == NR { peer[$1, $2, $3, $4] = $5; next }
        {
            p = peer[$2, $3, $4, $6]
            if (p == "") p = peer[$2, $3, "-", $6]
            if (json) {
                printf "{\"machine\":\"%s\",\"core\":\"%s\",\"kernel\":\"%s\",\"in\":%d,\"%s\":%d,", $1, $2, $3, $4, $5, $6
                printf "\"instructions\":%d,\"cycles\":%s,\"cmsis_nn\":%s}\n", $7, $8 == "-" ? "null" : $8, p == "" ? "null" : p
                next
            }
            macs = $3 ~ /^matvec/ ? $4 * $6 : $3 ~ /^(lstm|peephole)/ ? 4 * $6 * ($4 + $6) : $3 ~ /^elman/ ? $6 * ($4 + $6) : $3 ~ /^gru/ ? 3 * $6 * ($4 + $6) : 0
            printf "%-10s %-4s %-18s %5d %5d %13d %8s %9s %8s %9s %6s\n", $1, $2, $3, $4, $6, $7, macs ? sprintf("%.3f", $7 / macs) : "", $8, macs && $8 != "-" ? sprintf("%.3f", $8 / macs) : "", p, p ? sprintf("%.2f", $7 / p) : ""
        }' "$here/scripts/cmsis-nn.tsv" "$tmp/all"
    ;;
esac
