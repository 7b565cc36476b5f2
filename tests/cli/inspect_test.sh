#!/usr/bin/env bash
# tandem inspect: the figures of schedule and plan again, files that are written whole, refusals.
#
# SPDX-License-Identifier: GPL-3.0-or-later
source "$(dirname "$0")/harness.sh"
cd "$folder"

graphs=$source_folder/graphs
pair=(--target "$graphs/target.xml" --drafter "$graphs/drafter.xml" --tokenizer "$graphs/tokenizer.json")

"$tandem" generate layered --nodes 300 --seed 7 -o layered.graphml

# "ORDERER PEAK BOUND", one line for each order, of JSON of either verb.
orders_of() {
    grep -oE '"orderer": ?"[^"]*", ?"chosen": ?"[^"]*", ?"peak": ?[0-9]+,( ?"peak_step": ?[0-9]+,)? ?"lower_bound": ?[0-9]+' "$1" |
        sed -E 's/.*"orderer": ?"([^"]*)".*"peak": ?([0-9]+).*"lower_bound": ?([0-9]+)/\1 \2 \3/' | sort
}

figures_of_schedule() {
    "$tandem" schedule layered.graphml --compare --work-limit 200000 --json >schedule.json &&
        "$tandem" inspect layered.graphml --against file,dfs,greedy,beam --work-limit 200000 --json >inspect.json || return 1
    orders_of schedule.json | grep -E '^(file|dfs|greedy|beam|auto) ' >expected
    orders_of inspect.json >found
    cat found
    [ "$(wc -l <found)" -eq 5 ] && same expected found
}
check figures_are_those_of_schedule figures_of_schedule

if command -v python3 >/dev/null; then
    is_json() { python3 -m json.tool "$1" >/dev/null; }
    valid() {
        "$tandem" inspect layered.graphml --time-limit 1 --json --trace trace.json >all.json && is_json all.json && is_json trace.json &&
            "$tandem" inspect "$graphs/target.xml" --json >model.json && is_json model.json && grep -q '"name":"forward"' model.json
    }
    check json_and_trace_are_valid valid
else
    skip json_and_trace_are_valid "python3 is not installed"
fi

figures_of_plan() {
    "$tandem" plan "${pair[@]}" --memory-budget 12M >plan && "$tandem" inspect "${pair[@]}" --memory-budget 12M --json >pair.json || return 1
    local part bytes
    for part in weights arena tokenizer code "libc, buffers, stacks"; do
        bytes=$(sed -nE "s/^  $part +([0-9]+) bytes.*/\1/p" plan)
        echo "$part: $bytes"
        [ -n "$bytes" ] && grep -qF "{\"name\":\"$part\",\"bytes\":$bytes}" pair.json || return 1
    done
    bytes=$(sed -nE 's/^  in all +([0-9]+) bytes.*/\1/p' plan)
    grep -q "\"resident\":$bytes,\"smallest\":$(sed -nE 's/^  smallest budget +([0-9]+) bytes.*/\1/p' plan)," pair.json || return 1
    # The parts add up, and the caches of both models are what plan calls caches.
    local sum=0 caches=0 number
    for number in $(grep -o '"parts":.*' pair.json | grep -oE '"bytes":[0-9]+' | cut -d: -f2); do sum=$((sum + number)); done
    for number in $(grep -oE 'KV slots","bytes":[0-9]+' pair.json | cut -d: -f2); do caches=$((caches + number)); done
    echo "sum $sum of $bytes, caches $caches"
    [ "$sum" -eq "$bytes" ] && grep -qE "^  caches +$caches bytes" plan
}
check a_budget_is_that_of_plan figures_of_plan

arena_of_plan() {
    local bytes
    bytes=$(sed -nE 's/^arena ([0-9]+) bytes.*/\1/p' plan)
    [ -n "$bytes" ] && grep -q "^{\"bytes\":$bytes,\"live_peak\":$(sed -nE 's/^arena .* live peak ([0-9]+)$/\1/p' plan)," pair.json
}
check the_arena_is_that_of_plan arena_of_plan

given_order() {
    "$tandem" schedule layered.graphml --work-limit 200000 --order-out order.txt >/dev/null &&
        "$tandem" inspect layered.graphml --order order.txt --against "" --json >given.json &&
        [ "$(orders_of given.json | cut -d' ' -f1,2)" = "given $(orders_of schedule.json | sed -n 's/^auto \([0-9]*\) .*/\1/p')" ]
}
check an_order_can_be_given given_order

prints_a_summary() {
    "$tandem" inspect layered.graphml --work-limit 200000 >text && cat text &&
        grep -q '^  auto ' text && grep -q '^live at the peak of auto, step ' text && grep -q '^arena [0-9]* bytes' text
}
check without_options_a_summary_is_printed prints_a_summary

same_page_again() {
    for i in 1 2; do
        "$tandem" inspect layered.graphml --work-limit 200000 --html page$i.html || return 1
        sed -E 's/"seconds":[0-9.]+//g' page$i.html >plain$i
    done
    same plain1 plain2 && [ "$(wc -c <page1.html)" -lt 200000 ]
}
check the_same_page_again_but_for_times same_page_again

# --- refusals ---

check a_graph_must_be_named refused 2 'a graph is missing' "$tandem" inspect
check two_graphs_are_refused refused 2 'one graph at a time' "$tandem" inspect a.graphml b.graphml
check a_graph_and_a_program_are_refused refused 2 'not both' "$tandem" inspect layered.graphml "${pair[@]}"
check options_of_programs_want_a_target refused 2 'want --target' "$tandem" inspect layered.graphml --memory-budget 8M --html out.html
check an_unknown_orderer_is_refused refused 2 'unknown orderer "best"' "$tandem" inspect layered.graphml --orderer best --html out.html
check an_unknown_other_is_refused refused 2 'unknown orderer "worst"' "$tandem" inspect layered.graphml --against dfs,worst --html out.html
check a_missing_file_is_refused refused 1 'missing.graphml' "$tandem" inspect missing.graphml --html out.html
check no_folder_is_refused refused 1 'no/folder/page.html' "$tandem" inspect layered.graphml --time-limit 1 --html no/folder/page.html
check an_order_of_a_program_is_refused refused 2 'a program is inspected in its own order' "$tandem" inspect "${pair[@]}" --order order.txt

old_page_stays() {
    echo old >kept.html
    ! "$tandem" inspect layered.graphml --orderer best --html kept.html 2>/dev/null && [ "$(cat kept.html)" = old ]
}
check a_failure_leaves_the_old_page old_page_stays
