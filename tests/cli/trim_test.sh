#!/usr/bin/env bash
# VocabTrim: counting tokens, trimmed drafters in programs and in OpenVINO IR, refusals.
#
# SPDX-License-Identifier: GPL-3.0-or-later
source "$(dirname "$0")/harness.sh"
cd "$source_folder"

prompt="The old man looked at the sea"
tokenizer=(--tokenizer graphs/tokenizer.json)
target=(--target graphs/target.xml "${tokenizer[@]}" --activations=q8)
pair=("${target[@]}" --drafter graphs/drafter.xml)
counts=graphs/counts.json
compile() { "$tandem" compile "${pair[@]}" -o "$@"; }
greedy() { "$@" --prompt "$prompt" --max-tokens 150 --ignore-eos; }
figure() { sed -n "s/.*\"$1\": *\([0-9.]*\).*/\1/p" "$2"; }

# --- counting ---

count_text() {
    printf 'The sea, the sea.\n' >"$folder/text.txt"
    "$tandem" calibrate "${tokenizer[@]}" --text "$folder/text.txt" -o "$folder/raw.json" &&
        grep -q '"kind": "raw"' "$folder/raw.json" && grep -q '"total": 7,' "$folder/raw.json"
}
check raw_text_is_counted count_text

count_lines() {
    printf '{"id": 1, "prompt": "The sea, the sea.\\n"}\n\n{"prompt": ["The sea", ", the sea.\\n"]}\n' \
        >"$folder/text.jsonl"
    "$tandem" calibrate "${tokenizer[@]}" --text "$folder/text.jsonl" -o "$folder/lines.json" &&
        grep -q '"total": 14,' "$folder/lines.json"
}
check lines_of_json_are_counted count_lines

merge_counts() {
    "$tandem" calibrate --merge "$folder/raw.json" --merge "$folder/raw.json" -o "$folder/twice.json" &&
        "$tandem" calibrate "${tokenizer[@]}" --text "$folder/text.txt" --text "$folder/text.txt" \
            -o "$folder/both.json" && same "$folder/twice.json" "$folder/both.json"
}
check counts_add_up merge_counts

# One layer of each model: what is written matters little here, and compiling takes less time.
printf 'The captain stood on the deck and\n\nShe had never seen the house before,\n' >"$folder/prompts.txt"
generated() { # NAME OPTION...
    "$tandem" calibrate --layers 1 --prompts "$folder/prompts.txt" --max-tokens 40 --temperature 0 \
        -o "$folder/$1.json" "${@:2}"
}
count_generated() {
    generated target "${pair[@]}" && generated drafter "${pair[@]}" --by drafter &&
        generated drafted "${pair[@]}" --by drafted &&
        grep -q '"kind": "target"' "$folder/target.json" && grep -q '"total": 80,' "$folder/target.json" &&
        grep -q '"total": 80, "drafted": 0,' "$folder/drafter.json" || return 1
    # What was drafted right is as long as what was accepted (a text may be cut before a last token).
    local accepted total
    accepted=$(figure accepted "$folder/drafted.json")
    total=$(figure total "$folder/drafted.json")
    echo "$accepted accepted, $total counted"
    [ "$total" -ge "$((accepted - 2))" ] && [ "$total" -le "$accepted" ]
}
check generated_text_is_counted count_generated

alone() {
    generated alone "${target[@]}" &&
        sed 's/"drafted": [0-9]*, "accepted": [0-9]*/"drafted": 0, "accepted": 0/' \
            "$folder/target.json" >"$folder/plain.json" && same "$folder/alone.json" "$folder/plain.json"
}
check a_drafter_does_not_change_greedy_counts alone

# --- programs ---

check compiles_whole compile "$folder/whole"
check compiles_one_row compile "$folder/1" --vocab-trim 1 --counts "$counts"
check compiles_many_rows compile "$folder/1023" --vocab-trim 1023 --counts "$counts"
greedy "$folder/whole" --draft 0 >"$folder/plain"
same_text() { # PROGRAM
    local draft
    for draft in 2 rsd-c:3,2; do
        greedy "$1" --draft "$draft" >"$folder/text" && same "$folder/plain" "$folder/text" || return 1
    done
    "$1" --prompt "$prompt" --max-tokens 100 --temperature 1 --seed 3 >"$folder/text" && [ -s "$folder/text" ]
}
check greedy_text_is_the_same_with_one_row same_text "$folder/1"
check greedy_text_is_the_same_with_many_rows same_text "$folder/1023"

# A head of many rows drafts nearly as well as the whole one, and passes read less.
drafts_well() {
    greedy "$folder/whole" --draft 3 --stats=json >/dev/null 2>"$folder/a" &&
        greedy "$folder/1023" --draft 3 --stats=json >/dev/null 2>"$folder/b" || return 1
    cat "$folder/a" "$folder/b"
    awk -v a="$(figure block_efficiency "$folder/a")" -v b="$(figure block_efficiency "$folder/b")" \
        -v m="$(figure mbsu "$folder/a")" -v n="$(figure mbsu "$folder/b")" \
        'BEGIN { exit !(b > 1.2 && b >= 0.85 * a && b <= 1.05 * a && n > m) }'
}
check a_trimmed_head_drafts_well_and_reads_less drafts_well

automatic() {
    "$tandem" plan "${pair[@]}" --vocab-trim auto --counts "$counts" >"$folder/plan" 2>"$folder/curve" || return 1
    cat "$folder/curve"
    local rows
    rows=$(awk '/chosen/ { print $1 }' "$folder/curve")
    [ "$(grep -c chosen "$folder/curve")" = 1 ] && [ "$(grep -c 'whole$' "$folder/curve")" = 1 ] &&
        [ "$rows" -gt 256 ] && [ "$rows" -lt 4096 ] &&
        grep -q "^drafter's head: $rows of 4096 rows" "$folder/plan" || return 1
    # No row of the table has a larger MBSU than the chosen one.
    awk '$3 == "%" { m[$1] = $6; if (/chosen/) best = $6 }
        END { for (r in m) if (m[r] > best) exit 1; exit best < 1 }' "$folder/curve"
}
check auto_prints_a_curve_and_takes_its_best automatic

plan_bytes() {
    "$tandem" plan --layers 1 "${pair[@]}" --vocab-trim 1023 --counts "$counts" >"$folder/plan" || return 1
    cat "$folder/plan"
    # 1023 ids and <|endoftext|>; a row has 96 bytes and three scales.
    grep -qE "^drafter's head: 1024 of 4096 rows, .* of the counts; 208896 of 522240 bytes" "$folder/plan"
}
check plan_says_what_is_saved plan_bytes

# --- OpenVINO IR ---

written() {
    "$tandem" import graphs/drafter.xml "${tokenizer[@]}" --vocab-trim 1023 --counts "$counts" \
        -o "$folder/drafter.xml" &&
        "$tandem" compile "${target[@]}" --drafter "$folder/drafter.xml" -o "$folder/from-file" || return 1
    greedy "$folder/from-file" --draft 3 --stats=json >"$folder/a" 2>"$folder/stats-a" &&
        greedy "$folder/1023" --draft 3 --stats=json >"$folder/b" 2>"$folder/stats-b" &&
        same "$folder/a" "$folder/plain" && same "$folder/b" "$folder/plain" &&
        [ "$(figure accepted "$folder/stats-a")" = "$(figure accepted "$folder/stats-b")" ] &&
        [ "$(figure accepted "$folder/stats-a")" -gt 20 ]
}
check a_written_drafter_drafts_the_same written
check only_a_drafter_is_trimmed refused 1 'drafter.xml: its head is trimmed to 1024 of 4096 ids' \
    "$tandem" compile --target "$folder/drafter.xml" "${tokenizer[@]}" -o "$folder/out"
check a_trimmed_head_is_not_trimmed_again refused 1 "head is trimmed already, to 1024 rows" \
    "$tandem" compile "${target[@]}" --drafter "$folder/drafter.xml" --vocab-trim 9 --counts "$counts" \
    -o "$folder/out"

# The map says column 0 is an id beyond the vocabulary, and then that ids descend.
damaged() { # element, value, message
    cp "$folder/drafter.xml" "$folder/bad.xml"
    cp "$folder/drafter.bin" "$folder/bad.bin"
    local offset
    offset=$(grep -A1 'name="d2t" type="Const"' "$folder/bad.xml" | sed -n 's/.*offset="\([0-9]*\)".*/\1/p')
    # shellcheck disable=SC2059
    printf "$2" | dd of="$folder/bad.bin" bs=1 seek="$((offset + 8 * $1))" conv=notrunc 2>/dev/null
    refused 1 "$3" "$tandem" compile "${target[@]}" --drafter "$folder/bad.xml" -o "$folder/out"
}
check a_map_beyond_the_vocabulary damaged 1023 '\377\377' '"d2t" maps 1024 columns of the logits to ids up to 66558'
check a_map_that_descends damaged 0 '\377\17' 'element 1 is [0-9]+; the elements are ids minus their places'

# --- refusals ---

with_counts() { compile "$folder/out" --vocab-trim "$2" --counts "$1"; }
sed 's/"tokenizer": "./"tokenizer": "/; s/", "vocabulary"/0", "vocabulary"/' "$counts" >"$folder/other.json"
sed 's/"total": [0-9]*/"total": 0/; s/"counts".*/"counts": []}/; 5,$d' "$counts" >"$folder/nothing.json"
head -c 3000 "$counts" >"$folder/cut.json"
check more_rows_than_ids refused 1 'a head of 4097 rows: the vocabulary has 4096 ids' with_counts "$counts" 4097
check counts_of_another_tokenizer refused 1 'other.json: the counts are of another tokenizer' \
    with_counts "$folder/other.json" 100
check counts_of_nothing refused 1 'nothing.json: the counts are of no token' with_counts "$folder/nothing.json" auto
check truncated_counts refused 1 'cut.json: line [0-9]+' with_counts "$folder/cut.json" 100
check missing_counts refused 1 'nowhere.json' with_counts "$folder/nowhere.json" 100
check counts_without_a_number refused 2 'vocab-trim is missing' compile "$folder/out" --counts "$counts"
check a_number_without_counts refused 2 'counts is missing' compile "$folder/out" --vocab-trim 9
check no_rows refused 2 'vocab-trim 0' with_counts "$counts" 0
check no_drafter refused 2 'give --drafter' \
    "$tandem" compile "${target[@]}" --vocab-trim 9 --counts "$counts" -o "$folder/out"
check auto_needs_a_target refused 2 'give a number' "$tandem" import graphs/drafter.xml "${tokenizer[@]}" \
    --vocab-trim auto --counts "$counts" -o "$folder/out.xml"
check nothing_to_count refused 2 'nothing to count' "$tandem" calibrate "${tokenizer[@]}" -o "$folder/out.json"
check prompts_without_a_model refused 2 'no model writes' \
    "$tandem" calibrate "${tokenizer[@]}" --prompts "$folder/prompts.txt" -o "$folder/out.json"
check a_missing_field refused 1 'text.jsonl: line 1: no string.*"question"' "$tandem" calibrate \
    "${tokenizer[@]}" --text "$folder/text.jsonl" --field question -o "$folder/out.json"
check merging_other_tokenizers refused 1 'counts of different tokenizers' "$tandem" calibrate \
    --merge "$counts" --merge "$folder/other.json" -o "$folder/out.json"
