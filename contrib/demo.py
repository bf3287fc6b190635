# SPDX-License-Identifier: Apache-2.0
# Computes and prints for some seconds: digits of pi and a chain of hashes over everything it remembers. What it prints
# depends on every earlier step, so that one lost byte of memory or output would show.
import hashlib

LINES = 100


def pi_digits():
    q, r, t, k, n, l = 1, 0, 1, 1, 3, 3
    while True:
        if 4 * q + r - t < n * t:
            yield n
            q, r, n = 10 * q, 10 * (r - n * t), 10 * (3 * q + r) // t - 10 * n
        else:
            q, r, t, k, n, l = q * k, (2 * q + r) * l, t * l, k + 1, (q * (7 * k + 2) + r * l) // (t * l), l + 2


remembered = {}
digits = pi_digits()
chain = hashlib.sha256(b"godwit")
for line in range(LINES):
    ten = "".join(str(next(digits)) for _ in range(10))
    for step in range(600000):
        chain.update(chain.digest())
        if step % 120 == 0:
            remembered[chain.digest()] = (line, step)
    print(f"{line:3} {ten} {chain.hexdigest()[:16]} {len(remembered):8} remembered", flush=True)
print("sum", sum(step for _, step in remembered.values()), flush=True)
