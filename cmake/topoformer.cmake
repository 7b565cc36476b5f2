# SPDX-License-Identifier: GPL-3.0-or-later
#
# The learned orderer's parameters are embedded when Tandem is built, with CMake alone. Its inner
# loops are written over lanes and worth vectorising whole.
set(parameters ${CMAKE_SOURCE_DIR}/sched/topoformer/parameters.bin)
set(parameters_source ${CMAKE_BINARY_DIR}/sched/topoformer/parameters.c)
add_custom_command(OUTPUT ${parameters_source}
  COMMAND ${CMAKE_COMMAND} -D INPUT=${parameters} -D OUTPUT=${parameters_source}
    -D HEADER=sched/topoformer/parameters.h -D NAME=topo_parameters
    -P ${CMAKE_SOURCE_DIR}/cmake/embed.cmake
  DEPENDS ${parameters} ${CMAKE_SOURCE_DIR}/cmake/embed.cmake
  COMMENT "embedding sched/topoformer/parameters.bin" VERBATIM)
target_sources(tandem_sched PRIVATE ${parameters_source})
set_source_files_properties(sched/topoformer/attention.c sched/topoformer/dense.c
  PROPERTIES COMPILE_OPTIONS -O3)

# Processes that train together: one of two implementations.
if(TANDEM_MPI)
  find_package(MPI REQUIRED COMPONENTS C)
  target_link_libraries(tandem_sched PRIVATE MPI::MPI_C)
  set(other_team sched/topoformer/team_alone.c)
else()
  set(other_team sched/topoformer/team_mpi.c)
endif()
set_source_files_properties(${other_team} PROPERTIES HEADER_FILE_ONLY ON)

# `tandem train-orderer` by itself, without LLVM, for machines that only train.
add_executable(tandem_train_orderer EXCLUDE_FROM_ALL cli/alone/train_orderer.c
  cli/train_orderer.c cli/graph_file.c cli/options.c cli/vocab_trim.c cli/usage.c)
target_link_libraries(tandem_train_orderer PRIVATE
  tandem_frontend tandem_sched tandem_runtime_native tandem_options)
