#!/usr/bin/env bash
# Learned and plain orderers side by side -> the table of docs/topoformer.md; some ten minutes.
#
#   orderer.sh [OPTION..] [STEP..]   steps: measure, page; default: both
#
#   --graphs DIR   a folder of real graphs (default ../shared/graphs); those that training saw are
#                  left out
#   --quick        a quarter of the layered graphs
#
# SPDX-License-Identifier: GPL-3.0-or-later
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/bench/page.sh
build=${TANDEM_BUILD:-build}
rows=$build/bench/orderer
graphs=../shared/graphs quick=1
seen=(op_bert_l-3_training op_bert_l-6_training op_bert_l-12_inference dlrm_train)
seen+=(gemma3_4b_train) # not seen, but slow
steps=(measure page)

measure_layered() { # NODES COUNT WIDEST
    local seed names=()
    for ((seed = 0; seed < ($2 + quick - 1) / quick; seed++)); do
        names+=("layered:$1:$((1000000 + seed))")
    done
    "$build/tandem_bench_orderer" "$3" "${names[@]}" >"$rows/$1"
    note "${#names[@]} graphs of $1 nodes"
}

measure_real() {
    local graph held=()
    for graph in "$graphs"/*.graphml; do
        [ -f "$graph" ] || continue
        [[ " ${seen[*]} " == *" $(basename "$graph" .graphml) "* ]] || held+=("$graph")
    done
    rm -f "$rows/real"
    [ ${#held[@]} -eq 0 ] || "$build/tandem_bench_orderer" 1024 "${held[@]}" >"$rows/real"
    note "${#held[@]} real graphs"
}

measure() {
    mkdir -p "$rows"
    ninja -C "$build" --quiet tandem_bench_orderer
    measure_layered 500 64 1024
    measure_layered 1000 8 1024
    measure_layered 2000 6 1024
    measure_layered 5000 4 256
    measure_real
}

# Mean peak above the best known of a graph, for real graphs the geometric mean of those on which
# orderers differ, and mean seconds.
table() {
    local files=() part
    for part in 500 1000 2000 5000 real; do
        [ ! -s "$rows/$part" ] || files+=("$rows/$part")
    done
    awk -F '|' '
        FNR == 1 { count = split(FILENAME, path, "/"); groups[++group] = path[count] }
        {
            key = group SUBSEP $1
            if (!(key in best)) { graphs[group, ++size[group]] = $1; best[key] = worst[key] = $3 }
            if ($3 < best[key]) best[key] = $3
            if ($2 ~ /beam|learned|topoformer/ && $3 > worst[key]) worst[key] = $3
            if (!($2 in known)) { known[$2] = 1; names[++rows] = $2 }
            peak[key, $2] = $3
            seconds[key, $2] = $4
        }
        function cell(g, name,   i, key, sum, time, counted) {
            for (i = 1; i <= size[g]; i++) {
                key = g SUBSEP graphs[g, i]
                if (!((key, name) in peak)) continue
                if (groups[g] == "real" && worst[key] == best[key]) continue
                sum += groups[g] == "real" ? log(peak[key, name] / best[key]) : peak[key, name] / best[key] - 1
                time += seconds[key, name]
                counted++
            }
            if (!counted) return " - | - |"
            sum /= counted
            return sprintf(" %.2f | %.3f |", 100 * (groups[g] == "real" ? exp(sum) - 1 : sum), time / counted)
        }
        function differing(g,   i, key, counted) {
            for (i = 1; i <= size[g]; i++) {
                key = g SUBSEP graphs[g, i]
                counted += worst[key] > best[key]
            }
            return counted + 0
        }
        END {
            printf "| orderer |"
            for (g = 1; g <= group; g++)
                printf groups[g] == "real" ? " real (%d of %d): %% | s |" : " " groups[g] " nodes (%d): %% | s |", groups[g] == "real" ? differing(g) : size[g], size[g]
            printf "\n|---|"
            for (g = 1; g <= group; g++) printf "---|---|"
            print ""
            for (r = 1; r <= rows; r++) {
                line = "| " names[r] " |"
                for (g = 1; g <= group; g++) line = line cell(g, names[r])
                print line
            }
        }' "${files[@]}"
}

page() {
    table >"$rows/table.md"
    awk -v table="$rows/table.md" '
        $0 == "<!-- layered -->" { print; while ((getline line < table) > 0) print line; skip = 1; next }
        $0 == "<!-- end -->" { skip = 0 }
        !skip' docs/topoformer.md >"$rows/page"
    cat "$rows/page" >docs/topoformer.md
    cat "$rows/table.md"
}

while [ $# -gt 0 ]; do
    case $1 in
        --graphs) graphs=$2 && shift 2 ;;
        --quick) quick=4 && shift ;;
        *) break ;;
    esac
done
run_steps "$@"
