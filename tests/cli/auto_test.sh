#!/usr/bin/env bash
# --draft=auto end to end: greedy text is plain text, recorded costs make sampled text repeatable, and
# a drafter is not touched before the first token.
#
# SPDX-License-Identifier: GPL-3.0-or-later
source "$(dirname "$0")/harness.sh"
cd "$source_folder"

"$tandem" compile --target graphs/target.xml --drafter graphs/drafter.xml \
    --tokenizer graphs/tokenizer.json --activations=q8 -o "$folder/pair"
prompt="The old man looked at the sea"
write() { "$folder/pair" --prompt "$prompt" --max-tokens 300 --ignore-eos "$@"; }

greedy_text() {
    write --draft 0 >"$folder/plain" && write --draft auto >"$folder/auto" &&
        write >"$folder/default" && same "$folder/plain" "$folder/auto" &&
        same "$folder/plain" "$folder/default"
}
check greedy_text_is_plain_text greedy_text

replayed() {
    rm -f "$folder/costs"
    write --temperature 1 --seed 5 --costs "$folder/costs" >"$folder/text" &&
        grep -qx 'tandem costs 1' "$folder/costs" && cp "$folder/costs" "$folder/kept" || return 1
    write --temperature 1 --seed 5 --costs "$folder/costs" >"$folder/a" &&
        write --temperature 1 --seed 5 --threads 1 --costs "$folder/costs" >"$folder/b" &&
        same "$folder/a" "$folder/b" && same "$folder/kept" "$folder/costs"
}
check a_seed_repeats_a_text_with_recorded_costs replayed

late_drafter() {
    write --max-tokens 1 --stats=json 2>"$folder/stats" >/dev/null && cat "$folder/stats" &&
        grep -q '"drafter_passes": 0,' "$folder/stats" && grep -q '"catch_up_tokens": 0,' "$folder/stats"
}
check the_first_token_does_not_wait_for_the_drafter late_drafter

echo "tandem costs 7" >"$folder/bad"
check other_files_are_refused refused 1 'bad, line 1: "tandem costs 1" is accepted here' \
    "$folder/pair" --prompt x --costs "$folder/bad"
check costs_that_cannot_be_written_are_said refused 1 'none/costs: the costs cannot be written' \
    "$folder/pair" --prompt-ids 1 --max-tokens 1 --ids --costs "$folder/none/costs"
