use kvm_bindings::{CpuId, kvm_cpuid_entry2};

use super::{Shape, adapt, bits_for, for_cpu, physical_bits};

fn leaf(function: u32, index: u32, registers: [u32; 4]) -> kvm_cpuid_entry2 {
    let [eax, ebx, ecx, edx] = registers;
    kvm_cpuid_entry2 {
        function,
        index,
        eax,
        ebx,
        ecx,
        edx,
        ..Default::default()
    }
}

fn adapted(shape: Shape, mut leaf: kvm_cpuid_entry2) -> [u32; 4] {
    adapt(&mut leaf, shape, true);
    [leaf.eax, leaf.ebx, leaf.ecx, leaf.edx]
}

const ONE: Shape = Shape {
    cpus: 1,
    nested: false,
};
const FOUR: Shape = Shape {
    cpus: 4,
    nested: true,
};

#[test]
fn virtualization_shows_only_where_it_is_wanted() {
    let vmx = |shape| adapted(shape, leaf(1, 0, [0, 0, 1 << 5, 0]))[2] & 1 << 5;
    let svm = |shape| adapted(shape, leaf(0x8000_0001, 0, [0, 0, 1 << 2, 0]))[2] & 1 << 2;
    let features = |shape| adapted(shape, leaf(0x8000_000a, 0, [1, 8, 0, 0xff]));
    assert_eq!((vmx(ONE), svm(ONE), features(ONE)), (0, 0, [0; 4]));
    assert_eq!(
        (vmx(FOUR), svm(FOUR), features(FOUR)),
        (1 << 5, 1 << 2, [1, 8, 0, 0xff])
    );
}

#[test]
fn every_guest_has_x2apic_and_the_deadline_timer_and_keeps_its_memory_types() {
    let [_, _, ecx, edx] = adapted(ONE, leaf(1, 0, [0, 0, 0, u32::MAX]));
    assert_eq!(ecx, 1 << 21 | 1 << 24 | 1 << 31);
    assert_ne!(
        edx & 1 << 12,
        0,
        "MTRRs: without them Linux maps pmem uncached"
    );
    assert_eq!(edx & 1 << 28, 0, "one CPU has no siblings");
}

#[test]
fn the_topology_is_one_package_of_single_threaded_cores() {
    assert_eq!(
        adapted(FOUR, leaf(0xb, 0, [9, 9, 9, 9]))[..3],
        [0, 1, 1 << 8]
    );
    assert_eq!(
        adapted(FOUR, leaf(0xb, 1, [9, 9, 9, 9]))[..3],
        [2, 4, 2 << 8 | 1]
    );
    assert_eq!(adapted(FOUR, leaf(0xb, 2, [9, 9, 9, 9]))[..3], [0, 0, 2]);
    let [_, ebx, _, edx] = adapted(FOUR, leaf(1, 0, [0; 4]));
    assert_eq!(ebx >> 16 & 0xff, 4);
    assert_ne!(edx & 1 << 28, 0);
    let [_, _, ecx, _] = adapted(FOUR, leaf(0x8000_0008, 0, [48, 0, 0xffff, 0]));
    assert_eq!((ecx & 0xff, ecx >> 12 & 0xf), (3, 2));
}

#[test]
fn only_the_last_cache_is_shared() {
    let sharing =
        |level: u32| adapted(FOUR, leaf(4, 0, [1 | level << 5, 0, 0, 0]))[0] >> 14 & 0xfff;
    assert_eq!([1, 2, 3].map(sharing), [0, 0, 3]);
    // The end of the list stays what it is.
    assert_eq!(adapted(FOUR, leaf(4, 4, [0; 4])), [0; 4]);
}

#[test]
fn each_cpu_has_its_own_number() {
    let leaves = [
        leaf(1, 0, [0, 0xff04_0800, 0, 0]),
        leaf(0xb, 1, [0; 4]),
        leaf(0x8000_001e, 0, [9, 9, 9, 0]),
        leaf(0x8000_0008, 0, [0x3030, 0, 0, 0]),
    ];
    let common = CpuId::from_entries(&leaves).unwrap();
    let third = for_cpu(&common, 2);
    let third = third.as_slice();
    assert_eq!(third[0].ebx, 0x0204_0800);
    assert_eq!(third[1].edx, 2);
    assert_eq!((third[2].eax, third[2].ebx, third[2].ecx), (2, 2, 0));
    assert_eq!(physical_bits(&common), 0x30);
}

#[test]
fn numbers_take_as_many_bits_as_needed() {
    assert_eq!([1, 2, 3, 4, 5, 254].map(bits_for), [0, 1, 2, 2, 3, 8]);
}
