#!/usr/bin/python3
"""Who sits before a greeter of `make callers`, on a terminal: for one dialogue."""

import os
import select
import socket
import subprocess
import time

subprocess.run(["stty", "-echo"], check=True)
greeter = socket.socket(socket.AF_UNIX)
while greeter.connect_ex("/run/greeter/socket"):
    time.sleep(0.1)
while True:
    ready, _, _ = select.select([0, greeter], [], [])
    if 0 in ready:
        greeter.sendall(os.read(0, 4096))
    if greeter in ready:
        said = greeter.recv(4096)
        if not said:
            break
        os.write(1, said)
