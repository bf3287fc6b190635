# SPDX-License-Identifier: Apache-2.0
# What the tests of failures share, to be sourced: a job that counts, and what must be true of it whatever breaks.
. "$(dirname "${BASH_SOURCE[0]}")/lab.sh"

counter=$BUILD/tests/lab/tools/counter
ledger=$BUILD/tests/lab/tools/ledger

# Starts job $1 on h1, seen from h3. Unless FAULTS_TALK is empty, it is in two conversations all the time: it calls a server
# on h3, and is called from there.
start_counting()
{
	local talk=()
	[ -z "$FAULTS_TALK" ] || talk=(2 talk called "$((n_talks += 1))" "served by $1")
	on h3 godwit run --name "$1" --host h1 -- "$counter" 1000000 10 "${talk[@]}" \
		>"$work/$1.have" 2>"$work/$1.stderr" &
	counting=$!
	until_true 20 job_lives h3 "$1" || return
	[ -n "$FAULTS_TALK" ] || return 0
	on h3 "$ledger" count "served by $1" "$work/$1.enough" >"$work/$1.call" 2>&1 &
	talking=$!
}

# hang_up JOB TEXT: who has called it all the time says how that was.
hang_up()
{
	[ -n "$FAULTS_TALK" ] || return 0
	touch "$work/$1.enough"
	wait $talking
	tap_log=$work/$1.call ok $? "$2: who calls it does not notice"
	diag "it waited for $(jq .worst_us "$work/$1.call") us at most"
}

# What a host has of job $1: running, frozen or none.
copy_at()
{
	on "$1" sh -c "
		cd /sys/fs/cgroup/godwit/$2/job 2>/dev/null || { echo none; exit; }
		grep -q . cgroup.procs || { echo none; exit; }
		grep -q 'frozen 1' cgroup.events && echo frozen || echo running"
}

# The job runs exactly once, on the host that ps names, and neither host keeps anything of the attempt.
settled()
{
	local job=$1 host other
	host=$(job_host h3 "$job")
	case $host in h1) other=h2 ;; h2) other=h1 ;; *) return 1 ;; esac
	[ "$(on h3 timeout 20 godwit ps --json | jq "[.[] | select(.job == \"$job\")] | length")" = 1 ] || return 1
	[ "$(job_field h3 "$job" .state)" = running ] || return 1
	[ "$(copy_at $host "$job")" = running ] && [ "$(copy_at $other "$job")" = none ] || return 1
	on $other sh -c "test ! -e /sys/fs/cgroup/godwit/$job && test ! -e /run/godwit/jobs/$job" || return 1
	for h in h1 h2; do
		[ -z "$(on $h pgrep -x mover)" ] || return 1
		[ "$(on $h pgrep -cx procd)" = 1 ] || return 1
	done
}

explain()
{
	local job=$1
	diag "ps: $(on h3 timeout 20 godwit ps 2>&1 | tail -n +2 | tr '\n' ';')"
	for h in h1 h2; do
		diag "$h: copy $(copy_at $h "$job"), movers $(on $h pgrep -x mover | tr '\n' ' ')" \
			"$(on $h sh -c "ls -d /sys/fs/cgroup/godwit/*/ /run/godwit/jobs/* 2>/dev/null" | tr '\n' ' ')"
	done
	diag "migrate: $(tail -n 2 "$work/$job.migrate" 2>/dev/null | tr '\n' ' ')"
}

# Asks the job to end, and waits for the front-end, though not for ever.
end_counting()
{
	on h3 timeout 20 godwit kill "$1" || diag "kill: $?"
	until_true 30 eval '! kill -0 $counting 2>/dev/null' || kill $counting
	wait $counting
}

lines_of()
{
	wc -l <"$work/$1.have"
}

# Whether what it printed is what a job prints that nobody disturbs.
is_intact()
{
	"$counter" "$(lines_of "$1")" 0 | cmp - "$work/$1.have" >"$work/cmp" 2>&1
}

# judge_fault JOB TEXT [COMMAND...]: the tests of a failure that has just happened to the migration of a job. The
# command, if any, is run once all has come to rest.
judge_fault()
{
	local job=$1 text=$2 before began status
	shift 2

	began=$(date +%s%N)
	until_true "${SETTLE_S:-60}" settled "$job"
	ok $? "$text: the job runs exactly once, nothing is left of the attempt" || explain "$job"
	diag "after $((($(date +%s%N) - began) / 1000000)) ms"
	"${@:-:}"
	before=$(lines_of "$job")
	[ "$before" -gt 40 ] || before=40 # enough lines to be worth comparing
	until_true 30 eval '[ "$(lines_of "$job")" -gt $((before + 20)) ]'
	ok $? "$text: it goes on"
	on h3 timeout -k 5 30 godwit migrate "$job" "$([ "$(job_host h3 "$job")" = h1 ] && echo h2 || echo h1)" \
		>"$work/$job.migrate" 2>&1
	tap_log=$work/$job.migrate ok $? "$text: it can be moved afterwards"
	hang_up "$job" "$text"
	end_counting "$job"
	status=$?
	[ $status = 0 ] && [ "$(lines_of "$job")" -gt 50 ] && is_intact "$job"
	tap_log=$work/cmp ok $? "$text: its output is intact" ||
		diag "exit status $status, $(lines_of "$job") lines" "$(head -c 300 "$work/$job.stderr")"
}

# restart_procd HOST JOB [OPTION...]: a procd with other hooks, which has found its jobs again.
restart_procd()
{
	local host=$1 job=$2
	shift 2
	lab restart "$host" procd "$@" 2>"$work/lab.err" || diag "$(cat "$work/lab.err")"
	# not by `check`, which is a stage with a hook of its own
	until_true 10 on h3 timeout 5 godwit kill -CONT "$job" >/dev/null 2>&1
}

# count_instant KIND STAGE: a fault was tried there; show_instants prints how many of each.
count_instant()
{
	echo "$1 $2" >>"$work/instants"
}

show_instants()
{
	[ -e "$work/instants" ] || return 0
	awk '{ if (!(($1, $2) in n)) { of[$1] = of[$1] " " $2 } n[$1, $2]++; all[$1]++; total++ }
		END { for (kind in of) {
			line = kind " " all[kind] ":"
			m = split(of[kind], stages, " ")
			for (i = 1; i <= m; i++) line = line " " stages[i] " " n[kind, stages[i]]
			print "# " line
		} print "# instants: " total }' "$work/instants"
}

faults_begin()
{
	lab_begin 3
	n_talks=0
	[ -z "$FAULTS_TALK" ] || on h3 "$ledger" serve called >"$work/called" 2>&1 &
}
