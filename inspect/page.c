/* The page: the template of inspect/page with the facts inside.
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#include "inspect/inspect.h"
#include "inspect/page_template.h"

#include <string.h>

/* Where the facts go, once. */
static const char marker[] = "@FACTS@";

td_status inspect_write_page(const inspect_facts *facts, FILE *stream)
{
    const unsigned char *start = inspect_page_template;
    const unsigned char *at = memmem(start, inspect_page_template_size, marker, sizeof marker - 1);
    if (at == NULL)
        return td_fail(facts->context, TD_INTERNAL, "the page's template lacks %s", marker);
    const size_t before = (size_t)(at - start);
    const unsigned char *rest = at + sizeof marker - 1;
    fwrite(start, 1, before, stream);
    TD_TRY(inspect_write_json(facts, INSPECT_PAGE, stream));
    fwrite(rest, 1, inspect_page_template_size - before - (sizeof marker - 1), stream);
    return TD_OK;
}
