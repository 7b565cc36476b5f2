# SPDX-License-Identifier: GPL-3.0-or-later
#
# Replaces each @NAME@ in FOLDER/page.html by the file NAME beside it and writes the page to OUTPUT.
# @FACTS@ stays.
file(READ ${FOLDER}/page.html page)
file(GLOB pieces ${FOLDER}/*.css ${FOLDER}/*.js)
foreach(piece ${pieces})
  get_filename_component(name ${piece} NAME)
  file(READ ${piece} text)
  string(REPLACE "@${name}@" "${text}" page "${page}")
endforeach()
file(WRITE ${OUTPUT} "${page}")
