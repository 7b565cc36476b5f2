/* inspect/page/ as one file, put together and embedded when Tandem is built (cmake/inspect.cmake).
 *
 * SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef TANDEM_INSPECT_PAGE_TEMPLATE_H
#define TANDEM_INSPECT_PAGE_TEMPLATE_H

#include <stddef.h>

extern const unsigned char inspect_page_template[];
extern const size_t inspect_page_template_size;

#endif
