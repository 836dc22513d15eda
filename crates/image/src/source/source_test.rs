use super::*;

fn parse(text: &str) -> Result<Source, SourceError> {
    text.parse()
}

#[test]
fn transports_are_told_from_references() {
    let folder = PathBuf::from("/a/b");
    let name = || Some("v1".to_owned());
    assert_eq!(
        parse("oci:/a/b"),
        Ok(Source::OciLayout {
            folder: folder.clone(),
            name: None
        })
    );
    assert_eq!(
        parse("oci:/a/b:v1"),
        Ok(Source::OciLayout {
            folder: folder.clone(),
            name: name()
        })
    );
    assert_eq!(
        parse("oci-archive:/a/b:v1"),
        Ok(Source::OciArchive {
            file: folder.clone(),
            name: name()
        })
    );
    let reference = "localhost/x:v1".to_owned();
    assert_eq!(
        parse("docker-archive:/a/b:localhost/x:v1"),
        Ok(Source::DockerArchive {
            file: folder,
            name: Some(reference)
        })
    );
    for text in [
        "busybox",
        "busybox:1.36",
        "localhost:5000/a:b",
        "dir:latest",
    ] {
        assert_eq!(parse(text), Ok(Source::Registry(text.parse().unwrap())));
    }
    assert_eq!(parse("docker://quay.io/a"), parse("quay.io/a"));
}

#[test]
fn what_cannot_be_a_source_is_refused() {
    for text in ["oci:", "oci::v1", "docker-archive:"] {
        assert_eq!(parse(text), Err(SourceError::NoPath(text.to_owned())));
    }
    assert_eq!(
        parse("dir:/tmp/x"),
        Err(SourceError::Transport("dir".to_owned()))
    );
    assert!(matches!(parse("a b"), Err(SourceError::Reference(_))));
}
