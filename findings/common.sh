# What the scripts in this folder share; each sources it first. It makes a temporary
# folder ($work), which is removed at the end, and changes nothing else on the machine.
# Packages are downloaded in pinned versions and unpacked in that folder.

set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
chmod 755 "$work"
cleanup=()
finish() {
    local command
    for command in "${cleanup[@]}"; do eval "$command" || true; done
    rm -rf "$work"
}
trap finish EXIT
cd "$work"

# debs NAME=VERSION...: unpacks packages of Debian 12 (amd64) in $work/root.
debs() {
    mkdir -p "$work/debs" "$work/root"
    (cd "$work/debs" && apt-get download -q -o APT::Sandbox::User=root "$@" >/dev/null) || {
        echo "cannot download $*: is this Debian 12, and apt's list fresh (apt-get update)?" >&2
        exit 2
    }
    for deb in "$work"/debs/*.deb; do dpkg -x "$deb" "$work/root"; done
    export LD_LIBRARY_PATH="$work/root/usr/lib/x86_64-linux-gnu:$work/root/lib/x86_64-linux-gnu"
}

# python NAME==VERSION...: a Python of its own with packages of PyPI, as $work/py/bin/python.
python() {
    python3 -m venv "$work/py"
    "$work/py/bin/pip" install -q --disable-pip-version-check --no-cache-dir "$@"
}

# crate 'DEPENDENCY = "=VERSION"'...: a program of its own with crates of crates.io; its
# source is read from standard input, and it is $work/crate/target/debug/find.
crate() {
    mkdir -p "$work/crate/src"
    cat > "$work/crate/src/main.rs"
    {
        printf '[package]\nname = "find"\nversion = "0.0.0"\nedition = "2024"\n[dependencies]\n'
        printf '%s\n' "$@"
    } > "$work/crate/Cargo.toml"
    (cd "$work/crate" && CARGO_HOME="$work/cargo" CARGO_TARGET_DIR="$work/crate/target" \
        cargo build -q)
}

# same WHAT EXPECTED SEEN: says what was seen, and fails where it is not as noted.
same() {
    if [ "$2" = "$3" ]; then
        printf '%s: %s\n' "$1" "$3"
    else
        printf '%s has changed.\nnoted: %s\nseen:  %s\n' "$1" "$2" "$3" >&2
        exit 1
    fi
}
