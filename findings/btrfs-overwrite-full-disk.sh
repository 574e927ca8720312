#!/usr/bin/env bash
# btrfs that is full: bytes that a file has had for long cannot be overwritten, since btrfs
# writes the new ones elsewhere first. In a folder with the attribute NOCOW (chattr +C) they
# can. On ext4 and xfs an overwrite needs no space.
. "$(dirname "$0")/common.sh"
[ "$(id -u)" = 0 ] || { echo "this one has to run as root: it mounts" >&2; exit 2; }
debs btrfs-progs=6.2-1+deb12u2 liblzo2-2 libzstd1 libudev1 libblkid1 libuuid1
truncate -s 128M image
"$work/root/sbin/mkfs.btrfs" -q image >mkfs.log 2>&1
mkdir disk
mount -o loop image disk
cleanup+=("umount $work/disk")
mkdir disk/usual disk/nocow
chattr +C disk/nocow
cat > find.py <<'PY'
import os, sys

def attempts(folder):
    """Of 50 overwrites in place, made durable one by one: how many succeed."""
    done = 0
    file = os.open(f"disk/{folder}/state", os.O_RDWR)
    for number in range(50):
        try:
            os.pwrite(file, bytes([number]) * 4096, 0)
            os.fdatasync(file)
            done += 1
        except OSError:
            pass
    os.close(file)
    return done

def fill(size):
    """Writes until nothing more fits, in pieces of so many bytes."""
    number = 0
    while True:
        try:
            file = os.open(f"disk/fill-{size}-{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            while True:
                os.write(file, os.urandom(size))
        except OSError:
            number += 1
            if number == 3:
                os.sync()
                return

for folder in ("usual", "nocow"):
    with open(f"disk/{folder}/state", "wb") as file:
        file.write(bytes(8192))
        file.flush()
        os.fsync(file.fileno())
for size in (1 << 20, 1 << 16, 4096, 512):
    fill(size)
print(*[f"{folder} {attempts(folder)}" for folder in ("usual", "nocow")])
PY
same "of 50 overwrites on a full disk" "usual 0 nocow 50" "$(python3 find.py)"
