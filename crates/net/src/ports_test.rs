use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use proptest::prelude::*;

use super::{Claim, ParsePortError, PortError, Protocol, PublishedPort};

fn port(address: [u8; 4], host: u16, guest: u16, protocol: Protocol) -> PublishedPort {
    PublishedPort {
        address: Ipv4Addr::from(address),
        host,
        guest,
        protocol,
    }
}

#[test]
fn every_form_is_understood() {
    let cases = [
        ("80", port([127, 0, 0, 1], 0, 80, Protocol::Tcp)),
        (":80", port([127, 0, 0, 1], 0, 80, Protocol::Tcp)),
        ("0:80", port([127, 0, 0, 1], 0, 80, Protocol::Tcp)),
        ("8080:80", port([127, 0, 0, 1], 8080, 80, Protocol::Tcp)),
        ("8080:80/tcp", port([127, 0, 0, 1], 8080, 80, Protocol::Tcp)),
        ("5300:53/udp", port([127, 0, 0, 1], 5300, 53, Protocol::Udp)),
        (
            "0.0.0.0:8080:80",
            port([0, 0, 0, 0], 8080, 80, Protocol::Tcp),
        ),
        (
            "192.0.2.7::80/udp",
            port([192, 0, 2, 7], 0, 80, Protocol::Udp),
        ),
        (
            "65535:65535",
            port([127, 0, 0, 1], 65535, 65535, Protocol::Tcp),
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(text.parse(), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    let bad_port = |text: &str, port: &str| ParsePortError::Port {
        text: text.into(),
        port: port.into(),
    };
    let cases = [
        ("", bad_port("", "")),
        ("8080:", bad_port("8080:", "")),
        ("8080:0", bad_port("8080:0", "0")),
        ("8080:65536", bad_port("8080:65536", "65536")),
        ("x:80", bad_port("x:80", "x")),
        ("8000-8010:80", bad_port("8000-8010:80", "8000-8010")),
        (
            "80/sctp",
            ParsePortError::Protocol {
                text: "80/sctp".into(),
                protocol: "sctp".into(),
            },
        ),
        (
            "80/tcp/tcp",
            ParsePortError::Protocol {
                text: "80/tcp/tcp".into(),
                protocol: "tcp/tcp".into(),
            },
        ),
        (
            "localhost:8080:80",
            ParsePortError::Address {
                text: "localhost:8080:80".into(),
                address: "localhost".into(),
            },
        ),
        (
            "[::1]:8080:80",
            ParsePortError::Form("[::1]:8080:80".into()),
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(text.parse::<PublishedPort>(), Err(expected), "{text}");
    }
}

proptest! {
    #[test]
    fn what_is_printed_can_be_parsed(address: [u8; 4], host: u16, guest in 1..=u16::MAX, udp: bool) {
        let port = port(address, host, guest, if udp { Protocol::Udp } else { Protocol::Tcp });
        prop_assert_eq!(port.to_string().parse(), Ok(port));
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC*") {
        let _ = text.parse::<PublishedPort>();
    }
}

#[test]
fn a_free_port_gets_a_number() {
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let ports = Claim::new(&[port([127, 0, 0, 1], 0, 80, protocol)])
            .unwrap()
            .release();
        assert_ne!(ports[0].host, 0);
        assert_eq!(ports[0].guest, 80);
    }
}

#[test]
fn a_busy_port_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let wanted = port(
        [127, 0, 0, 1],
        listener.local_addr().unwrap().port(),
        80,
        Protocol::Tcp,
    );
    let error = Claim::new(&[wanted]).unwrap_err();
    assert!(
        matches!(error, PortError::Busy(busy) if busy == wanted),
        "{error:?}"
    );
    assert!(
        error
            .to_string()
            .contains(&format!("127.0.0.1:{}/tcp", wanted.host)),
        "{error}"
    );

    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let wanted = port(
        [127, 0, 0, 1],
        socket.local_addr().unwrap().port(),
        53,
        Protocol::Udp,
    );
    let error = Claim::new(&[wanted]).unwrap_err();
    assert!(
        matches!(error, PortError::Busy(busy) if busy == wanted),
        "{error:?}"
    );
}

#[test]
fn the_same_port_twice_is_busy() {
    let free = Claim::new(&[port([127, 0, 0, 1], 0, 80, Protocol::Tcp)])
        .unwrap()
        .release()[0];
    let error = Claim::new(&[free, free]).unwrap_err();
    assert!(
        matches!(error, PortError::Busy(busy) if busy == free),
        "{error:?}"
    );
}

#[test]
fn an_address_of_another_host_is_refused() {
    // RFC 5737: no interface has an address of TEST-NET-3.
    let wanted = port([203, 0, 113, 1], 8080, 80, Protocol::Tcp);
    let error = Claim::new(&[wanted]).unwrap_err();
    assert!(
        matches!(error, PortError::NoSuchAddress(port) if port == wanted),
        "{error:?}"
    );
}
