"""Prints the code that pyotp makes of each otpauth URI on standard input, for now or for
the URI's counter."""

import sys

import pyotp

for line in sys.stdin:
    token = pyotp.parse_uri(line.strip())
    print(token.at(0) if isinstance(token, pyotp.HOTP) else token.now())
