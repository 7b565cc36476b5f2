#!/usr/bin/env bash
# Every row of `tandem targets`: the same models compiled for it give the same bits of logits
# everywhere, here where this machine has the level and under emulation for other machines, and
# programs write the same text. Programs refuse processors that lack what they were compiled for.
#
# SPDX-License-Identifier: GPL-3.0-or-later
source "$(dirname "$0")/harness.sh"
cd "$source_folder"

prompt="The old man looked at the sea"
pair=(--target graphs/target.xml --drafter graphs/drafter.xml --tokenizer graphs/tokenizer.json)
alone=(--target graphs/drafter.xml --tokenizer graphs/tokenizer.json)

compile() { "$tandem" compile "${pair[@]}" -o "$1" "${@:2}"; }
# Few tokens: an emulator is some fifty times slower than a processor.
write() { "$@" --prompt "$prompt" --max-tokens 8 --ignore-eos --threads 1; }

has_runtime() { [ -e "$build/runtime/$1/libtandem_runtime.a" ]; }
this_triple=$(uname -m)-linux-gnu

# hash_logits TRIPLE "COMMAND" OPTIONS...: compiles, links with the test's own main program, and
# prints a hash of the logits of each of its passes; COMMAND runs programs of that machine.
hash_logits() {
    local triple=$1 command=$2
    shift 2
    "$tandem" compile --triple "$triple" "$@" --emit=object -o "$folder/model.o" &&
        "$triple-gcc" -std=c17 -O1 -Wall -Wextra -Werror -I. -static tests/cli/logits.c \
            "$folder/model.o" "$build/runtime/$triple/libtandem_runtime.a" -lm -lpthread \
            -o "$folder/logits" && $command "$folder/logits" "$folder/model.o.weights"
}

# Kinds of weights, caches and activations; each has its own kernels. The text below has the rest.
kinds=("--weights=f16 --kv=f16" "--weights=q4 --kv=q8" "--weights=q4 --activations=q8")
for i in "${!kinds[@]}"; do
    # shellcheck disable=SC2086
    hash_logits "$this_triple" "" "${alone[@]}" ${kinds[$i]} >"$folder/bits-$i"
done
compile "$folder/native"
write "$folder/native" >"$folder/expected-text"

bits_are_there() {
    cat "$folder"/bits-*
    local i
    [ "$(sort -u "$folder/bits-0" | wc -l)" -eq 5 ] &&
        ! grep -q 'not finite' "$folder"/bits-* && [ "$(wc -c <"$folder/expected-text")" -gt 20 ] ||
        return 1
    for i in "${!kinds[@]}"; do [ "$(wc -l <"$folder/bits-$i")" -eq 5 ] || return 1; done
    ! cmp -s "$folder/bits-0" "$folder/bits-1" # other weights, other bits
}
check "bits_are_there" bits_are_there

# same_bits TRIPLE CPU "COMMAND": on this row every kind gives the bits of this machine.
same_bits() {
    local i
    for i in "${!kinds[@]}"; do
        # shellcheck disable=SC2086
        hash_logits "$1" "$3" --cpu="$2" "${alone[@]}" ${kinds[$i]} >"$folder/bits" &&
            same "$folder/bits-$i" "$folder/bits" || { echo "${kinds[$i]}"; return 1; }
    done
}

writes_the_text() {
    write "$@" >"$folder/text" && same "$folder/expected-text" "$folder/text"
}

# The CPU of the table that a program has chosen.
version() { "$@" --version | sed -n '1s/.*-linux-gnu, \([^ ]*\) .*/\1/p'; }

# refuses FEATURE COMMAND...: a program that refuses the processor at its start.
refuses() {
    local feature=$1 status=0
    shift
    write "$@" >"$folder/stdout" 2>"$folder/stderr" || status=$?
    cat "$folder/stderr"
    [ "$status" -ne 0 ] && [ "$(wc -l <"$folder/stderr")" -eq 1 ] && [ ! -s "$folder/stdout" ] &&
        grep -q "this processor lacks \"$feature\"" "$folder/stderr"
}

# --- levels of x86-64 ---

if [ "$(uname -m)" = x86_64 ]; then
    for cpu in x86-64-v3 x86-64-v3-vnni x86-64-v4 x86-64-v4-vnni multi; do
        if compile "$folder/level" --cpu $cpu &&
            ! "$folder/level" --check >/dev/null 2>"$folder/stderr" &&
            grep -q "this processor lacks" "$folder/stderr"; then
            skip "${cpu}_gives_the_same_bits" "this machine lacks it"
        else
            check "${cpu}_gives_the_same_bits" same_bits x86_64-linux-gnu $cpu ""
        fi
    done
    # Without fused multiply-add last bits differ, and text may: what counts is the tolerance.
    check v2_is_within_tolerance "$tandem" verify --target graphs/drafter.xml --cpu x86-64-v2
    check each_level_of_multi_is_exact "$tandem" verify --target graphs/drafter.xml --cpu multi
    compile "$folder/multi" --cpu multi
    check multi_writes_the_same_text writes_the_text "$folder/multi"
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
        LD_LIBRARY_PATH=$folder "$folder/poet" "$prompt" 8 >"$folder/text" &&
            same "$folder/expected-text" "$folder/text"
    }
    check a_library_may_hold_levels shared_multi
else
    skip levels_of_x86_64_give_the_same_bits "this machine is no x86-64"
fi

if has_runtime x86_64-linux-gnu && command -v qemu-x86_64 >/dev/null; then
    compile "$folder/multi" --triple x86_64-linux-gnu --cpu multi
    # The emulator knows AVX2 but no AVX-512.
    weakest() { [ "$(version qemu-x86_64 -cpu max "$folder/multi")" = x86-64-v3 ]; }
    check multi_takes_a_level_that_is_there weakest
    check multi_writes_the_same_text_at_its_lowest_level writes_the_text \
        qemu-x86_64 -cpu max "$folder/multi"
    check multi_refuses_a_processor_below_its_lowest_level refuses avx \
        qemu-x86_64 -cpu Nehalem "$folder/multi"
else
    skip multi_under_emulation "qemu-x86_64 or the x86-64 compiler is not installed"
fi

# --- other machines ---

# other TRIPLE CPU REFUSED "WEAK" "FULL": the row under an emulator that has it (FULL), and its
# refusal, by the feature REFUSED, on a processor that lacks it (WEAK; "" for the weakest row).
other() {
    local triple=$1 cpu=$2 name=${1%%-*}_$2
    check "${name}_gives_the_same_bits" same_bits "$triple" "$cpu" "$5"
    compile "$folder/other" --triple "$triple" --cpu "$cpu"
    # shellcheck disable=SC2086
    check "${name}_writes_the_same_text" writes_the_text $5 "$folder/other"
    # shellcheck disable=SC2086
    [ -z "$4" ] || check "${name}_refuses_a_processor_without_it" refuses "$3" $4 "$folder/other"
}

bytes=(--weights=q8 --activations=q8 "${alone[@]}")

# Tiles of two and more tokens use smmla on the row that has it, and on no other.
has_squares() {
    local cpu
    for cpu in dotprod i8mm; do
        "$tandem" compile --triple aarch64-linux-gnu --cpu $cpu "${bytes[@]}" --emit=llvm-ir \
            -o "$folder/$cpu.ll" && grep -q "call .*neon\.sdot" "$folder/$cpu.ll" || return 1
    done
    grep -q "call .*neon\.smmla" "$folder/i8mm.ll" && ! grep -q smmla "$folder/dotprod.ll"
}

bytes_on_i8mm() {
    hash_logits "$this_triple" "" "${bytes[@]}" >"$folder/bits-of-bytes" &&
        hash_logits aarch64-linux-gnu "qemu-aarch64 -cpu max" --cpu i8mm "${bytes[@]}" \
            >"$folder/bits" && [ "$(wc -l <"$folder/bits")" -eq 5 ] &&
        same "$folder/bits-of-bytes" "$folder/bits"
}

if has_runtime aarch64-linux-gnu && command -v qemu-aarch64 >/dev/null; then
    old="qemu-aarch64 -cpu cortex-a53"
    other aarch64-linux-gnu generic "" "" "$old"
    other aarch64-linux-gnu dotprod asimddp "$old" "qemu-aarch64 -cpu max"
    other aarch64-linux-gnu i8mm asimddp "$old" "qemu-aarch64 -cpu max"
    check aarch64_i8mm_refuses_a_processor_with_dotprod_alone refuses i8mm \
        qemu-aarch64 -cpu neoverse-n1 "$folder/other"
    check i8mm_multiplies_pairs_of_tokens has_squares
    check aarch64_i8mm_gives_the_same_bits_with_bytes bytes_on_i8mm
else
    skip aarch64_gives_the_same_bits "qemu-aarch64 or the aarch64 compiler is not installed"
fi

if has_runtime riscv64-linux-gnu && command -v qemu-riscv64 >/dev/null; then
    plain="qemu-riscv64 -cpu rv64" vectors="qemu-riscv64 -cpu rv64,v=true,vext_spec=v1.0"
    other riscv64-linux-gnu generic "" "" "$plain"
    other riscv64-linux-gnu v v "$plain" "$vectors,vlen=128"
    check riscv64_v_gives_the_same_bits_with_wider_registers same_bits riscv64-linux-gnu v \
        "$vectors,vlen=256"
else
    skip riscv64_gives_the_same_bits "qemu-riscv64 or the riscv64 compiler is not installed"
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
