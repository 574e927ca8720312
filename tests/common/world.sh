# Makes a test's world inside a new mount namespace, then keeps it for as long as
# standard input is open. $1: an empty directory for all that is the world's own.
# $2: where libpam looks for modules. $3: onetimectl. Run by world.rs as `sh -euc`.

umask 022
modules=$2
cd "$1"
mkdir etc etc/pam.d etc/ssh etc/sudoers.d modules sbin dev tmp root home var var/lib var/log
chmod 1777 tmp
chmod 700 root
install -d -m 700 -o 2001 -g 2001 home/alice
install -d -m 700 -o 2002 -g 2002 home/bob
install -d -m 700 -o 2003 -g 2003 home/carol
touch var/log/lastlog var/log/wtmp var/log/btmp sbin/onetimectl

# Bound on a file of ours, the tool can be reached by all, wherever it was built.
mount --bind "$3" sbin/onetimectl
# Our directory may lie below one that will be covered: as /mnt it stays in sight.
mount --rbind "$1" /mnt
cd /mnt

# -- what the host's programs need of the host --
cp -a "$modules/." modules/
set --
for name in bash.bashrc debian_version default environment host.conf hostname hosts inputrc \
    ld.so.cache ld.so.conf ld.so.conf.d localtime login.defs machine-id mtab \
    networks os-release profile profile.d protocols resolv.conf security services shells; do
    if [ -e "/etc/$name" ]; then set -- "$@" "/etc/$name"; fi
done
cp -a "$@" etc/
# Hundreds of links, which nobody here changes.
mkdir etc/alternatives
mount --bind -o ro /etc/alternatives etc/alternatives
mount -t tmpfs -o mode=755 tmpfs dev
(cd /dev && cp -a null zero full random urandom tty ptmx fd stdin stdout stderr /mnt/dev/)
mkdir dev/pts dev/shm
mount --rbind /dev/pts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm

# -- who lives here --
cat >etc/passwd <<'END'
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
sshd:x:101:65534::/run/sshd:/usr/sbin/nologin
alice:x:2001:2001:Alice:/home/alice:/bin/sh
bob:x:2002:2002:Bob:/home/bob:/bin/sh
carol:x:2003:2003:Carol:/home/carol:/bin/sh
END
# The passwords of world.rs by `mkpasswd -m sha512crypt -R 1000`: few rounds, since a
# test need not make guessing slow.
cat >etc/shadow <<'END'
root:$6$rounds=1000$rootsalt$T4rnJi1pKWHwRJdx43aqIEfjdAtblj9On6FyBwvDIPs0EZgnpuh7/AnI9szfG1YRrYtCk4M4feNLYdFHxYN6Q1:20000:0:99999:7:::
daemon:*:20000:0:99999:7:::
nobody:*:20000:0:99999:7:::
sshd:!:20000::::::
alice:$6$rounds=1000$alicesalt$uTnCqKItJBuRKa5suY.0s7qIvo4bDxjUjyxX3WHh2TP0In5JVaHihf/CUAaIX0qZE7yfdmrjBuQwzTLkITa1o1:20000:0:99999:7:::
bob:$6$rounds=1000$bobsalt$g8FfVhDNGM0U214SsuUtXNgIRdW01wbsLdWPbvqx0p0x1HRoTUX3kYw6o6345iH/jUeizlI.Z.xGD8ZQ6RHdI/:20000:0:99999:7:::
carol:$6$rounds=1000$carolsalt$JQBPrC8iFEUuvDJfkzinIKUiIlUvlfMyK3W15Y7.nprPVGZ1ubcaJ9CcFH1IA.FSYox/NpzkDotX/7KD8oFLv0:20000:0:99999:7:::
END
cat >etc/group <<'END'
root:x:0:
daemon:x:1:
adm:x:4:
tty:x:5:
sudo:x:27:alice
shadow:x:42:
utmp:x:43:
users:x:100:
nogroup:x:65534:
alice:x:2001:
bob:x:2002:
carol:x:2003:
END
cat >etc/gshadow <<'END'
sudo:*::alice
alice:!::
bob:!::
carol:!::
END
chmod 640 etc/shadow etc/gshadow
chgrp 42 etc/shadow etc/gshadow

# -- how one logs in: what has no service file of its own is refused --
for kind in auth account password session; do echo "$kind required pam_deny.so"; done >etc/pam.d/other
for map in passwd group shadow gshadow; do echo "$map: files"; done >etc/nsswitch.conf
echo 'hosts: files dns' >>etc/nsswitch.conf
cat >etc/sudoers <<'END'
Defaults env_reset, lecture=never
Defaults secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
root ALL=(ALL:ALL) ALL
%sudo ALL=(ALL:ALL) ALL
END
chmod 440 etc/sudoers
cat >etc/ssh/ssh_config <<'END'
StrictHostKeyChecking no
UserKnownHostsFile /dev/null
NumberOfPasswordPrompts 1
IdentityAgent none
IdentitiesOnly yes
ConnectTimeout 20
END

# -- the world's own in place of the host's --
for dir in etc dev tmp var/lib var/log home root; do mount --rbind "$dir" "/$dir"; done
mount --rbind sbin /usr/local/sbin
mount --rbind modules "$modules"
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/sshd
mkdir -m 711 /run/sudo
mkdir -m 1777 /run/lock
touch /run/utmp
cd /
umount -R /mnt
# What is not ours cannot be changed, even by a mistake: in here only.
mount -o remount,bind,ro /
echo ready
exec cat >/dev/null
