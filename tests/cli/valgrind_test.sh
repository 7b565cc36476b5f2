#!/usr/bin/env bash
# Compiled models and the runtime under valgrind: no access out of bounds, no decision that depends
# on memory that nothing was written to, nothing left allocated. The code is of the x86-64-v3 level,
# which valgrind knows; a shared library, since valgrind cannot look into a static libc.
#
# SPDX-License-Identifier: GPL-3.0-or-later
source "$(dirname "$0")/harness.sh"
cd "$source_folder"
if ! command -v valgrind >/dev/null || [ "$(uname -m)" != x86_64 ]; then
    skip valgrind "valgrind is not installed, or this is no x86-64"
    exit
fi

# under_valgrind OPTION...: compiles with the options and writes twelve tokens.
under_valgrind() {
    "$tandem" compile --target graphs/target.xml --drafter graphs/drafter.xml \
        --tokenizer graphs/tokenizer.json --cpu x86-64-v3 --emit=shared --name poet "$@" \
        -o "$folder/libpoet.so" || return 1
    gcc -g -std=c17 -I"$folder" tests/cli/poet.c -o "$folder/poet" -L"$folder" -lpoet &&
        LD_LIBRARY_PATH=$folder "$folder/poet" "The old man looked at the sea" 12 >"$folder/expected" &&
        LD_LIBRARY_PATH=$folder valgrind -q --error-exitcode=9 --leak-check=full \
            "$folder/poet" "The old man looked at the sea" 12 >"$folder/text" && same "$folder/expected" "$folder/text"
}
check a_pair_with_quantised_activations under_valgrind --activations=q8
check a_pair_that_evicts under_valgrind --evict=tova+caote --slots 16
