#!/usr/bin/python3
"""LightDM's greeter for `make callers`: asks and says what LightDM asks and says."""

import gi

gi.require_version("LightDM", "1")
from gi.repository import GLib, LightDM
from greeter import ask, meet, say


def begin():
    meet()
    greeter.authenticate(ask("login: "))


def complete(greeter):
    if greeter.get_is_authenticated():
        say(f"Welcome, {greeter.get_authentication_user()}.\n")
        greeter.start_session_sync("welcome")
    else:
        say("Login failed.\n")
        begin()


greeter = LightDM.Greeter()
greeter.connect("show-prompt", lambda greeter, text, kind: greeter.respond(ask(text)))
greeter.connect("show-message", lambda greeter, text, kind: say(text + "\n"))
greeter.connect("authentication-complete", complete)
greeter.connect_to_daemon_sync()
begin()
GLib.MainLoop().run()
