#!/bin/sh
# Writes compiler/src/cores.tsv, from which times are estimated, from counts on standard input:
#
#   firmware-example/bench.sh --json | compiler/cores.sh
set -eu
out=$(dirname "$0")/src/cores.tsv
awk '
    BEGIN { print "# core, kernel, inputs, size, instructions, cycles: firmware-example/bench.sh --json | compiler/cores.sh" }
    function member(name) { return match($0, "\"" name "\":[^,}]*") ? substr($0, RSTART + length(name) + 3, RLENGTH - length(name) - 3) : "" }
    {
        gsub(/[ \t]/, "")
        core = member("core"); kernel = member("kernel")
        gsub(/"/, "", core); gsub(/"/, "", kernel)
        size = member("out") member("hidden") member("width") member("beam")
        cycles = member("cycles"); if (cycles == "null") cycles = "-"
        if (!seen[core, kernel, member("in"), size]++) print core, kernel, member("in"), size, member("instructions"), cycles
    }' OFS='\t' >"$out.new"
mv "$out.new" "$out"
