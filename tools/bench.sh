#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# bench.sh [WHAT...] - runs tools/bench/WHAT.py; without WHAT, lists them
set -eu
top=$(dirname "$(dirname "$(readlink -f "$0")")")
python=/usr/bin/python3
[ -x $python ] || python=python3

if [ $# -eq 0 ]; then
	echo "usage: ./dev bench WHAT...; WHAT is one of:"
	for file in "$top"/tools/bench/*.py; do
		[ -e "$file" ] || continue
		line=$(sed -n 's/"""$//;s/^"""\(.*\)/\1/p;T;q' "$file")
		printf '  %-10s %s\n' "$(basename "$file" .py)" "$line"
	done
	exit 0
fi
"$top/dev" build >/dev/null
for what; do
	[ -f "$top/tools/bench/$what.py" ] || { echo "bench: nothing called $what" >&2 && exit 2; }
	$python "$top/tools/bench/$what.py"
done
