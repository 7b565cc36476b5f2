/* What a model says about itself besides its graph.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_FRONTEND_OPENVINO_FACTS_H
#define TANDEM_FRONTEND_OPENVINO_FACTS_H

#include "base/file.h"
#include "frontend/frontend.h"

/* From the document's rt_info (Tandem's own files), else from a generation_config.json (ids) or a
 * config.json beside it (other exporters). -1: not said. */
typedef struct ov_facts {
    int64_t context_length, bos_id;
    int32_t end_ids[FE_FURTHER_ENDS + 1]; /* of a text; as many as fit */
    uint32_t end_count;
} ov_facts;

#define OV_NO_FACTS ((ov_facts){.context_length = -1, .bos_id = -1})

#define OV_END_FACT "eos_token_id" /* in rt_info once for each id that ends a text */

/* The constant, and the result that it is, that maps the columns of a trimmed head. */
#define OV_HEAD_IDS "d2t"

/* Takes a number of rt_info by its name; other names and what is no number up to INT32_MAX are
 * ignored. */
void ov_facts_take(ov_facts *facts, const char *name, const char *value);

/* Adds what the JSON files beside `path` say and the document did not. A missing or malformed file
 * says nothing; fails only for want of memory. */
td_status ov_facts_read_configs(td_context *context, const char *path, ov_facts *facts);

#endif
