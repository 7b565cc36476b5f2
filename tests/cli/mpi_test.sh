#!/usr/bin/env bash
# Training over several processes: bit for bit what one process does with the whole batch.
#
# SPDX-License-Identifier: GPL-3.0-or-later
set -u
. "$(dirname "$0")/harness.sh"

if ! command -v mpirun >/dev/null || ! command -v mpicc >/dev/null; then
    skip training_over_processes "mpirun or mpicc is not there (Debian: libopenmpi-dev)"
    exit 0
fi

# A build of its own beside one that leaves MPI out: all of it the first time, what changed later.
with_mpi=$tandem
if ! grep -qx 'TANDEM_MPI:BOOL=ON' "$build/CMakeCache.txt"; then
    with_mpi=$build/mpi/tandem
    if ! { cmake -S "$source_folder" -B "$build/mpi" -G Ninja -DTANDEM_MPI=ON &&
        cmake --build "$build/mpi" --target tandem; } >"$folder/build.log" 2>&1; then
        tail -n 20 "$folder/build.log"
        echo "FAILED a_build_with_mpi"
        exit 1
    fi
fi

together() { # PROCESSES OPTION...
    mpirun --allow-run-as-root --oversubscribe -n "$@"
}

common=(--graphs layered:40-80 --reinforce 0.7 --samples 8 --beam 4 --beam 8 --width 16 --layers 1
    --validation 2 --validate-every 6 --threads 1 --seed 7)

# train NAME PROCESSES BATCH OPTION...: leaves NAME.bin, NAME.checkpoint and NAME.log, which tells no
# times.
train() {
    local name=$folder/$1 processes=$2 batch=$3
    shift 3
    together "$processes" "$with_mpi" train-orderer "${common[@]}" --batch "$batch" \
        --checkpoint "$name.checkpoint" -o "$name.bin" "$@" >"$name.out" || return
    sed 's/, [0-9]* s$//' "$name.out" >"$name.log"
}

same_training() { # NAME NAME
    local kind
    for kind in bin checkpoint log; do
        same "$folder/$1.$kind" "$folder/$2.$kind" || return
    done
}

two_are_one_with_twice_the_batch() {
    train one 1 12 --steps 12 && train two 2 6 --steps 12 && same_training one two
}

any_number_and_any_threads() {
    train three 3 4 --steps 12 --threads 2 && same_training one three
}

# Another batch does give another result: the equalities above say something.
batches_matter() {
    train half 1 6 --steps 12 && ! cmp -s "$folder/one.bin" "$folder/half.bin"
}

# One process without MPI's launcher, from where two stopped; only its files can be compared, as its
# log begins later.
resumes_with_another_number() {
    train resumed 2 6 --steps 12 --until 6 &&
        "$with_mpi" train-orderer "${common[@]}" --batch 12 --steps 12 \
            --checkpoint "$folder/resumed.checkpoint" -o "$folder/resumed.bin" &&
        same "$folder/one.checkpoint" "$folder/resumed.checkpoint" &&
        same "$folder/one.bin" "$folder/resumed.bin"
}

# The second process alone cannot read its graph; neither is left waiting, and one sentence is said.
one_failure_ends_all() {
    local status=0
    timeout 60 mpirun --allow-run-as-root --oversubscribe \
        -n 1 "$with_mpi" train-orderer "${common[@]}" --steps 12 -o "$folder/out.bin" : \
        -n 1 "$with_mpi" train-orderer "${common[@]}" --steps 12 -o "$folder/out.bin" \
        --graphs "$folder/missing.graphml" >"$folder/failed.log" 2>&1 || status=$?
    cat "$folder/failed.log"
    [ "$status" -eq 1 ] && [ ! -e "$folder/out.bin" ] &&
        [ "$(grep -c '^tandem: .*missing.graphml: No such file' "$folder/failed.log")" -eq 1 ]
}

check two_processes_are_one_with_twice_the_batch two_are_one_with_twice_the_batch
check training_with_any_number_of_processes_and_threads any_number_and_any_threads
check training_depends_on_the_batch batches_matter
check training_resumes_with_another_number_of_processes resumes_with_another_number
check a_failure_in_one_process_ends_all one_failure_ends_all
