# Replaces each line @NAME@ of FOLDER/page.html by the file NAME beside it, and writes the page as a
# C array to OUTPUT. The line @FACTS@ stays.
file(READ ${FOLDER}/page.html page)
file(GLOB pieces ${FOLDER}/*.css ${FOLDER}/*.js)
foreach(piece ${pieces})
  get_filename_component(name ${piece} NAME)
  file(READ ${piece} text)
  string(REPLACE "@${name}@" "${text}" page "${page}")
endforeach()
get_filename_component(folder ${OUTPUT} DIRECTORY)
file(WRITE ${folder}/page.html "${page}")
file(READ ${folder}/page.html bytes HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
# Lines of 16 numbers: long ones slow compilers down.
string(REGEX REPLACE "(................................................................................)" "\\1\n" bytes "${bytes}")
file(WRITE ${OUTPUT} "#include \"inspect/page_template.h\"\n\n"
  "const unsigned char inspect_page_template[] = {\n${bytes}};\n"
  "const size_t inspect_page_template_size = sizeof inspect_page_template;\n")
