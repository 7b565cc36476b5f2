#!/usr/bin/env bash
# tandem arena: tables in and out, capacities, refusals, the instances of minimalloc, the arenas of programs.
#
# SPDX-License-Identifier: GPL-3.0-or-later
source "$(dirname "$0")/harness.sh"
cd "$folder"

number_of() { sed -n "s/.*\"$1\": \([0-9.]*\),.*/\1/p"; } # NAME: of JSON

# The example of minimalloc's manual, whose smallest arena has 12 bytes.
printf 'id,lower,upper,size\nb1,0,3,4\nb2,3,9,4\nb3,0,9,4\nb4,9,21,4\nb5,0,21,4\n' >example.csv
sed 's/id,lower,upper/buffer_id,begin,upper/' example.csv >renamed.csv
awk -F, 'NR == 1 {print "size,id,start,end"; next} {print $4 "," $1 "," $2 "," $3 - 1}' example.csv >inclusive.csv

places() { # FILE
    "$tandem" arena "$1" --capacity 12 -o placed.csv --json >report.json && cat report.json placed.csv &&
        [ "$(number_of bytes <report.json)" = 12 ] && [ "$(number_of lower_bound <report.json)" = 12 ] &&
        [ "$(head -n 1 placed.csv)" = id,lower,upper,size,offset ] &&
        [ "$(cut -d, -f1-4 placed.csv | tail -n 5)" = "$(tail -n 5 example.csv)" ] &&
        "$tandem" arena placed.csv --check --capacity 12
}
check a_table_is_placed places example.csv
check columns_may_have_other_names places renamed.csv
check columns_may_end_with_the_last_step places inclusive.csv

finds_the_least() {
    "$tandem" arena example.csv >text && cat text && grep -q '12 bytes, 1.000 of the live peak, optimal' text &&
        "$tandem" arena example.csv --minimize --capacity 40 --alignment 16 --json >report.json && return 1
    cat stderr report.json
    [ "$(number_of bytes <report.json)" = 48 ]
}
check without_a_capacity_the_least_is_found finds_the_least

fixed_stay() {
    printf 'id,lower,upper,size,offset,fixed,alignment\na,0,4,8,16,1,1\nb,0,4,10,0,0,4\nc,2,6,6,0,0,1\n' >fixed.csv
    "$tandem" arena fixed.csv -o placed.csv && cat placed.csv && grep -q '^a,0,4,8,1,16,1$' placed.csv &&
        [ "$("$tandem" arena placed.csv --check --json | number_of bytes)" = 24 ]
}
check fixed_buffers_stay fixed_stay

same_work_same_offsets() {
    for i in 1 2; do "$tandem" arena example.csv --work-limit 1000 -o "work$i.csv" >/dev/null || return 1; done
    same work1.csv work2.csv
}
check a_work_limit_gives_the_same_offsets same_work_same_offsets

schedules_flow_on() {
    "$tandem" generate layered --nodes 200 --seed 3 -o graph.graphml &&
        "$tandem" schedule graph.graphml --orderer greedy --arena-out buffers.csv --json >schedule.json &&
        "$tandem" arena buffers.csv --json >report.json || return 1
    cat schedule.json report.json
    [ "$(number_of live_peak <report.json)" = "$(sed -n 's/.*"peak": \([0-9]*\),.*/\1/p' schedule.json)" ]
}
check the_buffers_of_an_order_can_be_placed schedules_flow_on

overlapping() {
    printf 'id,lower,upper,size,offset\na,0,4,8,0\nb,3,9,4,6\n' >bad.csv
    refused 1 'bad.csv: buffers "a" and "b" are alive together and overlap' "$tandem" arena bad.csv --check
}
check overlaps_are_found overlapping
check a_capacity_that_is_too_small refused 1 'do not fit --capacity 11: at least 12 bytes' \
    "$tandem" arena example.csv --capacity 11 -o out.csv

# --- refusals: one sentence, exit status 1 ---

refuses() { # PATTERN TEXT
    printf "$2" >hostile.csv
    refused 1 "$1" "$tandem" arena hostile.csv -o out.csv
}
check an_empty_file refuses 'it is empty' ''
check a_missing_column refuses 'column "size" is missing' 'id,lower,upper\n1,2,3\n'
check an_unknown_column refuses 'unknown column "gaps"' 'id,lower,upper,size,gaps\n'
check a_repeated_column refuses 'column "end" stands there twice' 'id,lower,upper,size,end\n'
check an_empty_lifetime refuses 'hostile.csv:2: .* from 5 up to 5' 'id,lower,upper,size\na,5,5,1\n'
check a_negative_size refuses 'size "-4": expected a whole number' 'id,lower,upper,size\na,0,5,-4\n'
check a_size_of_2_to_the_63 refuses 'size "9223372036854775808"' 'id,lower,upper,size\na,0,5,9223372036854775808\n'
check sizes_that_overflow refuses 'add up to over 2.61 bytes' \
    'id,lower,upper,size\na,0,5,2000000000000000000\nb,0,5,2000000000000000000\n'
check a_repeated_id refuses 'buffer "a" stands there before' 'id,lower,upper,size\na,0,5,1\na,5,6,1\n'
check a_short_row refuses 'it has 3 fields; expected 4' 'id,lower,upper,size\na,0,5\n'
check nul_bytes refuses 'NUL bytes' 'id,lower,upper,size\na,0,5,1\0\n'
check fixed_without_offset refuses 'needs a column "offset"' 'id,lower,upper,size,fixed\n'
check alignment_zero refuses 'alignment 0' 'id,lower,upper,size,alignment\na,0,5,1,0\n'
check a_missing_file refused 1 'nowhere.csv' "$tandem" arena nowhere.csv
check no_table refused 2 'a table is missing' "$tandem" arena
check check_without_offsets refused 1 'needs a column "offset"' "$tandem" arena example.csv --check

# --- the instances of minimalloc ---

solves() { # FILE
    "$tandem" arena "$1" --capacity 1048576 --time-limit 20 -o placed.csv &&
        "$tandem" arena placed.csv --check --capacity 1048576
}
smallest_of_c() {
    [ "$("$tandem" arena "$shared/data/minimalloc/C.1048576.csv" --json | number_of bytes)" = 1039360 ]
}
if [ -d "$shared/data/minimalloc" ]; then
    for name in A B C D E F; do check "minimalloc_$name" solves "$shared/data/minimalloc/$name.1048576.csv"; done
    check minimalloc_c_at_its_bound smallest_of_c
else
    skip minimalloc "../shared/data/minimalloc is not there"
fi

# --- the arenas of programs have no gaps ---

no_gaps() { "$tandem" plan "$@" >plan 2>stderr || { cat stderr; return 1; }; cat plan; grep -q '^arena [0-9]* bytes, 1.000 of' plan; }
pair=(--target "$source_folder/graphs/target.xml" --drafter "$source_folder/graphs/drafter.xml"
    --tokenizer "$source_folder/graphs/tokenizer.json")
for evict in none h2o; do
    check "pair_without_gaps_evict_$evict" no_gaps "${pair[@]}" --evict "$evict"
done
check pair_without_gaps_quantised no_gaps "${pair[@]}" --activations=q8 --kv q8
llama=$shared/data/openvino/tinyllama_1.1b_u8_stateful_openvino_model.xml
if [ -e "$llama" ]; then
    for evict in none h2o; do
        check "tinyllama_without_gaps_evict_$evict" no_gaps --target "$llama" --evict "$evict" \
            --constants "$source_folder/tests/frontend/tinyllama_constants.json" --weights=random:7
    done
else
    skip tinyllama_without_gaps "../shared/data/openvino is not there"
fi
