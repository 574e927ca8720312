"""Whoever talks to onetimed without the module: what a user's own process can say."""

import ctypes
import json
import os
import resource
import select
import socket
import sys
import threading
import time

LOGIN = "org.pam-onetime.Login1."


class Peer:
    """A connection, which is one login."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        # With a limit of time, connect(2) would not wait for room in a queue that is full.
        self.socket.connect("/run/onetime/socket")
        self.socket.settimeout(25)
        self.rest = b""

    def send(self, message):
        """Whether it was taken."""
        try:
            self.socket.sendall(message)
            return True
        except OSError:
            return False

    def hear(self):
        """The next message; None: the connection has ended."""
        while b"\0" not in self.rest:
            try:
                more = self.socket.recv(65536)
            except ConnectionError:
                more = b""
            if not more:
                return None
            self.rest += more
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def call(self, method, **parameters):
        self.send(json.dumps({"method": method, "parameters": parameters}).encode() + b"\0")
        return self.hear()

    def begin(self, user, service="locker", **more):
        return self.call(LOGIN + "Begin", user=user, service=service, **more)

    def answer(self, answer):
        return self.call(LOGIN + "Continue", answer=answer)

    def is_open(self):
        """Whether it waits for us: nothing has come, not even its end."""
        return not select.select([self.socket], [], [], 0)[0]


def word(heard):
    """What was heard, in a word."""
    if heard is None:
        return "ended"
    if "error" in heard:
        return heard["error"].rsplit(".", 1)[-1]
    parameters = heard["parameters"]
    if parameters.get("end"):
        return parameters["end"]["conclusion"]
    return "asks" if parameters.get("question") else "says"


def log_in(user, password, code="", service="locker", **claims):
    """All that was heard in a login, however often it has to be tried."""
    while True:
        peer = Peer()
        heard = [peer.begin(user, service, password=password, **claims)]
        while word(heard[-1]) == "asks":
            heard.append(peer.answer(code))
        if word(heard[-1]) != "TooManyLogins":
            return heard
        time.sleep(0.02)


def log_in_word(*arguments, **claims):
    return word(log_in(*arguments, **claims)[-1])
