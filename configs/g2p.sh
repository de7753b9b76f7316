#!/usr/bin/env bash
# Trains, compiles and measures the G2P models of docs/results.md on your own copy of the CMUdict split.
#
#   configs/g2p.sh DATA_DIR [cmudict|microbit ...]
#
# DATA_DIR holds train.tsv, dev.tsv and test.tsv: `word<TAB>phones`, phones separated by spaces. Checkpoints go to
# runs/NAME, blobs to blobs/NAME.kgl. Run it from the project's root; an interrupted training is resumed.
set -euo pipefail

data=${1:?usage: configs/g2p.sh DATA_DIR [cmudict|microbit ...]}
shift
[ $# -gt 0 ] || set -- cmudict microbit
cargo build --release --quiet -p kinglet-train -p kinglet-compiler
export PATH="${CARGO_TARGET_DIR:-$PWD/target}/release:$PATH"
mkdir -p runs blobs

for name; do
    echo "== $name"
    resume=
    [ ! -e "runs/$name/state.json" ] || resume=--resume
    kinglet-train train --config "configs/$name.toml" --train "$data/train.tsv" --dev "$data/dev.tsv" \
        --out "runs/$name" $resume
    if [ -e "configs/$name-int4.toml" ] && [ ! -e "runs/$name-int4/model.safetensors" ]; then
        kinglet-train train --init "runs/$name" --config "configs/$name-int4.toml" --train "$data/train.tsv" \
            --dev "$data/dev.tsv" --out "runs/$name-int4" --force
    fi
    kinglet compile --checkpoint "runs/$name" --dev "$data/dev.tsv" --evaluation-sources 1000000 -o "blobs/$name.kgl"
    if [ -e "runs/$name-int4" ]; then
        kinglet compile --checkpoint "runs/$name-int4" --dev "$data/dev.tsv" -o "blobs/$name-int4.kgl"
        for beam in 1 4; do
            echo "test, beam $beam, int4:"
            kinglet evaluate "blobs/$name-int4.kgl" --data "$data/test.tsv" --metric wer,per --beam-size $beam
        done
    fi
    for beam in 1 4; do
        echo "test, beam $beam, float:"
        kinglet-train evaluate --checkpoint "runs/$name" --data "$data/test.tsv" --metric wer,per --beam-size $beam
        echo "test, beam $beam, int8:"
        kinglet evaluate "blobs/$name.kgl" --data "$data/test.tsv" --metric wer,per --beam-size $beam
    done
done
