#!/usr/bin/env bash
# OpenSSH's server calls a module's hooks in several processes. What the module notes with
# pam_set_data in pam_sm_authenticate is there in pam_sm_acct_mgmt, and is gone in
# pam_sm_setcred and pam_sm_open_session, which run elsewhere.
. "$(dirname "$0")/common.sh"
. "$here/sshd.sh"
debs libpam0g-dev=1.5.2-6+deb12u2
cat > note.c <<'C'
#include <security/pam_modules.h>
#include <stdio.h>
#include <unistd.h>

static int hook(pam_handle_t *pamh, const char *name, int result) {
    const void *noted = NULL;
    pam_get_data(pamh, "note", &noted);
    FILE *file = fopen(SEEN, "a");
    fprintf(file, "%s %d %s\n", name, (int)getpid(), noted ? "noted" : "nothing");
    fclose(file);
    return result;
}
#define HOOK(name) \
    int pam_sm_##name(pam_handle_t *pamh, int flags, int argc, const char **argv) { \
        (void)flags; (void)argc; (void)argv; \
        return hook(pamh, #name, PAM_SUCCESS); \
    }
int pam_sm_authenticate(pam_handle_t *pamh, int flags, int argc, const char **argv) {
    (void)flags; (void)argc; (void)argv;
    pam_set_data(pamh, "note", "a note", NULL);
    return hook(pamh, "authenticate", PAM_SUCCESS);
}
HOOK(acct_mgmt)
HOOK(setcred)
HOOK(open_session)
HOOK(close_session)
C
gcc -shared -fPIC -DSEEN="\"$work/seen\"" -I root/usr/include -o note.so note.c
touch seen
chmod 666 seen
start_sshd <<PAM
auth    required $work/note.so
account required $work/note.so
session required $work/note.so
PAM
log_in alice anything
for _ in $(seq 50); do grep -q close_session seen && break; sleep 0.1; done
first=$(sed -n 's/^authenticate \([0-9]*\) .*/\1/p' seen)
line() { sed -n "s/^$1 $first \(.*\)/the same process, \1/p; t; s/^$1 [0-9]* \(.*\)/another process, \1/p" seen | sort -u | paste -sd';'; }
same "in acct_mgmt" "the same process, noted" "$(line acct_mgmt)"
same "in setcred" "another process, nothing" "$(line setcred)"
same "in open_session" "another process, nothing" "$(line open_session)"
