#!/usr/bin/env bash
# The manual tells the truth: every option stands in it, it names no option and no file that there is
# not, and its examples, those of README.md and those of --help run.
#
# SPDX-License-Identifier: GPL-3.0-or-later
source "$(dirname "$0")/harness.sh"
cd "$source_folder"
manual=(README.md graphs/README.md docs/*.md)
verbs='import compile plan verify run perplexity calibrate schedule arena inspect generate train-orderer'


# A place to try the examples in, with the files that they speak of.
place=$folder/place
mkdir -p "$place/build"
cp -r graphs "$place/graphs"
cp graphs/*.xml graphs/*.bin graphs/*.json "$place"
cp graphs/drafter.xml "$place/model.xml"
cp graphs/drafter.bin "$place/model.bin"
ln -s "$tandem" "$place/build/tandem"
ln -s "$build/runtime" "$place/build/runtime"
for text in novel long manual questions; do
    head -c 1200 docs/design.md >"$place/$text.txt"
done
head -c 3000 docs/design.md >"$place/longer-than-the-context.txt"
printf '%s\n\n%s\n' 'The old man' 'Once upon a time' >"$place/prompts.txt"
printf 'id,lower,upper,size\nx,0,3,400\ny,1,5,4096\nz,3,9,1200\n' >"$place/buffers.csv"
"$tandem" generate layered --nodes 60 -o "$place/graph.graphml"
cp "$place/graph.graphml" "$place/training.graphml"
"$tandem" calibrate --tokenizer graphs/tokenizer.json --text docs/design.md -o "$place/monday.json" >"$folder/log"
cp "$place/monday.json" "$place/tuesday.json"
"$tandem" compile --target graphs/target.xml --drafter graphs/drafter.xml --tokenizer graphs/tokenizer.json \
    -o "$place/model"
if [ -e "$shared/pair/target" ] && [ -e "$shared/data/weights/stories260K-f32.gguf" ]; then
    ln -s "$shared" "$folder/shared"
    ln -s "$shared/pair/target" "$place/folder"
    ln -s "$shared/pair/target" "$place/checkpoint-folder"
    ln -s "$shared/data/weights/stories260K-f32.gguf" "$place/model.gguf"
fi

# --- options ---

# "VERB --option" of every verb and, as "model", of a program.
list_options() {
    local verb
    for verb in $verbs model; do
        { [ "$verb" = model ] && "$place/model" --help || "$tandem" "$verb" --help; } |
            sed -nE 's/^ +(-.*)/\1/p' | sed 's/  .*//' | grep -oE -- '--[a-z][a-z-]*' | sort -u | sed "s/^/$verb /"
    done
}
list_options | grep -vE -- ' --(help|usage)$' >"$folder/options"

documented() {
    local verb option missing=0
    while read -r verb option; do
        # -o is how --output is written everywhere, and -v --verbose.
        case $option in --output) option=-o ;; --verbose) option=-v ;; esac
        grep -qE -- "(^|[^a-z-])$option([^a-z-]|$)" "${manual[@]}" || { echo "$verb: $option"; missing=1; }
    done <"$folder/options"
    [ "$(wc -l <"$folder/options")" -gt 100 ] && return $missing
}
check every_option_is_in_the_manual documented

# Options of other programs that the manual shows: those of mpirun.
others='allow-run-as-root|bind-to|hostfile|map-by|oversubscribe'
no_other_option() {
    grep -onE '(^|[^a-zA-Z-])--[a-z][a-z-]+' "${manual[@]}" | sed -E 's/^([^:]*:[0-9]+):.*--/\1 --/' |
        grep -vE -- "--($others)$" | while read -r where option; do
            grep -qE -- " $option$" "$folder/options" || [ "$option" = --help ] || echo "$where: $option"
        done >"$folder/unknown"
    cat "$folder/unknown"
    [ ! -s "$folder/unknown" ]
}
check the_manual_names_no_other_option no_other_option

# --- files ---

# Files of the repository that are spoken of, in code type, and what links lead to.
list_files() {
    grep -ohE '`(base|ir|frontend|sched|codegen|inspect|runtime|cli|tests|cmake|docs|graphs)/[^` <]+`' \
        "${manual[@]}" | tr -d '`'
    local page
    for page in "${manual[@]}"; do
        grep -oE '\]\([^)#]+' "$page" | grep -v '://' | sed "s|^](|$(dirname "$page")/|"
    done
}

files_exist() {
    list_files | sort -u >"$folder/files"
    while read -r file; do
        compgen -G "$file" >/dev/null || echo "$file"
    done <"$folder/files" >"$folder/missing"
    cat "$folder/missing"
    [ "$(wc -l <"$folder/files")" -gt 100 ] && [ ! -s "$folder/missing" ]
}
check files_that_the_manual_names_exist files_exist

# --- examples ---

# Commands among indented lines: continued lines joined, comments off.
commands() {
    sed -e ':join' -e '/\\$/{N;s/ *\\\n */ /;b join' -e '}' |
        sed -nE "s/ +# .*//; s/^ {2,4}((build\/)?(tandem (${verbs// /|}) |model -).*)/\1/p"
}

# What takes long is done shorter; later options win.
shorten() {
    case $1 in
        "tandem train-orderer"*) echo "$1 --steps 1 --until 1 --batch 1 --validation 1" ;;
        *perplexity*) echo "$1 --tokens 64" ;;
        *--max-tokens*) echo "$1" ;;
        model* | build/model*) echo "$1 --max-tokens 8" ;;
        *) echo "$1" ;;
    esac
}

runs() {
    echo "$1"
    (cd "$place" && PATH=$place:$build:$PATH timeout 120 bash -c "$(shorten "$1")" >"$folder/output" 2>&1) ||
        { tail -n 5 "$folder/output"; return 1; }
}

# try NAME: runs the commands of standard input, in order.
try() {
    local number=0 command
    while read -r command; do
        number=$((number + 1))
        if [[ $command =~ (shared|folder|model.gguf) ]] && [ ! -e "$place/model.gguf" ]; then
            skip "example_$number of $1" "../shared is not there"
        else
            check "example_${number}_of_$1" runs "$command" </dev/null
        fi
    done
}

for verb in $verbs; do
    "$tandem" "$verb" --help | commands >"$folder/commands"
    try "$verb" <"$folder/commands"
done
for page in "${manual[@]}"; do
    commands <"$page" >"$folder/commands"
    try "${page//[.\/]/_}" <"$folder/commands"
done
