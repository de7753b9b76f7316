#!/bin/bash
# Drives the shell on emulated boards as a user would: waits for the prompt, types, checks what comes back.
#
#   tests/shell.sh [--model M.kgl]
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
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
need cargo qemu-system-arm qemu-system-riscv32 timeout

# receive: reads up to the next prompt into $answer.
receive() {
    answer=
    local c
    while [[ $answer != *$'\n> ' ]]; do
        IFS= read -r -d '' -n 1 -t 60 -u "${qemu[0]}" c || die "$machine: no prompt; so far: $answer"
        answer+=$c
    done
}

# expect TYPED PATTERN: types a line, which may hold escapes, and compares the answer with an extended regex.
expect() {
    printf "$1\r" >&"${qemu[1]}"
    receive
    [[ $answer =~ $2 ]] || die "$machine: to \"$1\" expected \"$2\", found: $answer"
    checks=$((checks + 1))
}

# session MACHINE CORE TARGET FLAGS: on the boards of the README everything, on the others that they work.
session() {
    machine=$1 checks=0
    build "$3" "$4" shell || die "cannot build for $3"
    coproc qemu { exec timeout 300 "$(emulator "$1")" -M "$1" -bios none -display none -monitor none -serial stdio -kernel "$built" 2>/dev/null 3<&-; }
    local pid=$qemu_PID
    receive
    [[ $answer =~ Kinglet\ [0-9.]+\ on ]] || die "$machine: no greeting: $answer"

    local result=$'\r\n[^\r\n]+\r\n  score -?[0-9]+\\.[0-9]{3}, [0-9]+ us'
    expect 'hello' "$result"
    local greedy=$answer
    case $1 in mps2-an386 | microbit) everything ;; *) expect ':selftest' 'blob ok.*(words ok: tokens and score bits|no expected results)' ;; esac
    expect ':stack' 'stack [0-9]+ of [0-9]+ bytes'
    [[ $answer =~ stack\ ([0-9]+)\ of\ ([0-9]+) ]]
    [ "${BASH_REMATCH[1]}" -lt "${BASH_REMATCH[2]}" ] || die "$machine: the stack overflowed: $answer"
    kill "$pid"
    wait "$pid" 2>/dev/null || true
    echo "$machine, $2: $checks answers as expected, ${BASH_REMATCH[1]} bytes of stack"
}

# everything: what a user may type, with $result and $greedy of the session.
everything() {
    expect 'hello' "$result"
    [[ ${answer%%us*} == "${greedy%%score*}"* ]] || die "$machine: a word decodes differently the second time"
    expect 'hexy\b\b\x7fello' "hexy.*$result" # backspace and delete take back what was typed
    [[ ${answer#*$'\r\n'} == "$(tail -n +2 <<<"${greedy%%score*}")"* ]] || die "$machine: editing changed the word: $answer"
    expect 'h\xc3\xa9\x08ello' "$result" # one backspace takes back a character of two bytes
    [[ ${answer#*$'\r\n'} == "$(tail -n +2 <<<"${greedy%%score*}")"* ]] || die "$machine: editing changed the word: $answer"
    expect ':info' 'model .*, [0-9]+ bytes, crc [0-9a-f]{8}.*beam 1: RAM [0-9]+ of [0-9]+ bytes'
    expect ':beam 4' 'beam 4: source up to [0-9]+ tokens'
    expect 'hello' "$result"
    expect ':info' 'beam 4: RAM'
    expect ':beam 9' 'error: a beam is 1 to 8 wide'
    expect ':beam' 'error: a beam is 1 to 8 wide'
    expect ':beam x' 'error: a beam is 1 to 8 wide'
    expect ':info' 'beam 4: RAM'
    expect ':beam 1' 'beam 1: source up to'
    expect 'h\xe2\x82\xacllo' '1 unknown to the model'
    expect '\xff\xfe' 'error: the text is not UTF-8'
    expect "$(printf 'a%.0s' {1..120})" 'error: the source is too long: at most [0-9]+ tokens'
    local bytes=4096 # frames of numbers are long
    [ "$machine" != microbit ] || bytes=128
    expect "$(printf "%$((bytes + 100))s" | tr ' ' a)" "error: a line holds $bytes bytes"
    expect 'hello' "$result"
    [[ ${answer%%us*} == "${greedy%%score*}"* ]] || die "$machine: errors left traces: $answer"
    expect ':nonsense' 'error: unknown command'
    expect '' $'^\r\n> $'
    expect ':help' ':selftest'
    expect ':selftest' 'blob ok.*(words ok: tokens and score bits|no expected results)'
}
each_machine session
