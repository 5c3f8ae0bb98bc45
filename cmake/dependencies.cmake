# The libraries that ropescope stands on. All of them are required.
find_package(PkgConfig REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(OpenMP REQUIRED COMPONENTS C)
find_package(HDF5 REQUIRED COMPONENTS C HL)
find_package(SQLite3 REQUIRED)
find_package(ZLIB REQUIRED)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson>=2.14)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)

# OpenBLAS: the build whose threads are OpenMP's. Another one would start a second set of threads beside ours, so it
# comes first here, and its folder goes into the rpath: the loader's default may be a build of the same name.
find_library(RS_BLAS_LIBRARY NAMES openblas
  PATHS /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}/openblas-openmp NO_DEFAULT_PATH)
find_library(RS_BLAS_LIBRARY NAMES openblas openblaso openblasp REQUIRED)
find_path(RS_BLAS_INCLUDE cblas.h
  PATHS /usr/include/${CMAKE_LIBRARY_ARCHITECTURE}/openblas-openmp NO_DEFAULT_PATH)
find_path(RS_BLAS_INCLUDE cblas.h PATH_SUFFIXES openblas REQUIRED)
mark_as_advanced(RS_BLAS_LIBRARY RS_BLAS_INCLUDE)
get_filename_component(RS_BLAS_FOLDER ${RS_BLAS_LIBRARY} DIRECTORY)
add_library(rs_blas INTERFACE)
target_link_libraries(rs_blas INTERFACE ${RS_BLAS_LIBRARY})
target_include_directories(rs_blas SYSTEM INTERFACE ${RS_BLAS_INCLUDE})

# FFTW: GPL-2.0-or-later, so a program linked with it may be given away under the GPL alone. Without it the probe
# angular_spectrum says that it is not there; everything else is as it was.
option(RS_FFTW "Fourier transforms on the CPU by FFTW (GPL): the probe angular_spectrum" ON)
set(RS_FFTW_FOUND OFF)
if(RS_FFTW)
  pkg_check_modules(FFTW3 IMPORTED_TARGET fftw3>=3.3)
  if(FFTW3_FOUND)
    set(RS_FFTW_FOUND ON)
  else()
    message(STATUS "FFTW was not found: without the probe angular_spectrum")
  endif()
endif()
add_library(rs_fourier INTERFACE)
if(RS_FFTW_FOUND)
  target_link_libraries(rs_fourier INTERFACE PkgConfig::FFTW3)
  set(rs_fourier_other kernels/cpu/cpu_fourier_absent.c)
else()
  set(rs_fourier_other kernels/cpu/cpu_fourier.c)
endif()
