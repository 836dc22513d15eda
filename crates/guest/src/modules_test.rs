use super::*;

#[test]
fn the_dividing_line_separates_what_reaches_the_host() {
    let text = "# load order\n/lib/modules/vsock.ko\n  /lib/modules/virtio_vsock.ko # transport\n\n--\n/lib/modules/erofs.ko\n";
    let modules = Modules::parse(text);
    assert_eq!(
        modules.first,
        ["/lib/modules/vsock.ko", "/lib/modules/virtio_vsock.ko"]
    );
    assert_eq!(modules.rest, ["/lib/modules/erofs.ko"]);
}

#[test]
fn a_list_without_a_dividing_line_is_loaded_first() {
    let modules = Modules::parse("/a.ko\n/b.ko");
    assert_eq!(
        modules,
        Modules {
            first: vec!["/a.ko".into(), "/b.ko".into()],
            rest: vec![]
        }
    );
}
