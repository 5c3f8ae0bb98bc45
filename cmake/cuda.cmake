# The CUDA backend: a module of its own (ropescope_cuda.so) that the program opens at run time, so that the program itself
# asks for no CUDA library. AUTO builds it where the toolkit is, ON insists, OFF leaves it out.
set(RS_CUDA AUTO CACHE STRING "CUDA backend: AUTO (where the toolkit is found), ON or OFF")
set_property(CACHE RS_CUDA PROPERTY STRINGS AUTO ON OFF)
if(NOT RS_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "RS_CUDA=${RS_CUDA}: expected AUTO, ON or OFF")
endif()

# What the module needs of our own code, for it cannot take it from the program: compiled once more, as position
# independent code.
file(GLOB rs_cuda_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/cuda/*.cu)
set(rs_cuda_shared kernels/fourier.c kernels/memory.c kernels/op.c kernels/op_view.c analyzer/base/alloc.c analyzer/base/dtype.c analyzer/base/status.c)
list(TRANSFORM rs_cuda_shared PREPEND ${PROJECT_SOURCE_DIR}/)
add_library(rs_cuda_base OBJECT EXCLUDE_FROM_ALL ${rs_cuda_shared})
target_link_libraries(rs_cuda_base PRIVATE rs_options)
set_target_properties(rs_cuda_base PROPERTIES POSITION_INDEPENDENT_CODE ON C_VISIBILITY_PRESET hidden)

# No card of before 2020 (compute 8.0); PTX for those to come.
set(RS_CUDA_ARCHITECTURES "80-real;86-real;89-real;90" CACHE STRING "CUDA architectures to compile for")
mark_as_advanced(RS_CUDA_ARCHITECTURES)

function(rs_cuda_missing what)
  if(RS_CUDA STREQUAL "ON")
    message(FATAL_ERROR "RS_CUDA=ON: ${what}")
  endif()
  message(STATUS "CUDA backend: left out, ${what}")
endfunction()

set(RS_CUDA_BUILT OFF)
if(NOT RS_CUDA STREQUAL "OFF" AND RS_SANITIZE)
  # The sanitizers see what the host compiler compiles: the emulated device of the tests, not the card's module.
  rs_cuda_missing("a sanitizer build has the emulated device alone")
elseif(NOT RS_CUDA STREQUAL "OFF")
  set(CMAKE_CUDA_ARCHITECTURES ${RS_CUDA_ARCHITECTURES})
  include(CheckLanguage)
  check_language(CUDA)
  if(NOT CMAKE_CUDA_COMPILER)
    rs_cuda_missing("nvcc was not found (it is looked for on PATH and in CUDACXX)")
  else()
    find_package(CUDAToolkit 12.0 QUIET)
    if(NOT TARGET CUDA::cublas OR NOT TARGET CUDA::cufft)
      rs_cuda_missing("cuBLAS or cuFFT was not found beside ${CMAKE_CUDA_COMPILER}")
    else()
      enable_language(CUDA)
      set(RS_CUDA_BUILT ON)
    endif()
  endif()
endif()

if(RS_CUDA_BUILT)
  add_library(ropescope_cuda MODULE ${rs_cuda_sources} $<TARGET_OBJECTS:rs_cuda_base>)
  target_include_directories(ropescope_cuda PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(ropescope_cuda PRIVATE CUDA::cublas CUDA::cufft)
  target_compile_options(ropescope_cuda PRIVATE
    $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra,-Wno-missing-field-initializers
    $<$<BOOL:${RS_WERROR}>:-Werror=all-warnings>>)
  set_target_properties(ropescope_cuda PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}
    CUDA_STANDARD 17 CUDA_STANDARD_REQUIRED ON CUDA_RUNTIME_LIBRARY Static CUDA_VISIBILITY_PRESET hidden
    POSITION_INDEPENDENT_CODE ON)
  install(TARGETS ropescope_cuda LIBRARY DESTINATION lib/ropescope)
  message(STATUS "CUDA backend: built by ${CMAKE_CUDA_COMPILER} for ${RS_CUDA_ARCHITECTURES}")
endif()
