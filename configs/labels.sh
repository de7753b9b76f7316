#!/usr/bin/env bash
# Trains, compiles and measures the models that label: docs/results.md.
#
#   configs/labels.sh DATA_ROOT [tagger-ewt intent-slots-snips intent-slots-hwu]
#
# DATA_ROOT/{ud_ewt_pos,snips_slots,hwu_home_slots} hold train.tsv, dev.tsv and test.tsv: `words<TAB>labels`, separated by spaces;
# of the last two, the first label is the intent. Checkpoints go to runs/NAME, blobs to blobs/NAME.kgl. An interrupted training
# is resumed.
set -euo pipefail
cd "$(dirname "$0")/.."

root=${1:?usage: configs/labels.sh DATA_ROOT [tagger-ewt intent-slots-snips intent-slots-hwu]}
shift
[ $# -gt 0 ] || set -- tagger-ewt intent-slots-snips intent-slots-hwu
cargo build --release --quiet -p kinglet-train -p kinglet-compiler
export PATH="${CARGO_TARGET_DIR:-$PWD/target}/release:$PATH"
mkdir -p runs blobs

for name; do
    echo "== $name"
    case $name in
    tagger-ewt) data=$root/ud_ewt_pos metric=acc place= ;;
    intent-slots-snips) data=$root/snips_slots metric=slot,intent,line place= ;;
    intent-slots-hwu) data=$root/hwu_home_slots metric=slot,intent,line place="--board microbit-v2" ;;
    *) echo "labels.sh: no model $name" >&2 && exit 2 ;;
    esac
    run=runs/$name blob=blobs/$name.kgl
    resume=
    [ ! -e "$run/state.json" ] || resume=--resume
    kinglet-train train --config "configs/$name.toml" --train "$data/train.tsv" --dev "$data/dev.tsv" --out "$run" $resume
    # shellcheck disable=SC2086 # two words, or none
    kinglet compile --checkpoint "$run" --dev "$data/dev.tsv" $place -o "$blob"
    kinglet-train evaluate --checkpoint "$run" --data "$data/test.tsv" --metric $metric
    kinglet evaluate "$blob" --data "$data/test.tsv" --metric $metric
done
