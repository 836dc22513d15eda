use super::*;
use std::io::Write;

fn host() -> Env {
    [("HOME", "/root"), ("PROXY_A", "1"), ("PROXY_B", "2")]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into()
}

fn flags(flags: &[&str]) -> Result<Env, EnvError> {
    resolve(
        &[],
        &flags
            .iter()
            .map(|flag| (*flag).to_owned())
            .collect::<Vec<_>>(),
        &host(),
    )
}

fn env(pairs: &[(&str, &str)]) -> Env {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

#[test]
fn value_name_and_prefix() {
    assert_eq!(
        flags(&["A=b=c", "E=", "HOME"]).unwrap(),
        env(&[("A", "b=c"), ("E", ""), ("HOME", "/root")])
    );
    assert_eq!(
        flags(&["PROXY_*"]).unwrap(),
        env(&[("PROXY_A", "1"), ("PROXY_B", "2")])
    );
    assert_eq!(flags(&["UNSET", "NONE_*"]).unwrap(), Env::new());
    assert_eq!(flags(&["A=1", "A=2"]).unwrap(), env(&[("A", "2")]));
    assert_eq!(flags(&["STAR*=x"]).unwrap(), env(&[("STAR*", "x")]));
}

#[test]
fn names_that_are_none() {
    for text in ["", "=x", "A B=1", "A\0=1", "A=\0"] {
        assert!(
            matches!(flags(&[text]), Err(EnvError::Bad(bad)) if bad == text),
            "{text:?}"
        );
    }
}

#[test]
fn files_come_first_and_skip_comments() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "# comment\n\n  A=1 \nB=2\nHOME\n").unwrap();
    let found = resolve(&[file.path().to_owned()], &["B=3".to_owned()], &host()).unwrap();
    assert_eq!(found, env(&[("A", "1 "), ("B", "3"), ("HOME", "/root")]));
}

#[test]
fn a_bad_line_is_named_by_number() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "A=1\n=2\n").unwrap();
    let error = resolve(&[file.path().to_owned()], &[], &host()).unwrap_err();
    assert!(matches!(error, EnvError::Line { line: 2, .. }), "{error:?}");
    let error = resolve(&["/nonexistent/env".into()], &[], &host()).unwrap_err();
    assert!(matches!(error, EnvError::Unreadable { .. }), "{error:?}");
}
