#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `make lint`, a test each.
cd "$(dirname "$0")/../.." || exit 1
n=0
failed=0
for lint in layers sizes format manuals cppcheck; do
	n=$((n + 1))
	if out=$(make --no-print-directory "lint-$lint" 2>&1); then
		echo "ok $n - $lint"
	else
		failed=1
		echo "not ok $n - $lint"
		echo "$out" | head -n 40 | sed 's/^/# /'
	fi
done
echo "1..$n"
exit $failed
