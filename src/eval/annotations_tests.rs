//! Ground truth that is bad in every way that was thought of.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Two pictures, two categories, one box each.
fn good() -> Value {
    json!({
        "info": {"description": "a yard"},
        "images": [
            {"id": 1, "file_name": "a.jpg", "width": 640, "height": 480},
            {"id": 2, "file_name": "b.jpg"},
        ],
        "categories": [{"id": 5, "name": "person"}, {"id": 9, "name": "car", "supercategory": "vehicle"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 5, "bbox": [1, 2, 30, 40], "area": 600, "iscrowd": 0},
            {"id": 2, "image_id": 1, "category_id": 9, "bbox": [1.5, 2, 10, 10], "iscrowd": true,
             "segmentation": {"counts": [1], "size": [1, 1]}},
        ],
    })
}

fn parse(value: &Value) -> Result<Annotations, AnnotationsError> {
    Annotations::parse(value.to_string().as_bytes())
}

/// The message about [`good`] with `value` put at `pointer`.
fn refusal(pointer: &str, value: Value) -> String {
    let mut file = good();
    *file.pointer_mut(pointer).unwrap() = value;
    parse(&file).unwrap_err().to_string()
}

#[test]
fn a_good_file_is_read() {
    let annotations = parse(&good()).unwrap();
    assert_eq!(annotations.images.len(), 2);
    assert_eq!(annotations.categories, [(5, "person".to_owned()), (9, "car".to_owned())]);
    let [person, car] = &annotations.instances[..] else { panic!() };
    assert_eq!((person.area, person.crowd, person.bbox), (600.0, false, [1.0, 2.0, 30.0, 40.0]));
    assert_eq!((car.area, car.crowd), (100.0, true), "no area: the box's");
    assert!(annotations.notes.is_empty(), "{:?}", annotations.notes);
}

#[test]
fn ids_may_be_whole_floating_point_numbers() {
    let mut file = good();
    file["annotations"][0]["image_id"] = json!(1.0);
    file["annotations"][0]["iscrowd"] = json!(1.0);
    let annotations = parse(&file).unwrap();
    assert_eq!((annotations.instances[0].image, annotations.instances[0].crowd), (1, true));
    assert!(refusal("/annotations/0/image_id", json!(1.5)).contains("an id is 1.5"));
    assert!(refusal("/images/0/id", json!(-1)).contains("an id is -1"));
}

#[test]
fn what_is_not_coco_says_so() {
    let message = |text: &str| Annotations::parse(text.as_bytes()).unwrap_err().to_string();
    assert!(message("<xml/>").contains("not JSON"));
    assert!(message("").contains("cut short"));
    let whole = good().to_string();
    assert!(message(&whole[..whole.len() / 2]).contains("cut short"));
    assert!(message(&whole.replace("600", "NaN")).contains("JSON has no NaN"));
    let results = message(r#"[{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 1}]"#);
    assert!(results.contains("not COCO annotations"), "{results}");
    let missing = message(r#"{"images": [], "annotations": []}"#);
    assert!(missing.contains("categories") && missing.contains("Expected an object"), "{missing}");
}

#[test]
fn empty_lists_are_named() {
    assert!(refusal("/images", json!([])).contains("no images"));
    assert!(refusal("/categories", json!([])).contains("no categories"));
    assert!(refusal("/annotations", json!([])).contains("no annotations"));
}

#[test]
fn categories_need_distinct_ids_and_names() {
    assert!(refusal("/categories/0", json!({"id": 5})).contains("category 5 has no name"));
    assert!(refusal("/categories/0/name", json!(" ")).contains("category 5 has no name"));
    assert!(refusal("/categories/1/id", json!(5)).contains(r#""person" and "car" both have the id 5"#));
    assert!(refusal("/categories/1/name", json!("Person")).contains("5 and 9 are both named"));
}

#[test]
fn pictures_are_listed_once() {
    assert!(refusal("/images/1/id", json!(1)).contains("a.jpg and b.jpg both have the id 1"));
    assert!(refusal("/images/1/file_name", json!("a.jpg")).contains("1 and 2 are both the file a.jpg"));
    assert!(refusal("/images/1/file_name", json!("")).contains("image 2 has an empty file_name"));
}

#[test]
fn references_must_lead_somewhere() {
    let message = refusal("/annotations/0/image_id", json!(7));
    assert!(message.contains("annotation 1 is of image 7, which is not listed"), "{message}");
    let message = refusal("/annotations/1/category_id", json!(1));
    assert!(message.contains("annotation 2 is of category 1, which is not listed"), "{message}");
    let message = refusal("/images", json!([{"id": 2, "file_name": "b.jpg"}]));
    assert!(message.contains("(and 1 more like it)"), "{message}");
}

#[test]
fn boxes_have_sizes() {
    let message = refusal("/annotations/0/bbox", json!([1, 2, -30, 40]));
    assert!(message.contains("annotation 1 in a.jpg has the box [1.0, 2.0, -30.0, 40.0]"), "{message}");
    assert!(refusal("/annotations/0/bbox", json!([1, 2, 1e200, 1e200])).contains("has the box"));
    assert!(refusal("/annotations/0/area", json!(-1)).contains("area -1"));
    assert!(refusal("/annotations/0/bbox", json!([1, 2, 30])).contains("not COCO"));
    assert!(refusal("/annotations/0/bbox", Value::Null).contains("not COCO"));
    let overflow = good().to_string().replace("600", "1e999");
    assert!(Annotations::parse(overflow.as_bytes()).is_err());
}

#[test]
fn oddities_are_noted() {
    let mut file = good();
    let again = file["annotations"][0].clone();
    file["annotations"].as_array_mut().unwrap().push(again);
    file["annotations"][1]["bbox"] = json!([1, 1, 0, 5]);
    let notes = parse(&file).unwrap().notes.join("; ");
    assert!(
        notes.contains("with the id of an earlier one: 1;") && notes.contains("without area: 1;"),
        "{notes}"
    );
    assert!(notes.contains("with an earlier one's picture, category and box: 1;"), "{notes}");
}

#[test]
fn a_limit_keeps_what_is_in_the_first_pictures() {
    let mut annotations = parse(&good()).unwrap();
    annotations.instances[1].image = 2;
    annotations.limit(1);
    assert_eq!((annotations.images.len(), annotations.instances.len()), (1, 1));
}

proptest! {
    #[test]
    fn any_piece_of_a_file_is_read_or_refused(cut in 0usize..600, byte: u8) {
        let mut bytes = good().to_string().into_bytes();
        let at = cut % bytes.len();
        bytes[at] = byte;
        let _ = Annotations::parse(&bytes);
        let _ = Annotations::parse(&bytes[..at]);
    }
}
