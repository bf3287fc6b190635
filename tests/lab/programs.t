#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Real programs, started from h3, moved between h1 and h2 until they end, at least ten times before that. Their
# output must be that of an undisturbed run, byte for byte.
#	PROGRAMS_MB	how much xz and zstd get to compress (48)
#	PROGRAMS_MOVES	after how many moves they are left alone (20; 0: never)
#	PROGRAMS_LOAD	how long the others run, in percent of the usual (100)
# Arguments choose some of the programs.
. "$(dirname "$0")/lab.sh"

mb=${PROGRAMS_MB:-48}
load=${PROGRAMS_LOAD:-100}
most=${PROGRAMS_MOVES:-20}
tools=$BUILD/tests/lab/tools
programs=$here/tests/lab/programs
wanted=" $* "

# Text that compresses by half, the same every time.
make_data()
{
	$python - "$1" "$mb" <<'END'
import random, sys
rng = random.Random(1)
words = [rng.randbytes(rng.randrange(3, 9)).hex() for _ in range(5000)]
with open(sys.argv[1], "w") as f:
    size = 0
    while size < int(sys.argv[2]) << 20:
        size += f.write(" ".join(rng.choices(words, k=400)) + "\n")
END
}

# Moves job $1 to and fro until it has ended; the number of moves after which it still lived goes to $work/$1.moves,
# refusals and failures to $work/$1.trouble.
keep_moving()
{
	local job=$1 to=h2 from=h1 count=0 status swap
	: >"$work/$job.trouble"
	echo 0 >"$work/$job.moves"
	until_true 20 job_lives h3 "$job" || return 1
	while :; do
		on h3 godwit migrate --json "$job" "$to" >>"$work/$job.reports" 2>"$work/$job.err"
		status=$?
		job_lives h3 "$job" || break
		if [ $status = 0 ]; then
			count=$((count + 1))
			echo $count >"$work/$job.moves"
			swap=$to to=$from from=$swap
			[ $count != "$most" ] || break
			sleep 0.1 # or the program would spend its life frozen
		else
			echo "exit $status: $(cat "$work/$job.err")" >>"$work/$job.trouble"
			[ "$(wc -l <"$work/$job.trouble")" -lt 2000 ] || break
			# the check stage may say no for a moment, while a lock is held for instance
			[ $status = 3 ] && continue
			[ "$(grep -cv '^exit 3' "$work/$job.trouble")" -lt 3 ] || break
		fi
	done
}

chosen()
{
	[ "$wanted" = "  " ] || case $wanted in *" $1 "*) ;; *) return 1 ;; esac
}

# The two tests of program $1, which ended with exit status $2; what it printed is in $work/$1.have and .want.
judge()
{
	local name=$1 status=$2 moves

	moves=$(cat "$work/$name.moves")
	[ "$status" = 0 ] && cmp "$work/$name.want" "$work/$name.have" >"$work/$name.cmp" 2>&1
	tap_log=$work/$name.cmp ok $? "$name: the output is that of an undisturbed run" ||
		diag "exit status $status" "$(head -c 500 "$work/$name.stderr")"
	[ "$moves" -ge 10 ]
	tap_log=$work/$name.trouble ok $? "$name: moved at least ten times before it ended" || diag "moved $moves times"
	diag "$name: $moves moves, median freeze $(jq -s 'map(.freeze_us) | sort | .[length / 2 | floor]' \
		"$work/$name.reports" 2>/dev/null) us, $(grep -c . "$work/$name.trouble") attempts refused or failed"
}

# moved NAME STDIN COMMAND...: a program that reads a file and prints.
moved()
{
	local name=$1 input=$2 run
	shift 2
	chosen "$name" || return
	[ -e "$work/$name.want" ] || (cd "$work" && "$@" <"$input" >"$work/$name.want" 2>&1)
	(cd "$work" && on h3 godwit run --name "$name" --host h1 -- "$@" <"$input" >"$work/$name.have" 2>"$work/$name.stderr") &
	run=$!
	keep_moving "$name"
	wait $run
	judge "$name" $?
}

# feed FILE BYTES MS: a file in pieces with pauses between them, by line if BYTES is 0.
feed()
{
	$python -c 'import sys, time
size = int(sys.argv[2])
with open(sys.argv[1], "rb") as f:
    while data := f.read(size) if size else f.readline():
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        time.sleep(int(sys.argv[3]) / 1000)' "$@"
}

# gzip in the middle of a shell pipe, whose beginning and end are no part of the job.
moved_pipe()
{
	local name=gzip run
	chosen $name || return
	gzip -nc "$work/data" | sha256sum >"$work/$name.want"
	(
		set -o pipefail
		feed "$work/data" 100000 10 |
			on h3 godwit run --name $name --host h1 -- gzip -nc 2>"$work/$name.stderr" |
			sha256sum >"$work/$name.have"
	) &
	run=$!
	keep_moving $name
	wait $run
	judge $name $?
}

# sqlite3 on a file, which it locks while it works on it: it can only move in between.
moved_database()
{
	local name=sqlite_file run
	chosen $name || return
	sqlite3 "$work/$name.db" <"$work/sql" >"$work/$name.want"
	rm -f "$work/$name.db"
	(
		set -o pipefail
		feed "$work/sql" 0 50 |
			on h3 godwit run --name $name --host h1 -- sqlite3 "$work/$name.db" >"$work/$name.have" \
				2>"$work/$name.stderr"
	) &
	run=$!
	keep_moving $name
	wait $run
	judge $name $?
}

# moved_typing NAME KIND COMMAND...: an interactive program on a terminal, typed into while it moves.
moved_typing()
{
	local name=$1 kind=$2 run
	shift 2
	chosen "$name" || return
	$python "$programs/typist.py" "$work/$name.want" "$kind" "$@" >"$work/$name.stderr" 2>&1
	$python "$programs/typist.py" "$work/$name.have" "$kind" "$GODWIT" lab --prefix "$LAB" exec h3 -- \
		godwit run --name "$name" --host h1 -- "$@" >"$work/$name.stderr" 2>&1 &
	run=$!
	keep_moving "$name"
	wait $run
	judge "$name" $?
}

times()
{
	echo $(($1 * load / 100))
}

lab_begin 3
make_data "$work/data"
moved xz /dev/null xz -T2 -3 -c "$work/data"
moved zstd /dev/null zstd -T2 -q -13 -c "$work/data"
moved python /dev/null env PYTHONHASHSEED=0 $python "$programs/busy.py" "$(times 300)"
moved perl /dev/null perl "$programs/busy.pl" "$(times 500)"
moved vector /dev/null "$tools/vector" "$(times 250)"
moved crowd /dev/null "$tools/crowd" 200 "$(times 2500)"
moved clock /dev/null "$tools/clockwatch" "$(times 400)"
"$programs/busy_sql.sh" "$(times 80)" >"$work/sql"
moved sqlite_memory "$work/sql" sqlite3 :memory:
moved_database
moved_pipe
moved_typing python_typed python env TERM=dumb $python -q
moved_typing bc_typed bc env TERM=xterm bc -q
finish
