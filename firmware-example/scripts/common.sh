# Shared by the scripts of this folder; source it with $here set to the folder.

self=$(basename "$0")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM

die() {
    echo "$self: $*" >&2
    exit 1
}

usage() {
    echo "$self: $*" >&2
    exit 2
}

# each_machine FUNCTION: calls it with MACHINE CORE TARGET FLAGS for every emulated machine. Cortex-M0 code runs on
# mps2-an385, whose RAM and flash hold anything, and on the micro:bit, whose do not.
each_machine() {
    while read -r machine core target flags <&3; do
        "$1" "$machine" "$core" "$target" "$flags"
    done 3<<'MACHINES'
mps2-an386 m4 thumbv7em-none-eabihf
mps2-an500 m7 thumbv7em-none-eabihf --config boards/mps2-an500.toml
mps2-an505 m33 thumbv8m.main-none-eabihf
mps3-an547 m55 thumbv8m.main-none-eabihf --config boards/mps3-an547.toml
mps2-an385 m3 thumbv7m-none-eabi
mps2-an385 m0 thumbv6m-none-eabi --no-default-features
microbit m0 thumbv6m-none-eabi
virt rv32 riscv32imac-unknown-none-elf
MACHINES
}

# emulator MACHINE: the QEMU that emulates it.
emulator() {
    case $1 in
    virt) echo qemu-system-riscv32 ;;
    *) echo qemu-system-arm ;;
    esac
}

need() {
    for tool; do
        command -v "$tool" >/dev/null || case $tool in
        qemu-system-arm) die "qemu-system-arm is missing: apt-get install --no-install-recommends qemu-system-arm" ;;
        qemu-system-riscv32) die "qemu-system-riscv32 is missing: apt-get install --no-install-recommends qemu-system-misc" ;;
        cargo) die "cargo is missing: https://rustup.rs" ;;
        *) die "$tool is missing" ;;
        esac
    done
}

# build TARGET FLAGS BIN: builds a program in release mode; $built is a copy of it that later builds leave alone.
build() {
    builds=$((${builds-0} + 1))
    built=$tmp/$3-$builds
    # shellcheck disable=SC2086 # FLAGS are several words
    (cd "$here" && cargo build --quiet --release --target "$1" $2 --bin "$3" </dev/null) &&
        cp "$(target_dir)/$1/release/$3" "$built"
}

target_dir() {
    (cd "$here" && cargo metadata --format-version 1 --no-deps </dev/null) | sed 's/.*"target_directory":"\([^"]*\)".*/\1/'
}

# emulate MACHINE SECONDS ELF [QEMU ARGUMENTS]: runs a program until it leaves the emulator by semihosting.
emulate() {
    on=$1 seconds=$2 elf=$3
    shift 3
    # Without a BIOS: the virt machine's would start in the program's place; the other machines have none.
    timeout "$seconds" "$(emulator "$on")" -M "$on" -bios none -display none -monitor none \
        -semihosting-config enable=on,target=native "$@" -kernel "$elf"
}

# word_list FILE LIMIT: a word a line, or the first column of a TSV, where repetitions are other answers to the same
# word and are left out. A limit of 0 is none.
word_list() {
    tr -d '\r' <"$1" | awk -F '\t' -v limit="$2" \
        '$1 != "" && !(NF > 1 && seen[$1]++) && (limit == 0 || n++ < limit) { print $1 }'
}
