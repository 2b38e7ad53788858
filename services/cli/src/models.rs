//! The model that the council asks, as the configuration names it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use trailwarden_bus::Bus;
use trailwarden_council::panel::{self, Account, Panel};
use trailwarden_models::{
    Access, Client, Credentials, Distant, Gateway, Kind, Limits, Model, Output as Held, Pinned, Policy, Price,
    Provider as Way, Runner, Secret, Service, ToolChoice, Transport, Vote, Voter,
};
use trailwarden_runtime::Clock;

use crate::config::{Council, Output, Provider};

/// Bytes of a local model's file. About as much memory is held.
const LOCAL_BYTES_MAX: u64 = 4 << 30;
/// How long a model may take to be fetched. Cases are judged without it meanwhile.
const FETCH_MAX: Duration = Duration::from_secs(3_600);

/// Before it is tried again, doubled each time.
const FETCH_PAUSE: Duration = Duration::from_secs(5);
const FETCH_PAUSE_MAX: Duration = Duration::from_secs(3_600);

/// What keeps a model from being asked. All of it is the operator's to mend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("`council.{since}` is set, so `council.{key}` must be")]
    Missing { since: &'static str, key: &'static str },
    #[error("the environment variable {name}, which `council.{by}` names, is not set or is no text")]
    Variable { name: String, by: &'static str },
    #[error(transparent)]
    Client(#[from] trailwarden_models::Error),
}

/// What a panel works with besides the configuration.
pub struct Surroundings<'a> {
    pub tenant: &'a str,
    pub environment: &'a [(OsString, OsString)],
    pub clock: &'a Clock,
    /// Keeps what a day has cost; `None` where nobody else asks and nothing is to be kept.
    pub bus: Option<Arc<dyn Bus>>,
}

/// The panel of a tenant; `None` where no model is configured. Nothing is sent yet, but to fetch a local model.
///
/// # Errors
/// See [`Error`].
pub async fn panel(own: &Council, surroundings: Surroundings<'_>) -> Result<Option<Panel>, Error> {
    let local = local(own).await?.map(Arc::new);
    let limits = panel::Limits::default();
    let Some(provider) = own.provider else {
        return Ok(local.map(|local| Panel::of_local(local, own.ask_from, limits)));
    };
    let (price, a_day) = (price(own)?, a_day(own)?);
    let model = distant(own, provider, price.unwrap_or_default(), a_day, &surroundings)?;
    let mut panel = Panel::new(model, &own.roles, own.ask_from, limits);
    if let Some(price) = price {
        panel = panel.priced(price);
    }
    if let Some(bus) = surroundings.bus {
        let clock = Arc::clone(surroundings.clock);
        panel = panel.with_account(Account::new(bus, surroundings.tenant, a_day, price.unwrap_or_default(), clock));
    }
    Ok(Some(match local {
        Some(local) => panel.with_local(local),
        None => panel,
    }))
}

/// The model at a service, behind its gateway.
fn distant(
    own: &Council,
    provider: Provider,
    price: Price,
    a_day: Limits,
    surroundings: &Surroundings<'_>,
) -> Result<Arc<dyn Model>, Error> {
    let model = own.model.clone().ok_or(Error::Missing { since: "provider", key: "model" })?;
    let (provider, base) = way(own, provider, &model, surroundings.environment)?;
    let name = model.clone();
    let service = Service { provider, base, model, temperature: None };
    let transport = Transport::new(trailwarden_models::Bounds::default()).map_err(trailwarden_models::Error::from)?;
    let client = Client::new(name, service, transport, Arc::clone(surroundings.clock))?;
    let policy = Policy {
        requests_a_minute: own.requests_a_minute,
        // The day's budget is what bounds them.
        tokens_a_minute: own.tokens_a_day,
        a_day,
        price,
        ..Policy::default()
    };
    let gateway = Arc::new(Gateway::new(Arc::new(client), policy, Arc::clone(surroundings.clock)));
    Ok(Arc::new(gateway.of_tenant(surroundings.tenant)))
}

/// `None` where no price is set; one alone would count half.
fn price(own: &Council) -> Result<Option<Price>, Error> {
    let missing = |since, key| Error::Missing { since, key };
    match (own.price_input, own.price_output) {
        (Some(read), Some(written)) => Ok(Some(Price {
            input_micro_dollars_a_million: micro_dollars(read),
            output_micro_dollars_a_million: micro_dollars(written),
        })),
        (Some(_), None) => Err(missing("price_input", "price_output")),
        (None, Some(_)) => Err(missing("price_output", "price_input")),
        (None, None) if own.dollars_a_day.is_some() => Err(missing("dollars_a_day", "price_input")),
        (None, None) => Ok(None),
    }
}

fn a_day(own: &Council) -> Result<Limits, Error> {
    Ok(Limits { tokens: own.tokens_a_day, micro_dollars: own.dollars_a_day.map_or(u64::MAX, micro_dollars) })
}

/// Of dollars within the configuration's bounds.
fn micro_dollars(dollars: f64) -> u64 {
    (dollars * 1e6).round() as u64
}

/// The local model, if one is named: loaded where it is a file; on its way where it is an address.
async fn local(own: &Council) -> Result<Option<Voter>, Error> {
    let Some(place) = own.local_model.clone() else {
        return Ok(None);
    };
    let sha256 = own.local_sha256.clone().ok_or(Error::Missing { since: "local_model", key: "local_sha256" })?;
    let is_distant = place.contains("://");
    // What it is called must not change with the folder it lies in.
    let file = place.rsplit(['/', '\\']).next().unwrap_or(&place);
    let file = file.split(['?', '#']).next().unwrap_or(file).trim_end_matches(".gguf");
    let name = format!("local:{file}@{}", sha256.get(..8).unwrap_or(&sha256).to_ascii_lowercase());
    if !is_distant {
        let vote = loaded(Pinned { path: PathBuf::from(place), sha256, bytes_max: LOCAL_BYTES_MAX }).await?;
        return Ok(Some(Voter::new(name, vote)));
    }
    let voter = Voter::awaited(name);
    let (folder, given) = (own.local_folder.clone(), voter.clone());
    let distant = Distant { url: place, sha256: sha256.clone(), bytes_max: LOCAL_BYTES_MAX, folder };
    distant.check()?;
    // Cases are judged without it until it is there.
    tokio::spawn(async move {
        match brought(&distant, sha256, FETCH_PAUSE).await {
            Ok(vote) => {
                given.give(vote);
                tracing::info!("the local model is there");
            }
            Err(error) => tracing::error!(%error, "the local model is not there; cases are judged without it"),
        }
    });
    Ok(Some(voter))
}

/// Fetches and loads a model; tries again after a pause, later and later, for as long as that can help.
async fn brought(distant: &Distant, sha256: String, mut pause: Duration) -> Result<Vote, trailwarden_models::Error> {
    let path = loop {
        match distant.fetched(FETCH_MAX).await {
            Ok(path) => break path,
            // Another file, or no room for it: the same comes again.
            Err(error) if matches!(error.kind(), Kind::Local | Kind::Configuration) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, pause_s = pause.as_secs(), "the local model could not be fetched yet");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(FETCH_PAUSE_MAX);
            }
        }
    };
    loaded(Pinned { path, sha256, bytes_max: LOCAL_BYTES_MAX }).await
}

/// Reads a file of gigabytes, so it has a thread of its own.
async fn loaded(pinned: Pinned) -> Result<Vote, trailwarden_models::Error> {
    let load = move || Vote::new(Arc::new(Runner::load(&pinned)?), &panel::local_form());
    let died = |_| trailwarden_models::Error::Local("loading it died".to_owned());
    tokio::task::spawn_blocking(load).await.map_err(died)?
}

/// What a variable holds, where the configuration names one.
fn variable(
    name: Option<&String>,
    by: &'static str,
    environment: &[(OsString, OsString)],
) -> Result<Option<String>, Error> {
    let Some(name) = name else {
        return Ok(None);
    };
    let held = environment.iter().find(|(known, _)| known == name.as_str()).and_then(|(_, value)| value.to_str());
    let held = held.map(str::trim).filter(|value| !value.is_empty());
    held.map(|value| Some(value.to_owned())).ok_or_else(|| Error::Variable { name: name.clone(), by })
}

/// How the service is spoken to, and where.
fn way(
    own: &Council,
    provider: Provider,
    model: &str,
    environment: &[(OsString, OsString)],
) -> Result<(Way, String), Error> {
    let key = variable(own.key_variable.as_ref(), "key_variable", environment)?.map(Secret::new);
    let missing = |key| Error::Missing { since: "provider", key };
    let needed = |key: Option<Secret>| key.ok_or_else(|| missing("key_variable"));
    let at = |usual: &str| own.url.clone().unwrap_or_else(|| usual.to_owned());
    Ok(match provider {
        Provider::OpenAi => {
            let base = at("https://api.openai.com");
            let output = match own.output {
                Output::Tool => Held::Tool,
                Output::Schema if base.starts_with("https://api.openai.com") => Held::SchemaOfOpenAi,
                Output::Schema => Held::Schema,
            };
            (Way::OpenAi { key, output }, base)
        }
        // Its own API never sends a schema, that of OpenAI does.
        Provider::Ollama => {
            let output = if own.output == Output::Tool { Held::Tool } else { Held::Schema };
            (Way::OpenAi { key, output }, at("http://127.0.0.1:11434"))
        }
        Provider::Anthropic => (Way::Anthropic { key: needed(key)? }, at("https://api.anthropic.com")),
        Provider::Gemini => (Way::Gemini { key: needed(key)? }, at("https://generativelanguage.googleapis.com")),
        Provider::Bedrock => {
            let region = own.region.clone().ok_or_else(|| missing("region"))?;
            let base = at(&format!("https://bedrock-runtime.{region}.amazonaws.com"));
            let has = |words: &[&str]| words.iter().any(|word| model.contains(word));
            let tool_choice = match () {
                () if has(&["anthropic.", "amazon.nova"]) => ToolChoice::Named,
                () if has(&["mistral."]) => ToolChoice::Any,
                () => ToolChoice::Auto,
            };
            let access = match key {
                Some(key) => Access::Bearer(key),
                None => Access::Signed(signed(own, environment)?),
            };
            (Way::Bedrock { region, access, tool_choice }, base)
        }
    })
}

/// The AWS key that a request to Bedrock is signed with.
fn signed(own: &Council, environment: &[(OsString, OsString)]) -> Result<Credentials, Error> {
    let of = |name: &Option<String>, by| variable(name.as_ref(), by, environment);
    let access_key_id = of(&own.access_key_variable, "access_key_variable")?;
    let secret = of(&own.secret_key_variable, "secret_key_variable")?;
    let missing = |since, key| Error::Missing { since, key };
    Ok(Credentials {
        access_key_id: access_key_id
            .ok_or_else(|| missing("provider", "key_variable` or `council.access_key_variable"))?,
        secret_access_key: secret
            .map(Secret::new)
            .ok_or_else(|| missing("access_key_variable", "secret_key_variable"))?,
        session_token: of(&own.session_token_variable, "session_token_variable")?.map(Secret::new),
    })
}

#[cfg(test)]
mod tests;
