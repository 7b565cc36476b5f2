#!/usr/bin/env bash
# Block efficiency of draft trees on the default pair -> docs/trees.md. Counts tokens, not time: it
# may run beside other work.
#
#   tests/bench/trees.sh [PROMPTS [TOKENS]]
#
# SPDX-License-Identifier: GPL-3.0-or-later
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${BUILD:-build}
text=../shared/data/text/train/eltec_eng.valid.txt
[ -e "$text" ] || { echo "$text is not there: no prompts" >&2; exit 1; }
folder=$(mktemp -d "${TMPDIR:-/tmp}/tandem-trees-XXXXXX")
trap 'rm -rf "$folder"' EXIT

ninja -C "$build" --quiet tandem tandem_bench_trees
"$build/tandem" compile --target graphs/target.xml --drafter graphs/drafter.xml \
    --tokenizer graphs/tokenizer.json --emit=shared --name trees -o "$folder/libtrees.so"
"$build/tandem_bench_trees" "$folder/libtrees.so" "$text" "${1:-20}" "${2:-60}" >"$folder/trees.md"
mv "$folder/trees.md" docs/trees.md
