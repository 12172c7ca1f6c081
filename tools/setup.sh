#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# setup.sh - installs the packages of packages.txt that are missing
set -eu
here=$(dirname "$(readlink -f "$0")")

missing=()
while read -r name _; do
	case $name in '' | '#') continue ;; esac
	state=$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null || true)
	[ "$state" = installed ] || missing+=("$name")
done <"$here/packages.txt"

if [ ${#missing[@]} -eq 0 ]; then
	echo "setup: every package is installed"
	exit 0
fi
install=(apt-get install -y --no-install-recommends "${missing[@]}")
if [ "$(id -u)" -ne 0 ]; then
	echo "setup: packages are missing; as root, run:" >&2
	echo "${install[*]}" >&2
	exit 1
fi
echo "setup: will install: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
"${install[@]}" </dev/null
