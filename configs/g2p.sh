#!/usr/bin/env bash
# Trains, compiles and measures the G2P models of docs/results.md on your own copy of the CMUdict split.
#
#   configs/g2p.sh DATA_DIR [cmudict|microbit|cmudict-2m ...]
#
# DATA_DIR holds train.tsv, dev.tsv and test.tsv: `word<TAB>phones`, phones separated by spaces. Checkpoints go to
# runs/NAME, blobs to blobs/NAME.kgl. Run it from the project's root; an interrupted training is resumed. Where configs/ has a
# NAME-int4.toml, training goes on from NAME on the grid of int4.
set -euo pipefail

data=${1:?usage: configs/g2p.sh DATA_DIR [cmudict|microbit|cmudict-2m ...]}
shift
[ $# -gt 0 ] || set -- cmudict microbit
cargo build --release --quiet -p kinglet-train -p kinglet-compiler
export PATH="${CARGO_TARGET_DIR:-$PWD/target}/release:$PATH"
mkdir -p runs blobs

# learn NAME [RUN]: trains it, from RUN on if there is one named; goes on with what was interrupted.
learn() {
    local start=()
    [ $# -eq 1 ] || start=(--init "$2")
    [ ! -e "runs/$1/state.json" ] || start=(--resume)
    kinglet-train train --config "configs/$1.toml" --train "$data/train.tsv" --dev "$data/dev.tsv" --out "runs/$1" "${start[@]}"
}

# measure NAME: blob, and errors on the test words.
measure() {
    kinglet compile --checkpoint "runs/$1" --dev "$data/dev.tsv" --evaluation-sources 1000000 -o "blobs/$1.kgl"
    for beam in 1 4 5; do
        echo "test, $1, beam $beam, float and blob:"
        kinglet-train evaluate --checkpoint "runs/$1" --data "$data/test.tsv" --metric wer,per --beam-size $beam
        kinglet evaluate "blobs/$1.kgl" --data "$data/test.tsv" --metric wer,per --beam-size $beam
    done
}

for name; do
    echo "== $name"
    learn "$name"
    measure "$name"
    if [ -e "configs/$name-int4.toml" ]; then
        learn "$name-int4" "runs/$name"
        measure "$name-int4"
    fi
done
