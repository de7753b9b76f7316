#!/usr/bin/env bash
# Trains, compiles and measures English inflection and transliteration from Arabic: docs/results.md.
#
#   configs/letters.sh DATA_ROOT [inflection transliteration]
#
# DATA_ROOT/inflect18_english and DATA_ROOT/translit_ar2en hold train.tsv, dev.tsv and test.tsv. Checkpoints go to runs/NAME,
# blobs to blobs/NAME.kgl. An interrupted training is resumed.
set -euo pipefail
cd "$(dirname "$0")/.."

root=${1:?usage: configs/letters.sh DATA_ROOT [inflection transliteration]}
shift
[ $# -gt 0 ] || set -- inflection transliteration
cargo build --release --quiet -p kinglet-train -p kinglet-compiler
export PATH="${CARGO_TARGET_DIR:-$PWD/target}/release:$PATH"
mkdir -p runs blobs

for name; do
    echo "== $name"
    case $name in
    inflection) data=$root/inflect18_english metric=exact,per ;;
    transliteration) data=$root/translit_ar2en metric=wer,per ;;
    *) echo "letters.sh: no model $name" >&2 && exit 2 ;;
    esac
    run=runs/$name blob=blobs/$name.kgl
    resume=
    [ ! -e "$run/state.json" ] || resume=--resume
    kinglet-train train --config "configs/$name.toml" --train "$data/train.tsv" --dev "$data/dev.tsv" --out "$run" $resume
    kinglet compile --checkpoint "$run" --dev "$data/dev.tsv" -o "$blob"
    for beam in 1 5; do
        echo "test, beam $beam: float, then int8"
        kinglet-train evaluate --checkpoint "$run" --data "$data/test.tsv" --metric $metric --beam-size $beam
        kinglet evaluate "$blob" --data "$data/test.tsv" --metric $metric --beam-size $beam
    done
done
