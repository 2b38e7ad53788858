//! What users see after a scan: the report, the terminal, the written lines.

mod hostile;
mod lines;
mod markdown;
mod ocsf;
mod report;
mod sample;
mod terminal;
