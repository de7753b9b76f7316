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

need() {
    for tool; do
        command -v "$tool" >/dev/null || case $tool in
        qemu-system-arm) die "qemu-system-arm is missing: apt-get install --no-install-recommends qemu-system-arm" ;;
        cargo) die "cargo is missing: https://rustup.rs" ;;
        *) die "$tool is missing" ;;
        esac
    done
}

# build TARGET FLAGS BIN: builds a program in release mode; $built is a copy of it that later builds leave alone.
build() {
    built=$tmp/$3-$1$2
    # shellcheck disable=SC2086 # FLAGS are several words
    (cd "$here" && cargo build --quiet --release --target "$1" $2 --bin "$3" </dev/null) &&
        cp "$(target_dir)/$1/release/$3" "$built"
}

target_dir() {
    (cd "$here" && cargo metadata --format-version 1 --no-deps </dev/null) | sed 's/.*"target_directory":"\([^"]*\)".*/\1/'
}

# emulate MACHINE SECONDS ELF [QEMU ARGUMENTS]: runs a program until it leaves the emulator by semihosting.
emulate() {
    machine=$1 seconds=$2 elf=$3
    shift 3
    timeout "$seconds" qemu-system-arm -M "$machine" -display none -monitor none \
        -semihosting-config enable=on,target=native "$@" -kernel "$elf"
}

# word_list FILE LIMIT: a word a line, or the first column of a TSV, where repetitions are other answers to the same
# word and are left out. A limit of 0 is none.
word_list() {
    tr -d '\r' <"$1" | awk -F '\t' -v limit="$2" \
        '$1 != "" && !(NF > 1 && seen[$1]++) && (limit == 0 || n++ < limit) { print $1 }'
}
