#!/usr/bin/env bash
# Types of KV caches: the text is the evaluator's with the same type, with and without drafts, and
# narrower caches hold more slots in the same memory.
#
# SPDX-License-Identifier: GPL-3.0-or-later
source "$(dirname "$0")/harness.sh"
cd "$source_folder"
prompt="The old man looked at the sea"
pair=(--target graphs/target.xml --drafter graphs/drafter.xml --tokenizer graphs/tokenizer.json)

writes_the_evaluators_text() {
    local options=(--prompt "$prompt" --max-tokens 150 --ignore-eos)
    "$tandem" compile "${pair[@]}" --kv="$1" -o "$folder/program" &&
        "$tandem" run "${pair[@]:0:2}" "${pair[@]:4:2}" --kv="$1" --reference "${options[@]}" \
            >"$folder/reference" &&
        "$folder/program" "${options[@]}" --draft 0 >"$folder/plain" &&
        "$folder/program" "${options[@]}" --draft 5 >"$folder/drafted" &&
        same "$folder/plain" "$folder/reference" && same "$folder/drafted" "$folder/reference"
}
for kv in f32 q8; do # f16 is the default, which pair_test.sh looks at
    check "${kv}_writes_the_evaluators_text" writes_the_evaluators_text $kv
done

slot_bytes() {
    "$tandem" plan "${pair[@]}" "$@" | sed -n 's/^  target  *[0-9]* slots of \([0-9]*\) bytes.*/\1/p'
}
slots_get_cheaper() {
    local f32 f16 q8
    f32=$(slot_bytes --kv=f32) && f16=$(slot_bytes --kv=f16) && q8=$(slot_bytes --kv=q8) &&
        echo "$f32, $f16 and $q8 bytes, by default $(slot_bytes)" &&
        [ "$f32" -eq $((2 * f16)) ] && [ $((q8 * 10)) -lt $((f16 * 6)) ] && [ "$(slot_bytes)" = "$f16" ]
}
check slots_get_cheaper slots_get_cheaper

unknown_kv() {
    local status=0
    "$tandem" plan "${pair[@]}" --kv=f8 2>"$folder/stderr" || status=$?
    [ "$status" -eq 2 ] || { echo "status $status"; return 1; }
    grep -q 'expected f32, f16 or q8' "$folder/stderr"
}
check unknown_kv unknown_kv
