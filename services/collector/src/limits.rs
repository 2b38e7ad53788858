//! Bounds on what input may cost.

const MIB: usize = 1024 * 1024;

/// Every bound on reading, with its default. Beyond a bound the input is counted under a reason, never dropped unseen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest line of line-delimited input. Default 16 MiB.
    pub line_bytes_max: usize,
    /// Most text held of one JSON document. Default 256 MiB. What comes before the cut is still read.
    pub document_bytes_max: usize,
    /// Most bytes that one gzip file may inflate to. Default 8 GiB.
    pub inflated_bytes_max: u64,
    /// Highest ratio of inflated to compressed bytes, looked at beyond [`Limits::INFLATION_FREE_BYTES`]. Default 200;
    /// CloudTrail compresses about 10 to 30 times.
    pub inflation_ratio_max: u64,
    /// Largest record. Default 1 MiB; CloudTrail itself stops at 256 KiB, its event data stores at 1 MiB.
    pub record_bytes_max: usize,
    /// Deepest nesting of a record. Default 64.
    pub nesting_max: usize,
    /// Observations held in memory before sorted runs go to a temporary file. Default 512 MiB.
    pub memory_bytes_max: usize,
    /// Problems listed one by one; beyond that they are only counted. Default 100.
    pub problems_max: usize,
    /// Longest detail of a listed problem. Default 200 bytes.
    pub detail_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line_bytes_max: 16 * MIB,
            document_bytes_max: 256 * MIB,
            inflated_bytes_max: 8 * 1024 * MIB as u64,
            inflation_ratio_max: 200,
            record_bytes_max: MIB,
            nesting_max: 64,
            memory_bytes_max: 512 * MIB,
            problems_max: 100,
            detail_bytes_max: 200,
        }
    }
}

impl Limits {
    /// Inflated bytes below which the ratio is not looked at: little data may compress very well.
    pub const INFLATION_FREE_BYTES: u64 = 64 * MIB as u64;

    /// Bytes an event may cost beyond the fixed cap: 32 to find duplicates, 24 to sort while it is in memory.
    pub const EVENT_BYTES_MAX: usize = 64;

    /// The fixed part of the memory that reading may take with so many threads, in bytes;
    /// [`Limits::EVENT_BYTES_MAX`] an event come on top.
    ///
    /// Observations, one large document at a time (its buffer may be half empty), and for each thread a window of
    /// a line or a small document, a chunk in work and two in the queue.
    pub fn memory_bytes_cap(&self, threads: usize) -> usize {
        let a_thread = 2 * self.line_bytes_max + 3 * (crate::feed::CHUNK_BYTES + self.line_bytes_max);
        self.memory_bytes_max + 2 * self.document_bytes_max + threads * a_thread
    }
}
