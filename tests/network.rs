//! A container's network, seen from both sides.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::fixture::Host;

/// A server that does not answer within this time never will.
const PATIENCE: Duration = Duration::from_secs(60);

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn get(port: u16, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn two_web_servers_at_once() {
    let host = Host::new();
    let ports = [free_port(), free_port()];
    for (name, port) in ["one", "two"].into_iter().zip(ports) {
        let script = format!(
            "mkdir /www; echo I am {name} > /www/index.html; echo up; exec httpd -f -p 80 -h /www"
        );
        let publish = format!("{port}:80");
        host.run(&[
            "run", "-d", "-q", "--name", name, "-p", &publish, "busybox", "sh", "-c", &script,
        ])
        .succeeds();
    }
    for (name, port) in ["one", "two"].into_iter().zip(ports) {
        // Connections are refused until the server in the guest listens.
        let begun = Instant::now();
        let answer = loop {
            match get(port, "/") {
                Ok(answer) if !answer.is_empty() => break answer,
                other => assert!(
                    begun.elapsed() < PATIENCE,
                    "{name} does not answer: {other:?}"
                ),
            }
        };
        assert!(
            answer.contains("200 OK") && answer.contains(&format!("I am {name}")),
            "{answer}"
        );
    }
    let publish = format!("{}:80", ports[0]);
    let busy = host.run(&["run", "--rm", "-q", "-p", &publish, "busybox", "true"]);
    busy.fails_with(&[&ports[0].to_string(), "in use"]);
    assert_eq!(host.sandboxes().len(), 2);
    let listed = host.run(&["ps"]).succeeds().stdout();
    assert!(
        listed.contains(&format!("127.0.0.1:{}:80/tcp", ports[0])),
        "{listed}"
    );
}

#[test]
fn what_a_container_sees_of_the_network() {
    let host = Host::new();
    let name = host.detached(&[
        "--add-host",
        "db:192.0.2.7",
        "--dns",
        "192.0.2.53",
        "--hostname",
        "inside",
    ]);
    let exec = |script: &str| {
        host.run(&["exec", &name, "sh", "-c", script])
            .succeeds()
            .stdout()
    };
    assert_eq!(exec("ls /sys/class/net"), "eth0\nlo");
    assert_eq!(exec("grep -w db /etc/hosts | tr '\\t' ' '"), "192.0.2.7 db");
    assert!(exec("cat /etc/hosts").contains("inside"));
    assert!(exec("cat /etc/resolv.conf").contains("nameserver 192.0.2.53"));
    // Neither the host's loopback nor a cloud's metadata service can be reached.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for target in [format!("10.0.2.2 {port}"), "169.254.169.254 80".to_owned()] {
        assert_eq!(
            exec(&format!(
                "nc -w 2 {target} </dev/null >/dev/null 2>&1 && echo reached || echo refused"
            )),
            "refused",
            "{target}"
        );
    }
    host.run(&[
        "run",
        "--rm",
        "-q",
        "--network",
        "none",
        "busybox",
        "ls",
        "/sys/class/net",
    ])
    .succeeds()
    .prints("lo");
}
