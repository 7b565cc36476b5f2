#!/usr/bin/env bash
# VocabTrim: what a trimmed head costs and brings on the default pair, by size and by what was
# counted; and how much of real prompts small lists of the Llama 3 vocabulary cover -> the tables of
# docs/vocabtrim.md. Some three minutes on two processors.
#
#   trim.sh [STEP...]   all steps, or some; what a step makes is kept in build/bench-trim:
#     count      counts of raw novels, and of what drafter and target write
#     compile    a program for each size and kind of counts
#     greedy     runs of all programs at temperature 0; nothing else should run on the machine
#     sampled    the same at temperature 1
#     cover      coverage of Llama 3's vocabulary
#     page       docs/vocabtrim.md
#
# SPDX-License-Identifier: GPL-3.0-or-later
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/bench/page.sh
build=${TANDEM_BUILD:-build}
tandem=$build/tandem
folder=$build/bench-trim
data=../shared/data
prompts=${PROMPTS:-60}          # of held-back novels
tokens=${TOKENS:-100}           # written after each
calibration=${CALIBRATION:-600} # paragraphs
rounds=3                        # of which the fastest counts
sizes=(64 256 512 1024 1536 2048)
kinds=(raw drafter target drafted)
steps=(count compile greedy sampled cover page)
[ -d "$data/text" ] || { echo "$data/text is not there: nothing to measure with" >&2; exit 1; }
mkdir -p "$folder"

pair=(--target graphs/target.xml --drafter graphs/drafter.xml --tokenizer graphs/tokenizer.json
    --activations=q8)

# paragraphs FILE COUNT: that many paragraphs, evenly spread, cut to 200 characters at a word's end.
paragraphs() {
    awk -v RS= -v count="$2" '
        length($0) > 200 {
            gsub(/\n/, " ")
            text = substr($0, 1, 200)
            sub(/ [^ ]*$/, "", text)
            all[++n] = text
        }
        END { for (i = 0; i < count && i < n; i++) print all[int(i * n / count) + 1] "\n" }' "$1"
}

# on_all_processors COMMAND...: runs the command with each line of standard input as its last
# arguments, several at a time.
on_all_processors() { xargs -P "$(nproc)" -L 1 "$@" >/dev/null; }

# --- counting ---

count() {
    paragraphs "$data/text/train/eltec_eng.train.txt" "$calibration" >"$folder/calibration.txt"
    head -c 8000000 "$data/text/train/eltec_eng.train.txt" >"$folder/raw.txt"
    "$tandem" calibrate --tokenizer graphs/tokenizer.json --text "$folder/raw.txt" \
        -o "$folder/raw.json" >/dev/null
    local kind
    for kind in drafter target drafted; do
        echo "--prompts $folder/calibration.txt --by $kind -o $folder/$kind.json"
    done | on_all_processors "$tandem" calibrate "${pair[@]}"
}

# --- the pair ---

# All programs, as KIND.ROWS.
programs() {
    local kind size
    echo whole.4096
    for kind in "${kinds[@]}"; do
        for size in "${sizes[@]}"; do echo "$kind.$size"; done
    done
}

compile() {
    local program trim
    for program in $(programs); do
        trim="--vocab-trim ${program#*.} --counts $folder/${program%.*}.json"
        [ "$program" != whole.4096 ] || trim=
        echo "$trim -o $folder/$program"
    done | on_all_processors "$tandem" compile "${pair[@]}"
}

# Runs every program on every prompt in turn, so that what disturbs one disturbs all, and leaves a
# line of statistics for each run in PROGRAM.TEMPERATURE: `rounds` lines for each prompt.
run_all() { # TEMPERATURE
    local line program seed=0 all
    mapfile -t all < <(programs)
    for program in "${all[@]}"; do : >"$folder/$program.$1"; done
    while read -r line; do
        seed=$((seed + 1))
        [ $((seed % 10)) -ne 0 ] || note "prompt $seed of $prompts"
        for ((round = 0; round < rounds; round++)); do
            for program in "${all[@]}"; do
                "$folder/$program" --prompt "$line" --max-tokens "$tokens" --draft 3 --threads 1 \
                    --temperature "$1" --seed "$seed" --ignore-eos --stats=json \
                    2>>"$folder/$program.$1" >/dev/null
            done
        done
    done < <(paragraphs "$data/text/train/eltec_eng.valid.txt" "$prompts" | grep .)
}
greedy() { run_all 0; }
sampled() { run_all 1; }

# figures PROGRAM TEMPERATURE: block efficiency, MBSU and tokens/s over all prompts, of each prompt
# the fastest round.
figures() {
    sed 's/[{}"]//g' "$folder/$1.$2" | awk -F, -v rounds="$rounds" '
        { for (i = 1; i <= NF; i++) { split($i, pair, ": *"); gsub(/ /, "", pair[1]); v[pair[1]] = pair[2] }
          if (best == 0 || v["seconds"] < best) best = v["seconds"] }
        # c, from a line whose formula is known
        v["drafted"] > 0 { c = (v["block_efficiency"] / v["mbsu"] - 1) * v["rounds"] / v["drafted"] }
        NR % rounds == 0 {
            tokens += v["tokens"]; passes += v["rounds"]; drafted += v["drafted"]
            seconds += best; best = 0
        }
        END { printf "%.2f | %.2f | %.0f", tokens / passes, tokens / (passes + c * drafted), tokens / seconds }'
}

pair_table() {
    echo "| rows | counts of | block efficiency | MBSU | tokens/s | T = 1: block efficiency | MBSU | tokens/s |"
    echo "|---|---|---|---|---|---|---|---|"
    local size kind
    for size in "${sizes[@]}"; do
        for kind in "${kinds[@]}"; do
            echo "| $size | $kind | $(figures "$kind.$size" 0) | $(figures "$kind.$size" 1) |"
        done
    done
    echo "| 4096 | whole | $(figures whole.4096 0) | $(figures whole.4096 1) |"
}

# --- coverage of Llama 3's vocabulary ---

llama=(1024 2048 4096 8192 16384 32768 65536)

# name, file and field of each set
sets() {
    cat <<LIST
Spec-Bench|$data/text/prompts/spec_bench.jsonl|turns
GSM8K|$data/text/prompts/gsm8k_train.jsonl|question
GSM8K-answers|$data/text/prompts/gsm8k_train.jsonl|answer
HumanEval|$data/text/prompts/HumanEval.jsonl|prompt
HumanEval-solutions|$data/text/prompts/HumanEval.jsonl|canonical_solution
Dolly|$data/text/prompts/dolly15k_en.jsonl|instruction
Dolly-answers|$data/text/prompts/dolly15k_en.jsonl|response
WikiText-2|$data/text/ppl/wikitext-2-raw/wiki.test.raw|text
LIST
}

cover() {
    local name file field
    while IFS='|' read -r name file field; do
        echo "--text $file --field $field -o $folder/$name.json"
    done < <(sets) |
        on_all_processors "$tandem" calibrate --tokenizer "$data/tokenizers/llama3/tokenizer.model"
}

# pairs FILE: "id count" lines.
pairs() { grep -o '\[[0-9]*,[0-9]*\]' "$1" | tr -d '[]' | tr ',' ' '; }

# coverage LIST-COUNTS TEXT-COUNTS: per cent of the text that the most frequent ids of the list cover,
# for each size.
coverage() {
    { pairs "$1" | sort -k2,2nr -k1,1n; echo; pairs "$2"; } | awk -v sizes="${llama[*]}" '
        NF == 0 { second = 1; next }
        !second { rank[$1] = ++n; next }
        { total += $2; if ($1 in rank) at[rank[$1]] += $2 }
        END {
            count = split(sizes, size, " ")
            for (i = 1; i <= n; i++) {
                sum += at[i]
                for (j = 1; j <= count; j++) if (i <= size[j]) covered[j] = sum
            }
            for (j = 1; j <= count; j++) printf " %.2f |", 100 * covered[j] / total
        }'
}

total() { sed -n 's/.*"total": \([0-9]*\).*/\1/p' "$1"; }

own_table() {
    echo "| text | tokens | ids |$(printf ' %s |' "${llama[@]}")"
    echo "|---|---|---|$(printf -- '---|%.0s' "${llama[@]}")"
    local name file field
    while IFS='|' read -r name file field; do
        echo "| ${name/-/ } | $(total "$folder/$name.json") | $(pairs "$folder/$name.json" | wc -l) |$(coverage "$folder/$name.json" "$folder/$name.json")"
    done < <(sets)
}

# The list of one set over all others.
foreign_table() { # NAME
    echo "| text |$(printf ' %s |' "${llama[@]}")"
    echo "|---|$(printf -- '---|%.0s' "${llama[@]}")"
    local name file field
    while IFS='|' read -r name file field; do
        [ "$name" = "$1" ] || echo "| ${name/-/ } |$(coverage "$folder/$1.json" "$folder/$name.json")"
    done < <(sets)
}

# --- the page ---

# shellcheck disable=SC2016
tables() {
    cat <<END

### The default pair

Drafts of three tokens, \`--activations=q8\`, one thread of $(processor), $prompts prompts of held-back novels,
$tokens tokens each; counts from novels of the training text ($(total "$folder/raw.json") tokens of raw text; what each model
writes after $calibration paragraphs). The first three columns of figures are greedy; tokens/s are those of the fastest of
$rounds rounds for each prompt.

END
    pair_table
    printf '\nWhat `--vocab-trim auto` expects from graphs/counts.json (temperature 1):\n\n'
    "$tandem" plan "${pair[@]}" --vocab-trim auto --counts graphs/counts.json 2>&1 >/dev/null |
        sed 's/^/    /'
    printf '\n### The vocabulary of Llama 3 (128256 ids)\n\n'
    printf 'Per cent of a text that its own most frequent N ids cover:\n\n'
    own_table
    printf '\nPer cent that the N most frequent ids of the answers of Dolly cover of other texts:\n\n'
    foreign_table Dolly-answers
}

page() {
    tables >"$folder/tables.md"
    cat "$folder/tables.md"
    put_tables docs/vocabtrim.md "$folder/tables.md"
}

run_steps "$@"
