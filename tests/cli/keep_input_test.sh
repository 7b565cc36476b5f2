#!/usr/bin/env bash
# No output is written over what it is made from.
#
# SPDX-License-Identifier: GPL-3.0-or-later
source "$(dirname "$0")/harness.sh"
cd "$folder"

for kind in xml bin; do cp "$source_folder/graphs/drafter.$kind" "model.$kind"; done
cp "$source_folder/graphs/tokenizer.json" "$source_folder/graphs/counts.json" .
cp "$source_folder/README.md" text.txt
"$tandem" generate layered --seed 1 -o graph.graphml >/dev/null
sha256sum model.* tokenizer.json counts.json text.txt graph.graphml >sums

# keeps COMMAND...: it is refused, and every file is as it was.
keeps() {
    local status=0
    "$tandem" "$@" >stdout 2>stderr || status=$?
    cat stderr
    [ "$status" -eq 1 ] && grep -q 'is made from .*; another name is accepted' stderr &&
        sha256sum --quiet -c sums
}
check schedule_keeps_the_graph_from_an_order keeps schedule graph.graphml --order-out graph.graphml
check schedule_keeps_the_graph_from_buffers keeps schedule graph.graphml --arena-out ./graph.graphml
check schedule_keeps_the_weights keeps schedule model.xml -o model.bin
check import_keeps_the_model keeps import model.xml --weights=q8 -o model.xml
check import_keeps_the_model_from_assumptions keeps import model.xml --assumed model.xml
check compile_keeps_the_counts keeps compile --target model.xml --drafter model.xml \
    --tokenizer tokenizer.json --vocab-trim 64 --counts counts.json -o counts.json
check calibrate_keeps_the_text keeps calibrate --tokenizer tokenizer.json --text text.txt -o text.txt
check calibrate_keeps_the_tokenizer keeps calibrate --tokenizer tokenizer.json --text text.txt \
    -o tokenizer.json
check inspect_keeps_the_graph keeps inspect graph.graphml --html graph.graphml
check inspect_keeps_the_model keeps inspect --target model.xml --trace model.bin

ln -s model.xml link.xml
check a_link_is_no_other_file keeps import model.xml -o link.xml
mkdir checkpoint
echo '{}' >checkpoint/config.json
check a_checkpoint_keeps_its_parts keeps compile --target checkpoint -o checkpoint/config.json

two_outputs() { ! "$tandem" schedule graph.graphml -o x --order-out x 2>stderr && grep -q 'two outputs' stderr; }
check two_outputs_have_two_names two_outputs
in_its_new_order() {
    "$tandem" schedule graph.graphml --work-limit 100 --time-limit 0 -o graph.graphml >/dev/null &&
        "$tandem" schedule graph.graphml --work-limit 100 --time-limit 0 >/dev/null
}
check a_graph_may_be_put_in_order_in_its_place in_its_new_order
