#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# test.sh [unit|sanitize|fuzz|coverage|program|thread|memory|FILE of tests/]...
#
# All of them by default, but for thread and memory.
#
# Every part leaves JUnit files, which the last line sums.  A part that cannot even be built counts
# as one failed test.
set -u
top=$(dirname "$(dirname "$(readlink -f "$0")")")
cd "$top" || exit 1
export PYTHONPATH=$top/tools PYTHONDONTWRITEBYTECODE=1
python=/usr/bin/python3
[ -x $python ] || python=python3
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT

say() { printf '\n== %s\n' "$*"; }

passed() { # WHAT: one passed test case, for what has no JUnit file of its own
	printf '<testsuite><testcase name="%s"/></testsuite>' "$1" >"$results/passed-$1.xml"
}

failed() { # WHAT: one failed test case, for what did not get as far as tests
	echo "test: $1 failed"
	printf '<testsuite><testcase name="%s"><failure/></testcase></testsuite>' "$1" \
		>"$results/failed-$1.xml"
}

# BUILD NAME [meson options]: configures once, compiles; what ninja says only if it fails
compile() {
	local build=$1
	shift
	if [ ! -f "$build/build.ninja" ]; then
		meson setup "$build" . "$@" >"$results/log" 2>&1 || {
			tail -n 30 "$results/log"
			return 1
		}
	fi
	ninja -C "$build" >"$results/log" 2>&1 || { grep -v '^\[' "$results/log" && return 1; }
}

meson_tests() { # BUILD SUITE NAME
	meson test -C "$1" --no-rebuild --suite "$2" --print-errorlogs >"$results/log" 2>&1
	local code=$?
	grep -E '^(Ok|Fail|Skipped|Timeout|Expected Fail)' "$results/log" | tr -s ' ' | paste -sd' '
	grep -q 'No suitable tests' "$results/log" && return
	sed -n 's/^# skipped/skipped/p' "$1/meson-logs/testlog.txt" | sort | uniq -c
	mv "$1/meson-logs/testlog.junit.xml" "$results/$3.xml"
	[ $code -eq 0 ] && return
	cat "$results/log"
	$python tools/tally.py "$results/$3.xml" | grep -q ' 0 failed' && failed "$3"
}

part_unit() {
	say "unit tests, as released"
	compile build || { failed build && return; }
	meson_tests build unit unit
}

sanitized() { # BUILD [meson options]
	CC=clang compile "$@" -Db_sanitize=address,undefined -Dbuildtype=debugoptimized
}

part_sanitize() {
	say "unit tests under ASan and UBSan (clang)"
	sanitized build-asan || { failed build-asan && return; }
	meson_tests build-asan unit sanitize
}

part_fuzz() {
	say "fuzz corpora under ASan and UBSan, guest memory changing under every copy"
	sanitized build-replay -Dfuzz=replay || { failed build-replay && return; }
	meson_tests build-replay fuzz fuzz
}

# thread|memory BUILD SUITE, and prints what tools/sanitizers.txt leaves out
under() {
	local report=$results/$1-$3.xml
	$python tools/sanitizers.py "$@" "$report"
	[ -s "$report" ] || failed "$1-$3"
}

part_thread() {
	say "unit tests under TSan (clang), and machines with all devices in threads"
	CC=clang compile build-tsan -Db_sanitize=thread -Dbuildtype=debugoptimized || {
		failed build-tsan && return
	}
	under thread build-tsan unit
	CROSVM=$top/build-tsan/src/crosvm part_program tests/test_threads.py
}

part_memory() {
	say "unit tests under MSan (clang)"
	CC=clang compile build-msan-unit -Db_sanitize=memory -Dbuildtype=debugoptimized || {
		failed build-msan-unit && return
	}
	under memory build-msan-unit unit
	say "fuzz corpora under MSan, guest memory changing under every copy"
	CC=clang compile build-msan -Db_sanitize=memory -Dbuildtype=debugoptimized \
		-Dfuzz=replay || { failed build-msan && return; }
	under memory build-msan fuzz
}

part_coverage() {
	say "coverage of the unit tests, by folder"
	local profiles=$results/profiles flags='-fprofile-instr-generate -fcoverage-mapping'
	# Counters are in a mapped file (%c): what jailed or killed processes reach counts, too.
	flags+=' -mllvm -runtime-counter-relocation'
	LLVM_PROFILE_FILE=/dev/null CC=clang compile build-coverage -Dbuildtype=debug \
		-Dc_args="$flags" -Dc_link_args=-fprofile-instr-generate || {
		failed build-coverage && return
	}
	LLVM_PROFILE_FILE=$profiles/%m%c.profraw \
		meson test -C build-coverage --no-rebuild --suite unit >"$results/log" 2>&1 || {
		tail -n 20 "$results/log" && failed coverage
	}
	$python tools/coverage.py build-coverage "$profiles" && passed coverage-goals && return
	failed coverage-goals
}

part_program() {
	say "whole program"
	compile build || { failed build && return; }
	local parallel=()
	$python -c 'import xdist' 2>/dev/null && parallel=(-n 2)
	$python -m pytest -q -rs -p no:cacheprovider "${parallel[@]}" -o junit_family=xunit2 \
		--junitxml="$results/program.xml" "${@:-tests}" </dev/null
	[ $? -le 1 ] || failed program
}

export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
files=()
parts=()
for word; do
	case $word in
	unit | sanitize | fuzz | coverage | program | thread | memory) parts+=("$word") ;;
	*)
		word=${word#tests/}
		[ -e "tests/${word%%::*}" ] || word=test_$word.py
		if [ ! -e "tests/${word%%::*}" ]; then
			echo "test: no tests/$word, nor a part of that name: unit, sanitize," \
				"fuzz, coverage, program, thread, memory" >&2
			exit 2
		fi
		files+=("tests/$word")
		;;
	esac
done
[ $# -gt 0 ] || parts=(unit sanitize fuzz coverage program)
for part in "${parts[@]}"; do
	"part_$part"
done
[ ${#files[@]} -eq 0 ] || part_program "${files[@]}"
echo
$python tools/tally.py "$results"/*.xml
