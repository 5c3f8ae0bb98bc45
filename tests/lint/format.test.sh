#!/bin/sh
# All C sources are as clang-format leaves them (Debian 12's version 14).
set -eu
cd "${RS_SOURCE_DIR:-.}"
command -v clang-format >/dev/null || { echo "clang-format is not installed"; exit 77; }
git ls-files --cached --others --exclude-standard '*.c' '*.h' | xargs clang-format --dry-run --Werror
