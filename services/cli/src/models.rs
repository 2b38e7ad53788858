//! The model that the council asks, as the configuration names it.

use std::ffi::OsString;
use std::sync::Arc;

use trailwarden_council::panel::{self, Panel};
use trailwarden_models::{
    Access, Client, Gateway, Limits, Output as Held, Policy, Provider as Way, Secret, Service, ToolChoice, Transport,
};
use trailwarden_runtime::Clock;

use crate::config::{Council, Output, Provider};

/// What keeps a model from being asked. All of it is the operator's to mend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("`council.provider` is set, so `council.{key}` must be")]
    Missing { key: &'static str },
    #[error("the environment variable {name}, which `council.key_variable` names, is not set or is no text")]
    Key { name: String },
    #[error(transparent)]
    Client(#[from] trailwarden_models::Error),
}

/// The panel of a tenant; `None` without a provider. Nothing is sent yet.
///
/// # Errors
/// See [`Error`].
pub fn panel(
    own: &Council,
    tenant: &str,
    environment: &[(OsString, OsString)],
    clock: &Clock,
) -> Result<Option<Panel>, Error> {
    let Some(provider) = own.provider else {
        return Ok(None);
    };
    let model = own.model.clone().ok_or(Error::Missing { key: "model" })?;
    let key = own.key_variable.as_ref().map(|name| key(name, environment)).transpose()?;
    let (provider, base) = way(own, provider, &model, key)?;
    let name = model.clone();
    let service = Service { provider, base, model, temperature: None };
    let transport = Transport::new(trailwarden_models::Bounds::default()).map_err(trailwarden_models::Error::from)?;
    let client = Client::new(name, service, transport, Arc::clone(clock))?;
    let policy = Policy {
        requests_a_minute: own.requests_a_minute,
        // The day's budget is what bounds them.
        tokens_a_minute: own.tokens_a_day,
        a_day: Limits { tokens: own.tokens_a_day, ..Policy::default().a_day },
        ..Policy::default()
    };
    let gateway = Arc::new(Gateway::new(Arc::new(client), policy, Arc::clone(clock)));
    let model = Arc::new(gateway.of_tenant(tenant));
    Ok(Some(Panel::new(model, &own.roles, own.ask_from, panel::Limits::default())))
}

fn key(name: &str, environment: &[(OsString, OsString)]) -> Result<Secret, Error> {
    let held = environment.iter().find(|(known, _)| known == name).and_then(|(_, value)| value.to_str());
    let held = held.map(str::trim).filter(|value| !value.is_empty());
    held.map(Secret::new).ok_or_else(|| Error::Key { name: name.to_owned() })
}

/// How the service is spoken to, and where.
fn way(own: &Council, provider: Provider, model: &str, key: Option<Secret>) -> Result<(Way, String), Error> {
    let needed = |key: Option<Secret>| key.ok_or(Error::Missing { key: "key_variable" });
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
        Provider::Anthropic => (Way::Anthropic { key: needed(key)? }, at("https://api.anthropic.com")),
        Provider::Gemini => (Way::Gemini { key: needed(key)? }, at("https://generativelanguage.googleapis.com")),
        Provider::Bedrock => {
            let region = own.region.clone().ok_or(Error::Missing { key: "region" })?;
            let base = at(&format!("https://bedrock-runtime.{region}.amazonaws.com"));
            let has = |words: &[&str]| words.iter().any(|word| model.contains(word));
            let tool_choice = match () {
                () if has(&["anthropic.", "amazon.nova"]) => ToolChoice::Named,
                () if has(&["mistral."]) => ToolChoice::Any,
                () => ToolChoice::Auto,
            };
            (Way::Bedrock { region, access: Access::Bearer(needed(key)?), tool_choice }, base)
        }
    })
}

#[cfg(test)]
mod tests {
    use trailwarden_core::level::Severity;
    use trailwarden_core::negotiation::Role;
    use trailwarden_core::time::Timestamp;

    use super::*;

    fn made(own: &Council) -> Result<Option<Panel>, String> {
        let environment = [("KEY".into(), " k ".into()), ("EMPTY".into(), "".into())];
        let clock: Clock = Arc::new(|| Timestamp::from_millis(0));
        panel(own, "default", &environment, &clock).map_err(|error| error.to_string())
    }

    #[test]
    fn every_provider_is_asked_with_what_it_needs_and_says_what_is_missing() {
        assert!(made(&Council::default()).expect("nothing is wrong with none").is_none());
        let providers = [Provider::OpenAi, Provider::Anthropic, Provider::Bedrock, Provider::Gemini];
        for provider in providers {
            let whole = Council {
                provider: Some(provider),
                model: Some("m".into()),
                key_variable: Some("KEY".into()),
                region: Some("eu-west-1".into()),
                roles: [Role::Judge].into(),
                ..Council::default()
            };
            let panel = made(&whole).expect("all is there").expect("a panel");
            assert!(panel.is_asked(Severity::Medium) && !panel.is_asked(Severity::Low));
            assert!(panel.prompt_digest(Role::Judge).is_some() && panel.prompt_digest(Role::Sceptic).is_none());
            let says = |own: Council, word: &str| {
                let said = made(&own).expect_err("something is missing");
                assert!(said.contains(word), "{said}");
            };
            says(Council { model: None, ..whole.clone() }, "council.model");
            says(Council { key_variable: Some("EMPTY".into()), ..whole.clone() }, "EMPTY");
            says(Council { url: Some("http://models.example".into()), ..whole.clone() }, "http");
            if provider != Provider::OpenAi {
                says(Council { key_variable: None, ..whole.clone() }, "council.key_variable");
            }
            if provider == Provider::Bedrock {
                says(Council { region: None, ..whole.clone() }, "council.region");
            }
        }
    }
}
