#!/bin/sh
# Proves that the firmware cannot panic: its panic handler calls a function that does not exist, so that it links only
# when the optimizer has removed every path to it. Then shows that the proof can fail: with one indexing that may
# panic, linking must stop at that function.
#
#   ./check-no-panic.sh [--model M.kgl]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/scripts/common.sh"

case ${1-} in
--model)
    [ $# -eq 2 ] || usage "--model needs a value"
    [ -r "$2" ] || die "cannot read the model $2"
    KINGLET_MODEL=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
    export KINGLET_MODEL
    ;;
'') ;;
*) usage "unknown argument $1; it takes --model M.kgl" ;;
esac
need cargo
symbol=kinglet_a_panic_path_was_linked

# check MACHINE CORE TARGET FLAGS
check() {
    for program in footprint shell parity; do
        if ! build "$3" "$4" $program 2>"$tmp/log"; then
            cat "$tmp/log" >&2
            ! grep -q "undefined symbol: $symbol" "$tmp/log" || die "$program has a panic path on $1, $2"
            die "cannot build $program for $3"
        fi
        echo "$1, $2: $program links, no panic path"
    done
    if build "$3" "$4 --features panic-path" footprint 2>"$tmp/log"; then
        die "the proof proves nothing on $1, $2: a program with a panic path linked"
    fi
    grep -q "undefined symbol: $symbol" "$tmp/log" || { cat "$tmp/log" >&2 && die "cannot build for $3"; }
    echo "$1, $2: with a panic path added, footprint does not link"
}
each_machine check
