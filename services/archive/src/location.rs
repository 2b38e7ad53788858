//! Where an archive stands: a bucket, or a folder, whose files are on the disk before anybody hears that they are written.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::object_store::local::LocalFileSystem;
use datafusion::object_store::path::Path;
use datafusion::object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use futures::stream::BoxStream;

use crate::{Error, bucket};

/// Opens an archive: `s3://bucket/prefix`, as the variables named `AWS_...` of the environment say, or a folder, made where it
/// is not there yet and `create` is set.
///
/// Whether there is such a bucket shows with the first request.
///
/// # Errors
/// [`Error::Absent`] when there is no such folder, [`Error::Location`] for a location of a kind that is not built in.
pub fn open(location: &str, create: bool, environment: &[(OsString, OsString)]) -> Result<Arc<dyn ObjectStore>, Error> {
    let wrong = |what: String| Error::Location { location: location.to_owned(), what };
    if location.is_empty() {
        return Err(wrong("the archive's location is empty".to_owned()));
    }
    match location.split_once("://") {
        Some(("s3", name)) => return bucket::open(name, environment).map_err(wrong),
        None | Some(("file", _)) => {}
        Some((scheme, _)) => {
            return Err(wrong(format!("there are no archives in `{scheme}`; name a folder, or s3://bucket/prefix")));
        }
    }
    let folder = PathBuf::from(location.strip_prefix("file://").unwrap_or(location));
    if create {
        std::fs::create_dir_all(&folder).map_err(|error| wrong(error.to_string()))?;
    } else if !folder.is_dir() {
        return Err(Error::Absent { location: location.to_owned() });
    }
    let inner = LocalFileSystem::new_with_prefix(&folder).map_err(|error| wrong(error.to_string()))?;
    Ok(Arc::new(Folder { inner: Arc::new(inner) }))
}

/// A folder that survives a loss of power: what was put is synced, and so is its entry in the folder above.
#[derive(Debug)]
struct Folder {
    inner: Arc<LocalFileSystem>,
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl Folder {
    async fn sync(&self, location: &Path) -> Result<()> {
        let path = self.inner.path_to_filesystem(location)?;
        let synced = tokio::task::spawn_blocking(move || -> std::io::Result<()> {
            File::open(&path)?.sync_all()?;
            // A new folder's own entry stands one further up.
            for folder in path.ancestors().skip(1).take(3) {
                File::open(folder)?.sync_all()?;
            }
            Ok(())
        });
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| StoreError::Generic { store: "folder", source };
        synced.await.map_err(|error| failed(Box::new(error)))?.map_err(|error| failed(Box::new(error)))
    }
}

#[async_trait]
impl ObjectStore for Folder {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let result = self.inner.put_opts(location, payload, options).await?;
        self.sync(location).await?;
        Ok(result)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        // Would come back before it is synced; no file of the archive needs it.
        Err(StoreError::NotSupported { source: format!("{location}: upload in parts").into() })
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await?;
        self.sync(to).await
    }
}
