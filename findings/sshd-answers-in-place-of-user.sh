#!/usr/bin/env bash
# OpenSSH's server lets PAM go on for a user whom it has refused already (here root, by
# PermitRootLogin no). In place of what the user types, modules get the beginning of a text
# of sshd's own, as long as what was typed. A module that counts wrong answers counts those.
. "$(dirname "$0")/common.sh"
. "$here/sshd.sh"
cat > show.sh <<SH
#!/bin/sh
printf '%s\\n' "\$PAM_USER got \$(od -An -c | tr -s ' ' | sed 's/^ //')" >> $work/seen
SH
chmod 755 show.sh
start_sshd <<PAM
auth    required pam_exec.so quiet expose_authtok $work/show.sh
auth    required pam_permit.so
account required pam_permit.so
session required pam_permit.so
PAM
log_in alice 123456
log_in root 123456 2>/dev/null && result=admitted || result=refused
same "an ordinary user's answer" "alice got 1 2 3 4 5 6" "$(sed -n 1p seen)"
same "that of root, who types the same" 'root got \b \n \r 177 I N' "$(sed -n 2p seen)"
same "root is" refused "$result"
