//! `case calibrate` on invented lines.

use super::*;
use crate::untrusted::is_hidden;

fn line(case: usize, verdict: &str, prior: f64, model: Option<&str>) -> Value {
    json!({
        "case_id": format!("c{case}"),
        "event_ids": [format!("e{case}")],
        "judged_under": { "model": model, "labelled": { "attacks": 0, "benign": 0 } },
        "pool": {
            "prior": prior, "roles": 0.0, "roles_deterministic": 0.0, "is_fitted": false, "may_close": true, "may_act": false,
        },
        "label": { "verdict": verdict, "author": "ann", "at_ms": 1 },
    })
}

fn read(lines: &[Value]) -> Records {
    let mut records = Records::default();
    let text: String = lines.iter().map(|line| format!("{line}\n\n")).collect();
    records.lines(text.as_bytes()).expect("read");
    records
}

#[test]
fn lines_become_bounds_and_what_is_no_line_is_counted() {
    let mut lines: Vec<Value> = (0..199).map(|at| line(at, "malicious", 1.0, None)).collect();
    lines.extend((199..400).map(|at| line(at, "benign", -4.0, None)));
    lines.push(line(400, "benign", -4.0, Some("another")));
    lines.push(json!({ "case_id": "unlabelled", "event_ids": [] }));
    lines.push(json!({ "case_id": "old", "label": { "verdict": "benign" } }));
    lines.push(json!("no case"));
    lines.push(json!({ "case_id": "odd", "label": { "verdict": "harmless" } }));
    let records = read(&lines);
    assert_eq!((records.cases.len(), records.unreadable), (402, 2));
    let settled = settle(&records.cases, None);
    let calibrated = Calibration::on(&settled, None, true);
    let told = text(&records, &settled, &calibrated);
    for part in [
        "labelled cases      attacks 199, benign 201; each counts once\n",
        "not counted         1 of another model; 1 without the pool's figures; 2 unreadable\n",
        "closing             up to 0.250000: at most 0.50 % of attacks pass; 0 of 199 labelled ones do; leaving each out",
        "automatic steps     nothing: it takes 999 labelled benign cases, and 201 count\n",
    ] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    let figures = figures(&records, &settled, &calibrated);
    assert_eq!((&figures["recall_at_close"], &figures["benign_closed"]), (&json!(1.0), &json!(1.0)));
    assert_eq!(figures["act"]["at"], Value::Null);
}

#[test]
fn a_label_of_the_council_is_read_like_a_line_of_a_file() {
    let label = CaseLabel {
        verdict: "malicious".into(),
        author: "ann".into(),
        at_ms: 5,
        contested_by: vec!["bob".into()],
        ..CaseLabel::default()
    };
    let mut case = Case {
        id: "c0".into(),
        event_ids: vec!["e0".into()],
        state: CaseState::Closed.into(),
        line_json: line(0, "benign", 0.5, Some("m")).to_string(),
        label: Some(label),
        ..Case::default()
    };
    let mut records = Records::default();
    let kept = records.case(&case).expect("room").expect("labelled");
    let again = read(&[serde_json::from_str(&kept).expect("JSON")]);
    assert_eq!(records.cases, again.cases);
    let one = &records.cases[0];
    assert_eq!((one.label, one.is_contested, one.model.as_deref()), (Some(Verdict::Malicious), true, Some("m")));
    assert_eq!(one.pooled.map(|pooled| pooled.prior), Some(0.5));
    // Too large for its line: it says whose it is, and no more.
    case.line_json.clear();
    records.case(&case).expect("room").expect("labelled");
    assert_eq!((records.cases[1].case_id.as_str(), records.cases[1].pooled), ("c0", None));
    case.state = CaseState::Open.into();
    assert_eq!(records.case(&case).expect("room"), None);
    assert_eq!((records.open, records.cases.len()), (1, 2));
    // It grew after somebody had looked.
    (case.state, case.last_event_time_ms) = (CaseState::Closed.into(), 6);
    assert_eq!(records.case(&case).expect("room"), None);
    assert_eq!((records.early, records.cases.len()), (1, 2));
}

#[test]
fn what_an_attacker_wrote_does_nothing_to_the_terminal() {
    const HOSTILE: &str = "\u{1b}]0;owned\u{7}\u{202e}txt";
    let mut one = line(0, "malicious", 0.0, None);
    one["case_id"] = HOSTILE.into();
    let mut other = one.clone();
    other["label"] = json!({ "verdict": "benign", "author": "bob" });
    let records = read(&[one, other]);
    let settled = settle(&records.cases, None);
    let calibrated = Calibration::on(&settled, Some(HOSTILE), true);
    let told = text(&records, &settled, &calibrated);
    assert!(told.contains("people disagree on") && !told.replace('\n', "").contains(is_hidden), "{told:?}");
    let figures = figures(&records, &settled, &calibrated).to_string();
    assert!(!crate::untrusted::visible_json(&figures).contains(is_hidden));
}

#[test]
fn a_line_without_end_is_not_read_to_its_end() {
    let mut records = Records::default();
    let endless = BufReader::new(std::io::repeat(b'x'));
    assert!(records.lines(endless).is_err());
}
