#!/usr/bin/python3
"""The dialogue of GDM for `make callers`, as the screen shield of GNOME has it: by D-Bus, from a
session of the user. Without a screen: GDM's greeter is another client of the same interface."""

import getpass
import sys

import gi
from gi.repository import Gio, GLib

SERVICE = "gdm-password"
PATH = "/org/gnome/DisplayManager/Session"
VERIFIER = "org.gnome.DisplayManager.UserVerifier"

user = sys.argv[1]
manager = (
    "org.gnome.DisplayManager",
    "/org/gnome/DisplayManager/Manager",
    "org.gnome.DisplayManager.Manager",
)
bus = Gio.bus_get_sync(Gio.BusType.SYSTEM)
arguments = GLib.Variant("(s)", (user,))
reply = bus.call_sync(*manager, "OpenReauthenticationChannel", arguments, None, 0, 10000, None)
flags = Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT
channel = Gio.DBusConnection.new_for_address_sync(reply.unpack()[0], flags, None, None)
loop = GLib.MainLoop()


def call(method, *words):
    arguments = GLib.Variant(f"({'s' * len(words)})", words)
    channel.call(None, PATH, VERIFIER, method, arguments, None, 0, -1, None, None)


def heard(channel, sender, path, interface, name, arguments):
    words = arguments.unpack()
    if name in ("InfoQuery", "SecretInfoQuery"):
        call("AnswerQuery", SERVICE, getpass.getpass(words[1]))
    elif name in ("Info", "Problem"):
        print(words[1], flush=True)
    elif name == "VerificationComplete":
        print(f"Welcome, {user}.", flush=True)
        loop.quit()
    elif name in ("ConversationStopped", "ServiceUnavailable"):
        print("Login failed.", flush=True)
        loop.quit()


channel.signal_subscribe(None, VERIFIER, None, PATH, None, 0, heard)
call("BeginVerificationForUser", SERVICE, user)
loop.run()
