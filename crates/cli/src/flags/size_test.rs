use super::*;

#[test]
fn podmans_ways_to_write_a_size() {
    for (text, bytes) in [
        ("1048576", 1 << 20),
        ("0", 0),
        ("512b", 512),
        ("64k", 64 << 10),
        ("512m", 512 << 20),
        ("512MB", 512 << 20),
        ("512MiB", 512 << 20),
        ("1.5g", 3 << 29),
        ("2 g", 2 << 30),
        ("1t", 1 << 40),
    ] {
        assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
    }
}

#[test]
fn what_is_no_size_is_refused_with_the_text() {
    for text in [
        "",
        "m",
        "12x",
        "-1m",
        "1.m",
        ".5g",
        "1.2.3g",
        "1.0000000001g",
        "99999999999t",
    ] {
        assert_eq!(
            text.parse::<Size>(),
            Err(BadSize(text.to_owned())),
            "{text}"
        );
    }
}

#[test]
fn sizes_print_with_one_digit_below_a_hundred() {
    assert_eq!(Size(512).to_string(), "512 B");
    assert_eq!(Size(1536).to_string(), "1.5 KiB");
    assert_eq!(Size(300 << 20).to_string(), "300 MiB");
}
