use super::*;

#[test]
fn paths_with_and_without_options() {
    let flag = |path: &str, options: &str| {
        Ok(TmpfsFlag {
            path: path.to_owned(),
            options: options.to_owned(),
        })
    };
    assert_eq!("/tmp".parse::<TmpfsFlag>(), flag("/tmp", ""));
    assert_eq!(
        "/run:size=64m,mode=1777,noexec".parse(),
        flag("/run", "size=64m,mode=1777,noexec")
    );
    assert_eq!("/run:".parse::<TmpfsFlag>(), flag("/run", ""));
}

#[test]
fn bad_paths_and_options_are_named() {
    for path in ["", "tmp", "/", "//", "/a/../b"] {
        assert_eq!(
            path.parse::<TmpfsFlag>(),
            Err(BadTmpfs::Path(path.to_owned()))
        );
    }
    for option in ["bind", "size=1,000", "context=x", "size=a b"] {
        let text = format!("/tmp:{option}");
        let first = option.split(',').next().unwrap();
        let bad = if first == "size=1" { "000" } else { first };
        assert_eq!(
            text.parse::<TmpfsFlag>(),
            Err(BadTmpfs::Option(bad.to_owned()))
        );
    }
}
