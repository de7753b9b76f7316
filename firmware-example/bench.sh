#!/bin/sh
# Counts the instructions of products and recurrent steps on emulated boards: exact, the same at every run.
#
#   ./bench.sh [--json]
#
# The counts are of the runtime as a model runs it, description decoded and inputs gathered; they are executed
# instructions, not cycles. Beside them: CMSIS-NN (GCC -Ofast), its functions alone, counted in the same way.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
. "$here/scripts/common.sh"

json=
case ${1-} in
--json) json=1 ;;
'') ;;
*) usage "unknown argument $1; it takes --json" ;;
esac
need cargo qemu-system-arm awk timeout
# The programs bring their own blobs; the shell's is not used.
export KINGLET_MODEL=

# CMSIS-NN at commit 99f736a6: arm_fully_connected_s8 and arm_lstm_unidirectional_s8; it has no GRU.
cat >"$tmp/peer" <<'PEER'
m0 matvec_i8 64 64 31185
m3 matvec_i8 64 64 16343
m4 matvec_i8 64 64 10972
m0 matvec_i8 128 128 111436
m3 matvec_i8 128 128 60169
m4 matvec_i8 128 128 37159
m0 matvec_i8 128 512 443242
m3 matvec_i8 128 512 238099
m4 matvec_i8 128 512 148242
m0 matvec_i8 256 1024 1671868
m3 matvec_i8 256 1024 912205
m4 matvec_i8 256 1024 542100
m0 lstm_step 32 64 228011
m3 lstm_step 32 64 108896
m4 lstm_step 32 64 83165
m0 lstm_step 64 128 732388
m3 lstm_step 64 128 364919
m4 lstm_step 64 128 256878
m0 lstm_step 128 256 2573476
m3 lstm_step 128 256 1314861
m4 lstm_step 128 256 880761
PEER

# measure MACHINE CORE TARGET FLAGS
measure() {
    build "$3" "$4 --features bench" bench || die "cannot build for $3"
    emulate "$1" 120 "$built" -icount shift=6 -serial stdio </dev/null | grep . >"$tmp/out" || die "$1 did not finish"
    grep -q instructions "$tmp/out" || die "$1 measured nothing"
    ! grep -q null "$tmp/out" || die "$1 cannot run: $(grep null "$tmp/out")"
    sed "s/.*/{\"machine\":\"$1\",\"core\":\"$2\",&}/" "$tmp/out" >>"$tmp/all"
}
measure mps2-an386 m4 thumbv7em-none-eabihf ""
measure mps2-an385 m3 thumbv7m-none-eabi ""
measure mps2-an385 m0 thumbv6m-none-eabi --no-default-features
measure microbit m0 thumbv6m-none-eabi ""

if [ -n "$json" ]; then
    cat "$tmp/all"
    exit
fi
tr -d '{}"' <"$tmp/all" | sed 's/[a-z]*://g' | awk -F , '
    BEGIN { printf "%-11s %-4s %-9s %5s %5s %13s %8s %10s %6s\n", "machine", "core", "kernel", "in", "size", "instructions", "per MAC", "CMSIS-NN", "ratio" }
    NR == FNR { split($0, f, " "); peer[f[1], f[2], f[3], f[4]] = f[5]; next }
    {
        macs = $3 == "matvec_i8" ? $4 * $5 : ($3 == "lstm_step" ? 4 : 3) * $5 * ($4 + $5)
        p = peer[$2, $3, $4, $5]
        printf "%-11s %-4s %-9s %5d %5d %13d %8.3f %10s %6s\n", $1, $2, $3, $4, $5, $7, $7 / macs, p, p ? sprintf("%.2f", $7 / p) : ""
    }' "$tmp/peer" -
