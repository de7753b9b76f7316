#!/bin/sh
# The most stack that loading a model and decoding with it takes on every emulated core: all of it, from the reset on,
# by painting. Exit 1 when it is more than 2 KB on a Cortex-M0.
#
#   ./stack.sh [--model M.kgl] [--words FILE] [--json]
#
# FILE: a word a line, or a TSV whose first column is the word; without it, a few English words.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/scripts/common.sh"

limit=2048 model=$here/models/g2p.kgl words= json=
while [ $# -gt 0 ]; do
    case $1 in
    --model | --words)
        [ $# -ge 2 ] || usage "$1 needs a value"
        case $1 in --model) model=$2 ;; --words) words=$2 ;; esac
        shift 2
        ;;
    --json) json=1 && shift ;;
    *) usage "unknown argument $1; it takes [--model M.kgl] [--words FILE] [--json]" ;;
    esac
done
[ -r "$model" ] || die "cannot read the model $model"
need cargo qemu-system-arm qemu-system-riscv32 awk timeout
if [ -n "$words" ]; then
    word_list "$words" 50 >"$tmp/words"
else
    printf '%s\n' a kinglet microcontroller >"$tmp/words"
fi
[ -s "$tmp/words" ] || die "no words in $words"
KINGLET_MODEL=$(cd "$(dirname "$model")" && pwd)/$(basename "$model")
export KINGLET_MODEL

status=0
# measure MACHINE CORE TARGET FLAGS
measure() {
    # Its code and its frames are those of mps2-an385, whose stack has room to grow beyond any limit.
    [ "$1" != microbit ] || return 0
    build "$3" "$4" parity || die "cannot build for $3"
    { cat "$tmp/words" && printf '\004'; } | emulate "$1" 300 "$built" -serial stdio >"$tmp/out" ||
        die "$1 did not finish"
    bytes=$(sed -n 's/^# stack \([0-9]*\)$/\1/p' "$tmp/out")
    [ -n "$bytes" ] || die "no figure from $1: $(head -n 3 "$tmp/out")"
    [ "$2" = m0 ] && most=$limit || most=null
    if [ -n "$json" ]; then
        echo "{\"machine\":\"$1\",\"core\":\"$2\",\"stack\":$bytes,\"limit\":$most}"
    elif [ "$2" = m0 ]; then
        echo "$2: $bytes bytes of stack at most, of $limit allowed"
    else
        echo "$2: $bytes bytes of stack at most"
    fi
    [ "$2" != m0 ] || [ "$bytes" -le $limit ] || { echo "stack.sh: $bytes bytes on $2 are more than $limit" >&2 && status=1; }
}
each_machine measure
exit $status
