use super::*;

#[test]
fn fractions_are_rounded_up() {
    for (text, cpus) in [("1", 1), ("0.5", 1), ("1.5", 2), ("2.0", 2), ("255", 255)] {
        assert_eq!(text.parse(), Ok(Cpus(cpus)));
    }
    for text in ["0", "-1", "256", "nan", "inf", "", "two"] {
        assert_eq!(text.parse::<Cpus>(), Err(BadCpus(text.to_owned())));
    }
}
