#!/bin/sh
# Shows that every core reads every blob: trains a small model, compiles it for each kind of core with int8, int4 and
# mixed weights, and runs parity.sh on all of them, see there.
#
#   ./layouts.sh DATA_DIR
#
# DATA_DIR holds train.tsv and dev.tsv: `word<TAB>phones`, phones separated by spaces.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/scripts/common.sh"
[ $# -eq 1 ] || usage "it takes the folder of train.tsv and dev.tsv"
data=$1
for file in train.tsv dev.tsv; do
    [ -r "$data/$file" ] || die "cannot read $data/$file"
done

(cd "$here/.." && cargo build --quiet --release -p kinglet-train -p kinglet-compiler)
programs=${CARGO_TARGET_DIR:-$here/../target}/release
head -n 20000 "$data/train.tsv" >"$tmp/train.tsv"
"$programs/kinglet-train" train --config "$here/layouts.toml" --train "$tmp/train.tsv" --dev "$data/dev.tsv" --out "$tmp/run"
for target in generic dsp mve; do
    for weights in int8 int4 mixed; do
        case $weights in mixed) set -- int4:16 --weights-of decoder.fc_out=int8 ;; *) set -- $weights ;; esac
        "$programs/kinglet" compile --checkpoint "$tmp/run" --dev "$data/dev.tsv" --target $target --weights "$@" -o "$tmp/$weights-$target.kgl" >/dev/null
        # The micro:bit has no room for more than one at a time.
        models="${models:-} --model $tmp/$weights-$target.kgl"
    done
done
# shellcheck disable=SC2086 # a word each
"$here/parity.sh" $models --words "$here/../tests/golden/words.txt"
