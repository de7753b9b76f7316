#!/bin/sh
# Flash that Kinglet's code takes: a program that loads a blob, reads text, searches greedily and with a beam and writes
# tokens, less a program that does nothing. No model, no board. Exit 1 when Cortex-M0 code is larger than 24 KB.
#
#   ./size.sh [--json]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/scripts/common.sh"

limit=24576 json=
case ${1-} in
--json) json=1 ;;
'') ;;
*) usage "unknown argument $1; it takes --json" ;;
esac
need cargo awk size nm
export KINGLET_MODEL=

flash() {
    size "$1" | awk 'NR == 2 { print $1 + $2 }'
}

status=0
# measure CORE TARGET FLAGS
measure() {
    build "$2" "$3" empty || die "cannot build for $2"
    empty=$(flash "$built")
    build "$2" "$3" footprint || die "cannot build for $2"
    bytes=$(($(flash "$built") - empty))
    if [ -n "$json" ]; then
        echo "{\"core\":\"$1\",\"empty\":$empty,\"bytes\":$bytes,\"limit\":$limit}"
    else
        echo "$1: $bytes bytes (an empty program: $empty)"
        nm -S -C --defined-only "$built" | awk '
            function hex(text, i, n) { for (i = 1; i <= length(text); i++) n = 16 * n + index("0123456789abcdef", substr(text, i, 1)) - 1; return n }
            $3 ~ /^[tTrR]$/ && $4 != "__INTERRUPTS" {
                name = substr($0, index($0, $4))
                room = name ~ /kinglet|footprint/ ? "kinglet" : name ~ /postcard|serde|heapless/ ? "postcard, serde, heapless" : name ~ /libm/ ? "libm" : name ~ /compiler_builtins|^__|^mem|^_/ ? "compiler-builtins: float, division, memcpy" : "core and constants"
                bytes[room] += hex($2)
            }
            END { for (room in bytes) printf "  %6d %s\n", bytes[room], room }' | sort -rn
    fi
    [ "$1" != m0 ] || [ "$bytes" -le $limit ] || { echo "size.sh: $bytes bytes on $1 are more than $limit" >&2 && status=1; }
}
measure m0 thumbv6m-none-eabi --no-default-features
measure m4 thumbv7em-none-eabihf ""
exit $status
