/* Does this processor have what the artefact's machine code uses?
 *
 * SPDX-License-Identifier: MIT */
#include "runtime/internal.h"
#include "runtime/processor.h"

#include <string.h>

tandem_status rt_check_processor(const char *features, tandem_error *error)
{
    while (features != NULL && *features != '\0') {
        size_t length = strcspn(features, ",");
        bool present = false;
        if (length > 0 && !tandem_find_feature(features, length, &present))
            return rt_fail(error, TANDEM_REFUSED,
                           "the program needs the processor feature \"%.*s\", which its runtime "
                           "does not know: compile it with a matching version",
                           (int)length, features);
        if (length > 0 && !present)
            return rt_fail(error, TANDEM_REFUSED,
                           "this processor lacks \"%.*s\", which the program was compiled for: "
                           "compile it for an older processor (--cpu)",
                           (int)length, features);
        features += length + (features[length] == ',');
    }
    return TANDEM_OK;
}

/* Generated code that holds several levels asks this before any other function of the runtime. */
uint32_t tandem_runtime_has(const char *features)
{
    return tandem_has_features(features);
}
