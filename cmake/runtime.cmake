# SPDX-License-Identifier: GPL-3.0-or-later
#
# The runtime is built once per target triple, with that triple's C compiler, into
# build/runtime/<folder>/libtandem_runtime.a, where `tandem compile` finds it. It is MIT and links
# only libc, libm and pthreads.
file(GLOB runtime_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/runtime/*.c)
# Loops over a whole vocabulary, or over all slots, are worth vectorising.
set(runtime_loops copy lanes panel sample warp)
set(runtime_flags -std=c17 -O2 -D_GNU_SOURCE -ffp-contract=off -fno-math-errno -ffunction-sections
  -fdata-sections -fPIC -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion
  -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings -Wcast-qual -Wundef -Wvla
  -I${CMAKE_SOURCE_DIR} -DTANDEM_VERSION="${PROJECT_VERSION}")

add_custom_target(tandem_runtimes)
function(tandem_runtime folder compiler archiver)
  find_program(${folder}_CC NAMES ${compiler})
  if(NOT ${folder}_CC)
    message(STATUS "no ${compiler}: programs for ${folder} cannot be linked")
    return()
  endif()
  file(GLOB headers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/runtime/*.h)
  set(objects)
  foreach(source ${runtime_sources})
    get_filename_component(base ${source} NAME_WE)
    set(object ${CMAKE_BINARY_DIR}/runtime/${folder}/${base}.o)
    set(level)
    if(base IN_LIST runtime_loops)
      set(level -O3)
    endif()
    add_custom_command(OUTPUT ${object}
      COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/runtime/${folder}
      COMMAND ${${folder}_CC} ${runtime_flags} ${level} -c ${source} -o ${object}
      DEPENDS ${source} ${headers} COMMENT "runtime for ${folder}: ${base}" VERBATIM)
    list(APPEND objects ${object})
  endforeach()
  set(archive ${CMAKE_BINARY_DIR}/runtime/${folder}/libtandem_runtime.a)
  add_custom_command(OUTPUT ${archive}
    COMMAND ${CMAKE_COMMAND} -E rm -f ${archive}
    COMMAND ${archiver} rcsD ${archive} ${objects} DEPENDS ${objects} VERBATIM)
  add_custom_target(tandem_runtime_${folder} DEPENDS ${archive})
  add_dependencies(tandem_runtimes tandem_runtime_${folder})
endfunction()

tandem_runtime(x86_64-linux-gnu x86_64-linux-gnu-gcc x86_64-linux-gnu-ar)
tandem_runtime(aarch64-linux-gnu aarch64-linux-gnu-gcc aarch64-linux-gnu-ar)
tandem_runtime(riscv64-linux-gnu riscv64-linux-gnu-gcc riscv64-linux-gnu-ar)

# The same sources for unit tests, with the project's own flags (sanitizers). The file with main()
# is left out.
set(native_sources ${runtime_sources})
list(FILTER native_sources EXCLUDE REGEX "/main\\.c$")
foreach(base ${runtime_loops})
  set_source_files_properties(${CMAKE_SOURCE_DIR}/runtime/${base}.c PROPERTIES
    COMPILE_OPTIONS "$<$<NOT:$<CONFIG:Debug>>:-O3>")
endforeach()
if(native_sources)
  add_library(tandem_runtime_native STATIC ${native_sources})
  target_link_libraries(tandem_runtime_native PUBLIC m pthread PRIVATE tandem_options)
else()
  add_library(tandem_runtime_native INTERFACE)
endif()

# `tandem compile --emit=shared` writes these into the header of the library.
foreach(header abi.h tandem.h)
  configure_file(${CMAKE_SOURCE_DIR}/runtime/${header} ${CMAKE_BINARY_DIR}/runtime/include/${header} COPYONLY)
endforeach()
