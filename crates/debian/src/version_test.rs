use std::cmp::Ordering::{Equal, Greater, Less};

use proptest::prelude::*;

use super::compare;

#[test]
fn the_rules_of_the_policy() {
    for (left, right, order) in [
        ("1.0", "1.0", Equal),
        ("1.0", "1.00", Equal),
        ("1.9", "1.10", Less),
        ("1:1.0", "2.0", Greater),
        ("1.0~rc1", "1.0", Less),
        ("1.0~~", "1.0~", Less),
        ("1.0", "1.0a", Less),
        ("1.0a", "1.0+", Less),
        ("1.0-1", "1.0-2", Less),
        ("1.0-1~bpo13+1", "1.0-1", Less),
        ("7.3.4+deb13-cloud-amd64", "7.3", Greater),
        (
            "7.10.1+deb13-cloud-amd64",
            "7.9.12+deb13-cloud-amd64",
            Greater,
        ),
        ("", "", Equal),
        ("00000000000000000000000000000000000002", "1", Greater),
    ] {
        assert_eq!(compare(left, right), order, "{left} against {right}");
        assert_eq!(
            compare(right, left),
            order.reverse(),
            "{right} against {left}"
        );
    }
}

proptest! {
    #[test]
    fn it_is_an_order(a in "[0-9a-z.+~:-]{0,12}", b in "[0-9a-z.+~:-]{0,12}", c in "[0-9a-z.+~:-]{0,12}") {
        prop_assert_eq!(compare(&a, &a), Equal);
        prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
        if compare(&a, &b).is_le() && compare(&b, &c).is_le() {
            prop_assert!(compare(&a, &c).is_le());
        }
    }

    #[test]
    fn any_text_is_survived(a in any::<String>(), b in any::<String>()) {
        prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
    }
}
