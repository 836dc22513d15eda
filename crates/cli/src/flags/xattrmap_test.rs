use super::*;

fn rules(text: &str) -> Result<XattrMap, BadXattrMap> {
    text.parse::<XattrMapFlag>().map(|flag| flag.0)
}

fn prefix(client: &str, host: &str) -> Rule {
    Rule::Prefix {
        client: client.into(),
        host: host.into(),
    }
}

#[test]
fn the_usual_maps() {
    let all = XattrMap::new(vec![prefix("", "user.virtiofs.")]);
    assert_eq!(rules(":map::user.virtiofs.:"), Ok(all));
    let some = vec![
        prefix("trusted.", "user.virtiofs."),
        Rule::Hide("security.".into()),
    ];
    let text = " /prefix/all/trusted./user.virtiofs./\n:bad:all:security.:security.:  :ok:all::: ";
    assert_eq!(rules(text), Ok(XattrMap::new(some)));
    assert_eq!(rules(""), Ok(XattrMap::new(vec![])));
}

#[test]
fn other_rules_are_named() {
    let unsupported = |rule: &str| Err(BadXattrMap::Unsupported(rule.into()));
    assert_eq!(
        rules(":prefix:client:a:b:"),
        unsupported(":prefix:client:a:b:")
    );
    assert_eq!(rules(":ok:all:user.::"), unsupported(":ok:all:user.::"));
    assert_eq!(rules(":bad:all:a:b:"), unsupported(":bad:all:a:b:"));
    assert_eq!(rules(":good:all:a::"), unsupported(":good:all:a::"));
    let unended = |text: &str| Err(BadXattrMap::Form(text.into()));
    assert_eq!(rules(":map:a:b"), unended(":map:a:b"));
    assert_eq!(rules("map"), unended("map"));
    assert_eq!(
        rules(":map::u.: :ok:all:::"),
        Err(BadXattrMap::AfterLast(":ok:all:::".into()))
    );
}
