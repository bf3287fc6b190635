# SPDX-License-Identifier: Apache-2.0
"""typist.py TRANSCRIPT python|bc COMMAND...

Runs the command on a terminal of its own, waits for each prompt, types a line key by key, and writes down all that
appears. What appears does not depend on time, so that two transcripts can be compared byte for byte.
"""
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

KEY_PAUSE = 0.012
PATIENCE = 60


def python_lines():
    yield ">>> ", "import os, time\n"
    for i in range(30):
        yield ">>> ", "x = %d ** 21 %% 1000003; x * %d\n" % (i + 2, i + 1)
        if i % 10 == 5:
            yield ">>> ", "for k in range(3): print('loop', k)\n"
            yield "... ", "\n"
    yield ">>> ", "tuple(os.get_terminal_size())\n"
    yield ">>> ", "time.sleep(1000)\n"
    yield None, "\x03"  # the interrupt key ends the sleep
    yield ">>> ", "'aeb\x7fc'  # with the erase key\n"
    yield ">>> ", "os.isatty(0), os.getpgrp() == os.tcgetpgrp(0), os.ctermid()\n"
    yield ">>> ", "raise SystemExit(7)\n"


def bc_lines():
    prompt = "\x1b[?2004h"  # bc has none, but its line editor says when it begins to read
    yield prompt, "scale = 20\n"
    for i in range(40):
        yield prompt, "sqrt(%d) + %d ^ 9\n" % (i + 2, i)
    yield prompt, "a = 5; a * a\n"
    yield prompt, "quit\n"


class Terminal:
    def __init__(self, command):
        self.seen = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            # the size must be there before anybody asks for it
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 97, 0, 0))
            os.execvp(command[0], command)

    def read(self, seconds):
        """Reads what is there, for so long at most; False at the end."""
        if select.select([self.fd], [], [], seconds)[0]:
            try:
                data = os.read(self.fd, 65536)
            except OSError:  # EIO: nobody has the other side any more
                data = b""
            if not data:
                return False
            self.seen += data
        return True

    def wait_for(self, text, since):
        end = time.monotonic() + PATIENCE
        while text.encode() not in self.seen[since:]:
            if time.monotonic() > end or not self.read(0.2):
                sys.exit("'%s' never came; the last was %r" % (text, self.seen[-200:]))

    def type(self, text):
        for key in text:
            os.write(self.fd, key.encode())
            time.sleep(KEY_PAUSE)
            self.read(0)


def main():
    transcript, kind, command = sys.argv[1], sys.argv[2], sys.argv[3:]
    signal.alarm(300)
    t = Terminal(command)
    since = 0
    for prompt, text in python_lines() if kind == "python" else bc_lines():
        if prompt is None:
            time.sleep(1.0)
        else:
            t.wait_for(prompt, since)
        since = len(t.seen)
        t.type(text)
        # the next prompt is one that comes after the whole line has been taken
        t.wait_for("\n", since)
        since += t.seen[since:].index(b"\n")
    while t.read(PATIENCE):
        pass
    status = os.waitstatus_to_exitcode(os.waitpid(t.pid, 0)[1])
    with open(transcript, "wb") as f:
        f.write(t.seen + b"[exit status %d]\n" % status)


main()
