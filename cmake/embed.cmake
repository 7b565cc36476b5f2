# SPDX-License-Identifier: GPL-3.0-or-later
#
# Writes the file INPUT to OUTPUT as the C array NAME, with its size NAME_size; HEADER declares both.
file(READ ${INPUT} bytes HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
# Lines of 16 numbers: long ones slow compilers down.
string(REPEAT "." 80 line)
string(REGEX REPLACE "(${line})" "\\1\n" bytes "${bytes}")
file(WRITE ${OUTPUT} "#include \"${HEADER}\"\n\n"
  "const unsigned char ${NAME}[] = {\n${bytes}};\n"
  "const size_t ${NAME}_size = sizeof ${NAME};\n")
