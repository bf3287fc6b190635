#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Checkpoints of a counting job, and new jobs out of them.
. "$(dirname "$0")/lab.sh"

lab_begin 2

counter='import os, time
x = bytearray(os.urandom(1 << 16)) * 64
sum0 = sum(x)
i = 0
while True:
    print(i if sum(x) == sum0 else "bad", flush=True)
    i += 1
    time.sleep(0.02)'

last()
{
	on "$1" godwit logs "$2" | tail -n 1
}

# The job's last word grows; 10 seconds.
counts_on()
{
	local then
	then=$(last "$1" "$2")
	for _ in $(seq 50); do
		[ "$(last "$1" "$2")" -gt "${then:-0}" ] 2>/dev/null && return 0
		sleep 0.2
	done
	return 1
}

# It counts on without a gap, beyond $3: its log goes on, too, where it was.
goes_on()
{
	on "$1" godwit logs "$2" | awk -v least="$3" 'NR > 1 && $1 != last + 1 { gap = 1 } { last = $1 }
		END { exit gap || last <= least }'
}

on h1 godwit run -d --name count -- "$python" -c "$counter" >/dev/null
counts_on h1 count
check "a job counts" [ $? = 0 ]
before=$(last h1 count)
on h1 godwit checkpoint count "$work/image" >/dev/null
check "it is written down" [ $? = 0 ]
check "for its owner only" [ "$(stat -c %a "$work/image")" = 700 ]
counts_on h1 count
check "and goes on" [ $? = 0 ]
"$GODWIT" image verify "$work/image"
check "the image is well" [ $? = 0 ]
check "and says what it is" [ "$("$GODWIT" image show --json "$work/image" | jq -r .name)" = count ]
on h1 godwit checkpoint count "$work/image" 2>/dev/null
check "no image is replaced unasked" [ $? = 1 ]
on h1 godwit checkpoint --force --compress --kill count "$work/image2" >/dev/null
check "it is written down and killed" [ $? = 0 ]
for _ in $(seq 50); do job_lives h1 count || break; sleep 0.1; done
job_lives h1 count
check "and has ended" [ $? != 0 ]
on h2 godwit restart --name again "$work/image" >/dev/null
check "the image becomes a job on another host" [ $? = 0 ]
on h1 godwit restart --host h2 --name third "$work/image2" >/dev/null
check "and another, sent from the first" [ $? = 0 ]
counts_on h1 again && counts_on h1 third
check "both count" [ $? = 0 ]
goes_on h1 again "$before"
check "from where the first was" [ $? = 0 ]
goes_on h1 third "$before"
check "and the second" [ $? = 0 ]
on h1 godwit migrate again h1 >/dev/null
check "it moves as any job does" [ $? = 0 ]
counts_on h2 again
check "and counts on" [ $? = 0 ]

on h1 godwit run -d --name writes -- "$python" -u -c "import time
f = open('$work/file', 'w', buffering=1)
while True:
    f.write('x')
    print(f.tell(), flush=True)
    time.sleep(0.02)" >/dev/null
counts_on h1 writes && on h1 godwit checkpoint --kill writes "$work/image3" >/dev/null
check "a job that writes a file is written down and killed" [ $? = 0 ]
size=$(stat -c %s "$work/file")
on h1 godwit restart --host h2 --name writes2 "$work/image3" >/dev/null
check "and restarted where the file is seen" [ $? = 0 ]
counts_on h1 writes2
check "goes on" [ $? = 0 ]
check "with that file" [ "$(stat -c %s "$work/file")" -ge "$size" ]
check "and nothing is left beside it" [ -z "$(find "$work" -name '.godwit*')" ]

mkdir "$work/small"
on h1 mount -t tmpfs -o size=1m none "$work/small"
on h1 godwit checkpoint again "$work/small/image" 2>"$work/err"
check "a full disk is an error" [ $? = 1 ]
check "that says so" grep -q "No space" "$work/err"
check "and leaves nothing" [ -z "$(on h1 ls -A "$work/small")" ]
counts_on h1 again
check "while the job goes on" [ $? = 0 ]

printf x | dd of="$work/image/2.core" bs=1 seek=8192 conv=notrunc 2>/dev/null
on h1 godwit restart --name bad "$work/image" 2>"$work/err"
check "a damaged image is refused" [ $? = 1 ]
job_lives h1 bad
check "and nothing is started" [ $? != 0 ]
as_nobody="setpriv --reuid 65534 --regid 65534 --clear-groups"
on h1 $as_nobody godwit checkpoint third "$work/theirs" 2>"$work/err"
check "nobody writes another's job down" [ $? = 1 ]
mkdir -m 777 "$work/open"
on h1 sh -c "cd / && exec $as_nobody godwit run -d --name his -- sleep 1000" >/dev/null &&
	on h1 $as_nobody godwit checkpoint his "$work/open/his" >/dev/null
check "a user writes his own job down" [ $? = 0 ]
check "and the image is his" [ "$(stat -c %u "$work/open/his/2.core")" = 65534 ]
on h1 $as_nobody godwit restart --name hers "$work/open/his" >/dev/null
check "and makes a job of it" [ $? = 0 ]
check "that is his" [ "$(job_field h1 hers .uid)" = 65534 ]
chmod 755 "$work/image2" && chmod 644 "$work/image2"/*
on h1 $as_nobody godwit restart --name root2 "$work/image2" 2>"$work/err"
check "but not of one that was root's" [ $? != 0 ]
job_lives h1 root2
check "nor is anything left of the attempt" [ $? != 0 ]

finish
