# SPDX-License-Identifier: Apache-2.0
# A lab for a test, to be sourced: brought up by lab_begin, gone with the script however that ends.
. "$(dirname "${BASH_SOURCE[0]}")/tap.sh"

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD=${BUILD:-build}
case $BUILD in /*) ;; *) BUILD=$here/$BUILD ;; esac
export BUILD
GODWIT=$BUILD/bin/godwit
LAB=${LAB:-t$$}
work=$(mktemp -d /tmp/godwit-test.XXXXXX)
chmod 755 "$work"
python=/usr/bin/python3 # not whatever comes first in PATH, which may be a script that starts it

lab()
{
	"$GODWIT" lab --prefix "$LAB" "$@"
}

# on HOST COMMAND...
on()
{
	local host=$1
	shift
	lab exec "$host" -- "$@"
}

lab_end()
{
	local jobs
	jobs=$(jobs -p)
	[ -z "$jobs" ] || kill $jobs 2>/dev/null
	lab down >/dev/null 2>&1
	rm -rf "$work"
}

# lab_begin N [OPTION...]
lab_begin()
{
	local n=$1
	shift
	[ "$(id -u)" = 0 ] || skip_all "a lab needs root"
	trap lab_end EXIT
	trap 'exit 130' INT TERM HUP
	lab up "$n" "$@" 2>"$work/lab.err" || {
		echo "Bail out! no lab: $(cat "$work/lab.err")"
		exit 1
	}
}

# How the flipd of host $1 sees host $2: flip_host HOST OTHER FIELD
flip_host()
{
	on "$1" timeout 10 godwit flip --json | jq -r --arg host "$2" ".hosts[] | select(.host == \$host) | $3"
}

flip_sees()
{
	[ "$(flip_host "$1" "$2" .state)" = up ]
}

# What the flipd of host $1 has counted under the name $2.
flip_counter()
{
	on "$1" timeout 10 godwit flip --json | jq ".counters.$2"
}

# The value at a path of a job's record, asked on a host: job_field HOST JOB .state
job_field()
{
	on "$1" timeout 20 godwit ps --json 2>/dev/null | jq -r --arg job "$2" ".[] | select(.job == \$job) | $3" 2>/dev/null
}

job_host()
{
	job_field "$1" "$2" .host
}

# Whether the cluster, asked on host $1, has job $2 and it has not ended.
job_lives()
{
	case $(job_field "$1" "$2" .state) in
	'' | ended | exited) return 1 ;;
	esac
}

# run_job NAME HOST COMMAND...: until it runs there; asked on h3. Its output goes to $work/NAME and $work/NAME.err, and
# $pid_NAME is whom to wait for.
run_job()
{
	local name=$1 host=$2
	shift 2
	on h3 godwit run --name "$name" --host "$host" -- "$@" >"$work/$name" 2>"$work/$name.err" &
	eval "pid_$name=\$!"
	until_true 60 job_lives h3 "$name"
}

job_is_at()
{
	[ "$(job_host "$1" "$2")" = "$3" ]
}

# Processes whose cgroup is the one of job $2 on host $1, as the host counts them.
job_processes()
{
	on "$1" sh -c "cat /sys/fs/cgroup/godwit/$2/job/cgroup.procs 2>/dev/null | wc -l"
}
