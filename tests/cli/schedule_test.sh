#!/usr/bin/env bash
# tandem schedule and tandem generate: orders in and out, refusals, the published bars on shared graphs.
#
# SPDX-License-Identifier: GPL-3.0-or-later
source "$(dirname "$0")/harness.sh"
cd "$folder"

head='<graphml><key id="b" for="node" attr.name="bytes" attr.type="long"/><graph edgedefault="directed">'
node() { echo "<node id=\"$1\"><data key=\"b\">$2</data></node>"; }
edge() { echo "<edge source=\"$1\" target=\"$2\"/>"; }
write() { # FILE, lines
    local file=$1
    shift
    { echo "$head"; printf '%s\n' "$@"; echo "</graph></graphml>"; } >"$file"
}
peak_of() { sed -n 's/.*"peak": \([0-9]*\),.*/\1/p' | head -n 1; }

"$tandem" generate layered --nodes 300 --seed 7 -o layered.graphml

generates_the_same() {
    "$tandem" generate layered --nodes 300 --seed 7 -o again.graphml && same layered.graphml again.graphml &&
        "$tandem" generate layered --nodes 300 --seed 8 -o other.graphml &&
        ! cmp -s layered.graphml other.graphml && [ "$(grep -c '<node' layered.graphml)" -eq 300 ]
}
check generate_is_seeded generates_the_same

order_comes_back() {
    "$tandem" schedule layered.graphml --work-limit 3000000 --order-out order.txt -o new.graphml --json >first.json &&
        [ "$(wc -l <order.txt)" -eq 300 ] &&
        "$tandem" schedule layered.graphml --order order.txt --json >given.json &&
        "$tandem" schedule new.graphml --orderer file --json >file.json || return 1
    local peak
    peak=$(peak_of <first.json)
    [ "$peak" -gt 0 ] && [ "$peak" = "$(peak_of <given.json)" ] && [ "$peak" = "$(peak_of <file.json)" ]
}
check an_order_can_be_written_and_scored order_comes_back

is_deterministic() {
    for i in 1 2; do
        "$tandem" schedule layered.graphml --work-limit 3000000 --seed 5 --order-out "order$i.txt" >/dev/null || return 1
    done
    same order1.txt order2.txt
}
check a_work_limit_gives_the_same_order is_deterministic

compares() {
    "$tandem" schedule layered.graphml --time-limit 1 --compare >table || return 1
    cat table
    local row
    for row in file random bfs dfs greedy postorder liu beam beam-backward local exact auto; do
        grep -q "^  $row " table || return 1
    done
    # auto is the last row and no worse than any other.
    [ "$(awk '/^  [a-z]/ && $1 != "orderer" {print $2}' table | sort -n | head -n 1)" = \
        "$(awk '$1 == "auto" {print $2}' table)" ]
}
check compare_prints_every_orderer compares

valid_json() { "$tandem" schedule "$source_folder/graphs/target.xml" --json >out.json; python3 -m json.tool out.json >/dev/null; }
if command -v python3 >/dev/null; then check models_are_scheduled_too valid_json; else skip models_are_scheduled_too "python3 is not installed"; fi

reorders_models() {
    cp "$source_folder/graphs/target.xml" old.xml && ln -s "$source_folder/graphs/target.bin" old.bin && ln -s old.bin new.bin &&
        "$tandem" schedule old.xml --orderer random --seed 3 -o new.xml --json >random.json &&
        "$tandem" schedule new.xml --orderer file --json >file.json || return 1
    [ "$(peak_of <random.json)" = "$(peak_of <file.json)" ] && ! cmp -s old.xml new.xml &&
        [ "$(sort old.xml | cksum)" = "$(sort new.xml | cksum)" ]
}
check models_are_written_in_a_new_order reorders_models
: >other.gguf
check other_models_are_not_written refused 1 "gguf" "$tandem" schedule other.gguf -o out.xml

# --- refusals ---

write cycle.graphml "$(node a 1)" "$(node b 2)" "$(edge a b)" "$(edge b a)"
check a_cycle_is_refused refused 1 'cycle.graphml: node "[ab]" lies on or behind a cycle' "$tandem" schedule cycle.graphml
empty_json() { ! "$tandem" schedule cycle.graphml --json >out.json 2>/dev/null && ! [ -s out.json ] &&
    ! "$tandem" schedule layered.graphml --json --orderer best >out.json 2>/dev/null && ! [ -s out.json ]; }
check json_is_whole_or_not_there empty_json
write negative.graphml "$(node a -5)"
check a_negative_size_is_refused refused 1 'negative.graphml: line 2: node "a": bytes is -5; expected' "$tandem" schedule negative.graphml
write sum.graphml "$(for i in $(seq 1025); do node "n$i" 9007199254740992; done)"
check sizes_that_overflow_are_refused refused 1 'sizes add up to over 2\^63' "$tandem" schedule sum.graphml
echo nobody >wrong.txt
check an_unknown_id_is_refused refused 1 'wrong.txt: line 1: the graph has no node "nobody"' "$tandem" schedule layered.graphml --order wrong.txt
printf 'n0\0tail\n' >zero.txt
check a_zero_byte_ends_no_id refused 1 'zero.txt: line 1: the graph has no node' "$tandem" schedule layered.graphml --order zero.txt
check training_asks_for_its_output_first refused 1 'nowhere/parameters.bin: cannot write here' timeout 10 "$tandem" train-orderer -o nowhere/parameters.bin
sed -n '1,5p' order.txt >short.txt
check a_short_order_is_refused refused 1 'short.txt: 5 nodes are listed; the graph has 300' "$tandem" schedule layered.graphml --order short.txt
tac order.txt >backward.txt
check a_wrong_order_is_refused refused 1 'backward.txt: order: node .* comes before its input' "$tandem" schedule layered.graphml --order backward.txt
check an_unknown_orderer_is_refused refused 2 'unknown orderer "best"; known are file, random' "$tandem" schedule layered.graphml --orderer best
check a_wrong_width_is_refused refused 2 'expected a number, as in beam:N with N from 1 to 1000000' "$tandem" schedule layered.graphml --orderer beam:0
check a_wrong_sample_is_refused refused 2 'topoformer:beam=N with N from 1 to 1000000 or topoformer:sample=N with N from 1 to 100000' \
    "$tandem" schedule layered.graphml --orderer topoformer:sample=1000000
check a_width_where_there_is_none_is_refused refused 2 'orderer "liu:4": liu takes no number' "$tandem" schedule layered.graphml --orderer liu:4

# Nothing is searched, and nothing is lost, when the result could not be written.
for option in -o --order-out --arena-out; do
    check "nowhere_to_write_is_found_first_$option" refused 1 'nowhere/out: cannot write here' \
        timeout 10 "$tandem" schedule layered.graphml --time-limit 100 $option nowhere/out
done
keeps_the_old() {
    echo old >kept.txt
    ! "$tandem" schedule layered.graphml --time-limit 100 --order-out kept.txt -o nowhere/out && [ "$(cat kept.txt)" = old ]
}
check a_refused_output_leaves_the_others keeps_the_old
printf '<!DOCTYPE a [<!ENTITY x "xx">]><graphml/>' >bomb.graphml
write fraction.graphml "$(node a 1.5)"
check a_fraction_is_refused refused 1 'node "a": bytes is 1.5; expected a whole number' "$tandem" schedule fraction.graphml
write huge.graphml "$(node a 99999999999999999999)"
check a_size_beyond_all_is_refused refused 1 'node "a": bytes is 9{20}; expected a whole number' "$tandem" schedule huge.graphml
write missing.graphml "$(node a 1)" '<node id="b"/>'
check a_missing_size_is_refused refused 1 'node "b": attribute "bytes" is missing' "$tandem" schedule missing.graphml
write unknown.graphml "$(node a 1)" "$(edge a ghost)"
check an_edge_to_nowhere_is_refused refused 1 'an edge names node ".*", which there is not' "$tandem" schedule unknown.graphml
printf '<graphml>%s' "$(printf '<desc>%.0s' $(seq 20000))" >deep.graphml
check a_deep_bomb_is_refused refused 1 'nested too deeply' "$tandem" schedule deep.graphml
check entities_are_refused refused 1 'entities are not accepted' "$tandem" schedule bomb.graphml

# Ids of any length are lines of an order; those that are no line are refused before a file is written.
long=$(printf 'a%.0s' $(seq 5000))
write long.graphml "$(node "$long" 3)" "$(node b 4)" "$(edge b "$long")"
long_ids() {
    "$tandem" schedule long.graphml --order-out long.txt >/dev/null &&
        "$tandem" schedule long.graphml --order long.txt && grep -qx "$long" long.txt
}
check long_ids_come_back long_ids
write lines.graphml "$(node 'a&#10;b' 3)"
check an_id_of_two_lines_is_not_written refused 1 'out.txt: the order cannot be written: the id of node 0 .*line end' \
    "$tandem" schedule lines.graphml --order-out out.txt
check too_many_nodes_are_refused refused 2 'from 1 to 100000' "$tandem" generate layered --nodes 100001 -o out.graphml

# --- large graphs ---

large() {
    "$tandem" generate layered --nodes 20000 --seed 1 -o large.graphml &&
        "$tandem" schedule large.graphml --orderer dfs --json && "$tandem" schedule large.graphml --orderer greedy --json &&
        "$tandem" schedule large.graphml --time-limit 1 --json
}
check large_graphs_are_ordered large

# --- graphs from elsewhere: the best of five usual orderers, and what was proved once ---

if [ -d "$shared/graphs" ]; then
    at_most() { # GRAPH BYTES
        local peak
        peak=$("$tandem" schedule "$shared/graphs/$1.graphml" --work-limit 300000000 --json | peak_of)
        echo "$1: $peak, at most $2"
        [ -n "$peak" ] && [ "$peak" -le "$2" ]
    }
    while read -r graph bytes; do check "no_more_than_known_for_$graph" at_most "$graph" "$bytes"; done <<'END'
detr_train 259072880
dlrm_train 27171084
gemma3_4b_train 919095178244
maxtext_1n1g_train 40292657208
resnet50_train 4047451652
mlp_mixer_train 7575014128
op_bert_l-3_training 765886976
op_bert_l-6_training 765886976
layer_resnet50_training 1233125376
flan_t5_large_infer 67895296
END
else
    skip no_more_than_known "../shared/graphs is not there"
fi
