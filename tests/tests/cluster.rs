//! A cluster of real processes on a real broker and a real store gives what one process gives that does its recorded work again,
//! and what an undisturbed run gives when it is disturbed.
#![allow(clippy::disallowed_methods, reason = "reads files and clocks of its own")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]
#![allow(clippy::print_stderr, reason = "a test says what it is at")]

use trailwarden_tests::cluster::{Cluster, feed_disturbed, last_time, organisation, outputs, replayed};

/// Events of the long run; the product's promise is made for so many.
const EVENTS: u64 = 200_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_gives_what_one_process_gives() {
    let records = organisation(EVENTS, 5);
    let mut cluster = Cluster::start().await;
    cluster.run_all();
    feed_disturbed(&cluster, &records).await;
    cluster.drain(last_time(&records)).await;

    let found = outputs(&cluster).await;
    assert_eq!(found.measured.len(), records.len(), "every event once, whatever came twice or late");
    assert_eq!(found.dead, 0);
    assert!(found.cases.len() > 3, "{} cases", found.cases.len());
    let again = replayed(&cluster).await;
    assert_eq!(again.difference(&found), None);
    assert!(again.epochs > 0, "no baseline was folded while it ran");
    let events = records.len();
    assert_eq!(cluster.archived("activities", "metadata_uid", events).await, (events, events), "archived once");
    eprintln!(
        "{} events, {} signals, {} cases, {} epochs",
        found.measured.len(),
        found.signals.len(),
        found.cases.len(),
        again.epochs
    );
    for (role, code) in cluster.stop_all() {
        assert_eq!(code, Some(0), "{role} ends in good order when told to: {}", cluster.told());
    }
}
