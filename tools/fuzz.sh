#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# fuzz.sh [NAME] [--minutes N] [--afl] - libFuzzer, ASan and UBSan on one target, or AFL++; without
# NAME, lists them
set -eu
top=$(dirname "$(dirname "$(readlink -f "$0")")")
build=$top/build-fuzz
name='' minutes=10 afl=''
while [ $# -gt 0 ]; do
	case $1 in
	--minutes) minutes=${2:-none} && [ $# -eq 1 ] || shift ;;
	--afl) afl=yes ;;
	-*) echo "fuzz: no option $1" >&2 && exit 2 ;;
	*) name=$1 ;;
	esac
	shift
done

case $minutes in
*[!0-9]*) echo "fuzz: --minutes $minutes: not a whole number" >&2 && exit 2 ;;
esac
if [ -n "$name" ] && [ -z "$(find "$top/src" -name "${name}_fuzz.c")" ]; then
	echo "fuzz: no target $name; ./dev fuzz lists them" >&2
	exit 2
fi

with_afl() { # its own build: other instrumentation, no sanitizers
	build=$top/build-afl
	export AFL_QUIET=1 AFL_NO_UI=1 AFL_SKIP_CPUFREQ=1 AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1
	[ -f "$build/build.ninja" ] || CC=afl-clang-fast meson setup "$build" "$top" -Dfuzz=afl \
		--buildtype=debugoptimized >/dev/null
	ninja -C "$build" "src/fuzz-$name"
	mkdir -p "$build/found"
	echo "fuzz: $name for $minutes minutes; all goes to $build/found/$name"
	exec afl-fuzz -V $((minutes * 60)) -i "$top/fuzz/corpus/$name" -o "$build/found/$name" \
		-- "$build/src/fuzz-$name"
}
[ -z "$afl" ] || [ -z "$name" ] || with_afl

[ -f "$build/build.ninja" ] || CC=clang meson setup "$build" "$top" -Dfuzz=libfuzzer \
	-Db_sanitize=address,undefined --buildtype=debugoptimized >/dev/null
if [ -z "$name" ]; then
	ninja -C "$build" build.ninja >/dev/null # targets of now
	ninja -C "$build" -t targets all | sed -n 's,^src/fuzz-\([^:/]*\): c_LINKER.*,\1,p'
	exit 0
fi
ninja -C "$build" "src/fuzz-$name"
mkdir -p "$build/corpus/$name" "$build/found/$name"
echo "fuzz: $name for $minutes minutes; what breaks it goes to $build/found/$name"
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
exec "$build/src/fuzz-$name" -max_total_time=$((minutes * 60)) -timeout=20 -rss_limit_mb=2048 \
	-print_final_stats=1 -artifact_prefix="$build/found/$name/" \
	"$build/corpus/$name" "$top/fuzz/corpus/$name"
