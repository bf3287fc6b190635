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
touch "$work/.godwit-probe-image-0123456789abcdef" # as a reader that was killed leaves it
on h1 godwit restart --host h2 --name writes2 "$work/image3" >/dev/null
check "and restarted where the file is seen" [ $? = 0 ]
counts_on h1 writes2
check "goes on" [ $? = 0 ]
check "with that file" [ "$(stat -c %s "$work/file")" -ge "$size" ]
check "and nothing is left beside it" [ -z "$(find "$work" -name '.godwit*')" ]

on h1 godwit checkpoint -i again "$work/image7" >/dev/null
counts_on h1 again
last=$(last h1 again)
on h1 godwit checkpoint -ij again "$work/image7" >"$work/out"
check "a second checkpoint writes what has changed" [ "$(jq '.written > 0 and .written * 4 < .bytes' "$work/out")" = true ]
"$GODWIT" image verify "$work/image7"
check "the image is well" [ $? = 0 ]
on h1 godwit restart --host h2 --name updated "$work/image7" >/dev/null && counts_on h1 updated && goes_on h1 updated "$last"
check "and goes on from there" [ $? = 0 ]
if command -v gdb >/dev/null; then
	gdb -batch -ex bt "$(readlink -f "$python")" "$work/image7/2.core" >"$work/out" 2>&1
	check "gdb shows where it stood" grep -q "^#[3-9] .*Py" "$work/out"
else
	skip "gdb shows where it stood" "no gdb"
fi
on h1 godwit kill -KILL updated
on h1 godwit checkpoint -j -p "$work/image7" again "$work/image8" >"$work/out" && "$GODWIT" image verify "$work/image8"
check "beside another image, where files cannot share blocks, all is written" [ "$(jq '.written * 2 > .bytes' "$work/out")" = true ]

mkdir "$work/xfs"
if command -v mkfs.xfs >/dev/null && truncate -s 320m "$work/xfs.disk" && mkfs.xfs -q -m reflink=1 "$work/xfs.disk" >/dev/null 2>&1 &&
	on h1 mount -o loop "$work/xfs.disk" "$work/xfs" 2>/dev/null; then
	on h1 godwit checkpoint again "$work/xfs/first" >/dev/null
	sum=$(on h1 sh -c "cat '$work/xfs/first'/* | md5sum")
	on h1 godwit checkpoint -j -p "$work/xfs/first" again "$work/xfs/second" >"$work/out" && on h1 "$GODWIT" image verify "$work/xfs/second"
	check "where they can, only what has changed" [ "$(jq '.written * 4 < .bytes' "$work/out")" = true ]
	check "and the other image stays as it was" [ "$(on h1 sh -c "cat '$work/xfs/first'/* | md5sum")" = "$sum" ]
	on h1 rm -r "$work/xfs/first"
	on h1 godwit restart --name shared "$work/xfs/second" >/dev/null && counts_on h1 shared
	check "and need not stay at all" [ $? = 0 ]
	on h1 godwit kill -KILL shared
	on h1 umount "$work/xfs"
else
	skip "where they can, only what has changed" "no XFS can be made here"
fi

mkdir "$work/small"
on h1 mount -t tmpfs -o size=1m none "$work/small"
on h1 godwit checkpoint again "$work/small/image" 2>"$work/err"
check "a full disk is an error" [ $? = 1 ]
check "that says so" grep -q "No space" "$work/err"
check "and leaves nothing" [ -z "$(on h1 ls -A "$work/small")" ]
counts_on h1 again
check "while the job goes on" [ $? = 0 ]
on h1 umount "$work/small"
# Room for one, but not for two.
on h1 mount -t tmpfs -o size=$(($(du -sk "$work/image" | cut -f 1) * 3 / 2))k none "$work/small"
on h1 godwit checkpoint again "$work/small/image" >/dev/null && on h1 godwit image verify "$work/small/image"
check "on a disk that has room for one image there is one" [ $? = 0 ]
sum=$(on h1 sh -c "cat '$work/small/image'/* | md5sum")
on h1 godwit checkpoint --force --kill again "$work/small/image" 2>/dev/null
check "but no second one" [ $? = 1 ]
check "the first stays what it was" [ "$(on h1 sh -c "cat '$work/small/image'/* | md5sum")" = "$sum" ]
counts_on h1 again
check "and the job goes on, though it was to be killed" [ $? = 0 ]
# Whichever mover dies wherever, the job goes on, and the next checkpoint is well.
for at in stun:source move:source save:destination keep:destination; do
	lab restart h1 procd -k -e GODWIT_DIE_AT=$at
	counts_on h1 again && on h1 godwit checkpoint --kill again "$work/image6" 2>"$work/err"
	check "a mover that dies at $at is an error" [ $? = 1 ]
	check "that says so" grep -q "died\|gone" "$work/err"
	counts_on h1 again
	check "and the job goes on" [ $? = 0 ]
done
lab restart h1 procd
on h1 godwit checkpoint -i again "$work/image6" >/dev/null && "$GODWIT" image verify "$work/image6"
check "the next checkpoint is well" [ $? = 0 ]
check "and nothing is left beside it" [ -z "$(find "$work" -name '.godwit*')" ]

printf x | dd of="$work/image/2.core" bs=1 seek=8192 conv=notrunc 2>/dev/null
on h1 godwit restart --name bad "$work/image" 2>"$work/err"
check "a damaged image is refused" [ $? = 1 ]
job_lives h1 bad
check "and nothing is started" [ $? != 0 ]
as_nobody="setpriv --reuid 65534 --regid 65534 --clear-groups"
on h1 $as_nobody godwit checkpoint third "$work/theirs" 2>"$work/err"
check "nobody writes another's job down" [ $? = 1 ]
mkdir -m 777 "$work/open"
on h1 sh -c "cd / && exec $as_nobody godwit run -d --name his -- sleep 1000" >"$work/err" 2>&1 &&
	on h1 $as_nobody godwit checkpoint his "$work/open/his" >"$work/err" 2>&1
tap_log=$work/err check "a user writes his own job down" [ $? = 0 ]
check "and the image is his" [ "$(stat -c %u "$work/open/his/2.core")" = 65534 ]
on h1 $as_nobody godwit restart --name hers "$work/open/his" >"$work/err" 2>&1
tap_log=$work/err check "and makes a job of it" [ $? = 0 ]
check "that is his" [ "$(job_field h1 hers .uid)" = 65534 ]
chmod 755 "$work/image2" && chmod 644 "$work/image2"/*
on h1 $as_nobody godwit restart --name root2 "$work/image2" 2>"$work/err"
check "but not of one that was root's" [ $? != 0 ]
job_lives h1 root2
check "nor is anything left of the attempt" [ $? != 0 ]

# Input that it has not read, half a line included, and what its terminal is set to. Waits for input before it says so,
# and for a file before it reads.
typed='import fcntl, os, struct, sys, termios, time
if sys.argv[3] == "quiet":
    t = termios.tcgetattr(0)
    t[3] &= ~termios.ECHO
    t[6][termios.VERASE] = b"%"
    termios.tcsetattr(0, termios.TCSANOW, t)
print("ready", flush=True)
while struct.unpack("i", fcntl.ioctl(0, termios.FIONREAD, bytes(4)))[0] < int(sys.argv[1]):
    time.sleep(0.02)
print("ahead", flush=True)
while not os.path.exists(sys.argv[2]):
    time.sleep(0.02)
if sys.argv[3] == "quiet":
    t = termios.tcgetattr(0)
    print("terminal", not t[3] & termios.ECHO, t[6][termios.VERASE], os.get_terminal_size(0), flush=True)
for line in sys.stdin:
    print("got", line.strip(), flush=True)'

# logs_say HOST JOB PATTERN
logs_say()
{
	for _ in $(seq 50); do
		on "$1" godwit logs "$2" 2>/dev/null | tr -d '\r' | grep -qx -e "$3" && return 0
		sleep 0.2
	done
	on "$1" godwit logs "$2" >&2
	return 1
}

mkfifo "$work/lines"
on h1 godwit run --name typed -- "$python" -c "$typed" 11 "$work/go" pipe >/dev/null 2>&1 <"$work/lines" &
exec 8>"$work/lines"
printf 'one\ntwo\nthr' >&8
logs_say h1 typed ahead && on h1 godwit checkpoint typed "$work/image4" >/dev/null && on h1 godwit checkpoint -ik typed "$work/image4" >/dev/null
check "a job that has unread input is written down and killed" [ $? = 0 ]
exec 8>&-
on h2 godwit restart --name typed2 "$work/image4" >/dev/null
check "restarted elsewhere" [ $? = 0 ]
touch "$work/go"
logs_say h1 typed2 "got two"
check "it reads what was typed for the one before it" [ $? = 0 ]
check "all of it" [ "$(on h1 godwit logs typed2 | tr '\n' ,)" = "ready,ahead,got one,got two," ]
echo ee | on h1 timeout 20 godwit attach typed2 >"$work/out"
check "and the rest of a line that was half there" grep -q "got three" "$work/out"
rm "$work/go"

mkfifo "$work/keys"
script -qec "stty rows 33 cols 99; exec '$GODWIT' lab --prefix $LAB exec h1 -- godwit run --name tty -- '$python' -c '$typed' 8 '$work/go' quiet" \
	/dev/null <"$work/keys" >"$work/out" 2>&1 &
exec 7>"$work/keys"
for _ in $(seq 50); do grep -q ready "$work/out" && break; sleep 0.1; done
printf 'one\ntwo\nth' >&7
logs_say h1 tty ahead && on h1 godwit checkpoint tty "$work/image5" >/dev/null && on h1 godwit checkpoint -ik tty "$work/image5" >/dev/null
check "a job with a terminal is written down and killed" [ $? = 0 ]
exec 7>&-
on h2 godwit restart --name tty2 "$work/image5" >/dev/null
check "restarted elsewhere" [ $? = 0 ]
touch "$work/go"
logs_say h1 tty2 "terminal True b'%' os.terminal_size(columns=99, lines=33)"
check "its terminal is what it was" [ $? = 0 ]
logs_say h1 tty2 "got two"
check "with the lines typed ahead" [ $? = 0 ]

finish
