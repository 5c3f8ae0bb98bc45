# d3, the drawing library of the page: found here, embedded by reports/assets.S, so that the page asks nothing of a network.
find_file(RS_D3 d3.min.js PATHS /usr/share/nodejs/d3/dist /usr/share/javascript/d3 DOC "d3.min.js, version 5.16 (Debian: node-d3)")
if(NOT RS_D3)
  message(FATAL_ERROR "d3.min.js was not found: install node-d3 (apt-get install node-d3) or set -DRS_D3=/path/to/d3.min.js")
endif()
file(STRINGS ${RS_D3} rs_d3_first LIMIT_COUNT 1)
if(NOT rs_d3_first MATCHES "d3js\\.org v5\\.")
  message(FATAL_ERROR "RS_D3=${RS_D3}: expected d3 5.x, its first line says: ${rs_d3_first}")
endif()

set_property(SOURCE reports/assets.S APPEND PROPERTY COMPILE_DEFINITIONS RS_D3_FILE="${RS_D3}")
set_property(SOURCE reports/assets.S APPEND PROPERTY OBJECT_DEPENDS ${RS_D3})
