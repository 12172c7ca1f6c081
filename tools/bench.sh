#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# bench.sh [WHAT...] - runs tools/bench/WHAT.py; without WHAT, the table of all goals
set -eu
top=$(dirname "$(dirname "$(readlink -f "$0")")")
python=/usr/bin/python3
[ -x $python ] || python=python3
export PYTHONPATH=$top/tools PYTHONDONTWRITEBYTECODE=1

usage() {
	echo "usage: ./dev bench [WHAT...]; WHAT is one of these, or table if none is given:"
	for file in "$top"/tools/bench/*.py; do
		[ -e "$file" ] || continue
		line=$(sed -n 's/"""$//;s/^"""\(.*\)/\1/p;T;q' "$file")
		printf '  %-10s %s\n' "$(basename "$file" .py)" "$line"
	done
}

case ${1-} in
'') set -- table ;;
-h | --help | help) usage && exit 0 ;;
esac
"$top/dev" build >/dev/null
for what; do
	[ -f "$top/tools/bench/$what.py" ] || {
		echo "bench: nothing called $what" >&2
		usage >&2
		exit 2
	}
	$python "$top/tools/bench/$what.py"
done
