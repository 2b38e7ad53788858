//! Evidence stores: what is copied there of a case is written once, by content, and never over.
//!
//! ```text
//! cases/<tenant>/<case>/<digest>/<item>          what is kept
//! cases/<tenant>/<case>/<digest>/manifest.json   each item's length and SHA-256, written last
//! ```

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::object_store::path::Path;
use datafusion::object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use trailwarden_core::response::hex;
use trailwarden_core::time::Timestamp;

use crate::{Error, location};

/// Items of one copy, and bytes of them together.
pub const ITEMS_MAX: usize = 16;
pub const BYTES_MAX: usize = 256 << 20;
const MANIFEST: &str = "manifest.json";
const MANIFEST_BYTES_MAX: u64 = 1 << 20;
/// Digits of the digest that name a copy's folder.
const DIGITS: usize = 32;

/// A store for evidence.
#[derive(Clone, Debug)]
pub struct Evidence {
    objects: Arc<dyn ObjectStore>,
    /// Where it is a folder, whose files are then made read-only.
    folder: Option<PathBuf>,
}

/// One thing to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// A file's name.
    pub name: &'static str,
    /// What it is, in words.
    pub what: String,
    pub bytes: Vec<u8>,
}

/// What a copy holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub version: u32,
    pub tenant: String,
    pub case: String,
    pub made_at: Timestamp,
    pub items: Vec<Listed>,
    /// Events of the case that the copy lacks, because nothing holds them any more.
    pub lacking: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    pub name: String,
    pub what: String,
    pub bytes: u64,
    /// 64 hexadecimal digits.
    pub sha256: String,
}

/// A copy that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Where, within the store.
    pub place: String,
    pub manifest: Manifest,
    /// SHA-256 of the manifest as it is stored: whoever notes it elsewhere can tell later that nothing was changed.
    pub sha256: String,
    /// Whether the same was there already, and was checked.
    pub was_there: bool,
}

impl Evidence {
    /// Opens a store: a folder, made where it is not there yet, or `s3://bucket/prefix`. A bucket keeps better with object
    /// lock, which is set on the bucket.
    ///
    /// # Errors
    /// [`Error::Location`] for what is none.
    pub fn open(location: &str, environment: &[(OsString, OsString)]) -> Result<Self, Error> {
        let objects = location::open(location, true, environment)?;
        let folder = match location.split_once("://") {
            None | Some(("file", _)) => Some(PathBuf::from(location.strip_prefix("file://").unwrap_or(location))),
            Some(_) => None,
        };
        Ok(Self { objects, folder })
    }

    /// Keeps a copy of a case. The same items again change nothing: what stands is read and compared.
    ///
    /// # Errors
    /// [`Error::Damaged`] where something else stands in the place of an item, [`Error::Store`] when the store fails.
    pub async fn keep(
        &self,
        (tenant, case): (&str, &str),
        items: &[Item],
        lacking: Vec<String>,
        now: Timestamp,
    ) -> Result<Copied, Error> {
        let bytes: usize = items.iter().map(|item| item.bytes.len()).sum();
        if items.len() > ITEMS_MAX || bytes > BYTES_MAX {
            let what = format!("a copy has at most {ITEMS_MAX} items and {} MiB", BYTES_MAX >> 20);
            return Err(Error::Location { location: case.to_owned(), what });
        }
        let listed = |item: &Item| Listed {
            name: item.name.to_owned(),
            what: item.what.clone(),
            bytes: item.bytes.len() as u64,
            sha256: hex(&Sha256::digest(&item.bytes)),
        };
        let listed: Vec<Listed> = items.iter().map(listed).collect();
        let place = place(tenant, case, &listed);
        let mut was_there = true;
        for item in items {
            was_there &= self.put(&place, item.name, &item.bytes).await? == Put::Same;
        }
        let manifest = Manifest {
            version: 1,
            tenant: tenant.to_owned(),
            case: case.to_owned(),
            made_at: now,
            items: listed,
            lacking,
        };
        // A struct of texts and numbers is always JSON.
        let text = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
        let path = Path::from(format!("{place}/{MANIFEST}"));
        match self.objects.put_opts(&path, PutPayload::from(text.clone()), PutMode::Create.into()).await {
            Ok(_) => {
                self.protect(&path)?;
                Ok(Copied { place, manifest, sha256: hex(&Sha256::digest(&text)), was_there: false })
            }
            Err(StoreError::AlreadyExists { .. }) => self.standing(&path, place, &manifest, was_there).await,
            Err(error) => Err(error.into()),
        }
    }

    /// The copy that stands already: it has to list the same.
    async fn standing(&self, path: &Path, place: String, own: &Manifest, was_there: bool) -> Result<Copied, Error> {
        let damaged = |what| Error::Damaged { path: path.to_string(), what };
        let found = self.objects.get(path).await?;
        if found.meta.size > MANIFEST_BYTES_MAX {
            return Err(damaged("it is no manifest"));
        }
        let text = found.bytes().await?;
        let manifest: Manifest = serde_json::from_slice(&text).map_err(|_| damaged("it is no manifest"))?;
        if manifest.items != own.items || (&manifest.tenant, &manifest.case) != (&own.tenant, &own.case) {
            return Err(damaged("it lists something else"));
        }
        Ok(Copied { place, manifest, sha256: hex(&Sha256::digest(&text)), was_there })
    }

    async fn put(&self, place: &str, name: &str, bytes: &[u8]) -> Result<Put, Error> {
        let path = Path::from(format!("{place}/{name}"));
        match self.objects.put_opts(&path, PutPayload::from(bytes.to_vec()), PutMode::Create.into()).await {
            Ok(_) => {
                self.protect(&path)?;
                Ok(Put::New)
            }
            // Written before, whole or torn, or by somebody else.
            Err(StoreError::AlreadyExists { .. }) => {
                let found = self.objects.get(&path).await?;
                let is_same = found.meta.size == bytes.len() as u64 && found.bytes().await? == bytes;
                let damaged = Error::Damaged { path: path.to_string(), what: "something else stands there" };
                if is_same { Ok(Put::Same) } else { Err(damaged) }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a file read-only.
    fn protect(&self, path: &Path) -> Result<(), Error> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let file = folder.join(path.as_ref());
        let failed =
            |source: std::io::Error| Error::Location { location: file.display().to_string(), what: source.to_string() };
        let mut permissions = file.metadata().map_err(failed)?.permissions();
        permissions.set_readonly(true);
        std::fs::set_permissions(&file, permissions).map_err(failed)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Put {
    New,
    Same,
}

/// Named by content, so that another copy has another place.
fn place(tenant: &str, case: &str, items: &[Listed]) -> String {
    let mut hasher = Sha256::new();
    for item in items {
        hasher.update(format!("{} {}\n", item.name, item.sha256).as_bytes());
    }
    let mut digest = hex(&hasher.finalize());
    digest.truncate(DIGITS);
    format!("cases/{}/{}/{digest}", plain(tenant), plain(case))
}

/// A name that is one folder, whatever was asked for.
fn plain(name: &str) -> String {
    let plain: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-' || *c == '_').take(64).collect();
    if plain.is_empty() { "_".to_owned() } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn item(name: &'static str, text: &str) -> Item {
        Item { name, what: "rows".to_owned(), bytes: text.as_bytes().to_vec() }
    }

    #[tokio::test]
    async fn a_copy_is_written_once_listed_and_read_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Evidence::open(&folder.path().join("evidence").to_string_lossy(), &[]).expect("opens");
        let items = [item("activities.jsonl", "{}\n"), item("case.json", "{\"case_id\":\"c1\"}")];
        let first = store.keep(("default", "c1"), &items, vec!["e9".to_owned()], NOW).await.expect("kept");
        assert!(!first.was_there);
        let file = folder.path().join("evidence").join(&first.place).join("activities.jsonl");
        assert!(file.metadata().expect("there").permissions().readonly());
        assert_eq!(first.manifest.items[0].sha256, hex(&Sha256::digest(b"{}\n")));
        // Again, later: what stands is compared, and stays.
        let again = store.keep(("default", "c1"), &items, vec![], NOW.plus_ms(1)).await.expect("kept");
        assert_eq!(again, Copied { was_there: true, ..first.clone() });
        // Other content has another place, and a case's name is one folder.
        let other = store.keep(("default", "../c1"), &[item("case.json", "x")], vec![], NOW).await.expect("kept");
        assert!(other.place.starts_with("cases/default/c1/") && other.place != first.place, "{}", other.place);
        // What was changed is not written over, and not passed over.
        let mut permissions = file.metadata().expect("there").permissions();
        #[allow(clippy::permissions_set_readonly_false, reason = "an intruder does so")]
        permissions.set_readonly(false);
        std::fs::set_permissions(&file, permissions).expect("set");
        std::fs::write(&file, "{ }").expect("written");
        let damaged = store.keep(("default", "c1"), &items, vec![], NOW).await;
        assert!(matches!(damaged, Err(Error::Damaged { .. })), "{damaged:?}");
        let much = [const { String::new() }; ITEMS_MAX + 1].map(|_| item("a", ""));
        assert!(store.keep(("default", "c1"), &much, vec![], NOW).await.is_err());
    }
}
