"""What the greeters of `make callers` have in common: they say and ask at a socket, to which
one person comes for one login. While it is there, a greeter waits for somebody."""

import os
import socket

PLACE = "/run/greeter/socket"
person = None


def meet():
    """Waits for the next person."""
    global person
    if os.path.exists(PLACE):
        os.unlink(PLACE)
    with socket.socket(socket.AF_UNIX) as place:
        place.bind(PLACE)
        place.listen()
        accepted, _ = place.accept()
        os.unlink(PLACE)
    person = accepted.makefile("rw")


def say(text):
    print(text, end="", file=person, flush=True)


def ask(prompt):
    say(prompt)
    answer = person.readline()
    if not answer:
        # Whoever was asked has gone: another greeter is for the next.
        os._exit(1)
    return answer.rstrip("\n")
