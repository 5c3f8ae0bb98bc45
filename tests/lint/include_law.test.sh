#!/bin/sh
# The include law: which room may include which. Also: no type of HDF5, SQLite, jansson, PCRE2, BLAS or CUDA in a header, and no
# file name twice in the tree.
set -eu
cd "${RS_SOURCE_DIR:-.}"
bad=0

# allowed ROOM PATTERN: quoted includes of ROOM's files must match the pattern
allowed() {
    room=$1
    pattern=$2
    found=$(grep -rnE '^#include "' "$room" --include='*.c' --include='*.h' --include='*.cu' --include='*.cuh' | grep -vE "#include \"($pattern)" || true)
    if [ -n "$found" ]; then
        printf '%s may include only %s:\n%s\n' "$room" "$pattern" "$found"
        bad=1
    fi
}

base='analyzer/base/'
allowed analyzer/base "$base"
allowed kernels "$base|kernels/"
allowed data "$base|data/"
allowed analyzer/model "$base|data/|analyzer/model/"
allowed analyzer/forward "$base|analyzer/model/|analyzer/forward/|kernels/backend\\.h|kernels/op\\.h|data/checkpoint\\.h"
allowed analyzer/ablate "$base|analyzer/model/|analyzer/forward/|kernels/op\\.h|kernels/backend\\.h|data/checkpoint\\.h|analyzer/ablate/"
allowed probes "$base|analyzer/model/|analyzer/forward/|kernels/op\\.h|probes/"
allowed reports "$base|data/store\\.h|reports/"

for type in hid_t sqlite3 json_t pcre2_ cblas cudaStream_t; do
    found=$(grep -rnE "^[^/*]*\\b$type" --include='*.h' analyzer data reports probes kernels/*.h | grep -vE '^[^:]*:[0-9]+: \*|/\*' || true)
    case "$found" in
    '' | data/store_internal.h*) ;;
    *)
        printf 'a type of another library in a public header:\n%s\n' "$found"
        bad=1
        ;;
    esac
done

# Fixtures and shipped models are Hugging Face directories, whose file names are not ours to choose.
twice=$(git ls-files --cached --others --exclude-standard | grep -vE '^\.ci/|^tests/golden/families/|^data/samples/models/|(^|/)(README\.md|CMakeLists\.txt|\.[^/]*)$' | sed 's|.*/||' | sort | uniq -d)
if [ -n "$twice" ]; then
    printf 'file names that stand in the tree twice:\n%s\n' "$twice"
    bad=1
fi
exit $bad
