#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Daemons to whom something is scarce: a process server that can open no more than N descriptors, for each small N,
# on either side of a migration (its movers inherit that); a /run that is full, from before the migration or from the
# end of a stage on; a daemon or a shepherd one of whose system calls fails, its k-th that can, for every k of a
# migration. Each time the job moves or is told why not and goes on where it was, and once there is plenty
# again, everything works and no descriptor is missing. Arguments choose some (files:h1, full:ready:source).
. "$(dirname "$0")/faults.sh"

all="call:procd:h1:EMFILE call:procd:h1:ENOMEM call:procd:h1:ENOSPC call:procd:h1:EIO
	call:procd:h2:EMFILE call:procd:h2:ENOMEM call:procd:h2:ENOSPC call:procd:h2:EIO
	call:flipd:h1:EMFILE call:flipd:h1:ENOMEM call:flipd:h2:EMFILE call:flipd:h2:ENOMEM
	call:shepherd:h1:EMFILE call:shepherd:h1:ENOMEM
	files:h1 files:h2 full:begin:h1 full:begin:h2 full:ready:source full:record:source full:commit:source
	full:ready:destination full:record:destination"
sample="call:procd:h2:ENOSPC files:h2"
cases=$([ -n "$FAULTS_ALL" ] && echo "$all" || echo "$sample")
step=$([ -n "$FAULTS_ALL" ] && echo 1 || echo 13)

procd_of()
{
	on "$1" pgrep -x procd
}

# What procd has open: descriptors are numbered from below, so the highest is what a limit cuts.
fds_of()
{
	on "$1" sh -c 'ls /proc/$(pgrep -x procd)/fd | wc -l'
}

limit_files()
{
	on "$1" sh -c "prlimit --nofile=$2: --pid \$(pgrep -o -x procd)"
}

other_host()
{
	[ "$1" = h1 ] && echo h2 || echo h1
}

# The words of a migration that failed: what was scarce, and not just that it failed.
names_the_reason()
{
	grep -q -e "$2" "$1"
}

# Each limit from what is open on, until the job can move.
try_files()
{
	local host=$1 job=$2 before limit bad=0 tried=0 from to status
	before=$(fds_of "$host")
	for limit in $(seq "$before" $step $((before + ${MORE_FILES:-40}))); do
		from=$(job_host h3 "$job")
		to=$(other_host "$from")
		# always in the same direction: the scarce side is the source (h1) or the destination (h2)
		[ "$from" = h1 ] || { on h3 timeout 60 godwit migrate -q "$job" h1 >/dev/null 2>&1; to=h2; }
		limit_files "$host" "$limit"
		on h3 timeout -k 5 60 godwit migrate "$job" h2 >"$work/$job.migrate" 2>&1
		status=$?
		limit_files "$host" 1024
		tried=$((tried + 1))
		count_instant "$host" "files"
		until_true 30 settled "$job" || { bad=1; diag "limit $limit: not settled"; explain "$job"; break; }
		[ $status = 0 ] && continue
		# a shepherd that cannot even begin has nobody to tell but the log
		names_the_reason "$work/$job.migrate" "Too many open files\|the shepherd died (procd's log may say why)" ||
			{ bad=1; diag "limit $limit: $(tail -n 2 "$work/$job.migrate" | tr '\n' ' ')"; }
	done
	ok $bad "procd on $host with too few descriptors, $tried limits: moved or told why not, and nothing is left"
	until_true 10 eval '[ "$(job_host h3 "$job")" = h1 ] || on h3 timeout 60 godwit migrate -q "$job" h1 >/dev/null 2>&1'
	until_true 10 eval '[ "$(fds_of "$host")" -le $before ]'
	ok $? "procd on $host has no more open than before ($before)" || diag "now $(fds_of "$host"):" \
		"$(on "$host" sh -c 'ls -l /proc/$(pgrep -x procd)/fd' | awk '{print $9, $11}' | tr '\n' ' ')"
}

declare -A reason=([ENOMEM]="Cannot allocate memory\|out of memory\|not enough memory" [EMFILE]="Too many open files"
	[ENOSPC]="No space left on device" [EIO]="Input/output error")

pid_of_job_program()
{
	on "$1" sh -c "head -n 1 /sys/fs/cgroup/godwit/$2/shepherd/cgroup.procs"
}

bring_home()
{
	[ "$(job_host h3 "$1")" = h1 ] || on h3 timeout -k 5 60 godwit migrate -q "$1" h1 >/dev/null 2>&1
}

# A call that fails while the job moves from h1 to h2: k, k + step, ... until there are no more.
try_calls()
{
	local program=$1 host=$2 errno=$3 job=$4 k bad=0 tried=0 reached=0 status pid failat words
	local stride=${CALL_STRIDE:-$([ -n "$FAULTS_ALL" ] && echo 1 || echo 4)}
	for ((k = RANDOM % stride; ; k += stride)); do
		until_true 20 bring_home "$job"
		pid=$([ $program = shepherd ] && pid_of_job_program "$host" "$job" || on "$host" pgrep -x $program)
		: >"$work/failat"
		on "$host" "$BUILD/tests/lab/tools/failat" "$pid" $k $errno >"$work/failat" 2>&1 &
		failat=$!
		until_true 10 grep -q attached "$work/failat"
		on h3 timeout -k 5 100 godwit migrate "$job" h2 >"$work/$job.migrate" 2>&1
		status=$?
		reached=$(grep -c failed "$work/failat")
		on "$host" pkill -x failat
		wait $failat 2>/dev/null
		until_true 60 settled "$job" || { bad=1; diag "k $k, $(tail -n 1 "$work/failat"): not settled"; explain "$job"; break; }
		[ "$reached" = 1 ] || break
		tried=$((tried + 1))
		count_instant "$program@$host" "$errno"
		[ "$(on "$host" pgrep -x $program | grep -cx "$pid")" = 1 ] || [ $program = shepherd ] ||
			{ bad=1; diag "k $k, $(tail -n 1 "$work/failat"): $program has died"; }
		[ $status = 0 ] && continue
		# complete, said the destination's mover, but its procd could not write that down: only its log says why
		names_the_reason "$work/$job.migrate" "lost the job before it ran" && continue
		words=$(tail -n 2 "$work/$job.migrate" | tr '\n' ' ')
		names_the_reason "$work/$job.migrate" "${reason[$errno]}" ||
			{ bad=1; diag "k $k, $(tail -n 1 "$work/failat"): $words"; }
		[ "$k" -lt 200 ] || break
	done
	[ $tried -gt 0 ] || { skip "$program on $host, $errno" "it makes no call in a migration that can fail so"; return; }
	ok $bad "$program on $host, $errno, $tried calls: moved or told why not, and nothing is left"
}

fill_run()
{
	on "$1" sh -c 'mount -o remount,size=8m /run && { cat /dev/zero >/run/fill; true; } 2>/dev/null; printf x >>/run/fill' 2>/dev/null
	on "$1" sh -c '! printf x >/run/probe' 2>/dev/null
}

empty_run()
{
	on "$1" sh -c 'rm -f /run/fill /run/probe'
}

procd_stopped()
{
	[ -n "$(on "$1" pgrep -x -r T procd)" ]
}

# From the beginning, or from the end of a stage on.
try_full()
{
	local stage=$1 side=$2 job=$3 host status
	case $side in source | h1) host=h1 ;; *) host=h2 ;; esac
	[ "$stage" = begin ] || restart_procd $host "$job" --env "GODWIT_PROCD_STOP_AT=$stage:$side"
	[ "$stage" = begin ] && fill_run $host
	on h3 timeout -k 5 100 godwit migrate "$job" h2 >"$work/$job.asked" 2>&1 &
	migrate=$!
	if [ "$stage" != begin ]; then
		until_true 20 procd_stopped $host
		ok $? "procd waits at $stage:$side"
		fill_run $host
		ok $? "its /run is full"
		on $host pkill -CONT -x procd
	fi
	wait $migrate
	status=$?
	[ $status = 0 ] || names_the_reason "$work/$job.asked" "No space left on device\|journal"
	tap_log=$work/$job.asked ok $? "/run full on $host from $stage:$side: it moves or says why not"
	diag "migrate says $status: $(tail -n 1 "$work/$job.asked")"
	until_true 10 eval 'on h3 timeout 5 godwit ps >/dev/null 2>&1'
	ok $? "/run full on $host: everybody is still served"
	empty_run $host
	count_instant full "$stage"
	judge_fault "$job" "/run full on $host from $stage:$side"
}

faults_begin
for case in ${*:-$cases}; do
	job=$(echo "$case" | tr : -)
	start_counting "$job" || { tap_log=$work/$job.stderr ok 1 "$case: the job starts"; continue; }
	case $case in
	call:*)
		IFS=: read -r _ program host errno <<<"$case"
		try_calls "$program" "$host" "$errno" "$job"
		end_counting "$job"
		[ $? = 0 ] && is_intact "$job"
		tap_log=$work/cmp ok $? "$case: its output is intact ($(lines_of "$job") lines)"
		;;
	files:*)
		try_files "${case#*:}" "$job"
		end_counting "$job"
		[ $? = 0 ] && is_intact "$job"
		tap_log=$work/cmp ok $? "$case: its output is intact ($(lines_of "$job") lines)"
		;;
	*)
		IFS=: read -r _ stage side <<<"$case"
		try_full "$stage" "$side" "$job"
		;;
	esac
done
show_instants
finish
