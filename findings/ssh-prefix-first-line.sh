#!/usr/bin/env bash
# OpenSSH's client puts "(user@host) " before the first line of a prompt and before no
# other. A drawing that a server sends with its prompt loses its shape: the first row is
# shifted. The server here is paramiko's; OpenSSH's own sends texts and prompt as one.
. "$(dirname "$0")/common.sh"
debs openssh-client=1:9.2p1-2+deb12u10 libgssapi-krb5-2 libkrb5-3 libk5crypto3 libkrb5support0 \
    libcom-err2 libkeyutils1 libedit2 libfido2-1 libcbor0.8 libbsd0 libmd0
python paramiko==3.5.1

cat > find.py <<'PY'
import os, pty, re, socket, sys, threading
import paramiko

class Server(paramiko.ServerInterface):
    def get_allowed_auths(self, username):
        return "keyboard-interactive"
    def check_auth_interactive(self, username, submethods):
        query = paramiko.InteractiveQuery("", "")
        query.add_prompt("##..##\n##..##\nCode: ", True)
        return query
    def check_auth_interactive_response(self, responses):
        return paramiko.AUTH_FAILED

listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]

def serve():
    transport = paramiko.Transport(listener.accept()[0])
    transport.add_server_key(paramiko.RSAKey.generate(2048))
    transport.start_server(server=Server())
threading.Thread(target=serve, daemon=True).start()

child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[1], [sys.argv[1], "-F", "none", "-o", "StrictHostKeyChecking=no",
        "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=20",
        "-o", "NumberOfPasswordPrompts=1", "-p", str(port), "alice@127.0.0.1"])
seen = b""
while b"Code: " not in seen:
    seen += os.read(terminal, 1000)
os.write(terminal, b"\n")
print(seen.decode().replace("\r\n", "|").strip())
PY
ssh=$work/root/usr/bin/ssh
same "version" "OpenSSH_9.2p1" "$("$ssh" -V 2>&1 | cut -d' ' -f1)"
same "prompt of three lines" "(alice@127.0.0.1) ##..##|##..##|Code:" "$(timeout 60 py/bin/python find.py "$ssh")"
