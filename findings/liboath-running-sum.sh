#!/usr/bin/env bash
# liboath's users file, field 5 of a time token: the sum of the offsets of all codes that
# were accepted, and not how far the token's clock is ahead now. Codes of one token, one,
# two and three steps ahead, are accepted one after the other by the library's own function.
. "$(dirname "$0")/common.sh"
debs liboath0=2.6.7-3.1+deb12u1

cat > find.py <<'PY'
import ctypes, hashlib, hmac, struct, sys, time

oath = ctypes.CDLL("liboath.so.0")
oath.oath_check_version.restype = ctypes.c_char_p
oath.oath_authenticate_usersfile.argtypes = [ctypes.c_char_p] * 3 + [
    ctypes.c_size_t, ctypes.c_char_p, ctypes.c_void_p]
key, period = b"12345678901234567890", 60

def code(step):
    digest = hmac.new(key, struct.pack(">Q", step), hashlib.sha1).digest()
    at = digest[-1] & 15
    return b"%06d" % ((struct.unpack(">I", digest[at:at + 4])[0] & 0x7FFFFFFF) % 10**6)

def login(ahead):
    """Logs in with the code so many steps ahead; returns field 5 as it is then."""
    while period - time.time() % period < 2:
        time.sleep(0.1)
    typed = code(int(time.time()) // period + ahead)
    last = ctypes.create_string_buffer(32)
    result = oath.oath_authenticate_usersfile(b"users.oath", b"alice", typed, 10, None, last)
    assert result == 0, (ahead, result)
    return open("users.oath").read().split()[4]

oath.oath_init()
with open("users.oath", "w") as file:
    file.write(f"HOTP/T{period}/6 alice - {key.hex()}\n")
print(oath.oath_check_version(None).decode(), *[login(ahead) for ahead in (1, 2, 3)])
PY
chmod 600 find.py
seen=$(python3 find.py)
same "version, then field 5 after codes 1, 2 and 3 steps ahead" "2.6.7 1 3 6" "$seen"
