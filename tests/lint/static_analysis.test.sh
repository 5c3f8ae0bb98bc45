#!/bin/sh
# One static analyser, zero warnings.
set -eu
cd "${RS_SOURCE_DIR:-.}"
command -v cppcheck >/dev/null || { echo "cppcheck is not installed"; exit 77; }
cppcheck --quiet --std=c11 --enable=warning,portability,performance --inline-suppr --error-exitcode=1 -j 2 -I . \
    --suppress=missingIncludeSystem --suppress=unusedFunction -D_POSIX_C_SOURCE=200809L analyzer data kernels probes reports
