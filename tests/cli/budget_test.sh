#!/usr/bin/env bash
# The memory budget is a promise: a program works within the planned address space and, where a
# control group can be made, within the planned resident memory; what it took, as the kernel saw it
# at its end, is within the budget; and weights are never read again while it runs.
#
# SPDX-License-Identifier: GPL-3.0-or-later
source "$(dirname "$0")/harness.sh"
cd "$source_folder"
models=(--target graphs/target.xml --drafter graphs/drafter.xml --tokenizer graphs/tokenizer.json)
slots=96
gcc -O2 -static -o "$folder/peak" tests/cli/peak.c 2>/dev/null || gcc -O2 -o "$folder/peak" tests/cli/peak.c

# A prompt ten times as long as the slots; without eviction, one that fits.
prompt_for() { if [ "$1" = none ]; then seq -s, 5 64; else seq -s, 5 $((5 + 10 * slots)); fi; }

# planned FIELD OPTION...: bytes of a line of the plan, which is made once for the same options.
planned() {
    local field=$1 file
    shift
    file=$folder/plan$(printf '%s' "$*" | tr -c '[:alnum:]' _)
    [ -e "$file" ] || "$tandem" plan "${models[@]}" "$@" >"$file" || return 1
    sed -n "s/^  $field  *\([0-9]*\) bytes.*/\1/p" "$file"
}
noted() { sed -n "s/^$1 //p" "$folder/noted"; }

"$tandem" compile "${models[@]}" -o "$folder/pair-none"
"$tandem" compile "${models[@]}" --evict=h2o --slots $slots --threads 2 -o "$folder/pair-h2o" \
    --memory-budget "$(planned 'in all' --evict=h2o --slots $slots --threads 2)"

# within POLICY THREADS: runs with the planned memory as budget, inside the planned address space.
within() {
    local options=(--slots $slots --threads "$2") resident space
    resident=$(planned 'in all' --evict="$1" "${options[@]}") &&
        space=$(planned 'address space' --evict="$1" "${options[@]}") || return 1
    (
        ulimit -v $((space / 1024 + 64))
        exec "$folder/peak" "$folder/noted" "$folder/pair-$1" --prompt-ids "$(prompt_for "$1")" --ids \
            "${options[@]}" --memory-budget "$resident" --max-tokens 30 --ignore-eos --stats=json
    ) >"$folder/ids" 2>"$folder/stats" || { cat "$folder/stats"; return 1; }
    echo "planned $resident, $(cat "$folder/noted" "$folder/stats")"
    [ "$(wc -w <"$folder/ids")" -eq 30 ] && [ "$(noted peak)" -le "$resident" ] &&
        grep -q "\"slots\": *$slots," "$folder/stats" && grep -q "\"threads\": *$2," "$folder/stats"
}
for policy in none h2o; do
    for threads in 1 2; do
        check "address_space_${policy}_${threads}_threads" within "$policy" "$threads"
    done
done

# The same for a prompt that is a text, in a file or from a pipe.
text_within() { # THREADS SOURCE
    local options=(--slots $slots --threads "$1") resident space
    resident=$(planned 'in all' --evict=h2o "${options[@]}") &&
        space=$(planned 'address space' --evict=h2o "${options[@]}") || return 1
    (
        ulimit -v $((space / 1024 + 64))
        cat "$folder/long.txt" | exec "$folder/peak" "$folder/noted" "$folder/pair-h2o" --prompt-file "$2" \
            "${options[@]}" --memory-budget "$resident" --max-tokens 30 --ignore-eos --stats=json
    ) >"$folder/text" 2>"$folder/stats" || { cat "$folder/stats"; return 1; }
    echo "planned $resident, $(cat "$folder/noted" "$folder/stats")"
    [ "$(noted peak)" -le "$resident" ] &&
        [ "$(sed -n 's/.*"prompt_tokens": *\([0-9]*\),.*/\1/p' "$folder/stats")" -ge $((10 * slots)) ]
}
for _ in $(seq 97); do printf 'The old man looked at the sea, and then '; done >"$folder/long.txt"
for threads in 1 2; do
    check "long_texts_${threads}_threads" text_within "$threads" "$folder/long.txt"
    check "long_texts_from_a_pipe_${threads}_threads" text_within "$threads" /dev/stdin
done

# Prompts without an end are refused, and are never in memory as a whole.
endless() { # PATTERN OPTION...: reads standard input
    local resident pattern=$1
    shift
    resident=$(planned 'in all' --evict=h2o --slots $slots --threads 2)
    timeout 60 "$folder/peak" "$folder/noted" "$folder/pair-h2o" --threads 2 "$@" --memory-budget "$resident" \
        --max-tokens 3 --ignore-eos --stats >"$folder/text" 2>"$folder/stderr"
    [ $? -eq 1 ] && grep -qE "$pattern" "$folder/stderr" && [ "$(noted peak)" -le "$resident" ] && return
    cat "$folder/stderr" "$folder/noted"
    return 1
}
zeros() { endless 'standard input: the prompt has more than [0-9]+ bytes' </dev/zero; }
words() { yes 'the old man' | endless '/dev/stdin: the prompt has more than [0-9]+ bytes' --prompt-file /dev/stdin; }
compact() { yes 'the old man' | endless 'more than [0-9]+ bytes, for which a memory budget' --positions compact --threads 1; }
# Of several prompts, one of 200 MB is passed over.
one_of_several() {
    { printf 'The old man\n\n' && head -c 200000000 /dev/zero && printf '\n\nIt was\n'; } |
        endless 'prompt 2: /dev/stdin: the prompt has more than' --prompts /dev/stdin --sessions 1 &&
        [ "$(grep -c '^generated' "$folder/stderr")" -ge 2 ]
}
check endless_zeros zeros
check endless_words words
check endless_words_with_compact_positions compact
check one_endless_prompt_of_several one_of_several

# The folder of a new control group with a limit on memory; none where it cannot be made.
make_group() {
    local own parent
    own=$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)
    for parent in "/sys/fs/cgroup/memory$own" /sys/fs/cgroup/memory; do
        mkdir "$parent/tandem-test-$$" 2>/dev/null || continue
        echo "$1" 2>/dev/null >"$parent/tandem-test-$$/memory.limit_in_bytes" &&
            echo "$parent/tandem-test-$$" && return
        rmdir "$parent/tandem-test-$$"
    done
    parent=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)
    mkdir "$parent/tandem-test-$$" 2>/dev/null || return 1
    echo "$1" 2>/dev/null >"$parent/tandem-test-$$/memory.max" && echo "$parent/tandem-test-$$" && return
    rmdir "$parent/tandem-test-$$"
    return 1
}

# limits_hit: how often the group's memory reached its limit.
limits_hit() { cat "$group/memory.failcnt" 2>/dev/null || sed -n 's/^max //p' "$group/memory.events"; }

# Runs in a group that has room for what was planned and little else, with the file's pages read
# afresh, so that they are charged to the group. A page of weights that was thrown out and read
# again would be a major fault after the first token; those before it start the program.
in_limited_group() { # THREADS
    local resident status hit
    resident=$(planned 'in all' --evict=h2o --slots $slots --threads "$1")
    group=$(make_group $((resident + resident / 50 + 1048576))) || return 77
    dd if="$folder/pair-h2o" iflag=nocache count=0 2>/dev/null
    "$folder/peak" --group "$group" "$folder/noted" "$folder/pair-h2o" --prompt-ids "$(prompt_for h2o)" \
        --ids --threads "$1" --memory-budget "$resident" --max-tokens 60 --ignore-eos >"$folder/ids"
    status=$? hit=$(limits_hit)
    rmdir "$group"
    echo "planned $resident, $(tr '\n' ' ' <"$folder/noted"), limit reached $hit times"
    [ "$status" -eq 0 ] && [ "$(wc -w <"$folder/ids")" -eq 60 ] && [ "$hit" -eq 0 ] &&
        [ "$(noted peak)" -le "$resident" ] && [ "$(noted later)" -eq 0 ]
}
for threads in 1 2; do
    in_limited_group "$threads" >"$folder/group.log" 2>&1
    case $? in
        0) echo "ok control_group_${threads}_threads" ;;
        77) skip "control_group_${threads}_threads" "no control group with a limit on memory can be made here" ;;
        *) sed 's/^/    /' "$folder/group.log"; echo "FAILED control_group_${threads}_threads" ;;
    esac
done

# A smaller budget at start: fewer slots, then fewer threads, said in a line; too small is refused
# with the smallest that works, which works.
smaller_at_start() {
    local program=$folder/pair-none smallest
    "$program" --prompt-ids 5,6,7 --max-tokens 4 --ids --memory-budget 9M >"$folder/ids" 2>"$folder/stderr" || return 1
    cat "$folder/stderr"
    grep -qE 'within the memory budget: [0-9]+ of [0-9]+ slots, [0-9]+ thread' "$folder/stderr" || return 1
    ! "$program" --prompt-ids 5,6,7 --memory-budget 1M 2>"$folder/stderr" || return 1
    smallest=$(sed -n 's/.*smallest that works is \([0-9]*\) bytes.*/\1/p' "$folder/stderr")
    "$folder/peak" "$folder/noted" "$program" --prompt-ids 5,6,7 --max-tokens 4 --ids \
        --memory-budget "$smallest" >"$folder/ids" 2>/dev/null && [ "$(noted peak)" -le "$smallest" ] &&
        refused 1 'smallest that works' "$program" --prompt-ids 5,6,7 --memory-budget $((smallest - 1)) || return 1
    # What the message says in MiB works as well.
    "$program" --prompt-ids 5,6,7 --memory-budget 1M 2>&1 | sed -n 's/.*(\([0-9.]*\) MiB).*/\1M/p' >"$folder/said"
    "$program" --prompt-ids 5,6,7 --max-tokens 4 --ids --memory-budget "$(cat "$folder/said")" >/dev/null 2>&1
}
check a_smaller_budget_at_start smaller_at_start

# Slots come in sixteens: as many as were asked for, or a few more.
rounded_up() {
    "$folder/pair-none" --prompt-ids 5,6,7 --max-tokens 4 --ids --slots 97 --stats=json >"$folder/ids" 2>"$folder/stats"
    cat "$folder/stats"
    grep -q '"slots": *112,' "$folder/stats" && "$tandem" plan "${models[@]}" --slots 97 | grep -q 'slots of a session: 112 '
}
check slots_are_rounded_up rounded_up

# The compiler's smallest budget is the program's.
same_smallest() {
    local compiler program
    compiler=$("$tandem" compile "${models[@]}" --memory-budget 1M -o "$folder/none" 2>&1 |
        sed -n 's/.*smallest that works is \([0-9]*\) bytes.*/\1/p')
    program=$("$folder/pair-none" --prompt-ids 5,6,7 --memory-budget 1M 2>&1 |
        sed -n 's/.*smallest that works is \([0-9]*\) bytes.*/\1/p')
    echo "compiler: $compiler, program: $program"
    [ -n "$compiler" ] && [ "$compiler" = "$program" ] &&
        [ "$compiler" = "$(planned 'smallest budget')" ]
}
check compiler_and_program_name_the_same_smallest_budget same_smallest

# Three conversations at a time, within the plan for three.
sessions_within_plan() {
    local resident text
    resident=$(planned 'in all' --evict=h2o --slots $slots --threads 2 --sessions 3) || return 1
    for _ in 1 2 3 4 5; do
        text=$(seq -s ' ' 1 150) && printf '%s\n\n' "$text"
    done >"$folder/prompts"
    "$folder/peak" "$folder/noted" "$folder/pair-three" --prompts "$folder/prompts" --sessions 3 --threads 2 \
        --max-tokens 200 --ignore-eos --stats=json >"$folder/text" 2>"$folder/stats" || { cat "$folder/stats"; return 1; }
    echo "planned $resident, $(tr '\n' ' ' <"$folder/noted")"
    [ "$(grep -c '"tokens": 200,' "$folder/stats")" -eq 5 ] && [ "$(noted peak)" -le "$resident" ] &&
        ! grep -q '"evictions": 0,' "$folder/stats"
}
"$tandem" compile "${models[@]}" --evict=h2o --slots $slots --threads 2 --sessions 3 -o "$folder/pair-three" \
    --memory-budget "$(planned 'in all' --evict=h2o --slots $slots --threads 2 --sessions 3)"
check sessions_stay_within_the_plan sessions_within_plan

# Sessions share the weights: each further one takes its caches and little else.
sessions_in_plan() {
    local one three
    one=$(planned 'in all' --slots 512) && three=$(planned 'in all' --slots 512 --sessions 3) &&
        [ "$(planned weights --sessions 3)" = "$(planned weights)" ] &&
        [ $((three - one)) -gt $((2 * $(planned caches --slots 512))) ] &&
        [ $((three - one)) -lt $((2 * $(planned caches --slots 512) + 100000)) ]
}
check sessions_enter_the_plan sessions_in_plan
