use super::*;

#[test]
fn labels() {
    let label = |name: &str, value: &str| {
        Ok(Label {
            name: name.to_owned(),
            value: value.to_owned(),
        })
    };
    assert_eq!("a=b=c".parse::<Label>(), label("a", "b=c"));
    assert_eq!("a".parse::<Label>(), label("a", ""));
    assert_eq!("=b".parse::<Label>(), Err(BadLabel("=b".to_owned())));
}
