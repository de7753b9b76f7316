#!/usr/bin/env bash
# Installs what is missing, then checks everything: style, documentation, the runtime alone on every target, the
# firmware on emulated boards, and all tests. What passes here passes in CI.
#
# Needs rustup, a C compiler and, for what is missing, Debian packages (root or sudo).
set -euo pipefail
cd "$(dirname "$0")"

step() { printf '\n== %s\n' "$*"; }

step "tools"
if ! command -v qemu-system-arm >/dev/null || ! command -v qemu-system-riscv32 >/dev/null; then
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends qemu-system-arm qemu-system-misc
fi
# rustup installs the toolchain, its components and all targets that rust-toolchain.toml names.
rustup show active-toolchain || rustup toolchain install
targets="thumbv6m-none-eabi thumbv7m-none-eabi thumbv7em-none-eabihf thumbv8m.main-none-eabihf \
    riscv32imac-unknown-none-elf wasm32-unknown-unknown"
# shellcheck disable=SC2086 # several targets
rustup target add $targets

step "style and documentation"
cargo fmt --all --check
(cd firmware-example && cargo fmt --check)
cargo clippy --workspace --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --quiet

step "the runtime alone, on every target"
for target in $targets; do
    cargo build --quiet --release -p kinglet --target "$target"
    echo "$target: builds"
done

step "firmware"
(
    cd firmware-example
    for board in "--target thumbv7em-none-eabihf" "--target thumbv6m-none-eabi" "--target thumbv8m.main-none-eabihf" \
        "--config boards/mps3-an547.toml" "--target riscv32imac-unknown-none-elf"; do
        # shellcheck disable=SC2086 # two words
        cargo clippy --release $board --features bench -- -D warnings
    done
    cargo clippy --release --config boards/mps3-an547.toml --features cycles -- -D warnings
    ./check-no-panic.sh
    ./size.sh
    ./stack.sh --model models/g2p.kgl
    ./kernels.sh
    tests/cycles.sh
    ./bench.sh --check
    tests/shell.sh
    ./parity.sh --model models/g2p.kgl --words ../tests/golden/words.txt
)
tests/family.sh

step "tests"
cargo test --workspace --quiet --doc
cargo test --workspace --quiet --no-fail-fast --lib --bins --tests
# As the micro:bit has it.
cargo test --quiet -p kinglet --no-default-features --lib --tests
