#!/usr/bin/env bash
# Where memory runs out, in Tandem itself or in a library, there is one sentence and exit status 1.
#
# SPDX-License-Identifier: GPL-3.0-or-later
source "$(dirname "$0")/harness.sh"
cd "$source_folder"

limited() { # MEGABYTES COMMAND...
    local megabytes=$1
    shift
    (ulimit -v $((megabytes << 10)) && exec "$tandem" "$@")
}

# The least address space in which the command and its libraries can be loaded at all.
least=64
until limited $least targets >/dev/null 2>&1 || [ $least -gt 4096 ]; do least=$((least + 4)); done

# one_sentence COMMAND...: within a little more than that, it works or says so.
one_sentence() {
    local more status failures=0
    for more in 0 4 8 16; do
        rm -f "$folder"/out*
        status=0
        limited $((least + more)) "$@" >/dev/null 2>"$folder/stderr" || status=$?
        [ "$status" -eq 0 ] && continue
        failures=$((failures + 1))
        cat "$folder/stderr"
        if [ "$status" -ne 1 ] || [ "$(wc -l <"$folder/stderr")" -ne 1 ] ||
            ! grep -q '^tandem: .' "$folder/stderr" || ls "$folder"/out* 2>/dev/null; then
            echo "exit status $status with $more MB"
            return 1
        fi
    done
    [ $failures -gt 0 ]
}
check compile_is_cut_short one_sentence compile --target graphs/target.xml --drafter graphs/drafter.xml \
    --tokenizer graphs/tokenizer.json -o "$folder/out"
check verify_is_cut_short one_sentence verify --target graphs/drafter.xml --layers 1
