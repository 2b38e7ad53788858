//! What users see after a scan: the report, the terminal, the written lines.

mod hostile;
mod lines;
mod ocsf;
mod report;
mod sample;
mod terminal;
