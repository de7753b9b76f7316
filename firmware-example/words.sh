#!/bin/sh
# Counts what decoding words takes on emulated boards, from the text to the tokens, greedily and with a beam of 4, and puts the
# compiler's estimate (kinglet inspect --board) beside it, for every core that the model's weights are arranged for. Exit 1 when an
# estimate is more than 10 % off.
#
#   ./words.sh [--model M.kgl] [--words FILE] [--limit N] [--features LIST] [--cores LIST] [--all] [--json]
#
# --features: of the firmware, such as subwords, that the model needs. --cores: only these, of m0, m3, m4, m33, m55, rv32.
# --all: the other cores as well, for which there is no estimate: any core runs any blob, but slowly.
# FILE: a word a line, or a TSV whose first column is the word; the first 50 of them without a limit, all with a limit of 0.
# Means of all words, in thousands: instructions, and cycles by the rules in scripts/cycles.c, with memory that never waits.
# RISC-V has no model of cycles; an instruction is estimated as one.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/scripts/common.sh"

model=$here/models/g2p.kgl words=$here/../tests/golden/words.txt limit=50 features= cores= all= json=
while [ $# -gt 0 ]; do
    case $1 in
    --model | --words | --limit | --features | --cores)
        [ $# -ge 2 ] || usage "$1 needs a value"
        case $1 in --model) model=$2 ;; --words) words=$2 ;; --limit) limit=$2 ;; --features) features=$2 ;; --cores) cores=$2 ;; esac
        shift 2
        ;;
    --all) all=1 && shift ;;
    --json) json=1 && shift ;;
    *) usage "unknown argument $1; it takes [--model M.kgl] [--words FILE] [--limit N] [--features LIST] [--cores LIST] [--all] [--json]" ;;
    esac
done
[ -r "$model" ] || die "cannot read the model $model"
[ -r "$words" ] || die "cannot read the words $words"
case $limit in '' | *[!0-9]*) usage "--limit needs a number, not \"$limit\"" ;; esac
need cargo qemu-system-arm qemu-system-riscv32 awk timeout "${CC:-cc}"
KINGLET_MODEL=$(cd "$(dirname "$model")" && pwd)/$(basename "$model")
export KINGLET_MODEL

word_list "$words" "$limit" >"$tmp/words"
[ -s "$tmp/words" ] || die "no words in $words"
"${CC:-cc}" -O2 -shared -fPIC -o "$tmp/cycles.so" "$here/scripts/cycles.c" || die "cannot compile scripts/cycles.c"
(cd "$here/.." && cargo build --quiet --release -p kinglet-compiler) || die "cannot build the compiler"
kinglet=$(here=$here/.. && target_dir)/release/kinglet

# board CORE: a board that has the core.
board() {
    case $1 in
    m0) echo microbit-v1 ;;
    m3) echo arduino-due ;;
    m4) echo microbit-v2 ;;
    m33) echo pico2 ;;
    m55) echo corstone-300 ;;
    rv32) echo esp32-c3 ;;
    esac
}

# measure MACHINE CORE TARGET FLAGS: adds to $tmp/all two lines: machine, core, beam, mean instructions, mean cycles.
measure() {
    # The micro:bit's code is that of mps2-an385; the Cortex-M7's is the Cortex-M4's.
    [ "$1" != microbit ] && [ -n "$(board "$2")" ] || return 0
    case " ${cores:-$2} " in *" $2 "*) ;; *) return 0 ;; esac
    "$kinglet" inspect "$KINGLET_MODEL" --board "$(board "$2")" --data "$tmp/words" --json >"$tmp/inspected" || die "no estimate for $2"
    if ! grep -q '"foreign":true' "$tmp/inspected"; then
        mv "$tmp/inspected" "$tmp/$2.json"
    elif [ -z "$all" ]; then
        echo "words.sh: not on $2: the weights are arranged for another core" >&2
        return 0
    fi
    build "$3" "$4${features:+ --features $features}" words || die "cannot build for $3"
    : >"$tmp/regions"
    case $2 in
    rv32) plugin= ;;
    *) plugin="-plugin $tmp/cycles.so,core=$2,out=$tmp/regions" ;;
    esac
    # shellcheck disable=SC2086 # two words
    { cat "$tmp/words" && printf '\004'; } |
        emulate "$1" 3000 "$built" -icount shift=6 $plugin -serial stdio >"$tmp/out" || die "$1 did not finish"
    ! grep '!' "$tmp/out" >&2 || die "$1 cannot decode a word"
    awk -v machine="$1" -v core="$2" -v counted="$plugin" -v words="$(wc -l <"$tmp/words")" '
        FILENAME == ARGV[1] { beam = n++ % 2 ? 4 : 1; insns[beam] += $1; cycles[beam] += $2; next }
        NF == 2 { lines++; if (counted == "") { insns[1] += $1; insns[4] += $2; cycles[1] += $1; cycles[4] += $2 } }
        END {
            if (lines != words || (counted != "" && n != 2 * words)) { print "words.sh: " machine ": " lines " lines and " n " regions for " words " words" >"/dev/stderr"; exit 1 }
            for (beam = 1; beam <= 4; beam += 3) printf "%s %s %d %.0f %.0f\n", machine, core, beam, insns[beam] / words, cycles[beam] / words
        }' "$tmp/regions" "$tmp/out" >>"$tmp/all" || die "$1 did not answer every word"
}
each_machine measure

# Estimates, out of the compiler's JSON: core, beam, instructions, cycles.
for file in "$tmp"/*.json; do
    core=$(basename "$file" .json)
    for search in "1 greedy" "4 beam_4"; do
        sed -n "s/.*\"${search#* }\":{\"instructions\":\([^,]*\),\"cycles\":\([^,]*\),.*/$core ${search%% *} \1 \2/p" "$file"
    done
done >"$tmp/estimates"
lengths=$(sed -n 's/.*"lengths":{"source":\([^,]*\),"steps":\([^,]*\),"beam_4_steps":\([^}]*\)}.*/\1 \2 \3/p' "$tmp"/*.json | head -n 1)

awk -v json="$json" -v words="$(wc -l <"$tmp/words")" -v lengths="$lengths" -v model="$(basename "$KINGLET_MODEL")" '
    function percent(estimate, count) { return 100 * (estimate / count - 1) }
    NR == FNR { instructions[$1, $2] = $3; cycles[$1, $2] = $4; next }
    !json && !head++ {
        split(lengths, mean, " ")
        printf "%s, %d words of %.2f source tokens, %.2f steps greedy, %.2f with a beam of 4; thousands a word\n", model, words, mean[1], mean[2], mean[3]
        printf "%-4s %4s %13s %9s %8s %10s %9s %8s\n", "core", "beam", "instructions", "estimate", "", "cycles", "estimate", ""
    }
    {
        i = instructions[$2, $3]; c = cycles[$2, $3]
        if (i == "") {
            if (json) printf "{\"core\":\"%s\",\"beam\":%d,\"words\":%d,\"instructions\":%d,\"estimated_instructions\":null,\"cycles\":%d,\"estimated_cycles\":null}\n", $2, $3, words, $4, $5
            else printf "%-4s %4d %13.0f %9s %8s %10.0f %9s\n", $2, $3, $4 / 1000, "-", "", $5 / 1000, "-"
            next
        }
        if (json) printf "{\"core\":\"%s\",\"beam\":%d,\"words\":%d,\"instructions\":%d,\"estimated_instructions\":%d,\"cycles\":%d,\"estimated_cycles\":%d}\n", $2, $3, words, $4, i, $5, c
        else printf "%-4s %4d %13.0f %9.0f %+6.1f %% %10.0f %9.0f %+6.1f %%\n", $2, $3, $4 / 1000, i / 1000, percent(i, $4), $5 / 1000, c / 1000, percent(c, $5)
        if (percent(i, $4) ^ 2 > 100 || percent(c, $5) ^ 2 > 100) wrong = 1
    }
    END { exit wrong }' "$tmp/estimates" "$tmp/all"
