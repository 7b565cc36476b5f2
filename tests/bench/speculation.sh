#!/usr/bin/env bash
# Measurements: what drafting gains over plain decoding. Prints a Markdown page and writes
# docs/speculation-speed.md. Nothing else should run on the machine.
#
#     speculation.sh [--quick] [--json FILE]     --quick: few prompts, docs/ stays as it is
#
# SPDX-License-Identifier: GPL-3.0-or-later
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${TANDEM_BUILD:-build}
folder=$(mktemp -d "${TMPDIR:-/tmp}/tandem-bench-XXXXXX")
trap 'rm -rf "$folder"' EXIT
prompts=24 tokens=200 json= page=docs/speculation-speed.md
while [ $# -gt 0 ]; do
    case $1 in
        --quick) prompts=4 page= ;;
        --json) shift && json=$1 ;;
        *) echo "usage: ./dev bench speculation [--quick] [--json FILE]" >&2 && exit 2 ;;
    esac
    shift
done

# Held-back novels, or what text the repository has.
text=../shared/data/text/train/eltec_eng.valid.txt
pair=../shared/pair
[ -e "$text" ] || { cat COPYING docs/*.md >"$folder/text" && text=$folder/text; }

includes=(-std=c17 -O2 -D_GNU_SOURCE -I.)
cc "${includes[@]}" tests/bench/speculation/driver.c -o "$folder/driver" -ldl

# compile NAME ARGUMENTS...
compile() {
    local name=$1
    shift
    "$build/tandem" compile --emit=shared --name pair --threads 2 --tokenizer graphs/tokenizer.json \
        -o "$folder/$name.so" "$@" 2>"$folder/log" || { cat "$folder/log" >&2; exit 1; }
}

# Lines for a table: measure TITLE PROMPTS TOKENS TEMPERATURE CONFIGURATION...
measure() {
    local title=$1 temperature=$4
    shift
    "$folder/driver" "$text" "$@" >"$folder/rows"
    while IFS=$'\t' read -r name micros ratio first efficiency drafted; do
        echo "| $temperature | $name | $micros | $ratio | $first | $efficiency | $drafted |"
        [ -z "$json" ] ||
            printf '{"pair": "%s", "temperature": %s, "configuration": "%s", "microseconds": %s, "speedup": %s, "first_milliseconds": %s, "block_efficiency": %s, "drafted": %s}\n' \
                "$title" "$temperature" "$name" "$micros" "$ratio" "$first" "$efficiency" \
                "$drafted" >>"$folder/json"
    done <"$folder/rows"
}

table() {
    echo
    echo "| temperature | configuration | µs per token | speed-up | first token, ms | tokens per target pass | drafted per pass |"
    echo "|---|---|---|---|---|---|---|"
}

default=(--target graphs/target.xml --drafter graphs/drafter.xml --activations=q8)
trim=()
[ -e graphs/counts.json ] && trim=(--vocab-trim auto --counts graphs/counts.json)
compile plain "${default[@]}"
compile trimmed "${default[@]}" "${trim[@]}"
{
    cat <<END
# What drafting gains

Made by \`./dev bench speculation\` on $(nproc) processors, $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1).
$prompts pieces of held-back novels are continued by $tokens tokens in one process, by all configurations in
turn. Times are medians of the time per token after the first tokens came; *speed-up* is the median over
the prompts of the first line's time divided by this line's; other plain lines show what plain decoding
with more or fewer threads does. All weights have 8 bits and so have activations, which is the fastest arithmetic
for both models; texts are the same for all lines at temperature 0. \`auto\` begins knowing nothing.

## The default pair

The target's 4 MB stay in the processor's cache, so that every further token of a pass costs time.
END
    table
    for temperature in 0 0.7 1; do
        measure default $prompts $tokens $temperature \
            "plain, 1 thread=$folder/plain.so:1:0" "auto, 1 thread=$folder/plain.so:1:auto" \
            "auto, trimmed head, 1 thread=$folder/trimmed.so:1:auto" \
            "chain of 1, 1 thread=$folder/plain.so:1:1" "chain of 2, 1 thread=$folder/plain.so:1:2" \
            "rsd-s:2x2, 1 thread=$folder/plain.so:1:rsd-s:2x2" \
            "plain, 2 threads=$folder/plain.so:2:0" "auto, 2 threads=$folder/plain.so:2:auto"
    done
    if [ -e $pair/target/model.safetensors ]; then
        cc "${includes[@]}" tests/bench/speculation/rewrite.c -o "$folder/rewrite" -ljansson
        mkdir "$folder/wide" "$folder/random"
        "$folder/rewrite" widen 21824 $pair/target "$folder/wide"
        "$folder/rewrite" random 7 $pair/drafter "$folder/random"
        compile wide --target "$folder/wide" --drafter graphs/drafter.xml --weights=q8 --activations=q8
        compile random --target graphs/target.xml --drafter "$folder/random" --weights=q8 \
            --activations=q8
        cat <<END

## A target of $(($(stat -c %s "$folder/wide.so") / 1000000)) MB

The same target with 21,824 more units in each feed-forward layer whose down-projection is zero: the same
function, but its weights come from memory for every pass.
END
        table
        for temperature in 0 0.7 1; do
            measure wide $((prompts / 2 < 20 && prompts > 20 ? 20 : prompts)) $tokens $temperature \
                "plain, 2 threads=$folder/wide.so:2:0" "auto, 2 threads=$folder/wide.so:2:auto" \
                "chain of 4, 2 threads=$folder/wide.so:2:4" \
                "plain, 1 thread=$folder/wide.so:1:0" "auto, 1 thread=$folder/wide.so:1:auto"
        done
        cat <<END

## A drafter of no use

The default target with a drafter of random weights, 512 tokens a text: what looking costs.
END
        table
        for temperature in 0 1; do
            measure random $prompts 512 $temperature "plain, 1 thread=$folder/random.so:1:0" \
                "auto, 1 thread=$folder/random.so:1:auto"
        done
    fi
} | tee "$folder/page.md"
[ -z "$page" ] || cp "$folder/page.md" "$page"
[ -z "$json" ] || cp "$folder/json" "$json"
