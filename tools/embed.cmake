# Makes a C file that holds a file: cmake -DNAME=page -DFROM=index.html -DTO=page_data.c -P embed.cmake. The arrays are those that
# src/server/page.h declares; a FROM that is not there gives an empty one.
# HEADER: another one.
if(NOT HEADER)
  set(HEADER server/page.h)
endif()
set(hex "")
if(EXISTS "${FROM}")
  file(READ "${FROM}" hex HEX)
endif()
string(LENGTH "${hex}" digits)
math(EXPR bytes "${digits} / 2")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," values "${hex}")
string(REGEX REPLACE "('[^']*','[^']*','[^']*','[^']*','[^']*','[^']*','[^']*','[^']*','[^']*','[^']*','[^']*','[^']*','[^']*','[^']*','[^']*','[^']*',)" "\\1\n" values "${values}")
file(WRITE "${TO}" "/* generated */\n#include \"${HEADER}\"\n\nconst char swan_embedded_${NAME}[] = {\n${values}0};\n"
  "const size_t swan_embedded_${NAME}_bytes = ${bytes};\n")
