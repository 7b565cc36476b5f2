# A small harness for tests of the command line. A script sources it and calls `check NAME COMMAND...`
# for each thing that must hold; it prints "ok NAME", "FAILED NAME" or "skipped NAME: why".
#
# SPDX-License-Identifier: GPL-3.0-or-later

build=${1:?usage: SCRIPT BUILD-FOLDER}
source_folder=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
case "$build" in /*) ;; *) build=$source_folder/$build ;; esac
tandem=$build/tandem
shared=$source_folder/../shared
folder=$(mktemp -d "${TMPDIR:-/tmp}/tandem-test-XXXXXX")
trap 'rm -rf "$folder"' EXIT

# check NAME COMMAND...: the command must succeed; its output is shown when it does not.
check() {
    local name=$1
    shift
    if "$@" >"$folder/check.log" 2>&1; then
        echo "ok $name"
    else
        sed 's/^/    /' "$folder/check.log" | tail -n 20
        echo "FAILED $name"
    fi
}

skip() { # NAME REASON
    echo "skipped $1: $2"
}

# Compares two files byte by byte and shows where they differ.
same() {
    cmp "$1" "$2" || {
        head -c 300 "$1"; echo; head -c 300 "$2"
        return 1
    }
}

# refused STATUS PATTERN COMMAND...: the command must exit with the status, say one sentence that
# matches the pattern, and leave no file called $folder/out*.
refused() {
    local expected=$1 pattern=$2 status=0
    shift 2
    rm -f "$folder"/out*
    "$@" >"$folder/stdout" 2>"$folder/stderr" || status=$?
    cat "$folder/stderr"
    [ "$status" -eq "$expected" ] || { echo "exit status $status, expected $expected"; return 1; }
    grep -qE -- "$pattern" "$folder/stderr" || { echo "expected: $pattern"; return 1; }
    [ "$(wc -l <"$folder/stderr")" -eq 1 ] || { echo "expected one line"; return 1; }
    ! ls "$folder"/out* 2>/dev/null || { echo "an output file was left"; return 1; }
}
