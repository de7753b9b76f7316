#!/bin/sh
# The most stack that loading a model and decoding with it takes on an emulated Cortex-M0: all of it, from the reset on,
# by painting. Exit 1 when it is more than 2 KB.
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
need cargo qemu-system-arm awk timeout
if [ -n "$words" ]; then
    word_list "$words" 50 >"$tmp/words"
else
    printf '%s\n' a kinglet microcontroller >"$tmp/words"
fi
[ -s "$tmp/words" ] || die "no words in $words"
KINGLET_MODEL=$(cd "$(dirname "$model")" && pwd)/$(basename "$model")
export KINGLET_MODEL

# On the MPS2 board, whose stack has room to grow beyond any limit: the same code and the same frames.
build thumbv6m-none-eabi --no-default-features parity || die "cannot build for thumbv6m-none-eabi"
{ cat "$tmp/words" && printf '\004'; } | emulate mps2-an385 300 "$built" -serial stdio >"$tmp/out" ||
    die "mps2-an385 did not finish"
bytes=$(sed -n 's/^# stack \([0-9]*\)$/\1/p' "$tmp/out")
[ -n "$bytes" ] || die "no figure from the emulator: $(head -n 3 "$tmp/out")"
if [ -n "$json" ]; then
    echo "{\"machine\":\"mps2-an385\",\"core\":\"m0\",\"stack\":$bytes,\"limit\":$limit}"
else
    echo "m0: $bytes bytes of stack at most, of $limit allowed"
fi
[ "$bytes" -le $limit ] || die "$bytes bytes are more than $limit"
