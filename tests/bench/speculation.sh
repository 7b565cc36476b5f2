#!/usr/bin/env bash
# Measurements: what drafting gains over plain decoding, and where a round's time goes. Prints a
# Markdown page and writes docs/speculation-speed.md. Nothing else should run on the machine.
#
#     speculation.sh [--quick] [--json FILE]     --quick: few prompts, docs/ stays as it is
#
# SPDX-License-Identifier: GPL-3.0-or-later
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${TANDEM_BUILD:-build}
folder=$(mktemp -d "${TMPDIR:-/tmp}/tandem-bench-XXXXXX")
trap 'rm -rf "$folder"' EXIT
prompts=24 tokens=200 json='' page=docs/speculation-speed.md
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

# compile NAME KIND ARGUMENTS...: $folder/NAME.so or .o
compile() {
    local file=$folder/$1.so
    [ "$2" = shared ] || file=$folder/$1.o
    local kind=$2
    shift 2
    "$build/tandem" compile --emit="$kind" --name pair --threads 2 \
        --tokenizer graphs/tokenizer.json -o "$file" "$@" 2>"$folder/log" ||
        { cat "$folder/log" >&2; exit 1; }
}

# Lines of a table: measure TITLE PROMPTS TOKENS TEMPERATURE CONFIGURATION...
measure() {
    local title=$1 temperature=$4
    shift
    "$folder/driver" "$text" "$@" >"$folder/rows"
    while IFS=$'\t' read -r name micros ratio first later efficiency drafted copied; do
        echo "| $temperature | $name | $micros | $ratio | $first | $later | $efficiency | $drafted | $copied |"
        printf '%s\t%s\t%s\t%s\n' "$title" "$temperature" "$name" "$micros" >>"$folder/all"
        [ -z "$json" ] ||
            printf '{"pair": "%s", "temperature": %s, "configuration": "%s", "microseconds": %s, "speedup": %s, "first_milliseconds": %s, "first_ratio": %s, "block_efficiency": %s, "drafted": %s, "copied": %s}\n' \
                "$title" "$temperature" "$name" "$micros" "$ratio" "$first" "$later" "$efficiency" \
                "$drafted" "$copied" >>"$folder/json"
    done <"$folder/rows"
}

table() {
    echo
    echo "| temperature | configuration | µs per token | speed-up | first token, ms | over plain | tokens per target pass | drafted per pass | of these copied |"
    echo "|---|---|---|---|---|---|---|---|---|"
}

# Of what was measured last, the fastest plain line and the fastest of auto whose names have a word:
# against_fastest TITLE WORD
against_fastest() {
    awk -F '\t' -v title="$1" -v word="$2" '
        $1 != title || index($3, word) == 0 { next }
        !($2 in seen) { seen[$2] = 1; order[++count] = $2 }
        $3 ~ /^plain/ && (!($2 in plain) || $4 < plain[$2]) { plain[$2] = $4; plainly[$2] = $3 }
        $3 ~ /^auto/ && (!($2 in best) || $4 < best[$2]) { best[$2] = $4; by[$2] = $3 }
        END {
            for (i = 1; i <= count; i++) {
                t = order[i]
                printf "| %s | %s | %.3f | %s | %.3f | %.2f |\n", t, plainly[t], plain[t], by[t],
                    best[t], plain[t] / best[t]
            }
        }' "$folder/all"
}

fastest_table() {
    echo
    echo "| temperature | fastest plain line | µs per token | fastest line of auto | µs per token | speed-up |"
    echo "|---|---|---|---|---|---|"
}

# Where a round's time goes: budget NAME TEMPERATURE DRAFT, for the object of that name
budget() {
    "$folder/budget-$1" "$text" $((prompts + 1)) "$tokens" "$2" "$3" "$folder/$1.o.weights"
}

# Links an object with the wrapped runtime.
link_budget() {
    cc "${includes[@]}" -c tests/bench/speculation/budget.c -o "$folder/budget.o"
    local wraps
    mapfile -t wraps < <(nm "$folder/budget.o" | sed -n 's/.* T __wrap_/-Wl,--wrap=/p')
    cc "$folder/budget.o" "$folder/$1.o" "$build/runtime/$(cc -dumpmachine)/libtandem_runtime.a" \
        "${wraps[@]}" -lm -lpthread -o "$folder/budget-$1"
}

# The three budgets of a temperature side by side.
budget_table() {
    echo
    echo "Temperature $1, µs per round (and per token):"
    echo
    echo "| part | plain | chain of 1 | auto |"
    echo "|---|---|---|---|"
    budget object "$1" 0 >"$folder/budget.0"
    budget object "$1" 1 >"$folder/budget.1"
    budget object "$1" auto >"$folder/budget.auto"
    awk -F '\t' '
        FNR == 1 { file++ }
        !($1 in seen) && $1 != "all" { seen[$1] = 1; order[++count] = $1 }
        { cell[$1, file] = $2 " (" $3 ")" }
        END {
            order[++count] = "all"
            for (i = 1; i <= count; i++) {
                printf "| %s |", order[i]
                for (f = 1; f <= 3; f++) printf " %s |", cell[order[i], f]
                printf "\n"
            }
        }' "$folder/budget.auto" "$folder/budget.0" "$folder/budget.1" |
        awk -F '|' -v OFS='|' '{ swap = $3; $3 = $4; $4 = $5; $5 = swap; print }'
}

default=(--target graphs/target.xml --drafter graphs/drafter.xml)
trim=()
[ -e graphs/counts.json ] && trim=(--vocab-trim auto --counts graphs/counts.json)
compile whole shared "${default[@]}" --activations=q8
compile trimmed shared "${default[@]}" --activations=q8 "${trim[@]}"
compile object object "${default[@]}" --activations=q8 "${trim[@]}"
compile floats shared "${default[@]}"
[ ! -e $pair/target/model.safetensors ] ||
    compile four shared --target $pair/target --drafter $pair/drafter --weights=q4 \
        --activations=q8 "${trim[@]}"
link_budget object
{
    cat <<END
# What drafting gains

Made by \`./dev bench speculation\` on $(nproc) processors, $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1).
$prompts pieces of held-back novels are continued by $tokens tokens in one process, by all configurations, in
an order that is shuffled for each prompt. Times are medians of the time per token after the first
tokens came; *speed-up* is the median over the prompts of the first line's time divided by this
line's, *over plain* that of the time to the first token divided by plain decoding's of the same weights
and threads. *8 bits* are the weights of \`graphs/\`, which \`--activations=q8\` multiplies with quantised
activations, *4 bits* the same model compiled with \`--weights=q4\`, which writes other texts
([quality.md](quality.md)), *f32* 8-bit weights without quantised activations. The drafter's head is
trimmed by \`graphs/counts.json\`, as in \`./dev demo\`, but where it says *whole head*. At temperature 0
all lines of the same weights write the same text. \`auto\` begins knowing nothing.

## The default pair

The target's 4 MB stay in the processor's cache, so that every further token of a pass costs time.
Greedy text of models this small goes round in circles: most of its tokens follow three that stood in
the text before, and \`auto\` copies them instead of asking the drafter ([speculation.md](speculation.md)).
Sampled text hardly repeats itself, and shows what the drafter gains alone; so do the fixed chains.
END
    table
    for temperature in 0 0.7 1; do
        four=()
        [ ! -e "$folder/four.so" ] ||
            four=("plain, 4 bits, 1 thread=$folder/four.so:1:0"
                "plain, 4 bits, 2 threads=$folder/four.so:2:0"
                "auto, 4 bits, 1 thread=$folder/four.so:1:auto"
                "auto, 4 bits, 2 threads=$folder/four.so:2:auto"
                "chain of 1, 4 bits, 1 thread=$folder/four.so:1:1")
        measure default $prompts $tokens $temperature \
            "plain, 8 bits, 1 thread=$folder/trimmed.so:1:0" \
            "plain, 8 bits, 2 threads=$folder/trimmed.so:2:0" \
            "auto, 8 bits, 1 thread=$folder/trimmed.so:1:auto" \
            "auto, 8 bits, 2 threads=$folder/trimmed.so:2:auto" \
            "plain, 8 bits, whole head, 1 thread=$folder/whole.so:1:0" \
            "auto, 8 bits, whole head, 1 thread=$folder/whole.so:1:auto" \
            "chain of 1, 8 bits, 1 thread=$folder/trimmed.so:1:1" \
            "chain of 2, 8 bits, 1 thread=$folder/trimmed.so:1:2" \
            "rsd-s:2x2, 8 bits, 1 thread=$folder/trimmed.so:1:rsd-s:2x2" \
            "plain, f32, 1 thread=$folder/floats.so:1:0" \
            "plain, f32, 2 threads=$folder/floats.so:2:0" "${four[@]}"
    done
    echo
    echo "Against the fastest plain line with weights of 8 bits, and of 4 bits:"
    fastest_table
    against_fastest default "8 bits"
    against_fastest default "4 bits"
    cat <<END

### Where a round's time goes

One thread, 8 bits. The shipped runtime is linked with counters around its functions
(\`tests/bench/speculation/budget.c\`); a function's time is without that of the others.
END
    for temperature in 0 1; do
        budget_table $temperature
    done
    if [ -e $pair/target/model.safetensors ]; then
        cc "${includes[@]}" tests/bench/speculation/rewrite.c -o "$folder/rewrite" -ljansson
        mkdir "$folder/wide" "$folder/random"
        "$folder/rewrite" widen 21824 $pair/target "$folder/wide"
        "$folder/rewrite" random 7 $pair/drafter "$folder/random"
        compile wide shared --target "$folder/wide" --drafter graphs/drafter.xml --weights=q8 \
            --activations=q8
        compile random shared --target graphs/target.xml --drafter "$folder/random" --weights=q8 \
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
                "plain, 1 thread=$folder/wide.so:1:0" "auto, 1 thread=$folder/wide.so:1:auto" \
                "chain of 4, 1 thread=$folder/wide.so:1:4"
        done
        echo
        echo "Against the fastest plain line:"
        fastest_table
        against_fastest wide thread
        cat <<END

## A drafter of no use

The default target with a drafter of random weights, 512 tokens a text: what looking costs, and what
copying gains without a drafter.
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
