#!/usr/bin/env bash
# Tandem's generated code and llama.cpp, taking turns on one model -> docs/llama.md.
#
#   llama.sh [FOLDER]    FOLDER holds llama.cpp's shared libraries; without one the prebuilt ones of
#                        the npm package @node-llama-cpp/linux-x64 are fetched to build/llama
#
# Skips with a sentence where there is neither. Needs some 4 GB in build/llama.
#
# SPDX-License-Identifier: GPL-3.0-or-later
set -euo pipefail
cd "$(dirname "$0")/../.."
work=build/llama
mkdir -p "$work"
folder=${1:-$work/package/bins/linux-x64}

fetch() {
    command -v npm > /dev/null || return 1
    (cd "$work" && npm pack --silent @node-llama-cpp/linux-x64 > /dev/null 2>&1 \
        && tar xzf node-llama-cpp-linux-x64-*.tgz)
}

if [ $# -eq 0 ] && [ ! -d "$folder" ] && ! fetch; then
    echo "skipped: llama.cpp's libraries are not here and npm cannot fetch them; name their folder"
    exit 0
fi
ninja -C build --quiet tandem_bench_llama
build/tandem_bench_llama "$folder" "$work" docs/llama.md
cat docs/llama.md
