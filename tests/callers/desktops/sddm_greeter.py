#!/usr/bin/python3
"""SDDM's greeter for `make callers`: it has one field for a password, and no other question."""

import socket
import struct
import sys

from greeter import ask, meet, say


def text(words):
    return struct.pack(">I", 2 * len(words)) + words.encode("utf-16-be")


# src/common/Messages.h of SDDM; numbers and texts as QDataStream has them.
CONNECT, LOGIN = range(2)
HOST_NAME, CAPABILITIES, SUCCEEDED, FAILED, INFORMATION = range(5)
X11 = 1

daemon = socket.socket(socket.AF_UNIX)
daemon.connect(sys.argv[sys.argv.index("--socket") + 1])
stream = daemon.makefile("rb")


def number():
    return struct.unpack(">I", stream.read(4))[0]


# As the real one does: a daemon reads one message at a time, and loses what came with it.
daemon.sendall(struct.pack(">I", CONNECT))
while (kind := number()) != HOST_NAME:
    number()
stream.read(number())

meet()
user = ask("login: ")
password = ask("answer: ")
session = struct.pack(">I", X11) + text("/usr/share/xsessions/welcome.desktop")
daemon.sendall(struct.pack(">I", LOGIN) + text(user) + text(password) + session)
while True:
    kind = number()
    if kind == INFORMATION:
        say(stream.read(number()).decode("utf-16-be") + "\n")
    elif kind == SUCCEEDED:
        say(f"Welcome, {user}.\n")
    elif kind == FAILED:
        say("Login failed.\n")
