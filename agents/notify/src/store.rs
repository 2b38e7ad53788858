//! The throttle's shares on the bus: read, changed, written where nobody else wrote meanwhile; else read again.

use std::sync::Arc;

use bytes::Bytes;
use trailwarden_bus::{self as bus, Bus, DeadLetter, Outgoing, PAYLOAD_BYTES_MAX, Sequence, Subject};
use trailwarden_core::alert::Alert;
use trailwarden_core::time::Timestamp;
use trailwarden_proto::convert::alert_to_wire;
use trailwarden_proto::wire;
use trailwarden_runtime::Clock;

use crate::throttle::{Claim, Message, Note, Outcome, Position, SHARES, Share, Trouble, share_of};

/// How often a share is tried when somebody else was faster.
const RACES_MAX: u32 = 64;

/// Why the throttle was not moved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error(transparent)]
    Bus(#[from] bus::Error),
    /// Retry later.
    #[error("share {share} of the throttle is written to by others all the time")]
    Contended { share: u16 },
}

impl Error {
    /// Whether trying the same again can help.
    pub fn is_transient(&self) -> bool {
        match self {
            // Streams may be made while roles wait for them.
            Self::Bus(error) => error.is_transient() || matches!(error, bus::Error::Missing { .. }),
            Self::Contended { .. } => true,
        }
    }
}

/// A tenant's throttle.
#[derive(Clone)]
pub struct Store {
    bus: Arc<dyn Bus>,
    tenant: String,
    clock: Clock,
}

impl Store {
    pub fn new(bus: Arc<dyn Bus>, tenant: &str, clock: Clock) -> Self {
        Self { bus, tenant: tenant.to_owned(), clock }
    }

    /// When alerts were told for the first time: what is older was never meant to be. Noted on the first call of all.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn began_at(&self) -> Result<Timestamp, Error> {
        // Beside the shares, which are numbered from 0.
        let subject = Subject::throttle(&self.tenant, SHARES);
        for _ in 0..RACES_MAX {
            if let Some(noted) = self.bus.last(&subject).await? {
                let text = std::str::from_utf8(&noted.payload).unwrap_or_default();
                return Ok(Timestamp::from_millis(text.parse().unwrap_or(noted.stored_at.as_millis())));
            }
            let payload = Bytes::from((self.clock)().as_millis().to_string());
            let message = Outgoing { payload, expected: Some(0), ..Outgoing::default() };
            match self.bus.publish(&subject, message).await {
                Ok(_) | Err(bus::Error::Refused { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Contended { share: SHARES })
    }

    /// Takes a source's notes into their shares, once. Done again after it was broken off, it goes on.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn take(&self, source: &str, position: Position, notes: Vec<Note>) -> Result<(), Error> {
        let mut by_share: Vec<(u16, Vec<Note>)> = Vec::new();
        for note in notes {
            let share = share_of(&note);
            match by_share.iter_mut().find(|(known, _)| *known == share) {
                Some((_, notes)) => notes.push(note),
                None => by_share.push((share, vec![note])),
            }
        }
        for (number, notes) in by_share {
            self.change(number, |share, now| share.take(source, position, &notes, now).then_some(())).await?;
        }
        Ok(())
    }

    /// Takes messages that are due, for the caller to send: of each channel as many as `room` says.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn claim(&self, number: u16, room: impl Fn(&str) -> usize) -> Result<Vec<Claim>, Error> {
        let claims = |share: &mut Share, now| Some(share.claim(number, &room, now)).filter(|claims| !claims.is_empty());
        Ok(self.change(number, claims).await?.unwrap_or_default())
    }

    /// Notes what came of an attempt. A message that was given up is in the dead letters before it leaves the throttle.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn settle(&self, claim: &Claim, outcome: Outcome, why: &str) -> Result<Option<Trouble>, Error> {
        let number = claim.share;
        for _ in 0..RACES_MAX {
            let (sequence, mut share) = self.read(number).await?;
            let before = share.clone();
            let now = (self.clock)();
            let trouble = share.settle(claim, outcome, now);
            if share == before {
                return Ok(None);
            }
            if let Some(dead) = trouble.as_ref().and_then(|trouble| trouble.dead.as_ref()) {
                self.bus.bury(&letter(&self.tenant, &claim.channel, dead, why)).await?;
            }
            if self.write(number, sequence, &mut share, now).await? {
                return Ok(trouble);
            }
        }
        Err(Error::Contended { share: number })
    }

    /// Raises an alert as any role does; raised again soon, it is one.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn raise(&self, alert: &Alert) -> Result<(), Error> {
        let payload = wire::pack(&alert_to_wire(alert));
        let message = Outgoing { payload, id: Some(alert.id.clone()), ..Outgoing::default() };
        self.bus.publish(&Subject::raised(&self.tenant), message).await?;
        Ok(())
    }

    /// Alerts that all shares hold.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn held(&self) -> Result<u64, Error> {
        let mut held = 0_u64;
        for number in 0..SHARES {
            held = held.saturating_add(self.read(number).await?.1.held());
        }
        Ok(held)
    }

    /// Changes a share where `change` says that it did; what it said.
    async fn change<T>(
        &self,
        number: u16,
        mut change: impl FnMut(&mut Share, Timestamp) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        for _ in 0..RACES_MAX {
            let (sequence, mut share) = self.read(number).await?;
            let now = (self.clock)();
            let Some(said) = change(&mut share, now) else { return Ok(None) };
            if self.write(number, sequence, &mut share, now).await? {
                return Ok(Some(said));
            }
        }
        Err(Error::Contended { share: number })
    }

    async fn read(&self, number: u16) -> Result<(Sequence, Share), Error> {
        let Some(stored) = self.bus.last(&Subject::throttle(&self.tenant, number)).await? else {
            return Ok((0, Share::default()));
        };
        let share = Share::unpack(&stored.payload).unwrap_or_else(|| {
            // Nobody else writes there. Alerts must go on, and what is lost is said.
            tracing::error!(
                share = number,
                sequence = stored.sequence,
                "share of the throttle cannot be read and begins anew"
            );
            Share::default()
        });
        Ok((stored.sequence, share))
    }

    /// Whether nobody else was faster.
    async fn write(&self, number: u16, sequence: Sequence, share: &mut Share, now: Timestamp) -> Result<bool, Error> {
        let payload = Bytes::from(share.pack(now, PAYLOAD_BYTES_MAX));
        let message = Outgoing { payload, expected: Some(sequence), ..Outgoing::default() };
        match self.bus.publish(&Subject::throttle(&self.tenant, number), message).await {
            Ok(_) => Ok(true),
            Err(bus::Error::Refused { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// A message that was given up: sent back, its alert is raised again, for that channel alone.
fn letter(tenant: &str, channel: &str, dead: &Message, why: &str) -> DeadLetter {
    let alert = Alert { only: Some(channel.to_owned()), ..dead.alert.clone() };
    DeadLetter {
        subject: Subject::raised(tenant).to_string(),
        // It stands for many messages of its subject, so it goes by when it began: sent back and given up again, it is
        // another letter, which can be sent back in its turn.
        sequence: u64::try_from(dead.since.as_millis()).unwrap_or_default(),
        place: None,
        reason: format!("the channel {channel} does not take message {}, of {} alerts: {why}", dead.id, dead.count),
        payload: wire::pack(&alert_to_wire(&alert)),
    }
}
