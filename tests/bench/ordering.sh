#!/usr/bin/env bash
# Peaks of the orderers on the graphs of a folder -> the table in docs/scheduling.md.
#
#   ordering.sh [SECONDS [FOLDER]]    time limit of auto (default 60); default folder ../shared/graphs
#
# SPDX-License-Identifier: GPL-3.0-or-later
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-60}
graphs=${2:-../shared/graphs}
build=${TANDEM_BUILD:-build}
rows=$(mktemp)
trap 'rm -f "$rows"' EXIT

one() { # GRAPH ORDERER: peak, bound, seconds
    "$build/tandem" schedule "$1" --orderer "$2" --time-limit "$seconds" |
        awk '$1 == "'"$2"'" {print $2, $3, $6}'
}

{
    echo "| graph | nodes | best of file, dfs, greedy, beams | auto | bound | gap | seconds |"
    echo "|---|---|---|---|---|---|---|"
    for graph in "$graphs"/*.graphml; do
        best=$(for orderer in file dfs greedy beam:64 beam-backward:64; do
            one "$graph" "$orderer"
        done | sort -n | awk 'NR == 1 {print $1}')
        read -r peak bound time < <(one "$graph" auto)
        awk -v name="$(basename "$graph" .graphml)" -v nodes="$(grep -c '<node' "$graph")" \
            -v best="$best" -v peak="$peak" -v bound="$bound" -v time="$time" 'BEGIN {
            gap = peak == bound ? "optimal" : sprintf("%.1f %%", 100 * (peak / bound - 1))
            printf "| %s | %d | %.0f | %.0f | %.0f | %s | %.1f |\n", name, nodes, best, peak, bound, gap, time }'
    done
} >"$rows"
cat "$rows"
awk -v rows="$rows" '
    /<!-- ordering -->/ { print; while ((getline line < rows) > 0) print line; skip = 1; next }
    /<!-- end -->/ { skip = 0 }
    !skip' docs/scheduling.md >"$rows.new"
mv "$rows.new" docs/scheduling.md
