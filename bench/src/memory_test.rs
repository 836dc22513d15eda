use super::Resident;

const SMAPS: &str = "\
7f0000000000-7f0000400000 r--s 00000000 fe:00 12 /data/images/layers/ab.erofs
Size:               4096 kB
Rss:                2048 kB
Pss:                1024 kB
Pss_Dirty:             0 kB
Private_Clean:         4 kB
7f0000400000-7f0000500000 rw-p 00000000 00:00 0
Rss:                 100 kB
Pss:                 100 kB
Private_Dirty:       100 kB
";

#[test]
fn only_wanted_mappings_count() {
    let images = Resident::sum(SMAPS, |mapping| mapping.path.ends_with(".erofs"));
    assert_eq!(
        images,
        Resident {
            rss: 2048.0 * 1024.0,
            pss: 1024.0 * 1024.0,
            private: 4.0 * 1024.0
        }
    );
    let large = Resident::sum(SMAPS, |mapping| mapping.size > 1 << 20);
    assert_eq!(large, images);
    let all = Resident::sum(SMAPS, |_| true);
    assert_eq!(
        all,
        Resident {
            rss: 2148.0 * 1024.0,
            pss: 1124.0 * 1024.0,
            private: 104.0 * 1024.0
        }
    );
}

#[test]
fn a_process_has_memory_of_its_own() {
    let own = Resident::of(std::process::id()).unwrap();
    assert!(own.rss >= own.pss && own.pss > 0.0, "{own:?}");
}
