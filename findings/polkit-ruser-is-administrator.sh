#!/usr/bin/env bash
# The helper of polkit's agents, which checks the password of an administrator for the user
# who asks, gives PAM that administrator as PAM_RUSER too. sudo and su put the user who asks
# there. Of whoever asks PAM learns nothing but the helper's real uid.
. "$(dirname "$0")/common.sh"
[ "$(id -u)" = 0 ] || { echo "this one needs root" >&2; exit 2; }
debs polkitd=122-3 libpolkit-agent-1-0=122-3 libpolkit-gobject-1-0=122-3
helper=$work/root/usr/lib/polkit-1/polkit-agent-helper-1

mkdir pam.d
cat > note.sh <<SH
#!/bin/sh
echo "\$PAM_USER \$PAM_RUSER" > $work/seen
SH
chmod 755 note.sh
# pam_exec runs it by the real uid.
touch seen
chmod 666 seen
cat > pam.d/polkit-1 <<PAM
auth    optional pam_exec.so quiet $work/note.sh
auth    required pam_permit.so
account required pam_permit.so
PAM
# It reads who is to be asked for, and a cookie. nobody asks for root. There is no polkit to
# report to, so it ends with an error after PAM has finished.
status=0
unshare --mount --propagation private sh -euc '
mount --bind "$1/pam.d" /etc/pam.d
echo cookie | setpriv --ruid 65534 "$2" root' in "$work" "$helper" >out 2>&1 || status=$?
same "PAM_USER and PAM_RUSER when nobody asks for root" "root root" "$(cat seen)"
