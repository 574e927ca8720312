#!/usr/bin/env bash
# The crate syslog: times of RFC 3164 are UTC whatever TZ says, where syslog(3) writes
# local time; and on a stream socket each line ends with NUL and not with a newline.
# A log that gets lines of both says two different times for the same moment.
. "$(dirname "$0")/common.sh"
crate 'syslog = "=7.0.0"' <<'RS'
use std::io::Read as _;
use std::os::unix::net::{UnixDatagram, UnixListener};
use syslog::{Facility, Formatter3164};

fn main() {
    let formatter = || Formatter3164 {
        facility: Facility::LOG_AUTHPRIV,
        hostname: None,
        process: "find".to_owned(),
        pid: 1,
    };
    let datagrams = UnixDatagram::bind("datagram").expect("a socket");
    let mut log = syslog::unix_custom(formatter(), "datagram").expect("a logger");
    log.info("hello").expect("sent");
    let mut line = [0; 200];
    let length = datagrams.recv(&mut line).expect("a line");
    println!("{}", String::from_utf8_lossy(&line[..length]));

    let streams = UnixListener::bind("stream").expect("a socket");
    let mut log = syslog::unix_custom(formatter(), "stream").expect("a logger");
    log.info("hello").expect("sent");
    drop(log);
    let mut line = Vec::new();
    streams.accept().expect("a caller").0.read_to_end(&mut line).expect("a line");
    println!("{}", String::from_utf8_lossy(&line).escape_debug());
}
RS
before=$(TZ=UTC0 date +%H:%M); local_before=$(TZ=JST-9 date +%H:%M)
TZ=JST-9 crate/target/debug/find > seen
after=$(TZ=UTC0 date +%H:%M)
time=$(sed -n '1s/^<86>... .. \(..:..\):.. find\[1\]: hello$/\1/p' seen)
[ "$time" = "$after" ] && before=$after
same "time of a line with TZ=JST-9, where it is $local_before" "$before" "$time"
end=$(sed -n '2s/.*hello//p' seen)
same "what ends a line on a stream socket" '\0' "$end"
