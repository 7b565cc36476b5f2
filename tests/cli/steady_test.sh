#!/usr/bin/env bash
# While text is being written a program allocates nothing and asks the kernel for nothing but to
# write the text and, with several threads, to let a thread sleep or wake it. How many threads there
# are changes nothing in the text.
#
# SPDX-License-Identifier: GPL-3.0-or-later
source "$(dirname "$0")/harness.sh"
cd "$source_folder"

"$tandem" compile --target graphs/target.xml --drafter graphs/drafter.xml \
    --tokenizer graphs/tokenizer.json -o "$folder/pair"
generate() { "$@" --prompt "The old man looked at the sea" --max-tokens 800 --ignore-eos; }

# What a thread does once, when it gets a processor for the first time, late on a busy machine.
starts='(rseq|set_robust_list|rt_sigprocmask)\(|<\.\.\. (rseq|set_robust_list|rt_sigprocmask) resumed>'

# steady THREADS PATTERN: from the twentieth piece of text to the last, every line of the trace
# matches the pattern, and the text is that of an undisturbed run.
steady() {
    generate "$folder/pair" --threads "$1" >"$folder/expected" || return 1
    generate strace -f -o "$folder/trace" "$folder/pair" --threads "$1" >"$folder/text" || return 1
    same "$folder/expected" "$folder/text" || return 1
    local first last
    first=$(grep -n 'write(1,' "$folder/trace" | sed -n 20p | cut -d: -f1)
    last=$(grep -n 'write(1,' "$folder/trace" | tail -n 1 | cut -d: -f1)
    sed -n "${first},${last}p" "$folder/trace" >"$folder/steady"
    echo "$(wc -l <"$folder/steady") lines of the trace; unexpected ones:"
    [ "$(wc -l <"$folder/steady")" -ge 50 ] && ! grep -vE "^[0-9]+ +($2)" "$folder/steady"
}

crowded() {
    generate "$folder/pair" --threads 1 >"$folder/expected" &&
        generate "$folder/pair" --threads 8 >"$folder/text" && same "$folder/expected" "$folder/text"
}
check more_threads_than_processors_write_the_same_text crowded

if strace -o "$folder/trace" true 2>"$folder/stderr"; then
    check one_thread_only_writes_text steady 1 'write\(1,'
    check two_threads_write_text_and_wait \
        steady 2 'write\(1,|futex\(|<\.\.\. (futex|write) resumed>|'"$starts"
else
    skip one_thread_only_writes_text "strace is not installed, or may not trace"
    skip two_threads_write_text_and_wait "strace is not installed, or may not trace"
fi
