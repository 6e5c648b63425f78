//! Where segments and seals lie: a directory, or a bucket of an S3-compatible store.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path as Key;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt, RetryConfig};
use tokio::runtime::Runtime;

/// A place with the files `NNNNNNNNNN.parquet` and `NNNNNNNNNN.seal`.
pub enum Shelf {
    Directory(PathBuf),
    Bucket(Box<Bucket>),
}

pub struct Bucket {
    store: Box<dyn ObjectStore>,
    prefix: Key,
    url: String,
    runtime: Runtime,
}

/// The file of a segment or of its seal.
pub fn name(n: u64, extension: &str) -> String {
    format!("{n:010}.{extension}")
}

/// The number in such a name.
pub fn number(name: &str, extension: &str) -> Option<u64> {
    let digits = name.strip_suffix(extension)?.strip_suffix('.')?;
    (digits.len() == 10 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

impl Shelf {
    /// A directory, or a URL such as `s3://bucket/prefix`; then credentials and endpoint are in AWS_* variables.
    pub fn open(place: &str) -> Result<Shelf, String> {
        if place.starts_with("s3://") {
            return Ok(Shelf::Bucket(Box::new(Bucket::open(place)?)));
        }
        match place.split_once("://") {
            Some((scheme, _)) => {
                Err(format!("{place}: {scheme} is not known: name a directory, or s3://bucket/prefix"))
            }
            None => Ok(Shelf::Directory(place.into())),
        }
    }

    pub fn shown(&self) -> String {
        match self {
            Shelf::Directory(path) => path.display().to_string(),
            Shelf::Bucket(bucket) => bucket.url.clone(),
        }
    }

    /// The names of its files, sorted, and their lengths.
    pub fn names(&self) -> io::Result<Vec<(String, u64)>> {
        let mut names = match self {
            Shelf::Directory(path) => {
                let mut names = Vec::new();
                for entry in fs::read_dir(path)? {
                    let entry = entry?;
                    // A file that went away meanwhile is as good as not there.
                    let length = entry.metadata().map_or(0, |meta| meta.len());
                    names.extend(entry.file_name().into_string().ok().map(|name| (name, length)));
                }
                names
            }
            Shelf::Bucket(bucket) => bucket.names()?,
        };
        names.sort();
        Ok(names)
    }

    pub fn read(&self, name: &str) -> io::Result<Bytes> {
        match self {
            Shelf::Directory(path) => fs::read(path.join(name)).map(Bytes::from),
            Shelf::Bucket(bucket) => bucket.read(name),
        }
    }

    /// Many small files at once: a store answers each after a while, but many together.
    pub fn read_all(&self, names: &[String]) -> io::Result<Vec<Bytes>> {
        match self {
            Shelf::Directory(_) => names.iter().map(|name| self.read(name)).collect(),
            Shelf::Bucket(bucket) => bucket.read_all(names),
        }
    }

    pub fn remove(&self, name: &str) -> io::Result<()> {
        match self {
            Shelf::Directory(path) => fs::remove_file(path.join(name)),
            Shelf::Bucket(bucket) => bucket.wait(bucket.store.delete(&bucket.key(name))),
        }
    }
}

impl Bucket {
    fn open(url: &str) -> Result<Bucket, String> {
        let place = |what: String| format!("{url}: {what}");
        let rest = url.strip_prefix("s3://").unwrap_or_default();
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(place("write s3://bucket/prefix".to_owned()));
        }
        let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let endpoint = variable("AWS_ENDPOINT_URL_S3")
            .or_else(|| variable("AWS_ENDPOINT_URL"))
            .or_else(|| variable("AWS_ENDPOINT"));
        let mut options = ClientOptions::new()
            .with_connect_timeout(Duration::from_secs(5))
            .with_timeout(Duration::from_secs(60));
        let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
        if let Some(endpoint) = &endpoint {
            if endpoint.starts_with("http://") {
                let allowed =
                    variable("AWS_ALLOW_HTTP").is_some_and(|text| text.eq_ignore_ascii_case("true"));
                if !allowed && !is_loopback(endpoint) {
                    let what = format!("{endpoint} is not encrypted: use https, or set AWS_ALLOW_HTTP=true");
                    return Err(place(what));
                }
                options = options.with_allow_http(true);
            }
            builder = builder.with_endpoint(endpoint);
        }
        let retry =
            RetryConfig { max_retries: 2, retry_timeout: Duration::from_secs(20), ..RetryConfig::default() };
        let store = builder
            .with_client_options(options)
            .with_retry(retry)
            .build()
            .map_err(|error| place(error.to_string()))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| place(error.to_string()))?;
        let prefix = Key::parse(prefix.trim_matches('/')).map_err(|error| place(error.to_string()))?;
        Ok(Bucket { store: Box::new(store), prefix, url: url.trim_end_matches('/').to_owned(), runtime })
    }

    fn key(&self, name: &str) -> Key {
        self.prefix.clone().join(name)
    }

    fn wait<T>(&self, work: impl Future<Output = object_store::Result<T>>) -> io::Result<T> {
        self.runtime.block_on(work).map_err(|error| {
            let kind = match error {
                object_store::Error::NotFound { .. } => io::ErrorKind::NotFound,
                _ => io::ErrorKind::Other,
            };
            // The library's errors have a line for each try.
            let text = error.to_string();
            io::Error::new(kind, format!("{}: {}", self.url, text.lines().next().unwrap_or_default()))
        })
    }

    fn names(&self) -> io::Result<Vec<(String, u64)>> {
        let listed = self.wait(self.store.list_with_delimiter(Some(&self.prefix)))?;
        let name = |location: &Key| location.filename().map(str::to_owned);
        Ok(listed.objects.iter().filter_map(|object| Some((name(&object.location)?, object.size))).collect())
    }

    fn read(&self, name: &str) -> io::Result<Bytes> {
        self.wait(async { self.store.get(&self.key(name)).await?.bytes().await })
    }

    fn read_all(&self, names: &[String]) -> io::Result<Vec<Bytes>> {
        const AT_ONCE: usize = 32;
        let mut all = Vec::with_capacity(names.len());
        for names in names.chunks(AT_ONCE) {
            let reads = names.iter().map(|name| async {
                let key = self.key(name);
                self.store.get(&key).await?.bytes().await
            });
            all.extend(self.wait(together(reads.collect()))?);
        }
        Ok(all)
    }

    /// Stores a file and reads it back: what is not there as it should be is an error.
    pub fn put(&self, name: &str, bytes: &Bytes) -> io::Result<()> {
        self.wait(self.store.put(&self.key(name), bytes.clone().into()))?;
        match self.read(name)? == *bytes {
            true => Ok(()),
            false => Err(io::Error::other(format!("{}/{name}: the store gives back other bytes", self.url))),
        }
    }
}

/// Runs futures side by side; gives their results in order, or the first error.
async fn together<T, E, F: Future<Output = Result<T, E>>>(futures: Vec<F>) -> Result<Vec<T>, E> {
    use std::pin::Pin;
    use std::task::Poll;
    let mut waiting: Vec<Result<T, Pin<Box<F>>>> =
        futures.into_iter().map(|future| Err(Box::pin(future))).collect();
    std::future::poll_fn(|context| {
        let mut is_done = true;
        for place in &mut waiting {
            if let Err(future) = place {
                match future.as_mut().poll(context) {
                    Poll::Ready(Ok(value)) => *place = Ok(value),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => is_done = false,
                }
            }
        }
        if is_done { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await?;
    Ok(waiting.into_iter().filter_map(Result::ok).collect())
}

fn is_loopback(endpoint: &str) -> bool {
    let host = endpoint.trim_start_matches("http://");
    let host = host.split('/').next().unwrap_or("");
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.rsplit_once(':').map_or(host, |(host, _)| host),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
