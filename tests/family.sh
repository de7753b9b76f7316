#!/bin/sh
# Trains every configuration of configs/family for a moment, compiles it to int8 and int4, and decodes the same lines with all
# blobs on the desktop, an emulated Cortex-M0 and an emulated Cortex-M4F. Prints the table of docs/architectures.md, then a line a
# core; exit 1 unless all tokens and score bits are identical.
#
#   tests/family.sh
set -eu
here=$(cd "$(dirname "$0")" && pwd)
blobs=$(mktemp -d)
trap 'rm -rf "$blobs"' EXIT

(cd "$here/.." && cargo run --quiet --release -p kinglet-tests --bin architectures -- "$blobs")
echo
# Letters for those that read letters, frames for those that read frames; what is neither is refused, or unknown, alike.
printf 'abc\nfeedback\nzebra\nq\n20,-59 -100,-35\n0,-60 60,-51,3\n' >"$blobs/words"
set --
for blob in "$blobs"/*.kgl; do
    set -- "$@" --model "$blob"
done
"$here/../firmware-example/parity.sh" "$@" --words "$blobs/words" --all --together --cores "m0 m4"
