#!/bin/sh
# Decodes the same words on the desktop and on emulated boards, greedily and with a beam of 4, and compares token ids
# and score bits. One line a machine, for each model; exit 1 unless all are identical.
#
#   ./parity.sh --model M.kgl [--model N.kgl ...] --words FILE [--limit N] [--all] [--cores LIST] [--together] [--json]
#
# FILE: a word a line, or a TSV whose first column is the word; all of them without a limit. A machine whose RAM cannot
# hold a word refuses it; refused words are reported, not counted in "words", and allowed on the micro:bit alone. With
# --all, Cortex-M0 code has all features of the runtime, as other cores have, and the micro:bit is left out. With --cores, only
# these run: m0, m3, m4, m7, m33, m55, rv32. With --together, all models are in one firmware, which is built once a machine.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/scripts/common.sh"

words= limit=0 json= all= cores= together=
: >"$tmp/models"
while [ $# -gt 0 ]; do
    case $1 in
    --model | --words | --limit | --cores)
        [ $# -ge 2 ] || usage "$1 needs a value"
        case $1 in --model) echo "$2" >>"$tmp/models" ;; --words) words=$2 ;; --limit) limit=$2 ;; --cores) cores=$2 ;; esac
        shift 2
        ;;
    --json) json=1 && shift ;;
    --all) all=1 && shift ;;
    --together) together=1 && shift ;;
    *) usage "unknown argument $1; it takes --model M.kgl [--model ...] --words FILE [--limit N] [--all] [--cores LIST] [--together] [--json]" ;;
    esac
done
[ -s "$tmp/models" ] && [ -n "$words" ] || usage "--model and --words are needed"
while read -r model; do
    [ -r "$model" ] || die "cannot read the model $model"
done <"$tmp/models"
[ -r "$words" ] || die "cannot read the words $words"
case $limit in '' | *[!0-9]*) usage "--limit needs a number, not \"$limit\"" ;; esac
need cargo qemu-system-arm qemu-system-riscv32 awk timeout

word_list "$words" "$limit" >"$tmp/words"
[ -s "$tmp/words" ] || die "no words in $words"

host=$(rustc -vV | sed -n 's/^host: //p')
# Emulating a Cortex-M0 takes a tenth of a second a word, and more on a busy machine.
seconds=$((300 + $(wc -l <"$tmp/words") * $(wc -l <"$tmp/models") * 2))
build "$host" "--features desktop" desktop || die "cannot build for $host"
desktop=$built

# prepare MACHINE CORE TARGET FLAGS: builds, and notes what to run.
prepare() {
    [ -z "$all" ] || [ "$1" != microbit ] || return 0
    case " ${cores:-$2} " in *" $2 "*) ;; *) return 0 ;; esac
    if ! build "$3" "$4${all:+ --features all}" parity 2>"$tmp/log"; then
        if [ "$1" = microbit ] && grep -q "overflowed" "$tmp/log"; then
            echo "parity.sh: the model does not fit $1's flash; its code runs on mps2-an385 instead" >&2
            return 0
        fi
        cat "$tmp/log" >&2
        die "cannot build for $3"
    fi
    echo "$1 $2 $built" >>"$tmp/runs"
}

# compare MACHINE CORE ELF: its line goes to $tmp/MACHINE-CORE.line, and a file beside it when all is well.
compare() {
    label=$tmp/$1-$2
    [ "$1" = microbit ] && may_refuse=1 || may_refuse=0
    while read -r _; do cat "$tmp/words" && printf '\004'; done <"$tmp/parts" | emulate "$1" $seconds "$3" -serial stdio >"$label" ||
        { echo "parity.sh: $1 did not finish" >&2 && return; }
    awk -F '\t' -v machine="$1" -v core="$2" -v may_refuse="$may_refuse" -v json="$json" -v model="$name" '
        NR == FNR { want[FNR] = $0; lines = FNR; heads += /^# blob crc /; next }
        FNR == 1 { sub(/^[\n\r]+/, "") }
        $0 == "" && FNR <= 2 { skip++; next } # the byte that starts the micro:bit'"'"'s transmitter
        /^# stack / { split($0, part, " "); stack = part[3]; next }
        { got = FNR - skip }
        want[got] ~ /^# blob crc / { blobs += $0 == want[got]; next }
        $2 ~ /^! .*too long/ && want[got] !~ /\t! / { refused++; next }
        { words++; if ($0 == want[got]) identical++; else if (++shown <= 3) print machine ": " $0 "\n  desktop: " want[got] >"/dev/stderr" }
        END {
            if (blobs != heads) print machine ": another blob answered" >"/dev/stderr"
            if (json) printf "{\"model\":\"%s\",\"machine\":\"%s\",\"core\":\"%s\",\"words\":%d,\"identical\":%d,\"refused\":%d,\"stack\":%d}\n", model, machine, core, words, identical, refused, stack
            else printf "%-12s %-4s code: %d of %d words identical, %d refused, stack %d bytes\n", machine, core, identical, words, refused, stack
            exit !(blobs == heads && words > 0 && identical == words && words + refused == lines - heads && (may_refuse || refused == 0))
        }' "$tmp/desktop" "$label" >"$label.line" && : >"$label.ok"
}

# lane N: every second machine.
lane() {
    row=0
    while read -r machine core elf <&4; do
        row=$((row + 1))
        [ $((row % 2)) -ne "$1" ] || compare "$machine" "$core" "$elf"
    done 4<"$tmp/runs"
}

# pack: all models behind each other, each from a multiple of 16 bytes on.
pack() {
    while read -r model; do
        cat "$model"
        head -c $(((16 - $(wc -c <"$model") % 16) % 16)) /dev/zero
    done <"$tmp/models"
}
cp "$tmp/models" "$tmp/firmwares"
if [ -n "$together" ]; then
    pack >"$tmp/all.kgl"
    echo "$tmp/all.kgl" >"$tmp/firmwares"
fi
status=0
while read -r model <&5; do
    name=$(basename "$model")
    KINGLET_MODEL=$(cd "$(dirname "$model")" && pwd)/$name
    export KINGLET_MODEL
    rm -f "$tmp"/*.line "$tmp"/*.ok
    if [ -n "$together" ]; then cat "$tmp/models"; else echo "$model"; fi >"$tmp/parts"
    while read -r part; do "$desktop" "$part" <"$tmp/words"; done <"$tmp/parts" >"$tmp/desktop"
    : >"$tmp/runs"
    each_machine prepare
    lane 0 || true &
    lane 1 || true
    wait
    [ -n "$json" ] || [ "$(wc -l <"$tmp/firmwares")" -eq 1 ] || echo "$name"
    while read -r machine core elf; do
        label=$tmp/$machine-$core
        [ ! -e "$label.line" ] || cat "$label.line"
        [ -e "$label.ok" ] || status=1
        rm -f "$elf"
    done <"$tmp/runs"
done 5<"$tmp/firmwares"
exit $status
