use super::*;

#[derive(Serialize)]
struct Fruit {
    name: &'static str,
    size: u32,
}

impl Row for Fruit {
    const TITLES: &'static [&'static str] = &["NAME", "SIZE"];

    fn cells(&self) -> Vec<String> {
        vec![self.name.to_owned(), self.size.to_string()]
    }
}

#[test]
fn columns_line_up_and_lines_end_with_text() {
    let rows = [
        Fruit {
            name: "papaya",
            size: 7,
        },
        Fruit {
            name: "fig",
            size: 100,
        },
    ];
    assert_eq!(table(&rows), "NAME    SIZE\npapaya  7\nfig     100");
}

#[test]
fn an_empty_listing_still_names_its_columns() {
    assert_eq!(table::<Fruit>(&[]), "NAME  SIZE");
}

#[test]
fn json_is_the_rows_serialized() {
    let mut out = Vec::new();
    json(
        &mut out,
        &[Fruit {
            name: "fig",
            size: 1,
        }],
    )
    .unwrap();
    let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(value, serde_json::json!([{ "name": "fig", "size": 1 }]));
}
