# SPDX-License-Identifier: GPL-3.0-or-later
#
# The page of `tandem inspect` is written as files of its own in inspect/page. They are put together
# and embedded when Tandem is built, with CMake alone.
set(page_folder ${CMAKE_SOURCE_DIR}/inspect/page)
file(GLOB page_files CONFIGURE_DEPENDS ${page_folder}/*)
set(page ${CMAKE_BINARY_DIR}/inspect/page.html)
set(page_source ${CMAKE_BINARY_DIR}/inspect/page_template.c)
add_custom_command(OUTPUT ${page_source} BYPRODUCTS ${page}
  COMMAND ${CMAKE_COMMAND} -D FOLDER=${page_folder} -D OUTPUT=${page}
    -P ${CMAKE_SOURCE_DIR}/cmake/join_page.cmake
  COMMAND ${CMAKE_COMMAND} -D INPUT=${page} -D OUTPUT=${page_source}
    -D HEADER=inspect/page_template.h -D NAME=inspect_page_template
    -P ${CMAKE_SOURCE_DIR}/cmake/embed.cmake
  DEPENDS ${page_files} ${CMAKE_SOURCE_DIR}/cmake/join_page.cmake ${CMAKE_SOURCE_DIR}/cmake/embed.cmake
  COMMENT "embedding inspect/page" VERBATIM)
target_sources(tandem_inspect PRIVATE ${page_source})
