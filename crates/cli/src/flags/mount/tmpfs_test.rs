use super::*;

fn tmpfs(text: &str) -> Result<MountFlag, BadMount> {
    text.parse().map(|TmpfsFlag(flag)| flag)
}

#[test]
fn paths_with_and_without_options() {
    let flag = |target: &str, words: &[&str]| MountFlag {
        source: SourceFlag::Tmpfs,
        target: target.to_owned(),
        options: Options {
            words: words.iter().map(|&word| word.to_owned()).collect(),
            ..Options::default()
        },
    };
    assert_eq!(tmpfs("/tmp"), Ok(flag("/tmp", &[])));
    assert_eq!(
        tmpfs("/run/:size=64m,mode=1777,noexec"),
        Ok(flag("/run", &["size=64m", "mode=1777", "noexec"]))
    );
    assert_eq!(tmpfs("/run:"), Ok(flag("/run", &[])));
    assert!(tmpfs("/run:ro").unwrap().options.read_only);
}

#[test]
fn bad_paths_and_options_are_named() {
    assert_eq!(tmpfs("tmp"), Err(BadMount::Relative("tmp".to_owned())));
    for path in ["/", "//", "/a/.."] {
        assert_eq!(tmpfs(path), Err(BadMount::Target(path.to_owned())));
    }
    for option in ["bind", "context=x", "size=a b", "cache=never"] {
        let refused = tmpfs(&format!("/tmp:{option}"));
        assert_eq!(refused, Err(BadMount::Option(option.to_owned(), "a tmpfs")));
    }
    let refused = tmpfs("/tmp:size=1,000");
    assert_eq!(refused, Err(BadMount::Option("000".to_owned(), "a tmpfs")));
}
