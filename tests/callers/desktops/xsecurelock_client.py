#!/usr/bin/python3
"""xsecurelock's window for `make callers`: what its helper that calls PAM asks and says."""

import getpass
import glob
import subprocess

helper = glob.glob("/usr/lib*/xsecurelock/authproto_pam")[0]
pipe = subprocess.PIPE
process = subprocess.Popen([helper], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
while header := process.stdout.readline():
    if not header.strip():
        continue
    kind, length = header.decode().split()
    words = process.stdout.read(int(length)).decode()
    if kind in "PU":
        answer = getpass.getpass(words).encode()
        packet = b"%s %d\n%s\n" % (kind.lower().encode(), len(answer), answer)
        process.stdin.write(packet)
        process.stdin.flush()
    else:
        print(words, flush=True)
print("Welcome, user." if process.wait() == 0 else "Login failed.")
