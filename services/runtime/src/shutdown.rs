//! The orderly end: a signal asks for it, a second signal skips it.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The second is the last that matters.
const SIGNALS_WAITING_MAX: usize = 2;

/// What a process is told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Interrupt,
    Terminate,
}

impl Signal {
    /// Exit code of a process that ends by it, as shells count: 128 and the signal's number.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }
}

/// A token that SIGINT and SIGTERM cancel. A second signal ends the process at once.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn on_signals() -> io::Result<CancellationToken> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    let (sender, mut signals) = mpsc::channel(SIGNALS_WAITING_MAX);
    tokio::spawn(async move {
        loop {
            let signal = tokio::select! {
                _ = interrupt.recv() => Signal::Interrupt,
                _ = terminate.recv() => Signal::Terminate,
            };
            if sender.send(signal).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        if let Some(signal) = follow(&token, &mut signals).await {
            #[expect(clippy::disallowed_methods, reason = "who asks twice does not want to wait for what is unwritten")]
            std::process::exit(signal.exit_code().into())
        }
    });
    Ok(shutdown)
}

/// Cancels at the first signal and returns the second.
async fn follow(shutdown: &CancellationToken, signals: &mut mpsc::Receiver<Signal>) -> Option<Signal> {
    let first = signals.recv().await?;
    tracing::info!(signal = first.name(), "told to stop; finishing what was begun, a second signal ends at once");
    shutdown.cancel();
    let second = signals.recv().await?;
    tracing::warn!(signal = second.name(), "told to stop again; ending at once");
    Some(second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_signal_asks_and_the_second_ends() {
        let shutdown = CancellationToken::new();
        let (sender, mut signals) = mpsc::channel(1);
        let token = shutdown.clone();
        let follower = tokio::spawn(async move { follow(&token, &mut signals).await });
        assert!(!shutdown.is_cancelled());
        sender.send(Signal::Terminate).await.unwrap();
        shutdown.cancelled().await;
        assert!(!follower.is_finished());
        sender.send(Signal::Interrupt).await.unwrap();
        assert_eq!(follower.await.unwrap().map(Signal::exit_code), Some(130));
        assert_eq!(Signal::Terminate.exit_code(), 143);
    }
}
