# For scripts that measure: progress, machine, and tables put into a page of the manual. Sourced.
#
# SPDX-License-Identifier: GPL-3.0-or-later

# note WORD...: a line of progress on standard error.
note() { echo "$(date +%T) $*" >&2; }

# The processor's name.
processor() { sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1; }

# put_tables PAGE FILE: FILE takes the place of what stands between the page's two marks.
put_tables() {
    local page
    page=$(mktemp)
    awk -v tables="$2" '
        /^<!-- end of measurements -->/ { skip = 0 }
        !skip { print }
        /^<!-- measured by/ { skip = 1; while ((getline line < tables) > 0) print line; print "" }
    ' "$1" >"$page"
    cat "$page" >"$1"
    rm "$page"
}

# run_steps STEP...: runs the functions of these names, or, without any, those of the array `steps`,
# and says how long each took.
run_steps() {
    local step started
    [ $# -gt 0 ] || set -- "${steps[@]}"
    for step in "$@"; do
        [[ " ${steps[*]} " == *" $step "* ]] || {
            echo "there is no step $step: ${steps[*]} are there" >&2
            return 2
        }
        note "$step"
        started=$SECONDS
        "$step"
        note "$step: $((SECONDS - started)) s"
    done
}
