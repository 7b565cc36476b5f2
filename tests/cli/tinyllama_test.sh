#!/usr/bin/env bash
# A real export of a 1.1 billion parameter model (its .bin was never stored): import without
# weights, verification of compiled code, and a program with random weights.
#
# SPDX-License-Identifier: GPL-3.0-or-later
source "$(dirname "$0")/harness.sh"
cd "$source_folder"
model=$shared/data/openvino/tinyllama_1.1b_u8_stateful_openvino_model.xml
constants=tests/frontend/tinyllama_constants.json
if [ ! -e "$model" ]; then
    skip tinyllama "../shared/data/openvino is not there"
    exit
fi

raised() {
    "$tandem" import "$model" "$@" >"$folder/graph" 2>"$folder/stderr" || { cat "$folder/stderr"; return 1; }
    [ "$(grep -c '= cached_attention(' "$folder/graph")" -eq 22 ] &&
        ! grep -qE '= (shape_of|reshape|broadcast|gather|strided_slice|range|scatter_update|concat|transpose)\(' "$folder/graph"
}
check import_without_weights raised
check import_with_constants raised --constants "$constants"

summary() {
    "$tandem" import "$model" --summary 2>/dev/null >"$folder/summary" || return 1
    cat "$folder/summary"
    grep -qE 'cached_attention +22$' "$folder/summary" && grep -qE 'linear +155$' "$folder/summary"
}
check summary_counts_operations summary

# What was assumed under --summary is a file that --constants reads, and gives the same graph.
assumed() {
    "$tandem" import "$model" --summary --assumed "$folder/assumed.json" >/dev/null 2>&1 &&
        "$tandem" import "$model" --constants "$folder/assumed.json" >"$folder/again" 2>"$folder/stderr" &&
        ! grep -q assumed "$folder/stderr" && "$tandem" import "$model" >"$folder/graph" 2>/dev/null &&
        same "$folder/graph" "$folder/again"
}
check assumed_constants_can_be_given assumed

check verify_two_layers "$tandem" verify --target "$model" --constants "$constants" \
    --weights=random:7 --layers 2

two_layers_run() {
    "$tandem" compile --target "$model" --constants "$constants" --weights=random:7 --layers 2 \
        --context 512 -o "$folder/model" &&
        "$folder/model" --prompt-ids 1,2,3,4,5 --ids --max-tokens 8 --ignore-eos >"$folder/ids" &&
        [ "$(wc -w <"$folder/ids")" -eq 8 ]
}
check two_layers_decode two_layers_run
