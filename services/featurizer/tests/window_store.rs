//! One contract for every store of windows: the twin in memory, a server, and a cluster of servers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::task::JoinSet;
use trailwarden_core::fence::Record;
use trailwarden_core::live::LiveState;
use trailwarden_core::time::Timestamp;
use trailwarden_featurizer::partition::{Changes, IdSet, Needs};
use trailwarden_featurizer::store::{Error, MemoryStore, PartitionKey, RedisStore, Servers, WindowStore};
use trailwarden_servers::{Valkey, ValkeyOptions};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn key(partition: u16) -> PartitionKey {
    PartitionKey { tenant: "default".to_owned(), partition }
}

fn record(input: u64) -> Record {
    Record { input, output: input * 2, epoch: if input > 2 { "epoch/ff".to_owned() } else { String::new() } }
}

fn state(hours: i64) -> LiveState {
    LiveState::new(NOW.plus_ms(hours * 3_600_000))
}

fn changes(states: &[(u64, i64)], ids: &[(i64, u128)], expired: &[i64]) -> Changes {
    let mut changes = Changes { watermark: Some(NOW), ..Changes::default() };
    changes.live = states.iter().map(|(principal, hours)| (*principal, state(*hours))).collect();
    for (hour, id) in ids {
        let none = IdSet { latest: NOW.plus_ms(*hour), ids: BTreeSet::new() };
        changes.ids.entry(*hour).or_insert(none).ids.insert(*id);
    }
    changes.expired = expired.iter().copied().collect();
    changes
}

fn needs(principals: &[u64], ids: &[(i64, u128)]) -> Needs {
    let mut needs = Needs { principals: principals.iter().copied().collect(), ..Needs::default() };
    for (hour, id) in ids {
        needs.ids.entry(*hour).or_default().insert(*id);
    }
    needs
}

/// Hours of which ids are held, as [`changes`] dates them.
fn held(hours: &[i64]) -> BTreeMap<i64, Timestamp> {
    hours.iter().map(|hour| (*hour, NOW.plus_ms(*hour))).collect()
}

/// States, by what they are written as.
fn written(live: &BTreeMap<u64, LiveState>) -> BTreeMap<u64, Vec<u8>> {
    live.iter().map(|(principal, state)| (*principal, state.pack())).collect()
}

async fn begin(store: &dyn WindowStore, key: &PartitionKey) {
    let first = changes(&[(1, 0), (2, 1)], &[(10, 7), (10, 8), (11, 7)], &[]);
    assert!(store.commit(key, &Record::default(), &record(1), &first).await.expect("answers"));
}

/// What every store must do, on a partition of its own each.
async fn contract(store: &dyn WindowStore) {
    nothing_is_there_before_the_first_commit(store, &key(0)).await;
    what_is_committed_is_read(store, &key(1)).await;
    a_moved_record_refuses(store, &key(2)).await;
    hours_that_are_given_up_are_gone(store, &key(3)).await;
    what_is_cleared_does_not_come_back(store, &key(4)).await;
    large_batches_go_through(store, &key(5)).await;
    partitions_and_tenants_are_apart(store, &key(6)).await;
}

async fn nothing_is_there_before_the_first_commit(store: &dyn WindowStore, key: &PartitionKey) {
    let (found, loaded) = store.read(key, &needs(&[1], &[(10, 7)])).await.expect("answers");
    assert_eq!((found, loaded), (None, Default::default()));
    store.clear(key).await.expect("clearing nothing is no error");
}

async fn what_is_committed_is_read(store: &dyn WindowStore, key: &PartitionKey) {
    begin(store, key).await;
    let asked = needs(&[1, 2, 3], &[(10, 7), (10, 9), (11, 7), (11, 8), (12, 7)]);
    let (found, loaded) = store.read(key, &asked).await.expect("answers");
    assert_eq!(found, Some(record(1)));
    assert_eq!(loaded.watermark, Some(NOW));
    assert_eq!(written(&loaded.live), written(&changes(&[(1, 0), (2, 1)], &[], &[]).live));
    assert_eq!(loaded.seen, BTreeSet::from([(10, 7), (11, 7)]));
    assert_eq!(loaded.hours, held(&[10, 11]));
    // Nothing but the record and the clock is read when nothing is asked for; a clock that is not told stays.
    let silent = Changes::default();
    assert!(store.commit(key, &record(1), &record(3), &silent).await.expect("answers"));
    let (found, loaded) = store.read(key, &Needs::default()).await.expect("answers");
    assert_eq!((found, loaded.watermark, loaded.live.len()), (Some(record(3)), Some(NOW), 0));
}

async fn a_moved_record_refuses(store: &dyn WindowStore, key: &PartitionKey) {
    begin(store, key).await;
    let others = [
        Record::default(),
        record(2),
        Record { output: 3, ..record(1) },
        Record { epoch: "other".to_owned(), ..record(1) },
    ];
    let change = changes(&[(1, 9), (5, 9)], &[(10, 99), (13, 1)], &[10]);
    for from in others {
        assert!(!store.commit(key, &from, &record(5), &change).await.expect("answers"), "{from:?}");
    }
    let (found, loaded) = store.read(key, &needs(&[1, 5], &[(10, 7), (10, 99)])).await.expect("answers");
    assert_eq!(found, Some(record(1)));
    assert_eq!(written(&loaded.live), written(&changes(&[(1, 0)], &[], &[]).live));
    assert_eq!((loaded.seen, loaded.hours), (BTreeSet::from([(10, 7)]), held(&[10, 11])));
}

async fn hours_that_are_given_up_are_gone(store: &dyn WindowStore, key: &PartitionKey) {
    begin(store, key).await;
    let later = changes(&[], &[(12, 1), (-3, 4)], &[10, 9]);
    assert!(store.commit(key, &record(1), &record(2), &later).await.expect("answers"));
    let (_, loaded) = store.read(key, &needs(&[], &[(10, 7), (11, 7), (12, 1), (-3, 4)])).await.expect("answers");
    assert_eq!(loaded.seen, BTreeSet::from([(11, 7), (12, 1), (-3, 4)]));
    assert_eq!(loaded.hours, held(&[-3, 11, 12]));
    // An hour may come back, and begins anew then.
    assert!(store.commit(key, &record(2), &record(3), &changes(&[], &[(10, 8)], &[])).await.expect("answers"));
    let (_, loaded) = store.read(key, &needs(&[], &[(10, 7), (10, 8)])).await.expect("answers");
    assert_eq!(loaded.seen, BTreeSet::from([(10, 8)]));
}

async fn what_is_cleared_does_not_come_back(store: &dyn WindowStore, key: &PartitionKey) {
    begin(store, key).await;
    store.clear(key).await.expect("answers");
    let asked = needs(&[1, 2], &[(10, 7), (11, 7)]);
    let (found, loaded) = store.read(key, &asked).await.expect("answers");
    assert_eq!((found, loaded), (None, Default::default()));
    // Nor with the next life of the partition.
    let other = changes(&[(2, 5)], &[(10, 8)], &[]);
    assert!(store.commit(key, &Record::default(), &record(7), &other).await.expect("answers"));
    let (found, loaded) = store.read(key, &asked).await.expect("answers");
    assert_eq!(found, Some(record(7)));
    assert_eq!(written(&loaded.live), written(&changes(&[(2, 5)], &[], &[]).live));
    assert_eq!((loaded.seen, loaded.hours), (BTreeSet::new(), held(&[10])));
}

async fn large_batches_go_through(store: &dyn WindowStore, key: &PartitionKey) {
    let states: Vec<(u64, i64)> = (0..4_000).map(|number| (u64::MAX - number, number as i64)).collect();
    let ids: Vec<(i64, u128)> = (0..20_000).map(|number| (number % 3, u128::MAX - number as u128)).collect();
    let all = changes(&states, &ids, &[]);
    assert!(store.commit(key, &Record::default(), &record(1), &all).await.expect("answers"));
    let principals: Vec<u64> = states.iter().map(|(principal, _)| *principal).chain([1]).collect();
    let mut asked = needs(&principals, &ids);
    asked.ids.entry(0).or_default().insert(5);
    let (_, loaded) = store.read(key, &asked).await.expect("answers");
    assert_eq!(written(&loaded.live), written(&all.live));
    assert_eq!(loaded.seen, ids.iter().copied().collect());
}

async fn partitions_and_tenants_are_apart(store: &dyn WindowStore, key: &PartitionKey) {
    begin(store, key).await;
    for other in [
        PartitionKey { partition: key.partition + 1, ..key.clone() },
        PartitionKey { tenant: "other".to_owned(), ..key.clone() },
    ] {
        let (found, loaded) = store.read(&other, &needs(&[1], &[(10, 7)])).await.expect("answers");
        assert_eq!((found, loaded), (None, Default::default()));
    }
}

/// Of many who commit from the same record, one wins, and what is read is the winner's alone.
async fn one_of_many_wins(stores: Vec<Arc<dyn WindowStore>>) {
    let key = key(9);
    let mut from = Record::default();
    for round in 1..=20_u64 {
        let mut racers = JoinSet::new();
        for (racer, store) in (0..).zip(&stores) {
            let (store, key, from) = (Arc::clone(store), key.clone(), from.clone());
            racers.spawn(async move {
                let to = Record { input: round, output: round * 100 + racer, epoch: String::new() };
                let own = changes(&[(1, racer as i64), (2, racer as i64)], &[(round as i64, u128::from(racer))], &[]);
                store.commit(&key, &from, &to, &own).await.expect("answers").then_some((to, racer))
            });
        }
        let winners: Vec<_> = racers.join_all().await.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1, "round {round}");
        let (to, racer) = winners[0].clone();
        let ids: Vec<_> = (0..stores.len() as u128).map(|id| (round as i64, id)).collect();
        let (found, loaded) = stores[0].read(&key, &needs(&[1, 2], &ids)).await.expect("answers");
        assert_eq!(found, Some(to.clone()));
        let own = changes(&[(1, racer as i64), (2, racer as i64)], &[], &[]);
        assert_eq!(written(&loaded.live), written(&own.live));
        assert_eq!(loaded.seen, BTreeSet::from([(round as i64, u128::from(racer))]));
        from = to;
    }
}

fn connect(urls: Vec<String>, cluster: bool) -> RedisStore {
    RedisStore::new(Servers { urls, cluster }, Arc::new(|| NOW)).expect("an address")
}

async fn raw(server: &Valkey) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(server.url()).expect("an address");
    client.get_multiplexed_async_connection().await.expect("answers")
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    let store = MemoryStore::default();
    contract(&store).await;
    one_of_many_wins((0..8).map(|_| Arc::new(store.clone()) as Arc<dyn WindowStore>).collect()).await;
}

#[tokio::test]
async fn a_server_keeps_the_contract() {
    let server = Valkey::start();
    contract(&connect(vec![server.url()], false)).await;
    let racers = (0..8).map(|_| Arc::new(connect(vec![server.url()], false)) as Arc<dyn WindowStore>);
    one_of_many_wins(racers.collect()).await;
}

#[tokio::test]
async fn a_cluster_keeps_the_contract() {
    let server = Valkey::with(&ValkeyOptions { cluster: true, ..ValkeyOptions::default() });
    let mut connection = raw(&server).await;
    let slots = redis::cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(0).arg(16_383).exec_async(&mut connection).await;
    // The harness may have done it already.
    drop(slots);
    let store = connect(vec![server.url()], true);
    while store.read(&key(0), &Needs::default()).await.is_err() {
        // A new cluster takes a moment to find itself whole.
        tokio::task::yield_now().await;
    }
    contract(&store).await;
}

#[tokio::test]
async fn damage_is_told_and_mended_by_clearing() {
    let server = Valkey::start();
    let mut connection = raw(&server).await;
    let store = connect(vec![server.url()], false);
    let asked = needs(&[1], &[(10, 7)]);
    let of = |name: &str| format!("tw:{{default.p000}}:{name}");
    let life = "1700000000000000";
    let damages: Vec<Vec<Vec<u8>>> = [
        vec!["SET".to_owned(), of("s:0000000000000001"), "x".to_owned()],
        vec!["SET".to_owned(), of("s:0000000000000001"), "\u{ff}".repeat(40)],
        vec!["HSET".to_owned(), of("record"), "input".to_owned(), "many".to_owned()],
        vec!["HDEL".to_owned(), of("record"), "life".to_owned()],
        vec!["HSET".to_owned(), of("record"), "life".to_owned(), "short".to_owned()],
        vec!["HSET".to_owned(), of("clock"), "watermark".to_owned(), "noon".to_owned()],
        vec!["HSET".to_owned(), of("clock"), "hx".to_owned(), String::new()],
        vec!["SET".to_owned(), of("clock"), "x".to_owned()],
        vec!["SET".to_owned(), of("record"), "x".to_owned()],
        vec!["SET".to_owned(), of("i:10"), "x".to_owned()],
    ]
    .into_iter()
    .map(|words| words.into_iter().map(String::into_bytes).collect())
    .collect();
    for words in damages {
        let shown = words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect::<Vec<_>>().join(" ");
        store.clear(&key(0)).await.expect("answers");
        begin(&store, &key(0)).await;
        let mut command = redis::Cmd::new();
        words.iter().for_each(|word| _ = command.arg(word.as_slice()));
        command.exec_async(&mut connection).await.expect("answers");
        let read = store.read(&key(0), &asked).await;
        assert!(matches!(read, Err(Error::Corrupt { .. })), "{shown}: {read:?}");
    }
    // Behind an honest name of its life.
    store.clear(&key(0)).await.expect("answers");
    begin(&store, &key(0)).await;
    let held: String =
        redis::cmd("HGET").arg(of("record")).arg("life").query_async(&mut connection).await.expect("answers");
    assert_eq!(held.len(), life.len());
    let value = [held.as_bytes(), &[255; 40]].concat();
    redis::cmd("SET").arg(of("s:0000000000000001")).arg(value).exec_async(&mut connection).await.expect("answers");
    assert!(matches!(store.read(&key(0), &asked).await, Err(Error::Corrupt { .. })));
    // A commit that meets damage leaves nothing half done.
    redis::cmd("SET").arg(of("i:10")).arg("x").exec_async(&mut connection).await.expect("answers");
    let more = changes(&[(2, 9)], &[(10, 1)], &[]);
    let refused = store.commit(&key(0), &record(1), &record(2), &more).await;
    assert!(matches!(refused, Err(Error::Corrupt { .. })), "{refused:?}");
    let (found, loaded) = store.read(&key(0), &needs(&[2], &[])).await.expect("answers");
    assert_eq!((found, written(&loaded.live)), (Some(record(1)), written(&changes(&[(2, 1)], &[], &[]).live)));

    let twin = MemoryStore::default();
    begin(&twin, &key(0)).await;
    twin.damage(&key(0), 1, &[255; 40]);
    assert!(matches!(twin.read(&key(0), &asked).await, Err(Error::Corrupt { .. })));
    twin.clear(&key(0)).await.expect("answers");
    assert_eq!(twin.read(&key(0), &asked).await.expect("answers").0, None);
}

#[tokio::test]
async fn a_full_server_refuses_and_keeps_what_it_has() {
    let server = Valkey::start();
    let mut connection = raw(&server).await;
    let store = connect(vec![server.url()], false);
    begin(&store, &key(0)).await;
    redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg(1_000_000).exec_async(&mut connection).await.expect("answers");
    let more = changes(&[(1, 9)], &[(10, 1)], &[]);
    let refused = store.commit(&key(0), &record(1), &record(2), &more).await;
    assert!(matches!(refused, Err(Error::Unusable(_))), "{refused:?}");
    let (found, loaded) = store.read(&key(0), &needs(&[1], &[(10, 1)])).await.expect("answers");
    assert_eq!((found, loaded.seen), (Some(record(1)), BTreeSet::new()));
    assert_eq!(written(&loaded.live), written(&changes(&[(1, 0)], &[], &[]).live));
    let findings = store.check().await.expect("answers");
    assert!(findings.iter().any(|finding| !finding.good && finding.what.contains("MiB")), "{findings:?}");
}

#[tokio::test]
async fn a_copy_that_lags_shows_an_older_record() {
    let mut primary = Valkey::start();
    let copy = Valkey::with(&ValkeyOptions { replica_of: Some(primary.port()), ..ValkeyOptions::default() });
    copy.wait_for_copy();
    let store = connect(vec![copy.url(), primary.url()], false);
    begin(&store, &key(0)).await;
    let mut primary_raw = raw(&primary).await;
    let copied: u64 = redis::cmd("WAIT").arg(1).arg(0).query_async(&mut primary_raw).await.expect("answers");
    assert_eq!(copied, 1);
    // The copy stops following; what is committed from now on is lost with the primary.
    let mut copy_raw = raw(&copy).await;
    redis::cmd("REPLICAOF").arg("NO").arg("ONE").exec_async(&mut copy_raw).await.expect("answers");
    assert!(store.commit(&key(0), &record(1), &record(2), &changes(&[(1, 9)], &[], &[])).await.expect("answers"));
    primary.kill();
    let lost = store.read(&key(0), &Needs::default()).await;
    assert!(matches!(lost, Err(Error::Unavailable(_))), "{lost:?}");
    let (found, loaded) = store.read(&key(0), &needs(&[1], &[])).await.expect("the copy answers");
    assert_eq!(found, Some(record(1)));
    assert_eq!(written(&loaded.live), written(&changes(&[(1, 0)], &[], &[]).live));
    assert!(!store.commit(&key(0), &record(2), &record(3), &Changes::default()).await.expect("answers"));
    // Demoted to a copy under the store's hands, it is given up for another.
    redis::cmd("REPLICAOF").arg("127.0.0.1").arg(1).exec_async(&mut copy_raw).await.expect("answers");
    let refused = store.commit(&key(0), &record(1), &record(2), &Changes::default()).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
}

#[tokio::test]
async fn a_flushed_or_restarted_server_has_no_record() {
    let mut server = Valkey::start();
    let store = connect(vec![server.url()], false);
    begin(&store, &key(0)).await;
    redis::cmd("FLUSHALL").exec_async(&mut raw(&server).await).await.expect("answers");
    assert_eq!(store.read(&key(0), &Needs::default()).await.expect("answers").0, None);
    begin(&store, &key(0)).await;
    server.kill();
    assert!(matches!(store.read(&key(0), &Needs::default()).await, Err(Error::Unavailable(_))));
    server.restart();
    // Also the script is gone.
    begin(&store, &key(0)).await;
}

#[tokio::test]
async fn a_server_that_hangs_is_not_waited_for_without_end() {
    let server = Valkey::start();
    let store = connect(vec![server.url()], false);
    begin(&store, &key(0)).await;
    server.pause();
    let read = store.read(&key(0), &Needs::default()).await;
    assert!(matches!(read, Err(Error::Unavailable(_))), "{read:?}");
    server.resume();
    assert_eq!(store.read(&key(0), &Needs::default()).await.expect("answers").0, Some(record(1)));
}

#[tokio::test]
async fn a_check_up_says_what_to_mend() {
    let server =
        Valkey::with(&ValkeyOptions { maxmemory_policy: "allkeys-lru".to_owned(), ..ValkeyOptions::default() });
    let store = connect(vec![server.url()], true);
    let bad: Vec<_> = store.check().await.expect("answers").into_iter().filter(|finding| !finding.good).collect();
    let told = |words: &str| bad.iter().any(|finding| finding.what.contains(words) && !finding.fix.is_empty());
    // The store's clock stands still long ago.
    assert!(told("allkeys-lru") && told("cluster mode is off") && told("clock"), "{bad:?}");
    assert_eq!(bad.len(), 3, "{bad:?}");
    let gone = connect(vec!["redis://127.0.0.1:1".to_owned()], false).check().await;
    assert!(matches!(gone, Err(Error::Unavailable(_))), "{gone:?}");
    assert!(MemoryStore::default().check().await.expect("answers").iter().all(|finding| finding.good));
}
