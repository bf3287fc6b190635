#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A destination that is not like the source: a smaller processor, a library with one byte changed, no shared files.
. "$(dirname "$0")/lab.sh"

counter=$BUILD/tests/lab/tools/counter
lab_begin 2 --private-root

# A program of its own on either host, of the same size and time; at h2 one byte of its text is another.
mkdir_program='mkdir -p /opt/bird && cp "$1" /opt/bird/counter && touch -d 2020-01-01 /opt/bird/counter'
on h1 sh -c "$mkdir_program" sh "$counter"
on h2 sh -c "$mkdir_program"' && sed -i "s/line %d/lime %d/" /opt/bird/counter && touch -d 2020-01-01 /opt/bird/counter' sh "$counter"
is "$(on h2 /opt/bird/counter 1 0 0)" "lime 0" "the program at h2 is another"
on h1 godwit run --name bird -- /opt/bird/counter 1000000 10 >"$work/have" 2>"$work/stderr" &
run=$!
until_true 20 job_lives h1 bird
for to in h2 h1 h2; do
	on h1 timeout 60 godwit migrate bird $to >"$work/migrate" 2>&1
	tap_log=$work/migrate ok $? "the job moves to $to with the program it began with"
	before=$(wc -l <"$work/have")
	until_true 10 eval '[ "$(wc -l <"$work/have")" -gt $((before + 20)) ]'
	ok $? "and goes on there"
done
is "$(on h2 /opt/bird/counter 1 0 0)" "lime 0" "the program at h2 is what it was"
on h1 godwit kill bird
wait $run
is $? 0 "the job ends as it should"
"$counter" "$(wc -l <"$work/have")" 0 0 | cmp - "$work/have" >"$work/cmp" 2>&1
tap_log=$work/cmp ok $? "its output is intact"

# A file that the job writes exists only at h1: refused, unless it may be carried.
writer='import sys, time
f = open("/opt/bird/notes", "a+")
for i in range(1000000):
    f.write("note %d\n" % i)
    f.flush()
    time.sleep(0.01)'
on h1 godwit run -d --name notes -- $python -c "$writer" >/dev/null
until_true 20 eval 'on h1 grep -q "note 20" /opt/bird/notes 2>/dev/null'
on h1 timeout 60 godwit migrate notes h2 >"$work/migrate" 2>&1
is $? 3 "a job that writes a local file is refused"
grep -q /opt/bird/notes "$work/migrate"
tap_log=$work/migrate ok $? "in words that name the file"
on h1 timeout 60 godwit migrate --carry notes h2 >"$work/migrate" 2>&1
tap_log=$work/migrate ok $? "with --carry it moves"
count=$(on h1 sh -c "wc -l </opt/bird/notes")
until_true 10 eval '[ "$(on h2 sh -c "wc -l </opt/bird/notes" 2>/dev/null || echo 0)" -gt $((count + 20)) ]'
ok $? "and goes on writing at h2"
on h2 awk '$0 != "note " (NR - 1) { exit 1 }' /opt/bird/notes
ok $? "no note is lost"
on h2 sh -c 'echo something else >/opt/bird/existing'
on h1 sh -c 'echo mine >/opt/bird/existing'
on h1 godwit run -d --name keeper -- $python -c 'import time
f = open("/opt/bird/existing", "a")
time.sleep(1000)' >/dev/null
until_true 20 job_lives h1 keeper
sleep 0.5
on h1 timeout 60 godwit migrate --carry keeper h2 >"$work/migrate" 2>&1
is $? 3 "an existing file with other contents is not overwritten"
is "$(on h2 cat /opt/bird/existing)" "something else" "it is what it was"
on h1 godwit kill -KILL keeper
on h1 godwit kill -KILL notes

# A processor that lacks something the source's has.
lab restart h2 procd --env GODWIT_HIDE=avx2 2>"$work/lab.err"
until_true 10 on h1 timeout 5 godwit run --host h2 -- true
on h1 godwit run -d --name vector -- sleep 1000 >/dev/null
on h1 timeout 60 godwit migrate vector h2 >"$work/migrate" 2>&1
is $? 3 "a host without avx2 is refused"
grep -q -i avx2 "$work/migrate"
tap_log=$work/migrate ok $? "in words that name it"
is "$(job_host h1 vector)" h1 "the job is where it was"
on h1 godwit kill vector
finish
