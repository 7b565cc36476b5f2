/* The safetensors format: a JSON header that names, types and places tensors, then their bytes.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_FRONTEND_CHECKPOINT_SAFETENSORS_H
#define TANDEM_FRONTEND_CHECKPOINT_SAFETENSORS_H

#include "frontend/checkpoint/tensors.h"

/* Adds all tensors of a mapped file, which must outlive the index; fe_tensors_finish is left to the
 * caller, because a model may be spread over several files. TD_INVALID names file, tensor and what
 * is wrong. Memory is bounded by the size of the header. */
td_status fe_safetensors_index(td_context *context, const td_file *file, fe_tensors *tensors);

#endif
