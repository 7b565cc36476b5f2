/* Recorded costs: files of what rt_costs_print writes.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TANDEM_RUNTIME_COSTS_FILE_H
#define TANDEM_RUNTIME_COSTS_FILE_H

#include "runtime/costs.h"

/* Reads a file; from then on costs are replayed. TANDEM_REFUSED or TANDEM_FAILED with a sentence
 * when it cannot be read or holds something else. */
tandem_status rt_costs_load(rt_costs *costs, uint64_t artefact_hash, const char *file,
                            tandem_error *error);

/* Writes a file beside its place and renames it. TANDEM_FAILED with a sentence, the old file being
 * what it was, when it cannot be written. */
tandem_status rt_costs_store(const rt_costs *costs, uint64_t artefact_hash, const char *file,
                             tandem_error *error);

#endif
