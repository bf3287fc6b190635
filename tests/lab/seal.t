#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Images that the cluster sealed: their owner gets back what the job could do, and nobody changes a byte of them.
. "$(dirname "$0")/lab.sh"

lab_begin 2

as_nobody="setpriv --reuid 65534 --regid 65534 --clear-groups"
as_daemon="setpriv --reuid 1 --regid 1 --clear-groups"
raw=0000000000002000 # CAP_NET_RAW

capabilities_of()
{
	on "$1" sh -c "sed -n 's/^CapEff:\t//p' /proc/\$(cat /sys/fs/cgroup/godwit/$2/job/cgroup.procs)/status"
}

restart_fails()
{
	local host=$1 text=$2
	shift 2
	on "$host" "$@" >"$work/err" 2>&1
	[ $? != 0 ] && grep -qF -e "$text" "$work/err"
}

# A program that makes more of its user than he is.
cp /bin/sleep "$work/raw"
chmod 755 "$work/raw"
"$python" -c "import os, struct
os.setxattr('$work/raw', 'security.capability', struct.pack('<IIIII', 0x02000001, 1 << 13, 0, 0, 0))" 2>/dev/null ||
	{ skip "file capabilities" "the file system has none"; finish; exit; }
mkdir -m 777 "$work/open"
open=$work/open
tap_log=$work/err

on h1 sh -c "cd / && exec $as_nobody godwit run -d --name raw -- $work/raw 1000" >/dev/null
is "$(capabilities_of h1 raw)" $raw "a user's job with a capability"
restart_fails h1 "privileges that you have not" $as_nobody godwit checkpoint --seal raw "$open/his"
check "which he may not write down, as he may not trace it" [ $? = 0 ]
on h1 godwit checkpoint raw "$open/plain" >/dev/null && on h1 godwit checkpoint --seal raw "$open/sealed" >/dev/null
check "but root may, once without a seal" [ $? = 0 ]
on h1 godwit checkpoint --seal --compress --kill raw "$open/packed" >/dev/null
check "and once compressed, and is gone" [ $? = 0 ]
check "the seal is its owner's file, like the rest" [ "$(stat -c %u:%a "$open/sealed/seal")" = 0:600 ]
chown -R 65534:65534 "$open"/*
restart_fails h1 "the job has capabilities" $as_nobody godwit restart --name r1 "$open/plain"
check "without a seal he gets no more than he has" [ $? = 0 ]
on h1 $as_nobody godwit restart --name r2 "$open/sealed" >/dev/null 2>"$work/err"
check "with one the job is restarted" [ $? = 0 ]
is "$(capabilities_of h1 r2)" $raw "with what it had"
is "$(job_field h1 r2 .uid)" 65534 "as his"
on h2 $as_nobody godwit restart --name r3 "$open/packed" >/dev/null 2>"$work/err"
check "also on a host that did not seal it, where its seal was" [ $? = 0 ]
is "$(capabilities_of h2 r3)" $raw "with what it had"
on h1 godwit restart --name r4 "$open/sealed" >/dev/null 2>"$work/err"
check "also by root" [ $? = 0 ]
chmod 755 "$open/sealed" && chmod 644 "$open/sealed"/*
restart_fails h1 "the job has capabilities" $as_daemon godwit restart --name r5 "$open/sealed"
check "but not by another user, who may read it" [ $? = 0 ]

is "$(on h1 godwit image show --json "$open/sealed" | jq -r '.seal, .uid, .processes[0].threads')" "cluster
65534
1" "an image says whose it is, and that it is sealed"
is "$("$GODWIT" image show --json "$open/sealed" | jq -r .seal)" unchecked "but not by whom, to whoever has no key"
on h1 godwit image verify "$open/sealed" 2>"$work/err"
check "and it is well" [ $? = 0 ]

# --- whatever is changed ---

cp -a "$open/sealed" "$work/clean"
core=$(basename "$work"/clean/*.core)
size=$(stat -c %s "$work/clean/$core")
notes=$(readelf -lW "$work/clean/$core" 2>/dev/null | awk '$1 == "NOTE" { print $2 }')
notes=$((notes))

# flip FILE OFFSET
flip()
{
	"$python" -c "import sys
with open('$1', 'r+b') as f:
    f.seek($2); b = f.read(1)[0]; f.seek($2); f.write(bytes([b ^ 1]))"
}

for at in 100 5000 $((notes - 20)) $((notes + 30)) $((size - 1)); do
	flip "$open/sealed/$core" $at
	on h1 $as_nobody godwit restart --name r6 "$open/sealed" >"$work/err" 2>&1
	[ $? != 0 ] && grep -qE "seal is broken|not what was written|not a message|another architecture|not a core" "$work/err"
	check "byte $at of a core is another: refused" [ $? = 0 ]
	diag "$(sed "s|$work||g" "$work/err" | head -n 1)"
	[ $at != 5000 ] || { on h1 godwit image verify "$open/sealed" 2>"$work/err"
		check "verify says where" grep -q "1 page, the first at 0x" "$work/err"; }
	cp "$work/clean/$core" "$open/sealed/$core"
done
for at in 17 60 115; do
	flip "$open/sealed/seal" $at
	on h1 $as_nobody godwit restart --name r6 "$open/sealed" >"$work/err" 2>&1
	[ $? != 0 ] && grep -qE "seal is broken|sealed by another cluster" "$work/err"
	check "byte $at of the seal is another: refused" [ $? = 0 ]
	cp "$work/clean/seal" "$open/sealed/seal"
done
cp "$work/clean/seal" "$open/plain/seal" && chown 65534 "$open/plain/seal"
restart_fails h1 "its seal is broken" $as_nobody godwit restart --name r6 "$open/plain"
check "another image's seal is none" [ $? = 0 ]

# --- by whom ---

on h2 sh -c 'cp $GODWIT_ETC/cluster.key /run/kept.key; od -An -tx1 -N32 /dev/urandom | tr -d " \n" >$GODWIT_ETC/cluster.key'
restart_fails h2 "sealed by another cluster" $as_nobody godwit restart --name r7 "$open/sealed"
check "another cluster's seal is refused by name" [ $? = 0 ]
on h2 sh -c 'cp /run/kept.key $GODWIT_ETC/cluster.key'
on h2 $as_nobody godwit restart --name r7 "$open/sealed" >/dev/null 2>"$work/err"
check "and taken by a host of its own" [ $? = 0 ]
on h1 sh -c 'mv $GODWIT_ETC/cluster.key /run/kept.key'
restart_fails h1 "no seal" godwit checkpoint --seal r2 "$open/none"
check "without a key there is no seal, and no image" [ $? = 0 ] && check "none at all" [ ! -e "$open/none" ]
on h1 sh -c 'mv /run/kept.key $GODWIT_ETC/cluster.key'
job_lives h1 r2
check "while the job goes on" [ $? = 0 ]

# The mover that writes and reads images has its user's ids, and he cannot get at it.
"$python" - "$BUILD/bin/mover" >"$work/err" 2>&1 <<'END'
import os, socket, subprocess, sys, time
a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
os.dup2(b.fileno(), 3, inheritable=True)
p = subprocess.Popen([sys.argv[1], "destination", "65534", "65534"], pass_fds=(3,))
while "Uid:\t65534\t65534" not in open(f"/proc/{p.pid}/status").read():
    time.sleep(0.01)
peek = f"import os\nos.setgid(65534); os.setuid(65534); open('/proc/{p.pid}/mem', 'rb')"
while True: # between the change of ids and what comes after it nothing has been said to it
    r = subprocess.run([sys.executable, "-c", peek], capture_output=True, text=True)
    break
p.kill()
sys.exit("Permission denied" not in r.stderr)
END
check "the mover that reads images is out of its user's reach" [ $? = 0 ]

finish
