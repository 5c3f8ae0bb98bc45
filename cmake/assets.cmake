# d3, the drawing library of the pages: found here, embedded by reports/assets.S, so that a page asks nothing of a network. A page
# carries the modules it uses, each behind those it needs: less than half of the whole library.
set(rs_d3_modules array collection color interpolate format time time-format scale selection axis path shape)
set(rs_d3_text "")
foreach(module IN LISTS rs_d3_modules)
  find_file(RS_D3_${module} d3-${module}.min.js
    PATHS ${RS_D3} /usr/share/nodejs/d3-${module}/dist /usr/share/javascript/d3-${module} NO_DEFAULT_PATH
    DOC "d3-${module}.min.js of d3 5 (Debian: node-d3)")
  if(NOT RS_D3_${module})
    message(FATAL_ERROR "d3-${module}.min.js was not found: install node-d3 (apt-get install node-d3) or set -DRS_D3=/folder/with/d3's/modules")
  endif()
  file(READ ${RS_D3_${module}} rs_d3_module)
  if(NOT rs_d3_module MATCHES "^// https://d3js\\.org/d3-${module}/ v[123]\\.")
    message(FATAL_ERROR "${RS_D3_${module}}: expected a module of d3 5, its first line does not name one")
  endif()
  string(APPEND rs_d3_text "${rs_d3_module}\n")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${RS_D3_${module}})
endforeach()
set(rs_d3_file ${CMAKE_BINARY_DIR}/d3.js)
file(CONFIGURE OUTPUT ${rs_d3_file} CONTENT "@rs_d3_text@" @ONLY)

set_property(SOURCE reports/assets.S APPEND PROPERTY COMPILE_DEFINITIONS RS_D3_FILE="${rs_d3_file}")
set_property(SOURCE reports/assets.S APPEND PROPERTY OBJECT_DEPENDS ${rs_d3_file})
