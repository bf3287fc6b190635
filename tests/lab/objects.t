#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Directories, files and the time of day, kept by servers that are jobs, and that move while they are used.
# OBJECTS_FILES: how many files bullet holds; OBJECTS_WORK: how many each of eight clients makes.
. "$(dirname "$0")/lab.sh"

objects=$BUILD/tests/lab/tools/objects
files=${OBJECTS_FILES:-200}
each=${OBJECTS_WORK:-80}
hosts=(h1 h2 h3)
lab_begin 3
mkdir "$work/disk"

# start NAME HOST COMMAND...: a server as a job; its capability is in $work/NAME
start()
{
	local name=$1 host=$2
	shift 2
	on h1 godwit run --name "$name" --host "$host" -- "$@" >"$work/$name" 2>"$work/$name.err" &
	until_true 20 grep -q gwcap "$work/$name"
}

start soap h1 "$BUILD/bin/soap" "$work/disk/soap" && start bullet h2 "$BUILD/bin/bullet" "$work/disk/bullet" &&
	start tod h3 "$BUILD/bin/tod"
tap_log=$work/soap.err ok $? "three servers, as jobs"
export GODWIT_ROOT=$(cat "$work/soap")
godwit() { on h3 timeout 60 godwit "$@"; }
godwit dir put bullet @"$work/bullet" && godwit dir put tod @"$work/tod" && godwit dir mkdir a && godwit dir mkdir a/b
ok $? "names for them, and directories"
is "$(godwit dir ls --json | jq -r '.[].name' | tr '\n' ' ')" "a bullet tod " "are listed"
is "$(godwit dir get bullet)" "$(cat "$work/bullet")" "and lead to what they are for"
godwit dir rm a 2>/dev/null
is $? 1 "a directory that is not empty stays"

head -c 5000000 /dev/urandom >"$work/in"
godwit file put "$work/in" a/b/noise && godwit file get a/./b/../b/noise "$work/out" && cmp "$work/in" "$work/out"
ok $? "a file of 5 MB, there and back"
godwit file get a/nothing "$work/none" 2>/dev/null
is "$?:$(ls "$work/none" 2>/dev/null)" 1: "what is not there is not made"
godwit dir rm a/b/noise && godwit dir rm a/b && godwit dir rm a
ok $? "names and directories go"

on h2 "$objects" hidden "$GODWIT_ROOT" >"$work/hidden"
tap_log=$work/hidden ok $? "rows that nobody may use are passed over, once"
on h1 "$objects" fill "$GODWIT_ROOT" "$files" >"$work/fill"
tap_log=$work/fill ok $? "bullet holds $files files"
on h3 timeout 600 "$objects" work "$GODWIT_ROOT" 8 "$each" >"$work/load" 2>&1 &
load=$!
moves=0 i=0
while kill -0 $load 2>/dev/null; do
	i=$((i + 1))
	godwit migrate bullet "${hosts[$((i % 3))]}" >"$work/migrate" 2>&1 && moves=$((moves + 1))
	godwit migrate soap "${hosts[$(((i + 1) % 3))]}" >"$work/migrate" 2>&1 && moves=$((moves + 1))
done
wait $load
tap_log=$work/load ok $? "eight clients create, name, read and destroy while both move"
[ $moves -ge 3 ]
ok $? "$moves moves; a client waited $(jq .worst_us "$work/load") us at most"

# Capabilities outlive their servers, and so does what is on the disk.
for job in soap bullet; do
	godwit kill $job
	godwit wait $job
done
start soap h2 "$BUILD/bin/soap" "$work/disk/soap" && start bullet h1 "$BUILD/bin/bullet" "$work/disk/bullet"
is "$(cat "$work/soap")" "$GODWIT_ROOT" "a server that is started anew has the same capability"
is "$(godwit dir ls --json fill | jq length)" $(((files + 99) / 100)) "names are still there"
is "$(godwit file get fill/00000 -)" "the contents of file 0" "and files"

start other h3 "$BUILD/bin/bullet" "$work/disk/other" && godwit dir put other @"$work/other"
on h2 timeout 60 "$objects" std "$GODWIT_ROOT" >"$work/std"
tap_log=$work/std ok $? "servers copy, age and say how they are"
finish
