# The page of `tandem inspect` is written as files of its own in inspect/page. They are put together
# and embedded when Tandem is built, with CMake alone; build/inspect/page.html is the result.
set(page_folder ${CMAKE_SOURCE_DIR}/inspect/page)
file(GLOB page_files CONFIGURE_DEPENDS ${page_folder}/*)
set(page_source ${CMAKE_BINARY_DIR}/inspect/page_template.c)
add_custom_command(OUTPUT ${page_source}
  COMMAND ${CMAKE_COMMAND} -D FOLDER=${page_folder} -D OUTPUT=${page_source}
    -P ${CMAKE_SOURCE_DIR}/cmake/embed_page.cmake
  DEPENDS ${page_files} ${CMAKE_SOURCE_DIR}/cmake/embed_page.cmake
  COMMENT "embedding inspect/page" VERBATIM)
target_sources(tandem_inspect PRIVATE ${page_source})
