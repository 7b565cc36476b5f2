#!/usr/bin/env bash
# Quality under eviction, by policy and share of the tokens kept -> the tables of docs/eviction.md.
#
#   eviction.sh [WINDOWS]   (96) windows of 1024 tokens of the held-back novels
#
# SPDX-License-Identifier: GPL-3.0-or-later
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${TANDEM_BUILD:-build}
windows=${1:-96}
novels=../shared/data/text/train/eltec_eng.valid.txt
[ -e "$novels" ] || { echo "$novels is not there: nothing to measure on" >&2; exit 1; }

ninja -C "$build" --quiet tandem tandem_runtimes tandem_bench_eviction
folder=$(mktemp -d "${TMPDIR:-/tmp}/tandem-bench-XXXXXX")
trap 'rm -rf "$folder"' EXIT
measure() { # TITLE MODEL
    printf '\n### %s\n\n' "$1"
    "$build/tandem_bench_eviction" "$folder/$2.so" "$novels" "$windows"
}
# The best of three runs of a policy with so many slots, in tokens/s.
speed() { # POLICY SLOTS
    local run
    for run in 1 2 3; do
        "$folder/program" --evict "$1" --slots "$2" --threads 1 --draft 0 --ignore-eos \
            --prompt "The old man looked at the sea" --max-tokens 1000 --stats=json 2>&1 >/dev/null |
            sed 's/.*"tokens_per_second": \([0-9]*\).*/\1/'
    done | sort -n | tail -n 1
}
speeds() {
    local policy
    printf '\n### Speed\n\nPlain greedy decoding of 1000 tokens by the default target (`--activations=q8`), one '
    printf 'thread, tokens/s, best of three;\nthe full cache of 1024 slots: %s.\n\n' "$(speed none 1024)"
    printf '| policy | 256 slots | 512 slots |\n|---|---|---|\n'
    for policy in recent keydiff tova tova+caote snapkv snapkv+caote h2o h2o+caote; do
        printf '| `%s` | %s | %s |\n' "$policy" "$(speed "$policy" 256)" "$(speed "$policy" 512)"
    done
}

"$build/tandem" compile --target graphs/target.xml --tokenizer graphs/tokenizer.json \
    --activations=q8 --evict=snapkv -o "$folder/program"
for model in target drafter; do
    "$build/tandem" compile --target "graphs/$model.xml" --tokenizer graphs/tokenizer.json \
        --evict=snapkv --emit=shared -o "$folder/$model.so"
done
{
    measure "The default pair's target" target
    measure "The default pair's drafter" drafter
    speeds
} >"$folder/tables"
cat "$folder/tables"

# What stands between the two marks is replaced.
awk -v tables="$folder/tables" '
    /^<!-- end of measurements -->/ { skip = 0 }
    !skip { print }
    /^<!-- measured by/ { skip = 1; while ((getline line < tables) > 0) print line; print "" }
' docs/eviction.md >"$folder/page"
cp "$folder/page" docs/eviction.md
