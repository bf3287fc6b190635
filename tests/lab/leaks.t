#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# One job of several threads moves to and fro LEAKS_MOVES times (100). Neither host may have more of anything at the
# end than after the first moves, and the freeze may not grow.
. "$(dirname "$0")/lab.sh"

moves=${LEAKS_MOVES:-100}
warm=20
counter=$BUILD/tests/lab/tools/counter

# What a host has, one "name number" a line.
inventory()
{
	on "$1" sh -c '
		for d in procd flipd; do
			p=$(pgrep -x $d)
			echo $d-fds $(ls /proc/$p/fd | wc -l)
			echo $d-threads $(ls /proc/$p/task | wc -l)
			echo $d-kb $(sed -n "s/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p" /proc/$p/status)
		done
		set -- /proc/[0-9]* # counted by the shell itself: of a pipe one end may be there or not
		echo processes $#
		echo namespaces $(for n in /proc/[0-9]*/ns/*; do readlink $n; done | sort -u | wc -l)
		echo cgroups $(find /sys/fs/cgroup -type d | wc -l)
		echo mounts $(wc -l </proc/self/mountinfo)
		echo files $(find /run/godwit | wc -l)
		echo sockets $(wc -l </proc/net/unix) $(wc -l </proc/net/udp)
		echo journal-kb $(($(stat -c %s /run/godwit/journal) / 1024))'
}

# What the job has.
job_inventory()
{
	on "$1" sh -c "
		p=\$(head -n 1 /sys/fs/cgroup/godwit/$2/job/cgroup.procs)
		echo job-fds \$(ls /proc/\$p/fd | wc -l)
		echo job-threads \$(ls /proc/\$p/task | wc -l)
		echo job-mappings \$(wc -l </proc/\$p/maps)
		echo job-timers \$(wc -l </proc/\$p/timers)
		s=\$(head -n 1 /sys/fs/cgroup/godwit/$2/shepherd/cgroup.procs)
		echo shepherd-fds \$(ls /proc/\$s/fd | wc -l)
		echo shepherd-kb \$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' /proc/\$s/status)"
}

take_inventory()
{
	until_true 10 moving_is_over
	{
		inventory h1 | sed 's/^/h1 /'
		inventory h2 | sed 's/^/h2 /'
		job_inventory h1 leaky
	} >"$1"
}

moving_is_over()
{
	[ -z "$(on h1 pgrep -x mover; on h2 pgrep -x mover)" ] && on h2 test ! -e /sys/fs/cgroup/godwit/leaky
}

# An even number of moves, so that the job ends at h1.
move_times()
{
	local n=$1 to=h2 swap from=h1
	while [ $n -gt 0 ]; do
		on h3 timeout 60 godwit migrate --json leaky $to >>"$work/reports" 2>"$work/migrate.err" || return 1
		swap=$to to=$from from=$swap n=$((n - 1))
	done
}

# Counts must be equal; kilobytes may grow by what a page here and there makes.
compare_inventories()
{
	paste -d ' ' "$1" "$2" | awk -v room=1024 '{
		half = NF / 2
		for (i = 1; i <= half; i++) {
			if ($i !~ /^[0-9]+$/ || $i == $(i + half)) continue
			name = $1 " " $2
			if (name ~ /-kb/ && $(i + half) - $i <= room) continue
			if ($(i + half) > $i) { print name ": " $i " then, " $(i + half) " now"; bad = 1 }
		}
	} END { exit bad }'
}

lab_begin 3
on h3 godwit run --name leaky --host h1 -- "$counter" 100000000 5 8 >"$work/have" 2>"$work/stderr" &
run=$!
until_true 20 job_lives h3 leaky
move_times $warm
tap_log=$work/migrate.err ok $? "$warm moves to warm up"
take_inventory "$work/before"
: >"$work/reports"
move_times "$moves"
tap_log=$work/migrate.err ok $? "$moves moves"
take_inventory "$work/after"
compare_inventories "$work/before" "$work/after" >"$work/growth"
tap_log=$work/growth ok $? "neither host has more than before, nor has the job"
diag "$(paste -d ' ' "$work/before" "$work/after" | grep -e -kb)"
third=$((moves / 3))
freeze()
{
	jq -s ".[$1:$2] | map(.freeze_us) | sort | .[length / 2 | floor]" "$work/reports"
}
first=$(freeze 0 $third)
last=$(freeze $((moves - third)) "$moves")
diag "median freeze: first third $first us, last third $last us"
[ "$last" -le $((first * 3 / 2 + 1000)) ]
ok $? "the freeze does not grow"
on h3 godwit kill leaky
wait $run
is $? 0 "the job ends as it should"
"$counter" "$(wc -l <"$work/have")" 0 0 | cmp - "$work/have" >"$work/cmp" 2>&1
tap_log=$work/cmp ok $? "its output is intact ($(wc -l <"$work/have") lines)"
until_true 10 eval '[ "$(on h1 find /sys/fs/cgroup/godwit /run/godwit/jobs -mindepth 1 -type d | grep -c leaky)" = 0 ] || \
	[ "$(on h3 godwit ps --json | jq length)" = 0 ]'
ok $? "when it has ended, it is gone"
finish
