//! Credentials that leaked or were talked out of somebody, used for what they open.

use rand::RngExt;

use super::entry::{Prey, enter};
use super::phase;
use super::vocabulary::{audit, compute, edge, identity, one, storage, vault};
use super::{Campaign, Plan};
use crate::generate::script::Script;

pub(super) const FAMILIES: &[Campaign] = &[
    Campaign {
        family: "leaked_key_mail",
        source: "CISA and FBI advisory AA24-016A on Androxgh0st (January 2024): keys from .env files, mail quota checks, new users, spam",
        play: leaked_key_mail,
    },
    Campaign {
        family: "public_key_mining",
        source: "Unit 42, EleKtra-Leak (October 2023): keys from public repositories, instances started in every region within minutes",
        play: public_key_mining,
    },
    Campaign {
        family: "metadata_bucket_theft",
        source: "United States v. Thompson (2019): server-side request forgery to instance metadata, buckets of a bank listed and copied",
        play: metadata_bucket_theft,
    },
    Campaign {
        family: "repository_key_archive",
        source: "FTC v. Uber (breach of 2016): a key found in a private repository opened archives in a bucket",
        play: repository_key_archive,
    },
    Campaign {
        family: "env_file_extortion",
        source: "Unit 42 on large-scale extortion through exposed .env files (August 2024): new role, functions that scan, buckets emptied",
        play: env_file_extortion,
    },
    Campaign {
        family: "session_hijack_secrets",
        source: "Permiso on LUCR-3 and CISA AA23-320A on Scattered Spider (2023): help desk and single sign-on, console, secrets, buckets",
        play: session_hijack_secrets,
    },
    Campaign {
        family: "git_config_harvest",
        source: "Sysdig, EMERALDWHALE (October 2024): credentials from exposed Git configurations, checked in bulk, storage and mail tried",
        play: git_config_harvest,
    },
];

fn leaked_key_mail(script: &mut Script<'_>, plan: &Plan) {
    let actor = &mut enter(script, plan, Prey::Application);
    actor.step("T1078.004");
    actor.maybe(0.7, identity::caller_identity);
    actor.step("T1526");
    actor.survey(
        &[
            edge::send_quota,
            edge::sending_account,
            edge::send_statistics,
            edge::mail_identities,
            edge::mail_verification,
            edge::sms_attributes,
            edge::sms_sandbox,
            edge::topics,
        ],
        8,
    );
    if !actor.is_slow() && actor.chance(0.4) {
        actor.step("T1098");
        actor.maybe(0.5, edge::enable_sending);
        actor.maybe(0.6, edge::mail_account_details);
    }
    actor.step("T1583.001");
    actor.maybe(0.6, edge::create_mail_identity);
    actor.maybe(0.4, edge::verify_mail_identity);
    phase::send_mail(actor, 1.0);
    actor.script.innocent();
}

fn public_key_mining(script: &mut Script<'_>, plan: &Plan) {
    let prey = if script.rng().random_bool(0.5) { Prey::Person } else { Prey::Application };
    let actor = &mut enter(script, plan, prey);
    actor.step("T1580");
    actor.survey(
        &[
            compute::regions,
            compute::account_attributes,
            compute::instances,
            compute::quotas,
            compute::instance_types,
            compute::security_groups,
            compute::vpcs,
        ],
        7,
    );
    let kinds: &[&str] = if actor.is_slow() {
        &["t3.medium", "m5.large", "c5.large"]
    } else {
        &["c5.4xlarge", "m5.xlarge", "g4dn.xlarge", "c5a.24xlarge"]
    };
    if actor.chance(0.3) {
        actor.step("T1578.005");
        actor.call(compute::quota_increase);
    }
    phase::start_instances(actor, 1.0, kinds);
    actor.script.innocent();
}

fn metadata_bucket_theft(script: &mut Script<'_>, plan: &Plan) {
    let actor = &mut enter(script, plan, Prey::Machine);
    if actor.chance(0.5) {
        phase::look_at_people(actor, 3);
    }
    phase::read_buckets(actor, 1.0);
    actor.script.innocent();
}

fn repository_key_archive(script: &mut Script<'_>, plan: &Plan) {
    let actor = &mut enter(script, plan, Prey::Person);
    actor.step("T1078.004");
    actor.maybe(0.6, identity::caller_identity);
    if actor.chance(0.4) {
        phase::look_at_things(actor, 6);
    }
    phase::read_buckets(actor, 0.75);
    if actor.chance(0.5) {
        phase::read_tables(actor, 1.0);
    } else {
        phase::read_buckets(actor, 1.0);
    }
    actor.script.innocent();
}

fn env_file_extortion(script: &mut Script<'_>, plan: &Plan) {
    let actor = &mut enter(script, plan, Prey::Application);
    phase::look_at_people(actor, 6);
    actor.step("T1526");
    actor.survey(&[storage::list_buckets, edge::send_quota, compute::instances, vault::list_keys, audit::trails], 4);
    phase::read_buckets(actor, if actor.is_slow() { 1.0 } else { 0.6 });
    if !actor.is_slow() {
        phase::empty_bucket(actor, 1.0);
        actor.step("T1657");
        let bucket = actor.name(|account| &account.buckets);
        let key = one(&["README.txt", "NOTICE.txt", "index.txt"], actor.script.rng());
        actor.call(|account, rng| storage::put_object(account, rng, &bucket, key));
    }
    actor.script.innocent();
}

fn session_hijack_secrets(script: &mut Script<'_>, plan: &Plan) {
    let actor = &mut enter(script, plan, Prey::Person);
    if actor.chance(0.6) {
        phase::look_at_things(actor, 12);
    }
    if actor.chance(0.4) {
        phase::look_at_people(actor, 6);
    }
    if actor.chance(0.5) {
        phase::read_secrets(actor, 0.5);
        phase::read_buckets(actor, 1.0);
    } else {
        phase::read_buckets(actor, 0.4);
        phase::read_secrets(actor, 0.7);
        phase::read_code(actor, 1.0);
    }
    if actor.chance(0.3) {
        actor.step("T1654");
        actor.call(audit::lookup_events);
    }
    actor.script.innocent();
}

fn git_config_harvest(script: &mut Script<'_>, plan: &Plan) {
    let prey = if script.rng().random_bool(0.5) { Prey::Pipeline } else { Prey::Application };
    let actor = &mut enter(script, plan, prey);
    actor.step("T1078.004");
    actor.call(identity::caller_identity);
    actor.maybe(0.4, identity::user_policies);
    actor.step("T1526");
    actor.survey(
        &[storage::list_buckets, edge::send_quota, edge::mail_identities, vault::list_secrets, compute::regions],
        5,
    );
    if actor.chance(0.5) {
        phase::read_code(actor, 0.4);
    }
    phase::read_buckets(actor, 1.0);
    actor.script.innocent();
}
