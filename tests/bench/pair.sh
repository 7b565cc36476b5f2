#!/usr/bin/env bash
# Measurements: compile time, program size, speed and memory of the default pair and of the 1.1 B
# parameter TinyLlama export with random weights. Prints a Markdown table and writes
# docs/measurements.md. Nothing else should run on the machine.
#
# SPDX-License-Identifier: GPL-3.0-or-later
set -euo pipefail
cd "$(dirname "$0")/../.."
tandem=build/tandem
folder=$(mktemp -d "${TMPDIR:-/tmp}/tandem-bench-XXXXXX")
trap 'rm -rf "$folder"' EXIT
rounds=${ROUNDS:-5}
prompt="The old man looked at the sea"
shared=../shared

field() { sed -n "s/.*\"$1\": *\"\{0,1\}\([0-9.a-z]*\).*/\1/p" "$2"; }
median() { sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
mib() { awk -v b="$1" 'BEGIN { printf "%.2f", b / 1048576 }'; }

# compile NAME ARGUMENTS...: leaves $folder/NAME, seconds and peak memory in variables.
compile() {
    local name=$1
    shift
    local started ended
    started=$(date +%s.%N)
    "$tandem" compile "$@" -o "$folder/$name" &
    local child=$! peak=0 now
    while kill -0 "$child" 2>/dev/null; do
        now=$(sed -n 's/^VmHWM:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$child/status" 2>/dev/null || true)
        [ -n "$now" ] && peak=$now
        sleep 0.05
    done
    wait "$child"
    ended=$(date +%s.%N)
    compile_seconds=$(awk -v a="$started" -v b="$ended" 'BEGIN { printf "%.2f", b - a }')
    compile_mib=$((peak / 1024))
    size=$(stat -c %s "$folder/$name")
}

# Interleaved runs of several configurations; medians of tokens/s.
declare -A speeds
run_interleaved() { # NAME PROGRAM-OPTIONS -- one configuration per line on standard input
    local program=$1 line round
    mapfile -t lines
    for line in "${lines[@]}"; do : >"$folder/$program.${line%% *}"; done
    for ((round = 0; round < rounds; round++)); do
        for line in "${lines[@]}"; do
            # shellcheck disable=SC2086
            "$folder/$program" ${line#* } --ignore-eos --stats=json >/dev/null 2>"$folder/stats"
            field tokens_per_second "$folder/stats" >>"$folder/$program.${line%% *}"
            cp "$folder/stats" "$folder/$program.${line%% *}.stats"
        done
    done
    for line in "${lines[@]}"; do
        speeds[$program.${line%% *}]=$(median <"$folder/$program.${line%% *}")
    done
}

{
    echo "# Measurements"
    echo
    # shellcheck disable=SC2016
    echo "Made by \`./dev bench pair\` on $(nproc) cores of $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1);" \
        "medians of $rounds interleaved runs."
    echo
    echo "## The default pair"
    for activations in f32 q8; do
        compile "pair-$activations" --target graphs/target.xml --drafter graphs/drafter.xml \
            --tokenizer graphs/tokenizer.json --memory-budget 64M "--activations=$activations"
        echo
        echo "With \`--activations=$activations\`: compiled in $compile_seconds s with $compile_mib MiB" \
            "of memory; the program has $(mib "$size") MiB."
        run_interleaved "pair-$activations" <<EOF
plain-1 --prompt-ids 4095,464,1468 --max-tokens 400 --draft 0 --threads 1
plain-2 --prompt-ids 4095,464,1468 --max-tokens 400 --draft 0 --threads 2
draft1-1 --prompt-ids 4095,464,1468 --max-tokens 400 --draft 1 --threads 1
draft2-1 --prompt-ids 4095,464,1468 --max-tokens 400 --draft 2 --threads 1
draft2-2 --prompt-ids 4095,464,1468 --max-tokens 400 --draft 2 --threads 2
draft5-1 --prompt-ids 4095,464,1468 --max-tokens 400 --draft 5 --threads 1
auto-1 --prompt-ids 4095,464,1468 --max-tokens 400 --draft auto --threads 1
EOF
        echo
        echo "| configuration | tokens/s | block efficiency | acceptance | peak MiB | planned MiB | budget MiB |"
        echo "|---|---|---|---|---|---|---|"
        for name in plain-1 plain-2 draft1-1 draft2-1 draft2-2 draft5-1 auto-1; do
            stats=$folder/pair-$activations.$name.stats
            echo "| ${name/-/, threads } | ${speeds[pair-$activations.$name]} | $(field block_efficiency "$stats") |" \
                "$(field acceptance "$stats") | $(mib "$(field peak_bytes "$stats")") |" \
                "$(mib "$(field planned_bytes "$stats")") | $(mib "$(field budget_bytes "$stats")") |"
        done
    done
    model=$shared/data/openvino/tinyllama_1.1b_u8_stateful_openvino_model.xml
    if [ -e "$model" ]; then
        echo
        echo "## TinyLlama 1.1 B (u8 weights per row, random:7)"
        compile tiny --target "$model" --constants tests/frontend/tinyllama_constants.json \
            --weights=random:7
        rounds=3
        run_interleaved tiny <<EOF
threads-1 --prompt-ids 1,2,3,4,5 --max-tokens 32 --threads 1
threads-2 --prompt-ids 1,2,3,4,5 --max-tokens 32 --threads 2
EOF
        echo
        echo "Compiled in $compile_seconds s with $compile_mib MiB of memory; the program has $(mib "$size") MiB."
        echo
        echo "| configuration | tokens/s | peak MiB | planned MiB |"
        echo "|---|---|---|---|"
        for name in threads-1 threads-2; do
            stats=$folder/tiny.$name.stats
            echo "| ${name/-/ } | ${speeds[tiny.$name]} | $(mib "$(field peak_bytes "$stats")") |" \
                "$(mib "$(field planned_bytes "$stats")") |"
        done
    fi
} | tee "$folder/measurements.md"
cp "$folder/measurements.md" docs/measurements.md
