"""Finds tests that are red by chance: `python -m tests.repeat 5 COMMAND` runs a command so often on a busy machine.

A loop a core runs beside it, so that everything takes at least twice as long and in another order. Prints how each
round ended; the status is 0 if all passed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

LOOP = "while True: pass"


def main() -> int:
    rounds, command = int(sys.argv[1]), sys.argv[2:]
    loops = [subprocess.Popen([sys.executable, "-c", LOOP]) for _ in range(os.cpu_count() or 1)]
    ended = []
    try:
        for number in range(1, rounds + 1):
            start = time.monotonic()
            status = subprocess.run(command, check=False).returncode
            ended.append((number, status, time.monotonic() - start))
    finally:
        for loop in loops:
            loop.kill()
    print("round  status  minutes")
    for number, status, seconds in ended:
        print(f"{number:5}  {status:6}  {seconds / 60:7.1f}")
    return int(any(status for _, status, _ in ended))


if __name__ == "__main__":
    sys.exit(main())
