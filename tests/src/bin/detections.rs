//! Prints the detection figures: what was missed and what was raised wrongly, by name, and both toys beside it.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what it is for")]

use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;
use trailwarden_tests::detection_figures::{Innocent, Technique, measure};
use trailwarden_tests::repository::shared_data;

fn main() -> Result<ExitCode> {
    let Some(data) = shared_data() else {
        eprintln!("the development data (../shared/data) is not here: nothing was measured");
        return Ok(ExitCode::from(3));
    };
    let figures = measure(&data)?;
    let total = figures.techniques.len();
    println!("Detonated techniques, each scanned cold as a folder of its own\n");
    for technique in &figures.techniques {
        let mark = if technique.found { "found " } else { "MISSED" };
        let severity = technique.severity.map_or("no case", |severity| severity.as_str());
        println!("  {mark}  {:<62} {severity}", technique.name);
    }
    let count =
        |test: &dyn Fn(&Technique) -> bool| figures.techniques.iter().filter(|technique| test(technique)).count();
    let (user, name) = (count(&|technique| technique.by_user_toy), count(&|technique| technique.by_name_toy));
    println!(
        "\n  found {} of {total}; toy `caller is an IAM user` {user}; toy `name of a labelled event` {name}\n",
        figures.found()
    );

    print_innocent("Benign records of other accounts", &figures.benign);
    print_innocent("Control, a folder a scenario", &figures.control);
    print_innocent("Control, all in one folder", &figures.control_together);
    println!(
        "  trail tampering {:.1} % of the control; names of labelled events missing in it: {:?}\n",
        100.0 * figures.control_tampering,
        figures.control_missing
    );

    let share = |set: &Innocent| (1e4 * set.share(set.raised.len())).round() / 1e4;
    let summary = json!({
        "techniques": total,
        "techniques_found": figures.found(),
        "techniques_found_toy_user": user,
        "techniques_found_toy_name": name,
        "benign_records": figures.benign.records,
        "benign_raised": figures.benign.raised.len(),
        "benign_raised_share": share(&figures.benign),
        "control_records": figures.control.records,
        "control_raised": figures.control.raised.len(),
        "control_raised_share": share(&figures.control),
        "control_together_raised_share": share(&figures.control_together),
        "control_toy_user_share": figures.control.share(figures.control.by_user_toy),
        "control_toy_name_share": figures.control.share(figures.control.by_name_toy),
    });
    println!("{summary}");
    Ok(ExitCode::SUCCESS)
}

fn print_innocent(title: &str, set: &Innocent) {
    println!("{title}: {} records\n", set.records);
    for raised in &set.raised {
        println!("  raised  {raised}");
    }
    println!(
        "\n  raised {} ({:.2} %); toy `caller is an IAM user` {} ({:.1} %); toy `name of a labelled event` {} ({:.1} %)\n",
        set.raised.len(),
        100.0 * set.share(set.raised.len()),
        set.by_user_toy,
        100.0 * set.share(set.by_user_toy),
        set.by_name_toy,
        100.0 * set.share(set.by_name_toy),
    );
}
