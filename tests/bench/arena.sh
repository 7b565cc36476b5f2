#!/usr/bin/env bash
# Offset assignment -> the tables of docs/arena.md.
#
#   arena.sh [--seconds S] [--json FILE] [FILE.csv..]
#
#   --seconds S   time limit of the search for the least capacity (default 10)
#   --json FILE   the rows, for scripts; leaves docs/ alone
#   FILE.csv      instances whose capacity stands in their names (A.1048576.csv); default: those of
#                 ../shared/data/minimalloc and rectangles cut to pieces, which fit without a gap
#
# SPDX-License-Identifier: GPL-3.0-or-later
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/bench/page.sh
build=${TANDEM_BUILD:-build}
tandem=$build/tandem
seconds=10 json=
files=()
while [ $# -gt 0 ]; do
    case $1 in
        --seconds) seconds=$2 && shift 2 ;;
        --json) json=$2 && shift 2 ;;
        *) files+=("$1") && shift ;;
    esac
done
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Cuts a rectangle of a million steps and BYTES bytes into PIECES buffers, at random.
dissect() { # PIECES BYTES SEED
    awk -v pieces="$1" -v bytes="$2" -v state="$3" '
        function below(n) { state = (state * 16807) % 2147483647; return int(state / 2147483647 * n) }
        BEGIN {
            lower[0] = 0; upper[0] = 1000000; size[0] = bytes; count = 1
            while (count < pieces) {
                best = below(count); other = below(count)
                if ((upper[other] - lower[other]) * size[other] > (upper[best] - lower[best]) * size[best])
                    best = other
                lower[count] = lower[best]; upper[count] = upper[best]; size[count] = size[best]
                if (below(2) && upper[best] - lower[best] > 1) {
                    upper[best] = lower[best] + 1 + below(upper[best] - lower[best] - 1)
                    lower[count++] = upper[best]
                } else if (size[best] > 1) {
                    size[best] = 1 + below(size[best] - 1)
                    size[count++] -= size[best]
                }
            }
            print "id,lower,upper,size"
            for (i = 0; i < count; i++) print i "," lower[i] "," upper[i] "," size[i]
        }'
}

field() { sed -n "s/.*\"$2\": \([a-z0-9.]*\)[,}].*/\1/p" "$1"; } # FILE NAME

# The middle one of three processor times.
processor_seconds() { # FILE CAPACITY
    local TIMEFORMAT=%U i
    for i in 1 2 3; do
        { time "$tandem" arena "$1" --capacity "$2" --time-limit 60 --json >"$folder/capacity" 2>/dev/null || true; } 2>&1
    done | sort -g | sed -n 2p
}

# Seconds that google/minimalloc 9f5cf81 (Release) needed at the same capacities.
other_seconds() { # NAME
    case $1 in
        A) echo 5.7 ;; B) echo 4.4 ;; C) echo 0.7 ;; D) echo 2.9 ;; E) echo 3.8 ;; F) echo 5.5 ;;
        G) echo 1.1 ;; H) echo 2.3 ;; I) echo 4.0 ;; J) echo 0.8 ;; K) echo 0.5 ;;
        *) echo - ;;
    esac
}

row() { # FILE
    local name capacity time found
    capacity=$(basename "$1" .csv) name=${capacity%%.*} capacity=${capacity##*.}
    note "$name"
    time=$(processor_seconds "$1" "$capacity")
    found=$(field "$folder/capacity" bytes)
    "$tandem" arena "$1" --time-limit "$seconds" --json >"$folder/least"
    awk -v name="$name" -v buffers="$(field "$folder/least" buffers)" -v capacity="$capacity" \
        -v found="$found" -v time="$time" -v other="$(other_seconds "$name")" \
        -v bound="$(field "$folder/least" lower_bound)" -v least="$(field "$folder/least" bytes)" \
        -v least_time="$(field "$folder/least" seconds)" 'BEGIN {
        OFS = " | "
        print "| " name, buffers, capacity, found <= capacity ? time : "not in 60 s", other,
            bound, least, least == bound ? "optimal" : sprintf("%.2f %%", 100 * (least / bound - 1)), least_time " |" }'
}

if [ ${#files[@]} -eq 0 ]; then
    for file in ../shared/data/minimalloc/[A-Z].*.csv; do [ -f "$file" ] && files+=("$file"); done
    for pieces in 200 400 800; do
        for seed in 1 2; do
            dissect "$pieces" 4096 "$seed" >"$folder/cut-$pieces-$seed.4096.csv"
            files+=("$folder/cut-$pieces-$seed.4096.csv")
        done
    done
fi
for file in "${files[@]}"; do row "$file"; done >"$folder/rows"
cat "$folder/rows"

if [ -n "$json" ]; then
    awk -F ' *[|] *' 'BEGIN { print "[" } {
        printf "%s  {\"instance\": \"%s\", \"buffers\": %d, \"capacity\": %d, \"seconds\": %s, \"lower_bound\": %.0f, \"least\": %.0f, \"optimal\": %s, \"least_seconds\": %s}",
            NR == 1 ? "" : ",\n", $2, $3, $4, $5 ~ /^[0-9.]+$/ ? $5 : "null", $7, $8, $9 == "optimal" ? "true" : "false", $10
    } END { print "\n]" }' "$folder/rows" >"$json"
    exit
fi
{
    echo "$(processor), one thread."
    echo
    echo "| instance | buffers | capacity | CPU seconds | minimalloc | bound | least found in $seconds s | gap | seconds |"
    echo "|---|---|---|---|---|---|---|---|---|"
    cat "$folder/rows"
} >"$folder/tables"
put_tables docs/arena.md "$folder/tables"
