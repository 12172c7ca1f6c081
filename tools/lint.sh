#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# lint.sh [NAME...] - everything that reads the code without running it; each NAME is a check below
#
# Two builds, build-lint-gcc and build-lint-clang, serve as checks themselves (-Werror) and as the
# source of compile_commands.json for the others.
set -eu
top=$(dirname "$(dirname "$(readlink -f "$0")")")
cd "$top"
export PYTHONPATH=$top/tools PYTHONDONTWRITEBYTECODE=1
python=/usr/bin/python3
[ -x $python ] || python=python3
gcc=build-lint-gcc clang=build-lint-clang
all="gcc clang tidy cppcheck sparse analyzer layers names sizes headers hardening style spell \
shell man python"
all_names=()

ours() { git ls-files --cached --others --exclude-standard "$@"; }

compile() ( # BUILD [ninja arguments]: only what failed is printed; one at a time in a build
	flock 9
	ninja -C "$@" >"$1/ninja.log" 2>&1 || { grep -v '^\[' "$1/ninja.log" && return 1; }
) 9>"$1/lint.lock"

check_gcc() { compile $gcc; }
check_clang() { compile $clang; }
check_layers() { $python tools/layers.py; }
check_names() { $python tools/names.py; }
check_sizes() { $python tools/sizes.py; }
check_headers() { $python tools/headers.py $gcc; }
check_sparse() { $python tools/sparse.py $gcc; }
check_spell() {
	ours | grep -v '^fuzz/corpus/' |
		xargs -r codespell --ignore-regex '\\n' -I tools/spelling.txt
}
check_shell() {
	ours dev .ci tools tests | xargs grep -lE '^#!/bin/(ba)?sh' | xargs -r shellcheck
	ours tools/guests | grep '\.sh$' | xargs -r shellcheck -s sh -e SC2016
}
check_hardening() { $python tools/hardening.py $gcc/src/crosvm; }

# Every C file but tests under clang's analyzer and checkers; .clang-tidy says which and why.  The
# analyzer's limit on paths is a tenth of the default: the same findings in a tenth of the time.
check_tidy() {
	local limit=(-Xclang -analyzer-config -Xclang max-nodes=20000)
	ours 'src/*.c' | grep -vE '_(test|fuzz)\.c$' | xargs -r -P "$(nproc)" -n 4 \
		clang-tidy -p $clang --quiet "${limit[@]/#/--extra-arg=}" 2>/dev/null
}

check_cppcheck() {
	cppcheck -q -j "$(nproc)" --std=c11 --error-exitcode=1 --inline-suppr --library=posix \
		--enable=warning,performance,portability --suppressions-list=tools/cppcheck.txt \
		--suppress='*:*_test.c' --suppress='*:*_fuzz.c' \
		-Isrc -D_GNU_SOURCE -D__x86_64__ --template=gcc src
}

check_analyzer() {
	$python tools/analyzer.py $gcc
}

check_man() {
	[ -f $gcc/man/crosvm.1 ] || check_gcc # else that one has made them, or is about to
	$python tools/man.py $gcc/man/crosvm*.[1-8]
}

check_python() {
	ours '*.py' | xargs -r $python -m pyflakes
}

# SPDX first; nothing wider than 100 columns; no blanks at the ends of lines.
check_style() { $python tools/style.py; }

one() {
	local log started=$SECONDS
	log=$(mktemp)
	if "check_$1" >"$log" 2>&1; then
		printf 'lint: %-10s ok (%d s)\n' "$1" $((SECONDS - started))
		[ "$1" != sizes ] || sed 's/^/      /' "$log"
		rm -f "$log"
		return 0
	fi
	printf 'lint: %-10s FAILED (%d s)\n' "$1" $((SECONDS - started))
	head -n 200 "$log"
	rm -f "$log"
	return 1
}

configure() { # BUILD CC
	[ -f "$1/build.ninja" ] && return
	CC=$2 meson setup "$1" . --werror -Dbuildtype=release >/dev/null
}

if [ "${1:-}" = --one ]; then
	one "$2"
	exit
fi
for name; do
	[ "$(type -t "check_$name")" = function ] && continue
	echo "lint: no check $name; there are: $all" >&2
	exit 2
done
ours >/dev/null || exit 1 # no checkout, or not ours: the lists below would be empty
configure $gcc gcc
configure $clang clang
[ $# -gt 0 ] || read -ra all_names <<<"$all"
if printf '%s\n' "$@" "${all_names[@]}" | sed '/^$/d' | xargs -P 2 -I{} "$0" --one {}; then
	echo "lint: everything is in order"
else
	echo "lint: failed"
	exit 1
fi
