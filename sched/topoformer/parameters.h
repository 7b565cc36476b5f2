/* The trained parameters, sched/topoformer/parameters.bin, embedded when Tandem is built.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_SCHED_TOPOFORMER_PARAMETERS_H
#define TANDEM_SCHED_TOPOFORMER_PARAMETERS_H

#include <stddef.h>

extern const unsigned char topo_parameters[];
extern const size_t topo_parameters_size;

#endif
