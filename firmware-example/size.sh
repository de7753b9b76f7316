#!/bin/sh
# Flash that Kinglet's code takes: a program that loads a blob, reads text, searches greedily and with a beam and writes
# tokens, less a program that does nothing, for every core. No model, no board. Exit 1 when Cortex-M0 code is larger
# than 24 KB.
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
# measure MACHINE CORE TARGET FLAGS
measure() {
    [ "$1" != microbit ] || return 0 # the same code as on mps2-an385
    build "$3" "$4" empty || die "cannot build for $3"
    empty=$(flash "$built")
    build "$3" "$4" footprint || die "cannot build for $3"
    bytes=$(($(flash "$built") - empty))
    if [ -n "$json" ]; then
        [ "$2" = m0 ] && most=$limit || most=null
        echo "{\"core\":\"$2\",\"empty\":$empty,\"bytes\":$bytes,\"limit\":$most}"
    else
        echo "$2: $bytes bytes (an empty program: $empty)"
        nm -S -C --defined-only "$built" | awk '
            function hex(text, i, n) { for (i = 1; i <= length(text); i++) n = 16 * n + index("0123456789abcdef", substr(text, i, 1)) - 1; return n }
            $3 ~ /^[tTrR]$/ && $4 != "__INTERRUPTS" {
                name = substr($0, index($0, $4))
                room = name ~ /kinglet|footprint/ ? "kinglet" : name ~ /postcard|serde|heapless/ ? "postcard, serde, heapless" : name ~ /libm/ ? "libm" : name ~ /compiler_builtins|^__|^mem|^_/ ? "compiler-builtins: float, division, memcpy" : "core and constants"
                bytes[room] += hex($2)
            }
            END { for (room in bytes) printf "  %6d %s\n", bytes[room], room }' | sort -rn
    fi
    [ "$2" != m0 ] || [ "$bytes" -le $limit ] || { echo "size.sh: $bytes bytes on $2 are more than $limit" >&2 && status=1; }
}
each_machine measure
exit $status
