#!/usr/bin/env bash
# How well quantised forms of the default pair predict a held-back novel.
#
# SPDX-License-Identifier: GPL-3.0-or-later
source "$(dirname "$0")/harness.sh"
cd "$source_folder"
novels=$shared/data/text/train/eltec_eng.valid.txt
pair=$shared/pair

nats() { # MODEL WEIGHTS ACTIVATIONS
    "$tandem" perplexity --target "$pair/$1" --tokenizer "$pair/tokenizer.json" --text "$novels" \
        --tokens 2048 --weights="$2" --activations="$3" | sed 's/.*: \([0-9.]*\) nats.*/\1/'
}

# Perplexity is e to the nats: the difference of the nats is the relative difference.
within() { # MODEL WEIGHTS ACTIVATIONS LIMIT
    local given reference
    given=$(nats "$1" "$2" "$3") && reference=$(nats "$1" f32 f32) &&
        echo "$1 $2 $3: $given nats, f32 $reference" &&
        awk "BEGIN { exit !($reference > 3 && $given - $reference < log(1 + $4)) }"
}

if [ -f "$novels" ] && [ -d "$pair" ]; then
    check target_q8_within_0.2_percent within target q8 q8 0.002
    check target_q4_within_2.5_percent within target q4 q8 0.025
    check drafter_q4_within_2.5_percent within drafter q4 q8 0.025
else
    skip target_quality "no ../shared/pair or no ../shared/data/text"
fi

unknown_activations() {
    local status=0
    "$tandem" compile --target graphs/target.xml --activations=q7 -o "$folder/made" || status=$?
    [ $status -eq 2 ] && [ ! -e "$folder/made" ]
}
check unknown_activations unknown_activations
check missing_text refused 1 'nothing.txt' \
    "$tandem" perplexity --target graphs/drafter.xml --tokenizer graphs/tokenizer.json --text nothing.txt
: >"$folder/empty.txt"
check too_short_a_text refused 1 'has [01] tokens; at least 2' \
    "$tandem" perplexity --target graphs/drafter.xml --tokenizer graphs/tokenizer.json --text "$folder/empty.txt"
