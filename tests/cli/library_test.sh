#!/usr/bin/env bash
# Compiled models in applications: the example of docs/runtime.md, word for word, with the commands
# that stand there, as C and as C++; objects; and two models in one program.
#
# SPDX-License-Identifier: GPL-3.0-or-later
source "$(dirname "$0")/harness.sh"
cd "$source_folder"
models=(--target graphs/target.xml --drafter graphs/drafter.xml --tokenizer graphs/tokenizer.json)
runtime=$build/runtime/$(uname -m)-linux-gnu/libtandem_runtime.a
"$tandem" compile "${models[@]}" --emit=shared --name poet -o "$folder/libpoet.so"
"$tandem" compile "${models[@]}" --emit=object --name poet -o "$folder/poet.o"
"$tandem" compile --target graphs/drafter.xml --tokenizer graphs/tokenizer.json --emit=object --name rhymer \
    -o "$folder/rhymer.o"
"$tandem" compile "${models[@]}" -o "$folder/pair"
"$folder/pair" --prompt "Once upon a time" --max-tokens 256 >"$folder/expected"

# The lines of the example: all that are indented, from the include of the library's header on.
awk '/^    #include "libpoet.h"/ { on = 1 } on && /^[^ ]/ { exit } on { print substr($0, 5) }' \
    docs/runtime.md >"$folder/application.c"
# The commands, each on a line that starts with the compiler.
commands() { sed -n "s/^    \($1 .*\)$/\1/p" docs/runtime.md; }

example() (
    grep -q 'feed_text' "$folder/application.c" || return 1
    commands 'gcc.*libpoet.so' >"$folder/commands" && cd "$folder" && [ "$(wc -l <commands)" -eq 1 ] && cat commands &&
        bash -e commands && LD_LIBRARY_PATH=. ./application >text && same expected text
)
check the_example_compiles_and_writes_the_text example

as_cpp() (
    cp "$folder/application.c" "$folder/application.cpp"
    cd "$folder" && g++ -Wall -Wextra -Werror application.cpp libpoet.so -o application_cpp &&
        LD_LIBRARY_PATH=. ./application_cpp >text && same expected text
)
if command -v g++ >/dev/null; then check the_example_is_cpp_too as_cpp; else skip the_example_is_cpp_too "g++ is not installed"; fi

# An object has its weights in a file of its own: the example with the two lines that the manual puts
# in place of one, and its command.
object_example() (
    mkdir -p "$folder/object" && ln -sfn "$build" "$folder/object/build" && cp "$folder"/poet.* "$folder/object" &&
        sed -n 's/^    \(const tandem_options options = .*\)/\1/p; s/^    \(if (tandem->open(artefact, &options.*\)/\1/p' \
            docs/runtime.md >"$folder/object/lines" && [ "$(wc -l <"$folder/object/lines")" -eq 2 ] || return 1
    sed -e 's/libpoet.h/poet.h/' -e "/open(artefact, NULL/{r $folder/object/lines" -e 'd}' "$folder/application.c" \
        >"$folder/object/application.c"
    commands 'gcc.*libtandem_runtime.a' | sed "s/x86_64-linux-gnu/$(uname -m)-linux-gnu/" >"$folder/object/commands"
    cd "$folder/object" && [ "$(wc -l <commands)" -eq 1 ] && cat commands && bash -e commands && ./application >text &&
        same ../expected text
)
check the_example_is_linked_with_an_object object_example

# The sentence of a program that does not find its weights says where they may be.
weights_are_missed() (
    cd "$folder/object" || return 1
    rm poet.o.weights && refused 1 'poet.o.weights: cannot open' ./application || return 1
    cp poet.o poet.o.weights && refused 1 'poet.o.weights: .*is another one' ./application || return 1
    sed -i 's/{.payload = [^}]*}/{.threads = 1}/' application.c && bash -e commands &&
        refused 1 'linked from an object.*tandem_options.payload' ./application
)
check weights_that_are_not_there_are_missed weights_are_missed

object() {
    [ -s "$folder/poet.o.weights" ] && [ -s "$folder/poet.h" ] || return 1
    cp "$folder/poet.h" "$folder/object/libpoet.h"
    gcc -std=c17 -Wall -Wextra -Werror -I"$folder/object" tests/cli/poet.c "$folder/poet.o" "$runtime" -lm -lpthread \
        -o "$folder/object/poet" && "$folder/object/poet" "Once upon a time" 256 "$folder/poet.o.weights" >"$folder/text" &&
        "$folder/pair" --prompt "Once upon a time" --max-tokens 256 --ignore-eos >"$folder/a" && same "$folder/a" "$folder/text"
}
check an_object_is_linked_with_the_runtime object

# Two artefacts in one program, over one runtime.
two_models() {
    cat >"$folder/two.c" <<'END'
#include "poet.h"
const tandem_artefact *tandem_rhymer_query(uint32_t max_abi);
#include <stdio.h>
static bool write_piece(void *user, const tandem_piece *piece)
{
    return fwrite(piece->text, 1, piece->bytes, user) == piece->bytes;
}
static int run(const tandem_artefact *artefact, const char *weights)
{
    tandem_options options = {.payload = weights, .threads = 1};
    tandem_model *model;
    tandem_session *session;
    tandem_error error;
    if (artefact->api->open(artefact, &options, &error, &model) != TANDEM_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    artefact->api->session_create(model, &session);
    artefact->api->feed_text(session, "Once upon a time", 16);
    artefact->api->generate(session, NULL, write_piece, stdout);
    artefact->api->close(model);
    return 0;
}
int main(int argc, char **argv)
{
    return argc != 3 || run(tandem_poet_query(TANDEM_ABI_VERSION), argv[1]) ||
           run(tandem_rhymer_query(TANDEM_ABI_VERSION), argv[2]);
}
END
    gcc -std=c17 -I"$folder" "$folder/two.c" "$folder/poet.o" "$folder/rhymer.o" "$runtime" -lm -lpthread -o "$folder/two" &&
        "$folder/two" "$folder/poet.o.weights" "$folder/rhymer.o.weights" >"$folder/text" &&
        [ "$(wc -c <"$folder/text")" -gt "$(wc -c <"$folder/expected")" ] &&
        same "$folder/expected" <(head -c "$(wc -c <"$folder/expected")" "$folder/text") &&
        ! "$folder/two" "$folder/rhymer.o.weights" "$folder/poet.o.weights" 2>/dev/null
}
check two_models_in_one_program two_models
