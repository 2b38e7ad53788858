//! State that is written down and read back: what all its forms have in common.
//!
//! Each form begins with a byte that names its version. Bytes come from a store that may be damaged or tampered with,
//! so reading never panics and never takes more memory than the bytes or a stated bound allow.

/// Why stored bytes are no state. The store is at fault; reading again does not help, building anew does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Corrupt {
    #[error("it ends too early")]
    Short,
    #[error("it goes on after its end")]
    Long,
    #[error("its version is {found}, this program knows {known}")]
    Version { found: u8, known: u8 },
    /// Something is outside its bounds.
    #[error("its {0} cannot be")]
    Impossible(&'static str),
}

/// Takes the version byte off.
pub(crate) fn after_version(bytes: &[u8], known: u8) -> Result<&[u8], Corrupt> {
    match bytes.split_first() {
        None => Err(Corrupt::Short),
        Some((found, rest)) if *found == known => Ok(rest),
        Some((found, _)) => Err(Corrupt::Version { found: *found, known }),
    }
}
