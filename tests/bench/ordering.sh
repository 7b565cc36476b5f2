#!/usr/bin/env bash
# Peaks of the orderers -> the tables of docs/scheduling.md.
#
#   ordering.sh [OPTION..] [STEP..]   steps: graphs, layered, page; default: all
#
#   --seconds S     time limit of auto on the graphs of a folder (default 60)
#   --graphs DIR    that folder (default ../shared/graphs)
#   --orderers "A B .."   rows of the table of layered graphs, beside auto
#   --resume        what rows/ in the build folder holds already is not measured again
#
# SPDX-License-Identifier: GPL-3.0-or-later
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/bench/page.sh
build=${TANDEM_BUILD:-build}
rows=$build/bench/ordering
seconds=60 graphs=../shared/graphs resume=
usual=(file dfs greedy beam:64 beam-backward:64)
orderers="random bfs dfs greedy postorder liu beam:64 beam:1000 beam-backward:64 beam-backward:1000 topoformer topoformer:sample=16 topoformer:beam=64"
steps=(graphs layered page)

# "peak bound seconds" of a graph under an orderer; nothing when this build has no such orderer.
measure() { # GRAPH ORDERER SECONDS [OPTION..]
    "$build/tandem" schedule "$1" --orderer "$2" --time-limit "$3" "${@:4}" --json 2>/dev/null |
        sed -n 's/.*"peak": \([0-9]*\), "lower_bound": \([0-9]*\),.*"seconds": \([0-9.]*\).*/\1 \2 \3/p'
}

# A row is a file of its own, so that a long run can be done in parts.
is_done() { [ -n "$resume" ] && [ -s "$1" ]; }

graphs() {
    local graph name five orderer peak bound time
    mkdir -p "$rows/graphs"
    for graph in "$graphs"/*.graphml; do
        name=$(basename "$graph" .graphml)
        is_done "$rows/graphs/$name" && continue
        note "$name"
        five=$(for orderer in "${usual[@]}"; do measure "$graph" "$orderer" 1 --unreduced; done |
            sort -n | awk 'NR == 1 {print $1} END {print $1}' | xargs)
        read -r peak bound time < <(measure "$graph" auto "$seconds")
        echo "$name $(grep -c '<node' "$graph") $five $peak $bound $time" >"$rows/graphs/$name"
    done
}

# Seeds as in the usual comparison: 20 graphs of 500 nodes, 8 of 1000, 4 of 2000.
layered() {
    local nodes count seed graph orderer row
    mkdir -p "$rows/layered"
    while read -r nodes count; do
        for ((seed = 1; seed <= count; seed++)); do
            graph=$rows/layered-$nodes-$seed.graphml
            [ -f "$graph" ] || "$build/tandem" generate layered --nodes "$nodes" --seed "$seed" -o "$graph"
            for orderer in $orderers auto; do
                row=$rows/layered/$nodes-$seed-$orderer
                is_done "$row" && continue
                measure "$graph" "$orderer" 5 | sed "s/^/$nodes $seed $orderer /" >"$row"
            done
            note "$nodes nodes, seed $seed"
        done
    done <<<$'500 20\n1000 8\n2000 4'
}

graphs_table() {
    echo "| graph | nodes | best of five | auto | less | lower bound | gap | seconds |"
    echo "|---|---|---|---|---|---|---|---|"
    cat "$rows"/graphs/* | awk '{
        best = $3; worst = $4; peak = $5; bound = $6
        gap = peak == bound ? "optimal" : sprintf("%.3f %%", 100 * (peak / bound - 1))
        printf "| %s | %d | %.0f | %.0f | %.2f %% | %.0f | %s | %.1f |\n", $1, $2, best, peak, 100 * (1 - peak / best), bound, gap, $7
        optimal += peak == bound; worse += peak > best
        if (worst > 1.02 * best) { sum += log(peak / best); apart++ }
    } END {
        printf "\nProved optimal: %d of %d; above the best of file, dfs, greedy, beam:64 and beam-backward:64: %d. ", optimal, NR, worse
        printf "On the %d where those five are more than 2 %% apart the geometric mean of auto by their best is %.4f.\n", apart, exp(sum / apart)
    }'
}

# Means above the best known peak of each graph, and of seconds.
layered_table() {
    echo "| orderer | 500 nodes | seconds | 1000 nodes | seconds | 2000 nodes | seconds |"
    echo "|---|---|---|---|---|---|---|"
    local orderer
    for orderer in $orderers auto; do
        cat "$rows"/layered/* | awk -v orderer="$orderer" '
            { key = $1 "-" $2; if (!(key in best) || $4 < best[key]) best[key] = $4 }
            $3 == orderer { peak[key] = $4; sum[$1] += $6; n[$1]++; optimal[$1] += $4 == $5 }
            END {
                for (key in peak) { split(key, part, "-"); above[part[1]] += peak[key] / best[key] - 1 }
                printf "| `%s`", orderer
                for (nodes = 500; nodes <= 2000; nodes *= 2)
                    if (!n[nodes]) printf " | - | -"
                    else if (orderer == "auto") printf " | %.2f %% (%d of %d optimal) | %.2f", 100 * above[nodes] / n[nodes], optimal[nodes], n[nodes], sum[nodes] / n[nodes]
                    else printf " | %.2f %% | %.3f", 100 * above[nodes] / n[nodes], sum[nodes] / n[nodes]
                print " |"
            }'
    done
}

put_between() { # MARK FILE: FILE takes the place of what stands between <!-- MARK --> and <!-- end -->
    awk -v mark="<!-- $1 -->" -v table="$2" '
        $0 == mark { print; while ((getline line < table) > 0) print line; skip = 1; next }
        $0 == "<!-- end -->" { skip = 0 }
        !skip' docs/scheduling.md >"$2.page"
    cat "$2.page" >docs/scheduling.md
    rm "$2.page"
}

page() {
    graphs_table >"$rows/graphs.md"
    layered_table >"$rows/layered.md"
    put_between ordering "$rows/graphs.md"
    put_between layered "$rows/layered.md"
    cat "$rows/graphs.md" "$rows/layered.md"
}

while [ $# -gt 0 ]; do
    case $1 in
        --seconds) seconds=$2 && shift 2 ;;
        --graphs) graphs=$2 && shift 2 ;;
        --orderers) orderers=$2 && shift 2 ;;
        --resume) resume=yes && shift ;;
        *) break ;;
    esac
done
run_steps "$@"
