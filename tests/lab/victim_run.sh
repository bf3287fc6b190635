#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs many victims, some at a time, and prints one TAP line for each, in order.
#
#	victims_tap JUDGE NAME...	JUDGE is a function: JUDGE NAME LOG runs victim NAME, leaves what it printed in
#					LOG and returns 0 if that is as it should be
# LAB_JOBS says how many at a time (2).

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD=${BUILD:-build}
case $BUILD in /*) ;; *) BUILD=$here/$BUILD ;; esac
VICTIMS=$BUILD/tests/victim

victim_names()
{
	for f in "$here"/tests/victim/*.c; do
		basename "$f" .c
	done
}

# What a log says of a victim that ran to its end.
victim_verdict()
{
	if grep -q '^SKIP' "$1"; then
		echo skip
	elif [ "$(tail -n 1 "$1")" = ok ] && grep -qx ready "$1"; then
		echo ok
	else
		echo failed
	fi
}

# Many victims measure time, and a busy machine is late now and then: one that failed beside others gets a second
# chance alone. It is said that it needed one.
second_try()
{
	local judge=$1 name=$2 at=$3
	mv "$at.log" "$at.first"
	rm -rf "$at"
	mkdir -m 1777 "$at"
	VICTIM_DIR=$at "$judge" "$name" "$at.log" </dev/null || return
	echo 0 >"$at.status"
	echo "# $name failed beside others and passed alone; first: $(grep -v '^ready' "$at.first" | head -n 1)"
}

victims_tap()
{
	local judge=$1 names=() work number=0 running=0 name
	shift
	names=("$@")
	work=$(mktemp -d /tmp/victims.XXXXXX)
	chmod 755 "$work"
	echo "1..${#names[@]}"
	for name in "${names[@]}"; do
		while [ "$running" -ge "${LAB_JOBS:-2}" ]; do
			wait -n
			running=$((running - 1))
		done
		(
			mkdir -m 1777 "$work/$name"
			export VICTIM_DIR=$work/$name
			"$judge" "$name" "$work/$name.log"
			echo $? >"$work/$name.status.new"
			mv "$work/$name.status.new" "$work/$name.status"
		) </dev/null &
		running=$((running + 1))
	done
	wait
	for name in "${names[@]}"; do
		[ "$(cat "$work/$name.status")" = 0 ] || second_try "$judge" "$name" "$work/$name"
		number=$((number + 1))
		if grep -q '^SKIP' "$work/$name.log"; then
			echo "ok $number - $name # SKIP $(sed -n 's/^SKIP //p' "$work/$name.log" | head -n 1)"
		elif [ "$(cat "$work/$name.status")" = 0 ]; then
			echo "ok $number - $name"
		else
			echo "not ok $number - $name"
			tail -n 20 "$work/$name.log" | sed 's/^/# /'
		fi
	done
	rm -rf "$work"
}
