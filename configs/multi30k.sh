#!/usr/bin/env bash
# Trains, compiles and measures recurrent translators on Multi30k, German to English: docs/results.md.
#
#   configs/multi30k.sh DATA_DIR [sutskever cho attention subwords]
#
# DATA_DIR holds train.tsv, dev.tsv and test.tsv: `German<TAB>English`, words separated by spaces. Checkpoints go to
# runs/multi30k-NAME, blobs to blobs/multi30k-NAME.kgl. An interrupted training is resumed.
set -euo pipefail
cd "$(dirname "$0")/.."

data=${1:?usage: configs/multi30k.sh DATA_DIR [sutskever cho attention subwords]}
shift
[ $# -gt 0 ] || set -- sutskever cho attention subwords
cargo build --release --quiet -p kinglet-train -p kinglet-compiler
export PATH="${CARGO_TARGET_DIR:-$PWD/target}/release:$PATH"
mkdir -p runs blobs

for name; do
    echo "== $name"
    run=runs/multi30k-$name blob=blobs/multi30k-$name.kgl
    resume=
    [ ! -e "$run/state.json" ] || resume=--resume
    kinglet-train train --config "configs/multi30k/$name.toml" --train "$data/train.tsv" --dev "$data/dev.tsv" --out "$run" $resume
    kinglet compile --checkpoint "$run" --dev "$data/dev.tsv" --target dsp -o "$blob"
    kinglet-train evaluate --checkpoint "$run" --data "$data/test.tsv" --metric bleu,ppl,free_ppl --beam-size 5
    kinglet evaluate "$blob" --data "$data/test.tsv" --metric bleu --beam-size 5
    # Whole sentences on a Cortex-M4F: instructions, and the mean numbers of tokens.
    firmware-example/words.sh --model "$blob" --words "$data/dev.tsv" --limit 10 --features all --cores m4
done
