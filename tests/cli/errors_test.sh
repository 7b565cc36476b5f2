#!/usr/bin/env bash
# Bad input gets one sentence and exit status 1, bad usage 2, and no output file is left.
#
# SPDX-License-Identifier: GPL-3.0-or-later
source "$(dirname "$0")/harness.sh"
cd "$source_folder"

tokenizer=(--tokenizer graphs/tokenizer.json)
compile() { "$tandem" compile "${@}" -o "$folder/out"; }

# A copy of the drafter that can be damaged.
cp graphs/drafter.xml "$folder/copy.xml"
cp graphs/drafter.bin "$folder/copy.bin"

head -c 20000 graphs/drafter.xml >"$folder/short.xml"
cp graphs/drafter.bin "$folder/short.bin"
check truncated_xml refused 1 'short.xml.*line [0-9]+' \
    compile --target "$folder/short.xml" "${tokenizer[@]}"

cp graphs/drafter.xml "$folder/cut.xml"
head -c 100000 graphs/drafter.bin >"$folder/cut.bin"
check truncated_bin refused 1 'cut.xml: layer .* Const offset [0-9]+ \+ size [0-9]+ exceeds .*cut.bin \(100000 bytes\)' \
    compile --target "$folder/cut.xml" "${tokenizer[@]}"

sed '0,/offset="[0-9]*"/s//offset="99999999999"/' graphs/drafter.xml >"$folder/copy.xml"
check offset_beyond_the_bin refused 1 'offset 99999999999 .* exceeds' \
    compile --target "$folder/copy.xml" "${tokenizer[@]}"

# An edge of a two-input layer is turned back on itself through its own output.
cyclic() {
    local id
    id=$(sed -n 's/.*<layer id="\([0-9]*\)" name="[^"]*" type="Multiply".*/\1/p' graphs/drafter.xml | head -n 1)
    sed "s|<edge from-layer=\"[0-9]*\" from-port=\"[0-9]*\" to-layer=\"$id\" to-port=\"0\"|<edge from-layer=\"$id\" from-port=\"2\" to-layer=\"$id\" to-port=\"0\"|" \
        graphs/drafter.xml >"$folder/copy.xml"
    ! cmp -s graphs/drafter.xml "$folder/copy.xml" &&
        refused 1 'copy.xml: .*cycle' compile --target "$folder/copy.xml" "${tokenizer[@]}"
}
check cyclic_graph cyclic

sed '0,/<edge from-layer="[0-9]*"/s//<edge from-layer="777777"/' graphs/drafter.xml >"$folder/copy.xml"
check dangling_edge refused 1 'copy.xml: .*777777' compile --target "$folder/copy.xml" "${tokenizer[@]}"

check missing_file refused 1 'nothing.xml' compile --target "$folder/nothing.xml"
check unknown_kind_of_model refused 1 'tokenizer.json' compile --target graphs/tokenizer.json
check budget_too_small refused 1 'smallest .*[0-9]' \
    compile --target graphs/target.xml "${tokenizer[@]}" --memory-budget 1M
check unknown_cpu refused 1 'i686-turbo.*x86-64-v3' \
    compile --target graphs/target.xml --cpu i686-turbo
check unknown_triple refused 1 'vax.*aarch64' compile --target graphs/target.xml --triple vax-dec-ultrix
check slots_beyond_the_context refused 1 'slots' \
    compile --target graphs/target.xml "${tokenizer[@]}" --slots 1000000
# What would make the end of a compile fail is refused before any code is made.
refused_early() {
    refused 1 "$1" "$tandem" compile --target graphs/target.xml "${tokenizer[@]}" -v "${@:2}" 2>/dev/null
    grep -q 'importing' "$folder/stderr" && ! grep -q 'generating' "$folder/stderr" && grep -qE "$1" "$folder/stderr"
}
check output_in_a_missing_folder refused_early 'nothing/out: cannot write' -o "$folder/nothing/out"
check output_over_a_device refused_early '/dev/null: .*regular file' -o /dev/null
check too_few_slots refused_early 'slots 3: 16 to [0-9]+ are accepted' --slots 3 -o "$folder/out"

cp graphs/drafter.xml "$folder/mine.xml"
cp graphs/drafter.bin "$folder/mine.bin"
inputs_survive() {
    refused 1 'made from' "$tandem" compile --target "$folder/mine.xml" -o "$folder/mine.bin" &&
        same graphs/drafter.bin "$folder/mine.bin"
}
check an_output_over_an_input inputs_survive

# The sentence of a too small budget names one that works.
smallest_works() {
    local bytes
    compile --target graphs/target.xml "${tokenizer[@]}" --memory-budget 1M 2>"$folder/stderr"
    bytes=$(grep -oE '[0-9]{6,}' "$folder/stderr" | tail -n 1)
    [ -n "$bytes" ] && compile --target graphs/target.xml "${tokenizer[@]}" --memory-budget "$bytes" &&
        ! compile --target graphs/target.xml "${tokenizer[@]}" --memory-budget "$((bytes - 65536))" 2>/dev/null
    local status=$?
    rm -f "$folder/out"
    return $status
}
check the_smallest_budget_works smallest_works

if [ -e "$shared/data/weights/stories260K-f32.gguf" ]; then
    check vocabulary_mismatch refused 1 'vocabular|token' \
        compile --target graphs/target.xml "${tokenizer[@]}" \
        --drafter "$shared/data/weights/stories260K-f32.gguf"
    check same_vocabulary_pairs compile --target "$shared/data/weights/stories260K-f32.gguf" \
        --drafter "$shared/data/weights/stories260K-f32.gguf"
else
    skip vocabulary_mismatch "../shared/data/weights is not there"
fi

# Bad usage is one line.
usage() { "$tandem" "$@" 2>"$folder/stderr"; [ $? -eq 2 ] && cat "$folder/stderr" && [ "$(wc -l <"$folder/stderr")" -eq 1 ]; }
check usage_with_an_unknown_option usage plan --frobnicate
check usage_without_a_value usage plan --target
check usage_with_no_layers usage plan --target graphs/target.xml --layers 0
check usage_with_no_threads usage plan --target graphs/target.xml --threads 0
# The plan's last table is for up to four times as many threads, but no more than there may be.
planned_threads() {
    timeout 20 "$tandem" plan --target graphs/drafter.xml "$@" |
        sed -n '/^threads/,$s/^\([0-9]*\) .*/\1/p' | tr '\n' ' '
}
plans_of_threads_end() {
    [ "$(planned_threads)" = "1 2 4 " ] && [ "$(planned_threads --threads 17)" = "17 34 " ] &&
        [ "$(planned_threads --threads 64)" = "64 " ]
}
check plans_of_any_threads_end plans_of_threads_end
check usage_with_an_unknown_pass usage plan --target graphs/target.xml --print-after lower
check usage_of_a_drafter_that_no_one_reads usage perplexity --target a --text b --drafter c
check another_machines_program_is_not_run refused 1 'does not run on this machine' \
    "$tandem" run --target graphs/drafter.xml --triple riscv64-linux-gnu -- --prompt x
check usage_without_output usage compile --target graphs/target.xml
check usage_with_a_program_option_before_the_dashes usage run --target graphs/target.xml --prompt x
check usage_with_an_unknown_verb usage frobnicate
check usage_with_a_bad_size usage compile --target graphs/target.xml -o x --memory-budget lots
check an_old_file_survives_a_failure bash -c "echo old >'$folder/keep' &&
    ! '$tandem' compile --target '$folder/cut.xml' -o '$folder/keep' 2>/dev/null &&
    grep -qx old '$folder/keep' && ! ls '$folder'/keep.* 2>/dev/null"

# A device or a pipe is not replaced by the program, and a full disk leaves no temporary.
mkfifo "$folder/pipe"
keeps_pipe() {
    refused 1 'not a regular file' "$tandem" compile --target graphs/drafter.xml -o "$folder/pipe" &&
        [ -p "$folder/pipe" ]
}
check a_pipe_is_not_replaced keeps_pipe
check no_room refused 1 'written|no room' \
    bash -c "ulimit -f 100; exec '$tandem' compile --target graphs/drafter.xml -o '$folder/out'"
check standard_output_is_full refused 1 'standard output' \
    bash -c "exec '$tandem' plan --target graphs/drafter.xml >/dev/full"
check standard_output_is_full_for_help refused 1 'standard output' bash -c "exec '$tandem' --help >/dev/full"
check a_closed_stream_is_not_replaced bash -c "'$tandem' targets >&- 2>'$folder/stderr'; [ \$? -eq 1 ] &&
    grep -q 'standard output' '$folder/stderr'"
printf '\0\0<\0xxxxxx' >"$folder/ucs4.xml"
check an_encoding_that_is_not_known_is_one_sentence refused 1 'ucs4.xml: line 1: ' "$tandem" import "$folder/ucs4.xml"
