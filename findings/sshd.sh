# For findings about OpenSSH's server: sourced after common.sh, as root. A real sshd of a
# pinned package runs in a mount namespace of its own, with passwd, pam.d and /run of its
# own. Nothing of the machine's is touched, and everything ends with the script.

[ "$(id -u)" = 0 ] || { echo "this one has to run as root: sshd does" >&2; exit 2; }
if [ -z "${FINDINGS_INSIDE:-}" ]; then
    cd "$here"
    rm -rf "$work"
    trap - EXIT
    FINDINGS_INSIDE=1 exec unshare --mount bash "$here/$(basename "$0")"
fi
debs openssh-server=1:9.2p1-2+deb12u10 openssh-client=1:9.2p1-2+deb12u10 \
    libwrap0 libgssapi-krb5-2 libkrb5-3 libk5crypto3 libkrb5support0 libcom-err2 libkeyutils1 \
    libedit2 libfido2-1 libcbor0.8 libbsd0 libmd0

# start_sshd: standard input is its file in /etc/pam.d. $port is where it listens.
start_sshd() {
    mkdir pam.d
    cat > pam.d/sshd
    mount --bind pam.d /etc/pam.d
    mount -t tmpfs findings /run
    mkdir -m 755 /run/sshd
    printf '%s\n' 'root:x:0:0::/root:/bin/sh' 'sshd:x:990:65534::/run/sshd:/usr/sbin/nologin' \
        'alice:x:991:991::/:/bin/sh' > passwd
    mount --bind passwd /etc/passwd
    "$work/root/usr/bin/ssh-keygen" -q -t ed25519 -N '' -f "$work/key"
    port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
    printf '%s\n' "Port $port" 'ListenAddress 127.0.0.1' "HostKey $work/key" 'PidFile none' \
        'UsePAM yes' 'KbdInteractiveAuthentication yes' 'PasswordAuthentication no' \
        'PermitRootLogin no' > sshd_config
    "$work/root/usr/sbin/sshd" -D -e -f "$work/sshd_config" 2> sshd.log &
    cleanup+=("kill $!")
    for _ in $(seq 100); do
        grep -q listening sshd.log && return
        sleep 0.1
    done
    cat sshd.log >&2
    exit 2
}

# log_in USER ANSWER: the real ssh; each prompt gets the answer.
log_in() {
    printf '#!/bin/sh\necho "%s"\n' "$2" > answer
    chmod 755 answer
    SSH_ASKPASS="$work/answer" SSH_ASKPASS_REQUIRE=force timeout 30 "$work/root/usr/bin/ssh" \
        -F none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR \
        -o NumberOfPasswordPrompts=1 -p "$port" "$1@127.0.0.1" true </dev/null
}
