#!/usr/bin/env bash
# Programs from GGUF files: greedy text over the whole length of references made by an independent
# engine, which keeps f32 caches.
#
# SPDX-License-Identifier: GPL-3.0-or-later
source "$(dirname "$0")/harness.sh"
weights=$shared/data/weights
prompt="Once upon a time, there was"

# The reference file holds the prompt and 120 tokens of text.
equals_reference() {
    local model=$1
    "$tandem" compile --target "$weights/$model.gguf" --kv=f32 -o "$folder/model" || return 1
    "$folder/model" --prompt "$prompt" --echo --max-tokens 120 --ignore-eos >"$folder/text" || return 1
    # The references begin with the space of their first token and end in newlines of that engine.
    local text reference
    text=$(sed '1s/^ *//' "$folder/text")
    reference=$(sed '1s/^ *//' "$weights/reference/$model.txt")
    [ "${#reference}" -gt 200 ] && [ "$text" = "$reference" ] || { echo "$text"; return 1; }
}

for model in stories260K-f32 stories3M-f32; do
    if [ -e "$weights/$model.gguf" ]; then
        check "${model}_writes_the_reference_text" equals_reference "$model"
    else
        skip "${model}_writes_the_reference_text" "../shared/data/weights is not there"
    fi
done

q8_runs() {
    "$tandem" compile --target "$weights/stories3M-q8_0.gguf" -o "$folder/model" &&
        "$folder/model" --prompt "$prompt" --max-tokens 40 >"$folder/text" &&
        [ "$(wc -c <"$folder/text")" -gt 80 ]
}
if [ -e "$weights/stories3M-q8_0.gguf" ]; then
    check q8_0_weights_run q8_runs
    check another_architecture_is_refused refused 1 bitnet \
        "$tandem" compile --target "$weights/bitllama3M-f32.gguf" -o "$folder/out"
else
    skip q8_0_weights_run "../shared/data/weights is not there"
fi
