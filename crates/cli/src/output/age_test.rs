use super::*;

#[test]
fn the_largest_unit_in_words() {
    for (seconds, text) in [
        (0, "just now"),
        (1, "1 second ago"),
        (59, "59 seconds ago"),
        (60, "1 minute ago"),
        (7_199, "1 hour ago"),
        (86_400 * 3, "3 days ago"),
        (86_400 * 400, "57 weeks ago"),
    ] {
        assert_eq!(Age(Duration::from_secs(seconds)).to_string(), text);
    }
}
