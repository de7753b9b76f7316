#!/usr/bin/env bash
# Loads and decodes the golden blobs with Miri, which sees undefined behaviour and reads beyond a piece of memory, and compares
# bits on this machine, with 32-bit addresses and with big-endian numbers.
#
# Needs a nightly toolchain with miri and rust-src: rustup toolchain install nightly --component miri,rust-src
#
#   tests/miri.sh [TARGET ...]
set -euo pipefail
cd "$(dirname "$0")/.."

host=$(rustc -vV | sed -n 's/^host: //p')
[ $# -gt 0 ] || set -- "$host" i686-unknown-linux-gnu s390x-unknown-linux-gnu
for target; do
    echo "== $target"
    cargo +nightly miri test --quiet -p kinglet --target "$target" --test golden_blobs
done
