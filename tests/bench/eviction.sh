#!/usr/bin/env bash
# Quality and speed under eviction, by policy and share of the tokens kept -> the tables of
# docs/eviction.md. Some two minutes on two processors.
#
#   eviction.sh [STEP...]   all steps, or some; what a step makes is kept in build/bench-eviction:
#     compile    the libraries and the program that are measured
#     target     quality of the default pair's target on WINDOWS (96) windows of held-back novels
#     drafter    the same of its drafter
#     speed      tokens per second under each policy; nothing else should run on the machine
#     page       docs/eviction.md
#
# SPDX-License-Identifier: GPL-3.0-or-later
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/bench/page.sh
build=${TANDEM_BUILD:-build}
folder=$build/bench-eviction
windows=${WINDOWS:-96}
novels=../shared/data/text/train/eltec_eng.valid.txt
steps=(compile target drafter speed page)
[ -e "$novels" ] || { echo "$novels is not there: nothing to measure on" >&2; exit 1; }

compile() {
    ninja -C "$build" --quiet tandem tandem_runtimes tandem_bench_eviction
    "$build/tandem" compile --target graphs/target.xml --tokenizer graphs/tokenizer.json \
        --activations=q8 --evict=snapkv -o "$folder/program"
    local model
    for model in target drafter; do
        "$build/tandem" compile --target "graphs/$model.xml" --tokenizer graphs/tokenizer.json \
            --evict=snapkv --emit=shared -o "$folder/$model.so"
    done
}

# --- quality ---

measure() { # TITLE MODEL
    { printf '\n### %s\n\n' "$1" && "$build/tandem_bench_eviction" "$folder/$2.so" "$novels" "$windows"; } \
        >"$folder/$2.md"
}
target() { measure "The default pair's target" target; }
drafter() { measure "The default pair's drafter" drafter; }

# --- speed ---

# The best of five runs of a policy with so many slots, in tokens/s.
best_speed() { # POLICY SLOTS
    for _ in 1 2 3 4 5; do
        "$folder/program" --evict "$1" --slots "$2" --threads 1 --draft 0 --ignore-eos \
            --prompt "The old man looked at the sea" --max-tokens 1000 --stats=json 2>&1 >/dev/null |
            sed 's/.*"tokens_per_second": \([0-9]*\).*/\1/'
    done | sort -n | tail -n 1
}
speed() {
    local policy
    {
        printf '\n### Speed\n\nPlain greedy decoding of 1000 tokens by the default target '
        printf '(`--activations=q8`), one thread of %s,\ntokens/s, best of five; ' "$(processor)"
        printf 'the full cache of 1024 slots: %s.\n\n' "$(best_speed none 1024)"
        printf '| policy | 256 slots | 512 slots |\n|---|---|---|\n'
        for policy in recent keydiff tova tova+caote snapkv snapkv+caote h2o h2o+caote; do
            printf '| `%s` | %s | %s |\n' "$policy" "$(best_speed "$policy" 256)" \
                "$(best_speed "$policy" 512)"
        done
    } >"$folder/speed.md"
}

# --- the page ---

page() {
    cat "$folder/target.md" "$folder/drafter.md" "$folder/speed.md" >"$folder/tables.md"
    cat "$folder/tables.md"
    put_tables docs/eviction.md "$folder/tables.md"
}

mkdir -p "$folder"
run_steps "$@"
