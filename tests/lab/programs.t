#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Real programs, started from h3, moved between h1 and h2 until they end, at least ten times before that. Their
# output must be that of an undisturbed run, byte for byte.
#	PROGRAMS_MB	how much xz and zstd get to compress (48)
#	PROGRAMS_LOAD	how long the others run, in percent of the usual (100)
# Arguments choose some of the programs.
. "$(dirname "$0")/lab.sh"

mb=${PROGRAMS_MB:-48}
load=${PROGRAMS_LOAD:-100}
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
		else
			echo "exit $status: $(cat "$work/$job.err")" >>"$work/$job.trouble"
			[ "$(wc -l <"$work/$job.trouble")" -lt 50 ] || break
			# the check stage may say no for a moment, while a lock is held for instance
			[ $status = 3 ] && continue
			[ "$(grep -cv '^exit 3' "$work/$job.trouble")" -lt 3 ] || break
		fi
	done
}

# moved NAME STDIN COMMAND...: the whole of it, two tests.
moved()
{
	local name=$1 input=$2 run status moves
	shift 2
	[ "$wanted" = "  " ] || case $wanted in *" $name "*) ;; *) return ;; esac
	[ -e "$work/$name.want" ] || (cd "$work" && "$@" <"$input" >"$work/$name.want" 2>&1)
	rm -f "$work/$name.db"
	(cd "$work" && on h3 godwit run --name "$name" --host h1 -- "$@" <"$input" >"$work/$name.have" 2>"$work/$name.stderr") &
	run=$!
	keep_moving "$name"
	wait $run
	status=$?
	moves=$(cat "$work/$name.moves")
	[ $status = 0 ] && cmp "$work/$name.want" "$work/$name.have" >"$work/$name.cmp" 2>&1
	tap_log=$work/$name.cmp ok $? "$name: the output is that of an undisturbed run" ||
		diag "exit status $status" "$(head -c 500 "$work/$name.stderr")"
	[ "$moves" -ge 10 ]
	tap_log=$work/$name.trouble ok $? "$name: moved at least ten times before it ended" || diag "moved $moves times"
	diag "$name: $moves moves, median freeze $(jq -s 'map(.freeze_us) | sort | .[length / 2 | floor]' \
		"$work/$name.reports" 2>/dev/null) us, $(grep -c . "$work/$name.trouble") attempts refused or failed"
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
moved perl /dev/null perl "$programs/busy.pl" "$(times 900)"
moved vector /dev/null "$tools/vector" "$(times 250)"
moved crowd /dev/null "$tools/crowd" 200 "$(times 600)"
moved clock /dev/null "$tools/clockwatch" "$(times 400)"
"$programs/busy_sql.sh" "$(times 60)" >"$work/sql"
moved sqlite_memory "$work/sql" sqlite3 :memory:
moved sqlite_file "$work/sql" sqlite3 "$work/sqlite_file.db"
finish
