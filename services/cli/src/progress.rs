//! A progress bar on stderr for long work; silent where stderr is no terminal.

use indicatif::{ProgressBar, ProgressStyle};
use trailwarden_collector::Progress;

#[derive(Debug)]
pub struct Bar(ProgressBar);

impl Bar {
    pub fn new(shown: bool) -> Self {
        if !shown {
            return Self(ProgressBar::hidden());
        }
        let style = ProgressStyle::with_template("{spinner} {bytes} read, {bytes_per_sec}, {elapsed}  {msg}");
        let bar = ProgressBar::new_spinner();
        Self(match style {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        })
    }

    pub fn update(&self, progress: Progress) {
        self.0.set_position(progress.bytes_done);
        self.0.set_message(format!("{} files", progress.files_done));
    }

    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}
