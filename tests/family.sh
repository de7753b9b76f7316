#!/bin/sh
# Trains every configuration of configs/family for a moment, compiles it to int8 and int4, and decodes the same words with the
# blobs on the desktop, an emulated Cortex-M0 and an emulated Cortex-M4F. Prints the table of docs/architectures.md, then a line a
# blob and core; exit 1 unless all tokens and score bits are identical.
#
#   tests/family.sh [--kind int8|int4]     one kind of blobs on the boards; int8 if not said
set -eu
here=$(cd "$(dirname "$0")" && pwd)
kind=int8
case $# in
0) ;;
2) [ "$1" = --kind ] && kind=$2 ;;
esac
case $kind in int8 | int4) ;; *) echo "family.sh: --kind is int8 or int4, not $kind" >&2 && exit 2 ;; esac
blobs=$(mktemp -d)
trap 'rm -rf "$blobs"' EXIT

(cd "$here/.." && cargo run --quiet --release -p kinglet-tests --bin architectures -- "$blobs")
echo
printf 'abc\nfeedback\nzebra\nq\n' >"$blobs/words"
set --
for blob in "$blobs"/*-"$kind".kgl; do
    set -- "$@" --model "$blob"
done
"$here/../firmware-example/parity.sh" "$@" --words "$blobs/words" --all --together --cores "m0 m4"
