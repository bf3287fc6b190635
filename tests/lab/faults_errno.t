#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A mover's k-th system call that can fail for want of memory, descriptors or room, or because a device does not read
# or write, fails so: for every k of a migration (ERRNO_STRIDE=1) or for a sample of them. So does the k-th action in
# the job's process. After each the job has moved all the same, or is where it was, looks as it did, and the mover has
# said what failed and why. Arguments choose some (victim:side:errno:CALLS|ACTIONS).
. "$(dirname "$0")/tap.sh"

here=$(cd "$(dirname "$0")/../.." && pwd)
BUILD=${BUILD:-build}
case $BUILD in /*) ;; *) BUILD=$here/$BUILD ;; esac
tools=$BUILD/tests/lab/tools
moves=20

# A deleted file is carried, so that files are written at the destination.
every_case()
{
	local victim side errno

	for victim in thread_ring_016 file_deleted call_read_pipe pipe_content; do
		for side in source destination; do
			for errno in ENOMEM EMFILE ENOSPC EIO; do
				echo "$victim:$side:$errno:CALLS"
			done
			echo "$victim:$side:ENOMEM:ACTIONS"
		done
	done
}

sample="file_deleted:source:EMFILE:CALLS file_deleted:destination:ENOSPC:CALLS thread_ring_016:destination:ENOMEM:CALLS
	thread_ring_016:source:ENOMEM:ACTIONS file_deleted:destination:ENOMEM:ACTIONS"
cases=$([ -n "$FAULTS_ALL" ] && every_case || echo "$sample")

declare -A reason=([ENOMEM]="Cannot allocate memory" [EMFILE]="Too many open files" [ENOSPC]="No space left on device"
	[EIO]="Input/output error")

# run_hop NAME: as many attempts as fit in one life of the victim.
run_hop()
{
	timeout -k 5 "${HOP_S:-100}" $tools/hop -n $moves --die errno --mover $tools/failat -- "$BUILD/tests/victim/$1" \
		>"$work/out" 2>"$work/err" </dev/null && [ "$(tail -n 1 "$work/out")" = ok ]
}

# Each failure that the mover gave as its reason for giving up says what and why; and it never just dies.
judge_words()
{
	grep " said " "$FAILAT_LOG" | grep -v "${reason[$1]}" | sed 's/^/BAD words: /' >"$work/words"
	grep " died$" "$FAILAT_LOG" | sed 's/^/BAD: /' >>"$work/words"
	cat "$work/words" >>"$FAILAT_LOG"
}

# sweep VICTIM SIDE ERRNO HOW: from the first call to the last.
sweep()
{
	local k next status

	stride=${ERRNO_STRIDE:-$([ "$4" = ACTIONS ] && echo 17 || echo 41)}
	[ -z "$FAULTS_ALL" ] || stride=${ERRNO_STRIDE:-1}
	k=$((RANDOM % stride))
	export FAILAT_STATE=$work/state FAILAT_LOG=$work/log
	rm -f "$FAILAT_LOG" "$FAILAT_STATE".*
	echo "$k $stride $2 $3 $4" >"$FAILAT_STATE"
	while [ "$k" -ge 0 ]; do
		run_hop "$1"
		status=$?
		read -r next _ <"$FAILAT_STATE"
		if [ $status != 0 ] || [ "$next" = "$k" ]; then
			echo "BAD between $k and $next: status $status: $(tail -n 3 "$work/err" | tr '\n' ' ')" >>"$FAILAT_LOG"
			[ "$next" != "$k" ] || break
		fi
		k=$next
	done
	judge_words "$3"
	cat "$FAILAT_LOG" >>"$work/all"
	! grep -q BAD "$FAILAT_LOG"
}

# What was tried, by stage, and how it ended.
histogram()
{
	awk '$NF == "failed" && $1 ~ /^[0-9]+$/ { n[$3]++; all++ } $2 == "said" { said++ }
		END { printf "%d failures, %d times the mover gave up:", all, said
			for (s in n) printf " %s %d", s, n[s]; print "" }' "$1"
}

by_errno()
{
	awk '$NF == "failed" && $1 ~ /^[0-9]+$/ { n[$4]++ } END { for (e in n) printf " %s %d", e, n[e]; print "" }' "$1"
}

[ "$(id -u)" = 0 ] || skip_all "hop needs root"
work=$(mktemp -d /tmp/errno.XXXXXX)
trap 'rm -rf "$work"' EXIT
for case in ${*:-$cases}; do
	IFS=: read -r victim side errno how <<<"$case"
	sweep "$victim" "$side" "$errno" "$how"
	status=$?
	ok $status "$case: whatever fails, the job is there once and goes on, and it is said why"
	diag "$case: $(histogram "$work/log")"
	[ $status = 0 ] || diag "$(grep BAD "$work/log" | cut -c 1-300 | sort | uniq | head -n ${BAD_LINES:-8})"
	[ -z "$KEEP_LOG" ] || cat "$work/log" >>"$KEEP_LOG"
done
diag "all: $(histogram "$work/all")" "all:$(by_errno "$work/all")"
finish
