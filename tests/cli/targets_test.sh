#!/usr/bin/env bash
# Every row of `tandem targets`: the default pair is compiled for it and writes the same text
# everywhere: here where this machine has the level, and under emulation for other machines.
# Programs refuse processors that lack what they were compiled for.
#
# SPDX-License-Identifier: GPL-3.0-or-later
source "$(dirname "$0")/harness.sh"
cd "$source_folder"

prompt="The old man looked at the sea"
models=(--target graphs/target.xml --drafter graphs/drafter.xml --tokenizer graphs/tokenizer.json)

compile() { "$tandem" compile "${models[@]}" -o "$1" "${@:2}"; }
# Few tokens: an emulator is some fifty times slower than a processor.
write() { "$@" --prompt "$prompt" --max-tokens 12 --ignore-eos --threads 1; }

# version PROGRAM...: the CPU of the table that the program has chosen.
version() { "$@" --version | sed -n '1s/.*-linux-gnu, \([^ ]*\) .*/\1/p'; }

# A refusal by a program at its start.
refuses() { # FEATURE COMMAND...
    local feature=$1 status=0
    shift
    write "$@" >"$folder/stdout" 2>"$folder/stderr" || status=$?
    cat "$folder/stderr"
    [ "$status" -ne 0 ] && [ "$(wc -l <"$folder/stderr")" -eq 1 ] && [ ! -s "$folder/stdout" ] &&
        grep -q "this processor lacks \"$feature\"" "$folder/stderr"
}

writes_the_text() { # EXPECTED COMMAND...
    local expected=$1
    shift
    write "$@" >"$folder/text" && same "$expected" "$folder/text"
}

has_runtime() { [ -e "$build/runtime/$1/libtandem_runtime.a" ]; }

# How products are computed: with activations in f32.
numerics="f32"
for activations in $numerics; do
    check "compiles_for_this_machine_$activations" compile "$folder/native-$activations" \
        --activations=$activations
    write "$folder/native-$activations" >"$folder/text-$activations"
done
check the_text_has_length test "$(wc -c <"$folder/text-f32")" -gt 30

# --- levels of x86-64 ---

x86_row() { # CPU
    local cpu=$1 activations
    for activations in $numerics; do
        compile "$folder/x86" --triple x86_64-linux-gnu --cpu "$cpu" --activations=$activations ||
            return 1
        writes_the_text "$folder/text-$activations" "$folder/x86" || return 1
    done
}

if [ "$(uname -m)" = x86_64 ]; then
    for cpu in x86-64-v3 x86-64-v3-vnni x86-64-v4 x86-64-v4-vnni multi; do
        if compile "$folder/x86" --triple x86_64-linux-gnu --cpu $cpu 2>/dev/null &&
            ! "$folder/x86" --check >/dev/null 2>"$folder/stderr" &&
            grep -q "this processor lacks" "$folder/stderr"; then
            skip "${cpu}_writes_the_same_text" "this machine lacks it"
        else
            check "${cpu}_writes_the_same_text" x86_row $cpu
        fi
    done
    # Without fused multiply-add last bits differ, and text may: what counts is the tolerance.
    check v2_is_within_tolerance "$tandem" verify --target graphs/drafter.xml --cpu x86-64-v2
    check each_level_of_multi_is_exact "$tandem" verify --target graphs/drafter.xml --cpu multi
    for levels in native multi; do
        compile "$folder/$levels" --cpu $levels
    done
    strongest() { [ "$(version "$folder/multi")" = "$(version "$folder/native")" ]; }
    if [ "$(version "$folder/native")" = x86-64-v3-vnni ]; then
        skip multi_takes_the_strongest_level "this machine's level is none of multi's"
    else
        check multi_takes_the_strongest_level strongest
    fi
    shared_multi() {
        compile "$folder/libpoet.so" --emit=shared --name poet --cpu multi &&
            [ "$(nm -D --defined-only "$folder/libpoet.so" | wc -l)" -eq 1 ] || return 1
        gcc -std=c17 -Wall -Wextra -Werror -I"$source_folder" -I"$folder" tests/cli/poet.c \
            -o "$folder/poet" -L"$folder" -lpoet || return 1
        LD_LIBRARY_PATH=$folder "$folder/poet" "$prompt" 12 >"$folder/a" &&
            same "$folder/text-f32" "$folder/a"
    }
    check a_library_may_hold_levels shared_multi
else
    skip levels_of_x86_64_write_the_same_text "this machine is no x86-64"
fi

if has_runtime x86_64-linux-gnu && command -v qemu-x86_64 >/dev/null; then
    compile "$folder/multi" --triple x86_64-linux-gnu --cpu multi
    # The emulator knows AVX2 but no AVX-512.
    weakest() { [ "$(version qemu-x86_64 -cpu max "$folder/multi")" = x86-64-v3 ]; }
    check multi_takes_a_level_that_is_there weakest
    check multi_writes_the_same_text_at_its_lowest_level writes_the_text "$folder/text-f32" \
        qemu-x86_64 -cpu max "$folder/multi"
    check multi_refuses_a_processor_below_its_lowest_level refuses avx \
        qemu-x86_64 -cpu Nehalem "$folder/multi"
else
    skip multi_under_emulation "qemu-x86_64 or the x86-64 compiler is not installed"
fi

# --- other machines ---

# emulated TRIPLE CPU COMMAND...: compiles for a row and runs it under an emulator.
emulated() {
    local triple=$1 cpu=$2 activations
    shift 2
    for activations in $numerics; do
        compile "$folder/other" --triple "$triple" --cpu "$cpu" --activations=$activations ||
            return 1
        writes_the_text "$folder/text-$activations" "$@" "$folder/other" || return 1
    done
}

if has_runtime aarch64-linux-gnu && command -v qemu-aarch64 >/dev/null; then
    check aarch64_generic_writes_the_same_text emulated aarch64-linux-gnu generic \
        qemu-aarch64 -cpu cortex-a53
    check aarch64_dotprod_writes_the_same_text emulated aarch64-linux-gnu dotprod \
        qemu-aarch64 -cpu max
    check aarch64_i8mm_writes_the_same_text emulated aarch64-linux-gnu i8mm qemu-aarch64 -cpu max
    for row in dotprod:asimddp i8mm:asimddp; do
        compile "$folder/other" --triple aarch64-linux-gnu --cpu ${row%:*}
        check "aarch64_${row%:*}_refuses_a_processor_without_it" refuses ${row#*:} \
            qemu-aarch64 -cpu cortex-a53 "$folder/other"
    done
else
    skip aarch64_writes_the_same_text "qemu-aarch64 or the aarch64 compiler is not installed"
fi

if has_runtime riscv64-linux-gnu && command -v qemu-riscv64 >/dev/null; then
    check riscv64_generic_writes_the_same_text emulated riscv64-linux-gnu generic \
        qemu-riscv64 -cpu rv64
    for bits in 128 256; do
        check riscv64_v_writes_the_same_text_with_$bits emulated riscv64-linux-gnu v \
            qemu-riscv64 -cpu rv64,v=true,vext_spec=v1.0,vlen=$bits
    done
    compile "$folder/other" --triple riscv64-linux-gnu --cpu v
    check riscv64_v_refuses_a_processor_without_it refuses v qemu-riscv64 -cpu rv64 "$folder/other"
else
    skip riscv64_writes_the_same_text "qemu-riscv64 or the riscv64 compiler is not installed"
fi

# --- what is known ---

lists_every_row() {
    "$tandem" targets >"$folder/rows" || return 1
    cat "$folder/rows"
    local row
    for row in x86_64-unknown-linux-gnu x86-64-v2 x86-64-v3-vnni x86-64-v4-vnni multi \
        aarch64-unknown-linux-gnu dotprod i8mm riscv64-unknown-linux-gnu v; do
        grep -qE "(^|--cpu=)$row( |\$)" "$folder/rows" || { echo "no $row"; return 1; }
    done
    grep -q "x86-64-v3, x86-64-v4, x86-64-v4-vnni: all in one program" "$folder/rows"
}
check targets_lists_every_row lists_every_row

check an_unknown_triple_names_the_known_ones refused 1 \
    'unknown triple "vax".*x86_64-linux-gnu, aarch64-linux-gnu, riscv64-linux-gnu' \
    compile "$folder/out" --triple vax
check an_unknown_cpu_names_the_known_ones refused 1 \
    'unknown CPU "x86-64-v9".*x86-64-v2, .*x86-64-v4-vnni, multi' \
    compile "$folder/out" --triple x86_64-linux-gnu --cpu x86-64-v9
check native_of_another_machine_is_refused refused 1 'CPU "native" is this machine' \
    compile "$folder/out" --triple riscv64-linux-gnu --cpu native
