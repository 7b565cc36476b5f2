#!/usr/bin/env bash
# Peaks of the orderers -> the tables of docs/scheduling.md.
#
#   ordering.sh [OPTION..] [STEP..]   steps: graphs, layered, page, learned; default: all
#
#   --seconds S     time limit of auto on the graphs of a folder (default 60)
#   --graphs DIR    that folder (default ../shared/graphs)
#   --orderers "A B .."   rows of the table of layered graphs, beside auto and the textbook's
#   --resume        what rows/ in the build folder holds already is not measured again
#
# SPDX-License-Identifier: GPL-3.0-or-later
set -euo pipefail
cd "$(dirname "$0")/../.."
source tests/bench/page.sh
build=${TANDEM_BUILD:-build}
rows=$build/bench/ordering
seconds=60 graphs=../shared/graphs resume=
ours=(file dfs greedy beam:64 beam-backward:64)
by_live=(file dfs greedy beam:64 beam-backward:64)
by_peak=(file dfs-plain greedy beam-by-peak:64 beam-backward-by-peak:64)
textbook="textbook-dfs textbook-greedy textbook-beam:64 textbook-beam-backward:64 textbook-beam:1000 textbook-beam-backward:1000"
orderers="random bfs dfs greedy postorder liu beam:64 beam:1000 beam-backward:64 beam-backward:1000 topoformer topoformer:sample=16 topoformer:beam=64"
steps=(graphs layered page learned)

# "peak bound seconds" of a graph under an orderer; nothing when this build has no such orderer.
measure() { # GRAPH ORDERER SECONDS [OPTION..]
    "$build/tandem" schedule "$1" --orderer "$2" --time-limit "$3" "${@:4}" --json 2>/dev/null |
        sed -n 's/.*"peak": \([0-9]*\), "lower_bound": \([0-9]*\),.*"seconds": \([0-9.]*\).*/\1 \2 \3/p'
}

# "peak seconds" of a graph under textbook orderers (tests/bench/ordering/), a line each.
measure_textbook() { # GRAPH ORDERER..
    "$build/tandem_bench_ordering" "$@"
}

best_and_worst() { sort -n | awk 'NR == 1 {print $1} END {print $1}' | xargs; }

# A row is a file of its own, so that a long run can be done in parts.
is_done() { [ -n "$resume" ] && [ -s "$1" ]; }

# Of each graph: name, nodes, best and worst of three fives, auto's peak, bound and seconds.
graphs() {
    local graph name fives orderer result
    mkdir -p "$rows/graphs"
    for graph in "$graphs"/*.graphml; do
        name=$(basename "$graph" .graphml)
        is_done "$rows/graphs/$name" && continue
        note "$name"
        fives="$(measure_textbook "$graph" "${by_peak[@]}" | best_and_worst)"
        fives+=" $(measure_textbook "$graph" "${by_live[@]}" | best_and_worst)"
        fives+=" $(for orderer in "${ours[@]}"; do measure "$graph" "$orderer" 1 --unreduced; done | best_and_worst)"
        result=$(measure "$graph" auto "$seconds")
        echo "$name $(grep -c '<node' "$graph") $fives $result" >"$rows/graphs/$name"
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
            for orderer in $textbook; do
                row=$rows/layered/$nodes-$seed-$orderer
                is_done "$row" && continue
                measure_textbook "$graph" "${orderer#textbook-}" | awk -v row="$nodes $seed $orderer" '{print row, $1, 0, $2}' >"$row"
            done
            note "$nodes nodes, seed $seed"
        done
    done <<<$'500 20\n1000 8\n2000 4'
}

# The geometric mean of auto by the best of five, over the graphs on which those are apart; with the
# lower bound in auto's place, what no order can fall below.
compare_five() { # WORDS COLUMN
    cat "$rows"/graphs/* | awk -v words="$1" -v column="$2" '
        { best = $column; worst = $(column + 1); peak = $9; bound = $10; above += peak > best; below += peak < best; tied += peak == best && peak == bound }
        worst > 1.02 * best { sum += log(peak / best); least += log((peak < bound ? peak : bound) / best); apart++ }
        END {
            printf "* Against the best of %s: below it on %d of %d graphs, above it on %d; equal and proved optimal on %d. ", words, below, NR, above, tied
            printf "On the %d graphs where those five are more than 2 %% apart the geometric mean of auto by their best is %.4f; by the lower bounds no order can bring it below %.4f.\n", apart, exp(sum / apart), exp(least / apart)
        }'
}

graphs_table() {
    echo "| graph | nodes | textbook, by peak | textbook, by live | ours | auto | lower bound | gap | seconds |"
    echo "|---|---|---|---|---|---|---|---|---|"
    cat "$rows"/graphs/* | awk '{
        gap = $9 == $10 ? "optimal" : sprintf("%.3f %%", 100 * ($9 / $10 - 1))
        optimal += $9 == $10
        printf "| %s | %d | %.0f | %.0f | %.0f | %.0f | %.0f | %s | %.1f |\n", $1, $2, $3, $5, $7, $9, $10, gap, $11
    } END { printf "\nProved optimal: %d of %d.\n\n", optimal, NR }'
    compare_five "the textbook five by peak" 3
    compare_five "the textbook five by live memory" 5
    compare_five "our own five" 7
}

# Means above the best known peak of each graph, and of seconds.
layered_table() {
    echo "| orderer | 500 nodes | seconds | 1000 nodes | seconds | 2000 nodes | seconds |"
    echo "|---|---|---|---|---|---|---|"
    local orderer
    for orderer in $textbook $orderers auto; do
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

# auto by the better of two orderers, graph by graph.
compare_pair() { # WORDS ORDERER ORDERER
    cat "$rows"/layered/* | awk -v words="$1" -v one="$2" -v other="$3" '
        { key = $1 "-" $2 }
        ($3 == one || $3 == other) && (!(key in best) || $4 < best[key]) { best[key] = $4 }
        $3 == "auto" { peak[key] = $4; proved[key] = $4 == $5; n[$1]++ }
        END {
            for (key in peak) {
                split(key, part, "-")
                above[part[1]] += 100 * (best[key] / peak[key] - 1)
                if (peak[key] < best[key]) better++
                else if (peak[key] > best[key]) worse++
                else if (proved[key]) optimal++
                else open++
            }
            printf "* The better of %s is on average %.2f %%, %.2f %% and %.2f %% above `auto` (500, 1000, 2000 nodes). ", words, above[500] / n[500], above[1000] / n[1000], above[2000] / n[2000]
            printf "`auto` is better on %d graphs, worse on %d, equal on %d: on %d of these it is proved that nothing is better.\n", better, worse, optimal + open, optimal
        }'
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
    {
        layered_table
        echo
        compare_pair "both textbook beams of width 1000" textbook-beam:1000 textbook-beam-backward:1000
        compare_pair "our own beams of width 1000" beam:1000 beam-backward:1000
    } >"$rows/layered.md"
    put_between ordering "$rows/graphs.md"
    put_between layered "$rows/layered.md"
    cat "$rows/graphs.md" "$rows/layered.md"
}

# Learned and plain orderers side by side -> docs/topoformer.md.
learned() { TANDEM_BUILD=$build tests/bench/orderer.sh --graphs "$graphs"; }

while [ $# -gt 0 ]; do
    case $1 in
        --seconds) seconds=$2 && shift 2 ;;
        --graphs) graphs=$2 && shift 2 ;;
        --orderers) orderers=$2 && shift 2 ;;
        --resume) resume=yes && shift ;;
        *) break ;;
    esac
done
ninja -C "$build" --quiet tandem_bench_ordering
run_steps "$@"
