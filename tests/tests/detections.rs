//! The detection figures may not fall below what was promised.

use trailwarden_tests::detection_figures::measure;
use trailwarden_tests::repository::shared_data;

#[test]
fn detonations_are_found_and_the_innocent_left_alone() {
    let Some(data) = shared_data() else {
        println!("did not run: the development data (../shared/data) is not here");
        return;
    };
    let figures = measure(&data).expect("measured");
    assert_eq!(figures.techniques.len(), 35);
    assert!(figures.found() >= 26, "found {} of 35", figures.found());
    assert_eq!(figures.benign.records, 914);
    assert!(figures.benign.share(figures.benign.raised.len()) <= 0.01, "{:#?}", figures.benign.raised);

    let control = &figures.control;
    assert!(control.records >= 300, "{} records", control.records);
    assert_eq!(figures.control_missing, Vec::<String>::new());
    assert!(control.share(control.by_user_toy) >= 0.5 && control.share(control.by_name_toy) >= 0.5);
    assert!(figures.control_tampering < 0.05);
    assert!(control.share(control.raised.len()) <= 0.05, "{:#?}", control.raised);
}
