#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# one_symbol.sh SYMBOL OUTPUT.a ARCHIVE... - an archive with what SYMBOL needs, all else local
set -eu
symbol=$1 output=$2
shift 2
rm -f "$output"
ld -r -u "$symbol" -o "$output.o" "$@"
objcopy --keep-global-symbol="$symbol" "$output.o"
ar rcs "$output" "$output.o"
rm -f "$output.o"
