#!/usr/bin/env bash
# VocabTrim: what a trimmed head costs and brings on the default pair, by size and by what was
# counted; and how much of real prompts small lists of the Llama 3 vocabulary cover. Replaces the
# figures of docs/vocabtrim.md. Nothing else should run on the machine.
#
# SPDX-License-Identifier: GPL-3.0-or-later
set -euo pipefail
cd "$(dirname "$0")/../.."
tandem=${TANDEM:-build/tandem}
folder=$(mktemp -d "${TMPDIR:-/tmp}/tandem-trim-XXXXXX")
trap 'rm -rf "$folder"' EXIT
data=../shared/data
prompts=${PROMPTS:-60}      # of held-back novels
tokens=${TOKENS:-100}       # written after each
calibration=${CALIBRATION:-600} # paragraphs
sizes=(${SIZES:-64 256 512 1024 2048})
kinds=(raw drafter target drafted)
page=docs/vocabtrim.md
[ -d "$data/text" ] || { echo "$data/text is not there: nothing to measure with" >&2; exit 1; }

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

# --- counting ---

calibrate() {
    paragraphs "$data/text/train/eltec_eng.train.txt" "$calibration" >"$folder/calibration.txt"
    head -c 8000000 "$data/text/train/eltec_eng.train.txt" >"$folder/raw.txt"
    "$tandem" calibrate --tokenizer graphs/tokenizer.json --text "$folder/raw.txt" \
        -o "$folder/raw.json" >/dev/null
    local kind
    for kind in drafter target drafted; do
        "$tandem" calibrate "${pair[@]}" --prompts "$folder/calibration.txt" --by "$kind" \
            -o "$folder/$kind.json" >/dev/null
    done
}

# --- the pair ---

compile_all() {
    "$tandem" compile "${pair[@]}" -o "$folder/whole.4096"
    local kind size
    for kind in "${kinds[@]}"; do
        for size in "${sizes[@]}"; do
            "$tandem" compile "${pair[@]}" --vocab-trim "$size" --counts "$folder/$kind.json" \
                -o "$folder/$kind.$size"
        done
    done
}

# Runs every program on every prompt in turn, so that what disturbs one disturbs all, and leaves a
# line of statistics for each run in PROGRAM.TEMPERATURE.
run_all() {
    paragraphs "$data/text/train/eltec_eng.valid.txt" "$prompts" | grep . >"$folder/prompts.txt"
    local line program temperature seed=0
    while read -r line; do
        seed=$((seed + 1))
        for program in "${programs[@]}"; do
            for temperature in 0 1; do
                "$folder/$program" --prompt "$line" --max-tokens "$tokens" --draft 3 --threads 1 \
                    --temperature "$temperature" --seed "$seed" --ignore-eos --stats=json \
                    2>>"$folder/$program.$temperature" >/dev/null
            done
        done
    done <"$folder/prompts.txt"
}

# figures PROGRAM TEMPERATURE: block efficiency, MBSU and tokens/s over all prompts.
figures() {
    sed 's/[{}"]//g' "$folder/$1.$2" | awk -F, '
        { for (i = 1; i <= NF; i++) { split($i, pair, ": *"); gsub(/ /, "", pair[1]); v[pair[1]] = pair[2] }
          tokens += v["tokens"]; rounds += v["rounds"]; drafted += v["drafted"]; seconds += v["seconds"]
          # c, from a line whose formula is known
          if (v["drafted"] > 0) c = (v["block_efficiency"] / v["mbsu"] - 1) * v["rounds"] / v["drafted"] }
        END { printf "%.2f | %.2f | %.0f", tokens / rounds, tokens / (rounds + c * drafted), tokens / seconds }'
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

count_sets() {
    local name file field
    while IFS='|' read -r name file field; do
        "$tandem" calibrate --tokenizer "$data/tokenizers/llama3/tokenizer.model" --text "$file" \
            --field "$field" -o "$folder/$name.json" >/dev/null
    done < <(sets)
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

calibrate
programs=(whole.4096)
for kind in "${kinds[@]}"; do
    for size in "${sizes[@]}"; do programs+=("$kind.$size"); done
done
compile_all
run_all
count_sets

{
    sed '/^## Figures$/,$d' "$page"
    echo "## Figures"
    echo
    # shellcheck disable=SC2016
    echo "Made by \`./dev bench trim\` on a core of $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)."
    echo
    echo "### The default pair"
    echo
    echo "Drafts of three tokens, \`--activations=q8\`, one thread, $prompts prompts of held-back novels, $tokens tokens"
    echo "each; counts from novels of the training text ($(total "$folder/raw.json") tokens of raw text; what each model"
    echo "writes after $calibration paragraphs). The first three columns of figures are greedy."
    echo
    pair_table
    echo
    # shellcheck disable=SC2016
    echo "What \`--vocab-trim auto\` expects from graphs/counts.json (temperature 1):"
    echo
    "$tandem" plan "${pair[@]}" --vocab-trim auto --counts graphs/counts.json 2>&1 >/dev/null |
        sed 's/^/    /'
    echo
    echo "### Llama 3's vocabulary (128256 ids)"
    echo
    echo "Per cent of a text that its own most frequent N ids cover:"
    echo
    own_table
    echo
    echo "Per cent that the N most frequent ids of Dolly's answers cover of other texts:"
    echo
    foreign_table Dolly-answers
} >"$folder/page"
cp "$folder/page" "$page"
sed -n '/^## Figures$/,$p' "$page"
