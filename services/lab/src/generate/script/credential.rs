//! How credentials are got: keys, sign-ins, assumed roles, tokens.

use rand::RngExt;
use serde_json::{Value, json};

use super::{Identity, Script, Session, plain_role};
use crate::generate::call::Call;
use crate::generate::names::{self, stream, unique_id};
use crate::generate::network::Network;
use crate::generate::world::{Holder, Instance, Person, Role, User, UserKind};
use crate::generate::{agent, record};

impl Script<'_> {
    /// A user's long-term key.
    pub fn user(
        &mut self,
        account: usize,
        user: &User,
        source: impl Into<String>,
        agent: impl Into<String>,
    ) -> Session {
        Session {
            account,
            identity: Identity::User { name: user.name.clone(), id: user.id.clone() },
            key: user.keys.first().cloned().unwrap_or_default(),
            source: source.into(),
            agent: agent.into(),
            mfa: false,
            region: self.world.accounts[account].home(),
            issued_ms: self.now_ms,
            is_console: false,
            through_endpoint: false,
        }
    }

    /// The root user.
    pub fn root(&mut self, account: usize, source: impl Into<String>, agent: impl Into<String>) -> Session {
        Session {
            account,
            identity: Identity::Root,
            key: unique_id(&mut self.rng, "ASIA"),
            source: source.into(),
            agent: agent.into(),
            mfa: true,
            region: "us-east-1",
            issued_ms: self.now_ms,
            is_console: true,
            through_endpoint: false,
        }
    }

    /// A service on its own behalf.
    pub fn service(&mut self, account: usize, host: &'static str) -> Session {
        self.hosted(account, Identity::Service(host), host, String::new())
    }

    fn hosted(&self, account: usize, identity: Identity, host: &str, key: String) -> Session {
        Session {
            account,
            identity,
            key,
            source: host.to_owned(),
            agent: host.to_owned(),
            mfa: false,
            region: self.world.accounts[account].home(),
            issued_ms: self.now_ms,
            is_console: false,
            through_endpoint: false,
        }
    }

    /// A principal of an account outside the organisation, calling into this one.
    pub fn foreign(&mut self, account: usize, source: impl Into<String>, agent: impl Into<String>) -> Session {
        let (id, principal) = (names::account_id(&mut self.rng), unique_id(&mut self.rng, "AIDA"));
        Session {
            account,
            identity: Identity::ForeignAccount { id, principal },
            key: unique_id(&mut self.rng, "AKIA"),
            source: source.into(),
            agent: agent.into(),
            mfa: false,
            region: self.world.accounts[account].home(),
            issued_ms: self.now_ms,
            is_console: false,
            through_endpoint: false,
        }
    }

    /// A session of a role without any record of how it was got (the service that issued it writes none, or
    /// it was issued before).
    pub fn held(
        &mut self,
        role: &Role,
        session_name: &str,
        source: impl Into<String>,
        agent: impl Into<String>,
    ) -> Session {
        let back = self.rng.random_range(1_000..3_000_000);
        Session {
            account: role.account,
            identity: plain_role(role, session_name),
            key: unique_id(&mut self.rng, "ASIA"),
            source: source.into(),
            agent: agent.into(),
            mfa: false,
            region: self.world.accounts[role.account].home(),
            issued_ms: self.now_ms - back,
            is_console: false,
            through_endpoint: false,
        }
    }

    /// Writes sts:AssumeRole in the caller's account, and its copy in the role's account where that is another;
    /// returns the session issued, with the caller's source and agent.
    pub fn assume_role(&mut self, by: &Session, role: &Role, session_name: &str) -> Session {
        let key = unique_id(&mut self.rng, "ASIA");
        let call = self.assumption("AssumeRole", role, session_name, &key);
        if by.account == role.account {
            self.call(by, call);
        } else {
            let call = call.shared(names::uuid(&mut self.rng));
            self.call(by, call.clone());
            let mut copy = by.clone();
            copy.account = role.account;
            copy.identity = match &by.identity {
                Identity::Service(host) => Identity::Service(host),
                Identity::ForeignAccount { id, principal } => {
                    Identity::ForeignAccount { id: id.clone(), principal: principal.clone() }
                }
                other => Identity::ForeignAccount {
                    id: self.world.accounts[by.account].id.clone(),
                    principal: record::principal_id(self.world, by.account, other),
                },
            };
            self.call(&copy, call);
        }
        let mut session = by.clone();
        session.account = role.account;
        session.identity = plain_role(role, session_name);
        session.key = key;
        session.issued_ms = self.now_ms;
        session.is_console = false;
        session.through_endpoint = false;
        session.region = self.world.accounts[role.account].home();
        session
    }

    /// A service assumes a role of the account (functions, tasks, backups): sts:AssumeRole by the service, and
    /// the session issued.
    pub fn service_assumes(&mut self, host: &'static str, role: &Role, session_name: &str) -> Session {
        let by = self.service(role.account, host);
        self.assume_role(&by, role, session_name)
    }

    fn assumption(&mut self, name: &'static str, role: &Role, session_name: &str, key: &str) -> Call {
        let arn = self.world.accounts[role.account].role_arn(role);
        let issued = json!({
            "credentials": {
                "accessKeyId": key,
                "sessionToken": "HIDDEN_DUE_TO_SECURITY_REASONS",
                "expiration": record::response_time(self.now_ms + 3_600_000),
            },
            "assumedRoleUser": {
                "assumedRoleId": format!("{}:{session_name}", role.id),
                "arn": format!("arn:aws:sts::{}:assumed-role/{}/{session_name}", self.world.accounts[role.account].id, role.name),
            },
        });
        Call::read("sts", name)
            .with(json!({"roleArn": arn, "roleSessionName": session_name, "durationSeconds": 3600}))
            .returning(issued)
            .on("AWS::IAM::Role", arn)
    }

    /// A person signs in through the identity provider: AssumeRoleWithSAML and ConsoleLogin, with MFA.
    pub fn sign_in(&mut self, person: &Person, account: usize, role: &Role) -> Session {
        let day = self.day();
        let source = person.address(day, &mut self.rng);
        self.sign_in_from(person, account, role, source, person.browser().to_owned())
    }

    /// As [`Script::sign_in`], from a place and with a browser of one's choice.
    pub fn sign_in_from(
        &mut self,
        person: &Person,
        account: usize,
        role: &Role,
        source: String,
        browser: String,
    ) -> Session {
        let subject = format!("{}@{}.example.com", person.name, self.world.company);
        let provider =
            format!("arn:aws:iam::{}:saml-provider/{}-sso", self.world.accounts[account].id, self.world.company);
        let key = unique_id(&mut self.rng, "ASIA");
        let call = self.assumption("AssumeRoleWithSAML", role, &subject, &key);
        let mut parameters = call.parameters.clone();
        if let Value::Object(fields) = &mut parameters {
            fields.insert("principalArn".to_owned(), Value::from(provider.clone()));
        }
        let asks = Session {
            account,
            identity: Identity::Saml { provider, subject: subject.clone() },
            key: String::new(),
            source,
            agent: browser,
            mfa: true,
            region: "us-east-1",
            issued_ms: self.now_ms,
            is_console: false,
            through_endpoint: false,
        };
        self.call(&asks, call.with(parameters));
        let mut session = asks;
        session.identity = plain_role(role, &subject);
        session.key = key;
        session.is_console = true;
        self.wait_ms(400, 2_500);
        let login = record::console_login(true);
        self.call(&session, login);
        session.region = self.world.accounts[account].home();
        session
    }

    /// A user's console sign-in with a password; the record says whether MFA was used.
    pub fn sign_in_user(
        &mut self,
        account: usize,
        user: &User,
        source: impl Into<String>,
        browser: impl Into<String>,
    ) -> Session {
        let mut session = self.user(account, user, source, browser);
        session.mfa = user.has_mfa;
        session.key = unique_id(&mut self.rng, "ASIA");
        session.is_console = true;
        session.region = "us-east-1";
        let login = record::console_login(user.has_mfa);
        self.call(&session, login);
        session.region = self.world.accounts[account].home();
        session
    }

    /// A pipeline's job changes its token for a role (AssumeRoleWithWebIdentity).
    pub fn web_identity(
        &mut self,
        role: &Role,
        provider: &str,
        subject: &str,
        source: impl Into<String>,
        agent: impl Into<String>,
    ) -> Session {
        let source = source.into();
        let agent = agent.into();
        let key = unique_id(&mut self.rng, "ASIA");
        let session_name = format!("run-{}", self.rng.random_range(1_000_000_u64..90_000_000));
        let call = self.assumption("AssumeRoleWithWebIdentity", role, &session_name, &key);
        let arn = format!("arn:aws:iam::{}:oidc-provider/{provider}", self.world.accounts[role.account].id);
        let mut session = Session {
            account: role.account,
            identity: Identity::WebIdentity { provider: arn.clone(), subject: subject.to_owned() },
            key: String::new(),
            source,
            agent,
            mfa: false,
            region: self.world.accounts[role.account].home(),
            issued_ms: self.now_ms,
            is_console: false,
            through_endpoint: false,
        };
        self.call(&session, call);
        session.key = key;
        session.identity = Identity::Role {
            role: Box::new(role.clone()),
            session_name,
            delivery: None,
            invoked_by: None,
            web_identity: Some((arn, subject.to_owned())),
        };
        session
    }

    /// sts:GetSessionToken: a user's temporary key.
    pub fn session_token(&mut self, by: &Session) -> Session {
        let key = unique_id(&mut self.rng, "ASIA");
        let call = Call::read("sts", "GetSessionToken").with(json!({"durationSeconds": 43_200})).returning(json!({
            "credentials": {
                "accessKeyId": key,
                "sessionToken": "HIDDEN_DUE_TO_SECURITY_REASONS",
                "expiration": record::response_time(self.now_ms + 43_200_000),
            }
        }));
        self.call(by, call);
        Session { key, issued_ms: self.now_ms, ..by.clone() }
    }

    /// sts:GetFederationToken: a temporary key under a name of the caller's choice.
    pub fn federation_token(&mut self, by: &Session, name: &str) -> Session {
        let key = unique_id(&mut self.rng, "ASIA");
        let id = &self.world.accounts[by.account].id;
        let call = Call::read("sts", "GetFederationToken")
            .with(json!({"name": name, "durationSeconds": 43_200}))
            .returning(json!({
                "credentials": {
                    "accessKeyId": key,
                    "sessionToken": "HIDDEN_DUE_TO_SECURITY_REASONS",
                    "expiration": record::response_time(self.now_ms + 43_200_000),
                },
                "federatedUser": {
                    "federatedUserId": format!("{id}:{name}"),
                    "arn": format!("arn:aws:sts::{id}:federated-user/{name}"),
                },
            }));
        self.call(by, call);
        let (issuer_name, issuer_id) = match &by.identity {
            Identity::User { name, id } => (name.clone(), id.clone()),
            _ => (String::new(), String::new()),
        };
        let identity = Identity::Federated { name: name.to_owned(), issuer_name, issuer_id };
        Session { key, identity, issued_ms: self.now_ms, ..by.clone() }
    }

    /// Instance-profile credentials: the session is named after the instance.
    pub fn instance(&mut self, account: usize, instance: &Instance) -> Session {
        let owner = &self.world.accounts[account];
        let role = &owner.roles[instance.role.min(owner.roles.len() - 1)];
        let through_endpoint = self.rng.random_bool(0.5);
        let source =
            if through_endpoint { instance.private_address.clone() } else { owner.egress.address(&mut self.rng) };
        let agent = agent::of_role(role);
        let mut session = self.held(role, &instance.id, source, agent);
        session.identity = Identity::Role {
            role: Box::new(role.clone()),
            session_name: instance.id.clone(),
            delivery: Some("2.0"),
            invoked_by: None,
            web_identity: None,
        };
        session.region = instance.region;
        session.through_endpoint = through_endpoint;
        session
    }

    /// A function's execution role: the session is named after the function.
    pub fn function(&mut self, account: usize, name: &str) -> Session {
        let owner = &self.world.accounts[account];
        let of_function: Vec<&Role> = owner.roles_of(|holder| holder == Holder::Function).collect();
        let at = owner.functions.iter().position(|function| function == name).unwrap_or(0);
        let role = of_function.get(at % of_function.len().max(1)).copied().unwrap_or(&owner.roles[0]);
        let source = Network::of_function(&owner.id, name).address(&mut self.rng);
        let agent = agent::of_role(role);
        self.held(role, name, source, agent)
    }

    /// Writes iam:CreateAccessKey and returns the new key's session.
    pub fn create_access_key(&mut self, by: &Session, user_name: &str) -> Session {
        let owner = &self.world.accounts[by.account];
        let known = owner.users.iter().find(|user| user.name == user_name).map(|user| user.id.clone());
        let id = known
            .unwrap_or_else(|| unique_id(&mut stream(self.world.seed, &[by.account as u64, hash(user_name)]), "AIDA"));
        let key = unique_id(&mut self.rng, "AKIA");
        let call = Call::write("iam", "CreateAccessKey").with(json!({"userName": user_name})).returning(json!({
            "accessKey": {
                "userName": user_name,
                "accessKeyId": key,
                "status": "Active",
                "createDate": record::response_time(self.now_ms),
            }
        }));
        self.call(by, call);
        Session {
            identity: Identity::User { name: user_name.to_owned(), id },
            key,
            mfa: false,
            issued_ms: self.now_ms,
            is_console: false,
            through_endpoint: false,
            ..by.clone()
        }
    }

    /// Writes iam:CreateUser; the user has no key yet.
    pub fn create_user(&mut self, by: &Session, name: &str) -> User {
        let owner = &self.world.accounts[by.account];
        let id = unique_id(&mut stream(self.world.seed, &[by.account as u64, hash(name)]), "AIDA");
        let call = Call::write("iam", "CreateUser").with(json!({"userName": name})).returning(json!({
            "user": {
                "path": "/",
                "userName": name,
                "userId": id,
                "arn": owner.user_arn(name),
                "createDate": record::response_time(self.now_ms),
            }
        }));
        self.call(by, call);
        User {
            account: by.account,
            name: name.to_owned(),
            id,
            keys: Vec::new(),
            kind: UserKind::Person,
            has_mfa: false,
        }
    }
}

fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
