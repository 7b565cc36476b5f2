#!/usr/bin/env bash
# The default pair end to end: the program's text against the reference evaluator, speculative text
# against plain text, threads, determinism, the budget, and aarch64 under emulation.
#
# SPDX-License-Identifier: GPL-3.0-or-later
source "$(dirname "$0")/harness.sh"
cd "$source_folder"

prompt="The old man looked at the sea"
models=(--target graphs/target.xml --drafter graphs/drafter.xml --tokenizer graphs/tokenizer.json)

compile_pair() { "$tandem" compile "${models[@]}" --memory-budget 64M -o "$1" "${@:2}"; }
greedy() { "$@" --prompt "$prompt" --max-tokens 200 --ignore-eos; }

check compiles compile_pair "$folder/pair"
check compiles_again compile_pair "$folder/again"
check two_compiles_are_identical same "$folder/pair" "$folder/again"

greedy "$folder/pair" --draft 0 --threads 1 >"$folder/plain"
greedy "$folder/pair" --draft 0 --threads 2 >"$folder/plain-2"
"$tandem" run "${models[@]:0:2}" "${models[@]:4:2}" --reference --prompt "$prompt" --max-tokens 200 \
    --ignore-eos >"$folder/reference"
check text_has_length test "$(wc -c <"$folder/plain")" -gt 400
check greedy_text_is_the_evaluators same "$folder/plain" "$folder/reference"
check threads_do_not_change_text same "$folder/plain" "$folder/plain-2"

speculative_equals_plain() {
    local draft threads
    for draft in 1 2 3 5 8 16 rsd-c:4 rsd-c:2,2,1 rsd-c:1,3,2 rsd-s:2x5 rsd-s:4x4 auto; do
        for threads in 1 2; do
            greedy "$folder/pair" --draft "$draft" --threads $threads >"$folder/speculative"
            same "$folder/plain" "$folder/speculative" || { echo "--draft $draft"; return 1; }
        done
    done
}
check speculative_text_is_plain_text speculative_equals_plain
check a_draft_that_is_too_large refused 2 'more than 16 tokens' \
    "$folder/pair" --prompt a --draft rsd-s:6x4
check a_draft_of_no_kind refused 2 'rsd-c:2,2,1' "$folder/pair" --prompt a --draft tree

# A penalty changes the greedy text, and every draft changes it in the same way.
penalised_equals_plain() {
    local draft
    greedy "$folder/pair" --draft 0 --repetition-penalty 1.3 --repetition-window 20 >"$folder/a" || return 1
    ! cmp -s "$folder/plain" "$folder/a" || return 1
    for draft in 3 rsd-c:2,2 rsd-s:3x3; do
        greedy "$folder/pair" --draft $draft --repetition-penalty 1.3 --repetition-window 20 >"$folder/b"
        same "$folder/a" "$folder/b" || return 1
    done
}
check penalised_text_is_plain_text penalised_equals_plain

truncated_samples() {
    local option
    for option in "--top-k 5" "--top-p 0.8" "--min-p 0.1"; do
        "$folder/pair" --prompt "$prompt" --max-tokens 60 --temperature 2 --draft rsd-c:2,2 $option >"$folder/a" &&
            [ -s "$folder/a" ] || return 1
    done
    "$folder/pair" --prompt "$prompt" --max-tokens 60 --ignore-eos --temperature 2 --top-k 1 >"$folder/a" &&
        "$folder/pair" --prompt "$prompt" --max-tokens 60 --ignore-eos >"$folder/b" && same "$folder/a" "$folder/b"
}
check the_most_probable_token_alone_is_greedy truncated_samples

sampled() { "$folder/pair" --prompt "$prompt" --max-tokens 60 --temperature 1 --draft 2 --seed "$1" "${@:2}"; }
sampling_repeats() {
    sampled 7 >"$folder/a" && sampled 7 >"$folder/b" && sampled 8 >"$folder/c" &&
        same "$folder/a" "$folder/b" && ! cmp -s "$folder/a" "$folder/c"
}
check a_seed_repeats_a_sample sampling_repeats

# number FIELD: a number of the statistics object.
number() { sed -n "s/.*\"$1\": *\([0-9.]*\).*/\1/p" "$folder/stats"; }
statistics() {
    greedy "$folder/pair" --draft 3 --stats=json >/dev/null 2>"$folder/stats" || return 1
    cat "$folder/stats"
    local field
    for field in tokens seconds tokens_per_second prefill_seconds rounds block_efficiency \
        acceptance planned_bytes peak_bytes budget_bytes; do
        [ -n "$(number $field)" ] || { echo "no $field"; return 1; }
    done
    [ "$(number tokens)" = 200 ] && [ "$(number budget_bytes)" = 67108864 ] &&
        [ "$(number peak_bytes)" -le "$(number planned_bytes)" ] &&
        [ "$(number planned_bytes)" -le 67108864 ] &&
        awk -v e="$(number block_efficiency)" 'BEGIN { exit !(e > 1.2 && e <= 6) }'
}
check statistics_are_complete_and_within_budget statistics

from_standard_input() { printf '%s' "$prompt" | "$folder/pair" --max-tokens 20; }
from_file() { printf '%s' "$prompt" >"$folder/prompt" && "$folder/pair" --prompt-file "$folder/prompt" --max-tokens 20; }
prompts_agree() {
    from_standard_input >"$folder/a" && from_file >"$folder/b" &&
        "$folder/pair" --prompt "$prompt" --max-tokens 20 >"$folder/c" &&
        same "$folder/a" "$folder/b" && same "$folder/a" "$folder/c"
}
check prompts_come_from_three_places prompts_agree

full_context() {
    "$folder/pair" --prompt "$prompt" --max-tokens 5000 --ignore-eos --slots 128 \
        >"$folder/a" 2>"$folder/stderr" || return 1
    cat "$folder/stderr"
    grep -qi 'context full' "$folder/stderr" && [ "$(wc -c <"$folder/a")" -gt 200 ]
}
check a_full_context_stops_clearly full_context

# Text that finds no room is a failure; a reader that has gone is none.
check no_room_for_the_text refused 1 'cannot be written' \
    bash -c "exec '$folder/pair' --prompt a --max-tokens 3 >/dev/full"
check a_reader_may_leave bash -c "set -o pipefail; '$folder/pair' --prompt a --max-tokens 300 | head -c 1"

if command -v qemu-aarch64 >/dev/null && [ -e "$build/runtime/aarch64-linux-gnu/libtandem_runtime.a" ]; then
    check compiles_for_aarch64 compile_pair "$folder/arm" --triple aarch64-linux-gnu
    greedy qemu-aarch64 "$folder/arm" --threads 1 >"$folder/arm-text"
    check aarch64_writes_the_same_text same "$folder/plain" "$folder/arm-text"
else
    skip aarch64_writes_the_same_text "qemu-aarch64 or the aarch64 compiler is not installed"
fi

shared_library() {
    "$tandem" compile "${models[@]}" --emit=shared --name poet -o "$folder/libpoet.so" || return 1
    gcc -std=c17 -Wall -Wextra -Werror -I"$source_folder" -I"$folder" tests/cli/poet.c \
        -o "$folder/poet" -L"$folder" -lpoet || return 1
    LD_LIBRARY_PATH=$folder "$folder/poet" "$prompt" 200 >"$folder/a" && same "$folder/plain" "$folder/a"
}
check a_shared_library_writes_the_same_text shared_library

without_drafter() {
    "$tandem" compile "${models[@]:0:2}" "${models[@]:4:2}" -o "$folder/alone" &&
        greedy "$folder/alone" >"$folder/a" && same "$folder/plain" "$folder/a"
}
check a_target_alone_compiles_and_writes_the_same_text without_drafter
