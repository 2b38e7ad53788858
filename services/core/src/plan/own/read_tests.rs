use super::*;

const GOOD: &str = include_str!("../../../../../tests/fixtures/playbooks/lock_user.yml");
const KEY: &str = include_str!("../../../../../tests/fixtures/playbooks/retire_key.yml");

/// What is wrong with a file, a line each.
fn flaws(yaml: &str) -> Vec<String> {
    read(yaml).map_or_else(|flaws| flaws.iter().map(Flaw::to_string).collect(), |_| vec![])
}

#[test]
fn a_file_is_read_whole_and_every_part_has_its_place() {
    let draft = read(GOOD).expect("a playbook");
    let own = &draft.own;
    assert_eq!((own.name.as_str(), own.tier, own.lease_h), ("lock_user", Tier::T2, 12));
    assert_eq!(own.answers.target, ResourceKind::User);
    assert_eq!((own.answers.predicates.len(), own.answers.techniques.len()), (4, 2));
    assert_eq!(own.steps[0].with["Tags[0].Key"], Texts::One("security:case".to_owned()));
    let OwnUndo::Calls(undo) = &own.undo else { panic!("it has an undo") };
    assert_eq!(undo[1].with["TagKeys"], Texts::Many(vec!["security:case".to_owned()]));
    let line_of = |text: &str| GOOD.lines().position(|line| line.contains(text)).expect("there") as u64 + 1;
    assert_eq!(draft.place("tier").line, line_of("tier: T2"));
    assert_eq!(draft.place("steps.1.with.PolicyName").line, line_of("PolicyName: \"Locked"));
    assert!(draft.place("steps.1.with.PolicyName").column > 1);
    assert_eq!(draft.place("steps.1.with.Other").line, draft.place("steps.1.with").line);
    // It survives being carried in an action.
    let json = serde_json::to_string(own).expect("writes");
    assert_eq!(serde_json::from_str::<OwnPlaybook>(&json).expect("reads"), *own);
    assert_eq!(own.digest().len(), 64);
    assert_ne!(read(&GOOD.replace("12", "13")).expect("a playbook").own.digest(), own.digest());
    assert_eq!(read(KEY).expect("a playbook").own.lease_h, LEASE_H_DEFAULT);
}

#[test]
fn what_is_wrong_is_said_by_its_line_with_how_to_mend_it() {
    for (from, to, below, says) in [
        ("name: lock_user", "name: Lock-User", 0, "`name` is 3 to 64 lower-case"),
        ("name: lock_user", "name: isolate_ec2", 0, "is a built-in playbook"),
        ("tier: T2", "tier: T0", 0, "`tier` is T1"),
        ("tier: T2", "tire: T2", 0, "is no key of a playbook; is it `tier`"),
        ("lease_h: 12", "lease_h: 169", 0, "from 1 to 168"),
        ("target: user", "target: users", 0, "`target` is one of user, role"),
        ("privilege_grant", "privilege_grants", 0, "the nearest are privilege_grant"),
        ("T1136.003", "T1136.3", 0, "is written T1098 or T1098.001"),
        ("severity: high", "severity: grave", 0, "`severity` is"),
        ("call: iam TagUser", "call: TagUser", 0, "a service and an operation"),
        ("\"${target}\", \"Tags[0].Key\"", "\"${user}\", \"Tags[0].Key\"", 0, "there is no such slot"),
        ("at: PolicyDocument", "at: PolicyDocument[?x]", 0, "member names joined by dots"),
        ("\"Locked-${case}\"\n      PolicyDocument", "{a: {b: c}}\n      PolicyDocument", 0, "named by its place"),
        ("\"Locked-${case}\"\n      PolicyDocument", "\"x${kept.user}\"\n      PolicyDocument", 0, "stands alone"),
        (
            "\"Locked-${case}\"\n      PolicyDocument",
            "\"${kept.user}\"\n      PolicyDocument",
            -3,
            "nothing keeps `user`",
        ),
        ("\"Locked-${case}\"\n      PolicyDocument", "\"a\\u202eb\"\n      PolicyDocument", 0, "does not show"),
    ] {
        let before = GOOD.split_once(from).unwrap_or_else(|| panic!("{from}")).0;
        let line = before.matches('\n').count() as i64 + 1 + below;
        let found = flaws(&GOOD.replacen(from, to, 1));
        let is_told = found.iter().any(|flaw| flaw.starts_with(&format!("line {line}, ")) && flaw.contains(says));
        assert!(is_told, "{to}: {found:#?}");
    }
    // Several at once, in the order of the file.
    let found = flaws(&GOOD.replace("tier: T2", "tier: T9").replace("lease_h: 12", "lease_h: no"));
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].contains("`tier`") && found[1].contains("`lease_h`"), "{found:#?}");
    let missing = flaws("name: abc");
    assert!(missing.iter().any(|flaw| flaw.contains("`undo` is missing")), "{missing:#?}");
}

#[test]
fn what_has_no_undo_says_why_and_is_no_narrow_step() {
    let (head, _) = GOOD.split_once("undo:").expect("it has one");
    let with = |tail: &str| flaws(&format!("{head}{tail}"));
    assert_eq!(with("undo: none\nno_undo_because: it restores what was\n"), [""; 0]);
    assert!(with("undo: none\n")[0].contains("wants a reason"));
    assert!(with("undo: []\n")[0].contains("or is none"));
    let narrow = format!("{head}undo: none\nno_undo_because: so\n").replace("tier: T2", "tier: T1");
    assert!(flaws(&narrow)[0].contains("T2 at least"));
    let both = format!("{GOOD}no_undo_because: so\n");
    assert!(flaws(&both)[0].contains("goes with `undo: none`"));
}

#[test]
fn hostile_files_are_refused_within_bounds() {
    let deep = format!("name: {}{}", "[".repeat(100), "]".repeat(100));
    let bomb = "a: &a [x,x,x,x]\nb: [*a,*a,*a]\n";
    let wide = format!("notes: [{}]", "x,".repeat(10_000));
    let large = "#".repeat(FILE_BYTES_MAX + 1);
    let many = format!("name: abc\nsteps: [{}]", "{call: iam TagUser},".repeat(9));
    for yaml in [
        &deep,
        bomb,
        &wide,
        &large,
        &many,
        "",
        "[]",
        "name: 1\nname: 2",
        "a: [",
        "--- \na: 1\n---\nb: 2",
        "x: &x 1\ny:\n  <<: *x",
    ] {
        let found = flaws(yaml);
        assert!(!found.is_empty() && found.len() <= FLAWS_MAX, "{:.40}: {found:?}", yaml);
        assert!(found.iter().all(|flaw| flaw.len() < 2_000), "{found:?}");
    }
    let long = GOOD
        .replace("Locked-${case}\"\n      PolicyDocument", &format!("{}\"\n      PolicyDocument", "a".repeat(5_000)));
    assert!(flaws(&long)[0].contains("at most 4096 bytes"), "{:?}", flaws(&long));
}
