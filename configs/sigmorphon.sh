#!/usr/bin/env bash
# Trains, compiles and measures one model a language of SIGMORPHON 2020 task 1: docs/results.md.
#
#   configs/sigmorphon.sh DATA_ROOT [fre gre hin hun kor]
#
# DATA_ROOT/sig20_LANGUAGE holds train.tsv, dev.tsv and test.tsv: `word<TAB>phones`, phones separated by spaces. Checkpoints go
# to runs/sig20-LANGUAGE, blobs to blobs/sig20-LANGUAGE.kgl. An interrupted training is resumed.
set -euo pipefail
cd "$(dirname "$0")/.."

root=${1:?usage: configs/sigmorphon.sh DATA_ROOT [fre gre hin hun kor]}
shift
[ $# -gt 0 ] || set -- fre gre hin hun kor
cargo build --release --quiet -p kinglet-train -p kinglet-compiler
export PATH="${CARGO_TARGET_DIR:-$PWD/target}/release:$PATH"
mkdir -p runs blobs

for language; do
    echo "== $language"
    data=$root/sig20_$language run=runs/sig20-$language blob=blobs/sig20-$language.kgl
    resume=
    [ ! -e "$run/state.json" ] || resume=--resume
    kinglet-train train --config configs/sigmorphon.toml --train "$data/train.tsv" --dev "$data/dev.tsv" --out "$run" $resume
    kinglet compile --checkpoint "$run" --dev "$data/dev.tsv" -o "$blob"
    kinglet-train evaluate --checkpoint "$run" --data "$data/test.tsv" --metric wer,per --beam-size 5
    kinglet evaluate "$blob" --data "$data/test.tsv" --metric wer,per --beam-size 5
done
