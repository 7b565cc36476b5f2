#!/usr/bin/env bash
# Saved sessions, stop texts and interrupts of a generated program.
#
# SPDX-License-Identifier: GPL-3.0-or-later
source "$(dirname "$0")/harness.sh"
cd "$source_folder"
program=$folder/pair
"$tandem" compile --target graphs/target.xml --drafter graphs/drafter.xml \
    --tokenizer graphs/tokenizer.json --activations=q8 --evict=h2o -o "$program"
prompt="The old man looked at the sea"
generate() { "$program" --prompt "$prompt" --ignore-eos "$@"; }

# --- saved sessions ---

# In two halves, with the session saved and restored between them, the text is that of one go.
halves() { # OPTION...
    generate --max-tokens 60 "$@" >"$folder/whole" &&
        generate --max-tokens 30 "$@" --save "$folder/session" >"$folder/first" &&
        "$program" --restore "$folder/session" --ignore-eos --max-tokens 30 "$@" >"$folder/second" </dev/null &&
        cat "$folder/first" "$folder/second" >"$folder/both" && same "$folder/whole" "$folder/both"
}
check restored_text_goes_on halves --evict none
check restored_text_goes_on_plainly halves --evict none --draft 0
check restored_text_goes_on_while_tokens_are_evicted halves --evict h2o --slots 32
check restored_text_goes_on_at_temperature_1 halves --evict none --temperature 1 --seed 3 --draft 0

# A saved prompt saves the time to pass it, and any text may follow.
saved_prompt() {
    "$program" --prompt "$prompt" --max-tokens 0 --save "$folder/prompt" >"$folder/nothing" &&
        [ ! -s "$folder/nothing" ] &&
        "$program" --restore "$folder/prompt" --max-tokens 30 --stats=json >"$folder/a" 2>"$folder/stats" &&
        generate --max-tokens 30 >"$folder/b" && same "$folder/a" "$folder/b" || return 1
    cat "$folder/stats"
    grep -qE '"prompt_tokens": *1[,}]' "$folder/stats" || return 1
    "$program" --restore "$folder/prompt" --prompt ", and" --max-tokens 30 >"$folder/a" &&
        "$program" --prompt "$prompt, and" --max-tokens 30 >"$folder/b" && same "$folder/a" "$folder/b"
}
check a_prompt_is_passed_once saved_prompt

restore() { "$program" --restore "$1" --max-tokens 3; }
head -c 1000 "$folder/prompt" >"$folder/cut"
check a_cut_session_is_refused refused 1 'cut: the session cannot be restored: the file is damaged or was cut' restore "$folder/cut"
check another_file_is_refused refused 1 'no saved session' restore "$folder/a"
check a_missing_session_is_refused refused 1 'there: .*No such file' restore "$folder/nothing-there"
check a_policy_that_differs_is_refused refused 1 'another policy' \
    "$program" --restore "$folder/prompt" --evict tova --max-tokens 3

# A full disk is said in a sentence; the old file stays and nothing is left beside it.
full_disk() {
    cp "$folder/prompt" "$folder/kept"
    refused 1 'kept: the session cannot be saved: (File too large|No space left)' \
        bash -c "ulimit -f 16; exec '$program' --prompt '$prompt' --max-tokens 30 --save '$folder/kept'" &&
        same "$folder/prompt" "$folder/kept" && ! ls "$folder"/kept.* 2>/dev/null
}
check no_room_for_the_session full_disk
mkdir "$folder/small"
if mount -t tmpfs -o size=64k tmpfs "$folder/small" 2>/dev/null; then
    check a_full_disk_at_save refused 1 'session: the session cannot be saved: No space left' \
        generate --max-tokens 30 --save "$folder/small/session"
    check nothing_is_left_on_the_full_disk [ -z "$(ls "$folder/small")" ]
    umount "$folder/small"
else
    skip a_full_disk_at_save "a small disk cannot be mounted here"
fi
check a_device_is_not_replaced refused 1 '/dev/full: .*not a regular file' \
    generate --max-tokens 3 --save /dev/full

# --- stop texts ---

# The text ends before the stop text, whatever is drafted; a beginning of one is not lost.
stops() {
    generate --max-tokens 80 >"$folder/whole" || return 1
    local stop=" the other" draft
    grep -q -- "$stop" "$folder/whole" || { cat "$folder/whole"; return 1; }
    text_before "$stop" <"$folder/whole" >"$folder/expected"
    for draft in 0 1 5 rsd-c:2,2 auto; do
        generate --max-tokens 80 --draft "$draft" --stop "zzz" --stop "$stop" --stats=json \
            >"$folder/text" 2>"$folder/stats" && same "$folder/expected" "$folder/text" &&
            grep -q '"stop": *"text"' "$folder/stats" || return 1
    done
    generate --max-tokens 80 --stop "${stop}zzz" >"$folder/text" && same "$folder/whole" "$folder/text"
}
# What comes before the first occurrence of a text.
text_before() { awk -v stop="$1" 'BEGIN { RS = "\001" } { printf "%s", substr($0, 1, index($0, stop) - 1) }'; }
check stop_texts_end_the_text stops
check an_empty_stop_text_is_refused refused 2 'stop text has 0 bytes' generate --stop ""

# --- interrupts ---

# The first interrupt ends the text after its round: figures, a saved session, status 130. The
# program is halted in the middle of its text, which takes a tenth of a second.
interrupted() {
    local status pid attempt
    for attempt in 1 2 3 4 5; do
        status=0
        rm -f "$folder/text"
        "$program" --prompt "$prompt" --ignore-eos --max-tokens 1000 --draft 0 --threads 1 --stats=json \
            --save "$folder/interrupted" >"$folder/text" 2>"$folder/stats" &
        pid=$!
        until [ -s "$folder/text" ]; do :; done
        kill -STOP $pid && kill -INT $pid && kill -CONT $pid
        wait $pid || status=$?
        [ "$status" -eq 0 ] || break
    done
    cat "$folder/stats"
    [ "$status" -eq 130 ] && grep -q '"stop": *"cancelled"' "$folder/stats" &&
        [ -s "$folder/interrupted" ] || return 1
    "$program" --restore "$folder/interrupted" --max-tokens 5 --ignore-eos --draft 0 >"$folder/more" &&
        generate --max-tokens 1000 --draft 0 >"$folder/whole" && cat "$folder/text" "$folder/more" >"$folder/both" &&
        same "$folder/both" <(head -c "$(wc -c <"$folder/both")" "$folder/whole")
}
check an_interrupt_ends_the_text interrupted

# --- several sessions ---

# Prompts of a file, continued by sessions that take turns: every text is that of a run of its own.
several() { # SESSIONS OPTION...
    local sessions=$1 line
    shift
    while IFS= read -r line; do
        "$program" --prompt "$line" --ignore-eos --max-tokens 50 "$@" && printf '\n\n' || return 1
    done <"$folder/lines" >"$folder/apart"
    sed G "$folder/lines" | "$program" --prompts /dev/stdin --sessions "$sessions" --ignore-eos --max-tokens 50 \
        "$@" >"$folder/together" && same "$folder/apart" "$folder/together"
}
printf '%s\n' "The old man" "It was" "She looked at the sea and" "In the year" "No" >"$folder/lines"
check sessions_take_turns several 3
check one_session_after_another several 1 --draft 3
check sessions_evict_each_their_own several 5 --evict h2o --slots 32

# --- faults of the machine ---

mkfifo "$folder/fifo"
check a_pipe_is_no_session refused 1 'no saved session' restore "$folder/fifo"
check a_closed_standard_input refused 1 'standard input: cannot read the prompt' \
    bash -c "exec '$program' --max-tokens 3 <&-"
check too_little_address_space refused 1 'cannot (get|map) .* memory' \
    bash -c "ulimit -v 6000; exec '$program' --prompt x --max-tokens 3"
check too_few_open_files refused 1 'Too many open files' \
    bash -c "ulimit -n 3; exec '$program' --prompt x --max-tokens 3"

# Files whose bytes are changed at random are refused in a sentence, or do as they say.
damaged() { # FILE OPTION...
    local file=$1 size at try status
    shift
    size=$(stat -c %s "$file")
    for try in $(seq 40); do
        cp "$file" "$folder/damaged"
        at=$(((try * 7919 + try * try * 104729) % (try % 2 == 0 && size > 200 ? 200 : size)))
        printf "\\x$(printf %02x $((try * 37 % 256)))" |
            dd of="$folder/damaged" bs=1 seek="$at" conv=notrunc status=none
        "$program" "$@" "$folder/damaged" --max-tokens 3 >"$folder/text" 2>"$folder/stderr"
        status=$?
        [ $status -eq 0 ] || { [ $status -eq 1 ] && [ "$(wc -l <"$folder/stderr")" -eq 1 ]; } || {
            echo "byte $at of $file: status $status"
            cat "$folder/stderr"
            return 1
        }
    done
}
generate --max-tokens 40 --costs "$folder/costs" >"$folder/text"
check damaged_sessions_do_no_harm damaged "$folder/prompt" --restore
check damaged_costs_do_no_harm damaged "$folder/costs" --prompt "$prompt" --costs

# --- several outputs at one place ---

glued() {
    generate --max-tokens 5 --stats >"$folder/text" 2>&1 && grep -q '^prompt' "$folder/text"
}
check figures_begin_a_line glued

# --- standard output that takes nothing ---

for option in --help --version --check; do
    check "a_full_disk_at$option" refused 1 'standard output cannot be written' bash -c "exec '$program' $option >/dev/full"
    check "a_closed_stream_at$option" refused 1 'standard output cannot be written' bash -c "exec '$program' $option >&-"
done
check a_full_disk_at_the_text refused 1 'the text cannot be written: No space left' \
    bash -c "exec '$program' --prompt x --max-tokens 3 >/dev/full"
