/* One lesson from a search: what a narrow beam dropped and should have kept.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A beam of width W runs under the present ranks as decoding runs it: below what one of W / 4 has
 * found, in both directions. A wider backward one, learned or plain, then looks below what those
 * found. The best order of all is the teacher of the directions that missed it. Wherever the narrow
 * beam has lost the teacher's set S and that ranks behind the kept sets K, the loss is
 *
 *     (rank(S) - mean rank of some of K + margin) / scale,
 *
 * averaged over those levels: learning as search optimisation (Daume and Marcu, ICML 2005) with
 * the violations of Huang, Fayong and Guo (NAACL 2012). Ranks are linear in potentials and weights,
 * so the slope by each is a count of sets. */
#ifndef TANDEM_SCHED_TOPOFORMER_LESSON_H
#define TANDEM_SCHED_TOPOFORMER_LESSON_H

#include "sched/topoformer/rank.h"

typedef struct topo_lesson {
    double loss;
    uint64_t narrow[2],
        best;        /* peaks: of the narrow beams, forward and backward, and least of all */
    bool learned[2]; /* by direction: there was something to learn */
} topo_lesson;

/* Both directions at once. Adds the loss's slope by output to d_outputs [units][TOPO_OUTPUTS]. The
 * teacher's beam is `wide`, ranked plainly or as the narrow ones are. */
td_status topo_lesson_take(const topo_graph *graph, const float *outputs, uint32_t width,
                           uint32_t wide, bool by_plain, float *d_outputs, topo_lesson *lesson);

#endif
