//! Work that takes the processor for as long as it needs, on a thread of its own: actors answer meanwhile.

/// Does it there. Its panic goes on here, to end as the answer that a worker's parent gives.
pub(crate) async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Cancelled with the runtime: so is this task.
            Err(_) => std::future::pending().await,
        },
    }
}
