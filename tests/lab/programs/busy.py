# SPDX-License-Identifier: Apache-2.0
# Threads, big dictionaries, seeded randomness and the clock; prints only what every run must print.
import hashlib
import queue
import random
import sys
import threading
import time

rounds = int(sys.argv[1])
rng = random.Random(4711)
table = {}
work, results = queue.Queue(8), queue.Queue()


def worker():
    while True:
        item = work.get()
        if item is None:
            return
        index, text = item
        results.put((index, hashlib.sha256(text.encode()).hexdigest()))


threads = [threading.Thread(target=worker) for _ in range(4)]
for t in threads:
    t.start()
last = time.monotonic()
for round_ in range(rounds):
    for _ in range(4000):
        key = rng.getrandbits(48)
        table[key] = (rng.random(), str(key) * 3)
        if len(table) > 60000:
            del table[next(iter(table))]
    for i in range(8):
        work.put((i, "%d %d %s" % (round_, i, rng.random())))
    digests = sorted(results.get() for _ in range(8))
    now = time.monotonic()
    if now < last:
        print("the clock went back")
    if now - last > 5:
        print("a round took %f s" % (now - last))
    last = now
    time.sleep(0.001)
    total = hashlib.sha256(repr(sorted(table.items())[:50]).encode()).hexdigest()
    print(round_, len(table), digests[round_ % 8][1][:16], total[:16], flush=True)
for t in threads:
    work.put(None)
for t in threads:
    t.join()
print("threads ended:", sum(not t.is_alive() for t in threads))
