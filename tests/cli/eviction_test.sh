#!/usr/bin/env bash
# Eviction end to end on the default pair: neither drafts nor threads change the text under any
# policy, prompts may be longer than the slots, and what cannot be done is refused.
#
# SPDX-License-Identifier: GPL-3.0-or-later
source "$(dirname "$0")/harness.sh"
cd "$source_folder"

pair=(--target graphs/target.xml --drafter graphs/drafter.xml --tokenizer graphs/tokenizer.json)
policies=(recent h2o h2o+caote h2o+fastcaote tova tova+caote tova+fastcaote snapkv snapkv+caote
    snapkv+fastcaote keydiff keydiff+caote keydiff+fastcaote)
prompt="The old man looked at the sea"

check compiles "$tandem" compile "${pair[@]}" --evict=snapkv --max-draft 12 -o "$folder/pair"
check compiles_for_q8_caches "$tandem" compile "${pair[@]}" --evict=h2o --kv=q8 \
    --activations=q8 --max-draft 12 -o "$folder/pair-q8"
check compiles_without_eviction "$tandem" compile "${pair[@]}" -o "$folder/none"

write() { # PROGRAM POLICY SLOTS OPTION...
    "$1" --evict "$2" --slots "$3" --prompt "$prompt" --max-tokens 300 --ignore-eos "${@:4}"
}

# Several evictions, some of them in the middle of what would be a tree.
text_stays() { # PROGRAM POLICY OPTION...
    local draft threads
    write "$1" "$2" 96 --draft 0 --threads 1 "${@:3}" >"$folder/plain" || return 1
    for draft in 0 2 rsd-c:2,2,1 rsd-s:3x4 auto; do
        for threads in 1 2; do
            write "$1" "$2" 96 --draft "$draft" --threads "$threads" "${@:3}" >"$folder/other" ||
                return 1
            same "$folder/plain" "$folder/other" || { echo "draft $draft, $threads threads"; return 1; }
        done
    done
}
for policy in "${policies[@]}"; do
    check "drafts_and_threads_do_not_change_the_text_under_$policy" text_stays "$folder/pair" "$policy"
done
check drafts_and_threads_do_not_change_the_text_of_q8_caches text_stays "$folder/pair-q8" h2o+caote
check drafts_and_threads_do_not_change_the_text_of_short_steps \
    text_stays "$folder/pair" tova+caote --evict-every 3

# As long as nothing was dropped the text is that of a cache that drops nothing; later it is not.
texts_differ_late() {
    write "$folder/pair" none 512 --draft 0 >"$folder/full" &&
        write "$folder/pair" tova 512 --draft 0 >"$folder/kept" &&
        write "$folder/pair" tova 96 --draft 0 >"$folder/dropped" &&
        same "$folder/full" "$folder/kept" &&
        [ "$(head -c 120 "$folder/full")" = "$(head -c 120 "$folder/dropped")" ] &&
        ! cmp -s "$folder/full" "$folder/dropped"
}
check texts_differ_only_after_an_eviction texts_differ_late

# Ten times as many tokens as slots, in both models.
for chapter in {1..31}; do
    printf 'Chapter %d. The old man looked at the sea for the %d time, and said that he would go %s. ' \
        "$chapter" "$((chapter * 7))" "$([ $((chapter % 3)) -eq 0 ] && echo home || echo away)"
done >"$folder/long"
long_prompt() { # POLICY
    "$folder/pair" --evict "$1" --slots 80 --prompt-file "$folder/long" --max-tokens 60 \
        --ignore-eos --draft 3 --stats=json --ids >"$folder/ids" 2>"$folder/stats" || {
        cat "$folder/stats"
        return 1
    }
    cat "$folder/stats"
    grep -qE '"prompt_tokens": ?([89][0-9]{2}|[0-9]{4})' "$folder/stats" &&
        grep -qE '"tokens": ?60\b' "$folder/stats" && grep -qE '"evictions": ?[0-9]{2}' "$folder/stats"
}
for policy in recent h2o tova+caote snapkv keydiff+fastcaote; do
    check "prompt_ten_times_the_slots_under_$policy" long_prompt "$policy"
done

# Compact positions: beyond the model's context of 1024, and still independent of drafts.
compact() { # DRAFT
    "$folder/pair" --evict tova --positions compact --slots 96 --prompt "$prompt" \
        --max-tokens 1300 --ignore-eos --draft "$1" --stats=json 2>"$folder/stats"
}
compact_text_stays() {
    local draft
    compact 0 >"$folder/plain" && grep -q '"tokens": 1300,.*"stop": "length"' "$folder/stats" ||
        { cat "$folder/stats"; return 1; }
    for draft in 2 rsd-s:3x4; do
        compact "$draft" >"$folder/other" && same "$folder/plain" "$folder/other" || return 1
    done
}
check compact_positions_go_beyond_the_context compact_text_stays
absolute_text_ends() {
    "$folder/pair" --evict tova --slots 96 --prompt "$prompt" --max-tokens 1300 --ignore-eos \
        --stats=json >/dev/null 2>"$folder/stats" && cat "$folder/stats" &&
        grep -q '"stop": "context"' "$folder/stats"
}
check absolute_positions_end_at_the_context absolute_text_ends
check compact_positions_need_a_policy refused 2 'compact positions need a policy' \
    "$folder/pair" --evict none --positions compact --prompt a
check compact_positions_need_wider_caches refused 1 'caches of 8 bits.*--kv=f16' \
    "$folder/pair-q8" --positions compact --prompt a

no_eviction() {
    refused 1 'slots' "$folder/none" --slots 80 --prompt-file "$folder/long"
}
check without_eviction_it_is_refused no_eviction
recent_without_queries() {
    write "$folder/none" recent 96 >"$folder/a" && write "$folder/pair" recent 96 >"$folder/b" &&
        same "$folder/a" "$folder/b"
}
check recent_and_keydiff_need_no_queries recent_without_queries
check queries_that_were_not_kept_are_missed refused 1 'tova needs queries.*--evict' \
    "$folder/none" --evict tova --prompt a
check unknown_policies_are_refused_at_start refused 2 'no eviction policy lru: none, recent' \
    "$folder/none" --evict lru --prompt a
check unknown_policies_are_refused_when_compiling refused 2 'no eviction policy lru: none, recent' \
    "$tandem" compile "${pair[@]}" --evict=lru -o "$folder/out"
check recent_has_no_scores refused 2 'recent\+caote has no scores' \
    "$tandem" compile "${pair[@]}" --evict=recent+caote -o "$folder/out"
