use super::*;

#[test]
fn a_socket_takes_the_place_of_an_abandoned_one_and_of_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let (first, name) = listen(path.clone()).unwrap();
    // Somebody listens there.
    let error = listen(path.clone()).err().unwrap();
    assert!(
        error.to_string().contains("somebody serves at this socket"),
        "{error}"
    );
    drop(first);
    std::mem::forget(name);
    let (_listener, name) = listen(path.clone()).unwrap();
    UnixStream::connect(&path).unwrap();
    drop(name);
    assert!(!path.exists());

    let file = folder.path().join("precious");
    fs::write(&file, "content").unwrap();
    std::os::unix::fs::symlink(&file, folder.path().join("link")).unwrap();
    for name in ["precious", "link"] {
        let error = listen(folder.path().join(name)).err().unwrap().to_string();
        for word in [name, "no socket", "another --socket-path"] {
            assert!(error.contains(word), "{error}");
        }
    }
    assert_eq!(fs::read_to_string(file).unwrap(), "content");
}

#[test]
fn a_descriptor_that_does_not_listen_is_refused() {
    let (one, _other) = UnixStream::pair().unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&one);
    let error = inherited(number).err().unwrap();
    assert!(
        error.to_string().contains("no socket that listens"),
        "{error}"
    );
    inherited(1).err().unwrap();
    // It is still open.
    one.shutdown(std::net::Shutdown::Both).unwrap();
}
