//! Stretches of work that attacks have in common with honest jobs: looking around, carrying data off, changing
//! many things of one sort. Whoever acts, the calls are the same.

use rand::RngExt;

use super::actor::Actor;
use super::vocabulary::{Make, audit, compute, data, edge, functions, identity, one, storage, vault};

/// Who is there and may do what.
pub(in crate::generate) const PEOPLE: &[Make] = &[
    identity::caller_identity,
    identity::list_users,
    identity::list_roles,
    identity::list_groups,
    identity::account_summary,
    identity::account_aliases,
    identity::local_policies,
    identity::access_keys,
    identity::user_policies,
    identity::inline_user_policies,
    identity::user_groups,
    identity::mfa_devices,
    identity::get_user,
    identity::get_role,
    identity::role_policies,
    identity::inline_role_policies,
    identity::policy_version,
    identity::password_policy,
    identity::authorization_details,
    identity::simulate,
    identity::own_user,
    identity::login_profile,
    identity::saml_providers,
    identity::openid_providers,
    identity::credential_report,
    identity::generate_credential_report,
];

/// What stands in the account.
pub(in crate::generate) const THINGS: &[Make] = &[
    compute::regions,
    compute::instances,
    compute::vpcs,
    compute::subnets,
    compute::security_groups,
    compute::key_pairs,
    compute::volumes,
    compute::snapshots,
    compute::images,
    compute::addresses,
    compute::account_attributes,
    compute::clusters,
    compute::kubernetes_clusters,
    compute::describe_repositories,
    compute::stacks,
    compute::build_projects,
    compute::code_repositories,
    compute::quotas,
    compute::user_data,
    functions::list_functions,
    functions::get_function,
    functions::function_configuration,
    functions::list_rules,
    data::list_tables,
    data::list_db_instances,
    data::list_db_clusters,
    storage::list_buckets,
    vault::list_secrets,
    vault::describe_parameters,
    edge::topics,
    edge::hosted_zones,
];

/// How the account is watched.
pub(in crate::generate) const WATCH: &[Make] = &[
    audit::trails,
    audit::trail_status,
    audit::event_selectors,
    audit::detectors,
    audit::detector,
    audit::recorders,
    audit::security_hub,
    audit::alarms,
    audit::log_groups,
    audit::analyzers,
    audit::findings,
];

/// The organisation above the account.
pub(in crate::generate) const ORGANISATION: &[Make] = &[
    identity::describe_organization,
    identity::organization_accounts,
    identity::organization_roots,
    identity::organization_children,
    identity::organization_policies,
    identity::describe_account,
    identity::delegated_administrators,
    identity::sso_instances,
    identity::permission_sets,
    identity::account_assignments,
    identity::contact_information,
    identity::account_regions,
];

/// A bucket's settings, one question a bucket.
pub(in crate::generate) const BUCKETS: &[Make] = &[
    storage::list_buckets,
    storage::bucket_location,
    storage::bucket_question,
    storage::bucket_question,
    storage::bucket_question,
];

pub(in crate::generate) fn look_at_people(actor: &mut Actor<'_, '_>, most: u32) {
    actor.step("T1087.004");
    actor.survey(PEOPLE, most);
}

pub(in crate::generate) fn look_at_things(actor: &mut Actor<'_, '_>, most: u32) {
    actor.step("T1580");
    actor.survey(THINGS, most);
}

pub(in crate::generate) fn look_at_watch(actor: &mut Actor<'_, '_>, most: u32) {
    actor.step("T1526");
    actor.survey(WATCH, most);
}

/// Looks for buckets and reads a share of the calls' worth of objects out of one to three of them.
pub(in crate::generate) fn read_buckets(actor: &mut Actor<'_, '_>, share: f64) {
    actor.step("T1619");
    actor.maybe(0.7, storage::list_buckets);
    actor.survey(BUCKETS, 6);
    let buckets = if actor.is_small() { 1 } else { actor.script.rng().random_range(1..4) };
    for left in (1..=buckets).rev() {
        let bucket = actor.name(|account| &account.buckets);
        actor.step("T1619");
        actor.call(|account, rng| storage::list_objects(account, rng, &bucket));
        actor.step("T1530");
        actor.fill(share / f64::from(left), |account, rng| {
            let key = storage::object_key(rng);
            match rng.random_range(0..30) {
                0 => storage::list_objects(account, rng, &bucket),
                1 => storage::head_object(account, rng, &bucket, &key),
                _ => storage::get_object(account, rng, &bucket, &key),
            }
        });
    }
}

/// Reads secrets and parameters.
pub(in crate::generate) fn read_secrets(actor: &mut Actor<'_, '_>, share: f64) {
    actor.step("T1555.006");
    let with_parameters = actor.chance(0.5);
    actor.call(if with_parameters { vault::describe_parameters } else { vault::list_secrets });
    actor.fill(share, |account, rng| match rng.random_range(0..20) {
        0 => vault::describe_secret(account, rng),
        1 => vault::decrypt(account, rng),
        2 => vault::parameters_by_path(account, rng),
        3..9 if with_parameters => vault::parameter(account, rng),
        9..12 if with_parameters => vault::parameters(account, rng),
        _ => vault::secret_value(account, rng),
    });
}

/// Reads tables item by item or page by page.
pub(in crate::generate) fn read_tables(actor: &mut Actor<'_, '_>, share: f64) {
    actor.step("T1580");
    actor.maybe(0.8, data::list_tables);
    actor.survey(&[data::describe_table, data::describe_table, data::catalogue_databases, data::catalogue_tables], 3);
    actor.step("T1213");
    let table = actor.name(|account| &account.tables);
    if actor.chance(0.15) {
        // Through a bucket instead.
        let bucket = actor.name(|account| &account.buckets);
        actor.call(|account, rng| data::export_table(account, rng, &table, &bucket));
        read_buckets(actor, share);
        return;
    }
    let by_page = actor.chance(0.5);
    actor.fill(share, |account, rng| match rng.random_range(0..10) {
        0 => data::query(account, rng, &table),
        1..8 if by_page => data::scan(account, rng, &table),
        1..5 => data::batch_get_item(account, rng, &table),
        _ => data::get_item(account, rng, &table),
    });
}

/// Asks the lake by query and fetches the answers.
pub(in crate::generate) fn query_lake(actor: &mut Actor<'_, '_>, share: f64) {
    actor.step("T1213");
    actor.survey(&[data::work_groups, data::catalogue_databases, data::catalogue_tables], 3);
    actor.rounds(share, 4, |actor| {
        actor.quick(data::start_query);
        actor.quick(data::query_state);
        actor.quick(data::query_results);
        actor.quick(data::query_results);
    });
}

/// Sends mail from the account's identities.
pub(in crate::generate) fn send_mail(actor: &mut Actor<'_, '_>, share: f64) {
    let identity = edge::domain(actor.script.rng());
    actor.step("T1496");
    actor.fill(share, |account, rng| match rng.random_range(0..25) {
        0 => edge::send_quota(account, rng),
        1 => edge::publish(account, rng),
        _ => edge::send_mail(account, rng, &identity),
    });
}

/// Asks hosted language models.
pub(in crate::generate) fn ask_models(actor: &mut Actor<'_, '_>, share: f64) {
    actor.step("T1496");
    let ways: [Make; 3] = [functions::invoke_model, functions::stream_model, functions::converse];
    let way = one(&ways, actor.script.rng());
    actor.fill(
        share,
        move |account, rng| if rng.random_bool(0.85) { way(account, rng) } else { one(&ways, rng)(account, rng) },
    );
}

/// Starts instances, here and in the account's other regions.
pub(in crate::generate) fn start_instances(actor: &mut Actor<'_, '_>, share: f64, kinds: &[&str]) {
    actor.step("T1578.002");
    actor.maybe(0.5, compute::key_pair);
    actor.maybe(0.5, compute::security_group);
    let source = actor.session.source.clone();
    actor.maybe(0.4, |account, rng| compute::open_port(account, rng, &source));
    actor.step("T1496");
    let kind = one(kinds, actor.script.rng());
    actor.fill(share, |account, rng| {
        let region = account.region(rng);
        let call = match rng.random_range(0..13) {
            0 => compute::instances(account, rng),
            1 => compute::images(account, rng),
            2 => compute::subnets(account, rng),
            3 => compute::security_groups(account, rng),
            4..8 => compute::instances(account, rng),
            8 => compute::regions(account, rng),
            _ => compute::run_instances(account, rng, kind),
        };
        call.in_region(region)
    });
}

/// Runs containers.
pub(in crate::generate) fn run_containers(actor: &mut Actor<'_, '_>, share: f64) {
    actor.step("T1610");
    actor.maybe(0.5, compute::create_cluster);
    actor.call(compute::task_definition);
    actor.fill(share, |account, rng| match rng.random_range(0..10) {
        0 => compute::task_definition(account, rng),
        1 => compute::create_service(account, rng),
        2 | 3 => compute::describe_tasks(account, rng),
        _ => compute::run_task(account, rng),
    });
}

/// Runs commands on the fleet and reads what they say.
pub(in crate::generate) fn command_fleet(actor: &mut Actor<'_, '_>, share: f64) {
    actor.step("T1651");
    actor.call(compute::managed_instances);
    actor.rounds(share, 3, |actor| {
        let by_hand = actor.chance(0.2);
        actor.quick(if by_hand { compute::shell_session } else { compute::send_command });
        actor.quick(compute::command_result);
        actor.quick(if by_hand { compute::instances } else { compute::command_invocations });
    });
}

/// Reads the code: functions, images, repositories.
pub(in crate::generate) fn read_code(actor: &mut Actor<'_, '_>, share: f64) {
    actor.step("T1213.003");
    actor.survey(
        &[
            functions::list_functions,
            compute::describe_repositories,
            compute::code_repositories,
            compute::registry_token,
        ],
        3,
    );
    let images = actor.chance(0.5);
    actor.fill(share, |account, rng| match rng.random_range(0..8) {
        0 => compute::repository_pull(account, rng),
        1 => functions::function_configuration(account, rng),
        2 if images => compute::batch_get_image(account, rng),
        3..8 if images => compute::image_layer(account, rng),
        _ => functions::get_function(account, rng),
    });
}

/// Reads logs for what they give away.
pub(in crate::generate) fn read_logs(actor: &mut Actor<'_, '_>, share: f64) {
    actor.step("T1654");
    actor.call(audit::log_groups);
    actor.fill(share, |account, rng| match rng.random_range(0..6) {
        0 => audit::log_streams(account, rng),
        1 => audit::log_query(account, rng),
        2 => audit::lookup_events(account, rng),
        _ => audit::filter_log_events(account, rng),
    });
}

/// Reads snapshots block by block.
pub(in crate::generate) fn read_snapshots(actor: &mut Actor<'_, '_>, share: f64) {
    actor.step("T1530");
    actor.call(compute::snapshots);
    actor.fill(share, |account, rng| {
        if rng.random_bool(0.06) {
            compute::snapshot_blocks(account, rng)
        } else {
            compute::snapshot_block(account, rng)
        }
    });
}

/// Has a bucket copied to another account, by rule and by hand.
pub(in crate::generate) fn replicate_bucket(actor: &mut Actor<'_, '_>, share: f64, target: &str) {
    let bucket = actor.name(|account| &account.buckets);
    let copy = format!(
        "{}-{}",
        super::vocabulary::new_name(actor.script.rng()).replace('_', "-"),
        super::vocabulary::hex(actor.script.rng(), 6)
    );
    actor.step("T1619");
    actor.call(|account, rng| storage::bucket_versioning(account, rng, &bucket));
    actor.step("T1537");
    actor.maybe(0.5, |account, rng| storage::versioning(account, rng, &bucket, "Enabled"));
    if actor.chance(0.5) {
        actor.call(|account, rng| storage::replication(account, rng, &bucket, &copy));
    } else {
        actor.maybe(0.5, |account, rng| storage::bucket_policy(account, rng, &bucket, target));
    }
    actor.fill(share, |account, rng| {
        let key = storage::object_key(rng);
        match rng.random_range(0..12) {
            0 => storage::list_objects(account, rng, &bucket),
            1 | 2 => storage::head_object(account, rng, &bucket, &key),
            _ => storage::copy_object(account, rng, &copy, &key, &bucket),
        }
    });
}

/// Rewrites the objects of a bucket under a key that the caller alone holds.
pub(in crate::generate) fn rewrite_objects(actor: &mut Actor<'_, '_>, share: f64) {
    let bucket = actor.name(|account| &account.buckets);
    actor.step("T1619");
    actor.call(|account, rng| storage::list_objects(account, rng, &bucket));
    actor.maybe(0.5, |account, rng| storage::bucket_versioning(account, rng, &bucket));
    actor.step("T1486");
    actor.rounds(share, 2, |actor| {
        let key = storage::object_key(actor.script.rng());
        actor.quick(|account, rng| storage::head_object(account, rng, &bucket, &key));
        actor.quick(|account, rng| storage::copy_with_own_key(account, rng, &bucket, &key));
    });
}

/// Empties a bucket, with or without a copy of each object taken first.
pub(in crate::generate) fn empty_bucket(actor: &mut Actor<'_, '_>, share: f64) {
    let bucket = actor.name(|account| &account.buckets);
    actor.step("T1619");
    actor.call(|account, rng| storage::list_objects(account, rng, &bucket));
    actor.maybe(0.5, |account, rng| storage::bucket_versioning(account, rng, &bucket));
    let with_copy = actor.chance(0.5);
    actor.step("T1485");
    actor.rounds(share, 2, |actor| {
        let key = storage::object_key(actor.script.rng());
        actor.quick(|account, rng| {
            if with_copy {
                storage::get_object(account, rng, &bucket, &key)
            } else {
                storage::delete_object(account, rng, &bucket, &key)
            }
        });
        let many = actor.chance(0.1);
        actor.quick(|account, rng| {
            if many {
                storage::delete_objects(account, rng, &bucket)
            } else {
                storage::delete_object(account, rng, &bucket, &key)
            }
        });
    });
}
