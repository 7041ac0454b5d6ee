//! Which store a catalog's data are in, and which catalog a store belongs to.

use bytes::Bytes;

use super::ServeError;
use super::native::TOKEN_KEY;
use crate::catalog::{Catalog, CatalogError, Op};
use crate::repo::Repos;
use crate::store::{Store, StoreError};

/// The installation's id among the catalog's settings.
const INSTALLATION: &str = "installation";

/// The token of the store that the catalog's data are in, among the settings.
const STORE: &str = "store";

/// Where that store was the last time, among the settings.
const STORE_URL: &str = "store-url";

/// The object with the id of the installation that a store belongs to.
const OWNER: &str = "owner";

/// What binds a catalog and a store to each other.
pub(super) struct Bound {
    /// The bytes of the store's token object.
    pub token: Bytes,
    /// Names the installation for good.
    pub installation: String,
}

/// Refuses a store that is not the catalog's own, or that belongs to another
/// catalog. What knows nothing of the other yet takes any. Writes nothing.
pub async fn check(catalog: &dyn Catalog, store: &Store) -> Result<(), ServeError> {
    let found = existing(store, TOKEN_KEY).await?;
    if let Some(expected) = catalog.setting(STORE).await?
        && found.as_ref() != Some(&expected)
    {
        let known = catalog.setting(STORE_URL).await?.unwrap_or_default();
        let belongs = String::from_utf8_lossy(&known).into_owned();
        return Err(ServeError::OtherStore { store: store.to_string(), belongs });
    }
    let owner = existing(store, OWNER).await?;
    match owner.is_some() && owner != catalog.setting(INSTALLATION).await? {
        true => Err(ServeError::OtherCatalog { store: store.to_string() }),
        false => Ok(()),
    }
}

/// Makes the catalog, which has just been made from the store, its owner.
pub async fn take_over(repos: &Repos) -> Result<(), ServeError> {
    let installation = installation(repos).await?;
    repos.store().put(OWNER, Bytes::from(installation)).await?;
    Ok(())
}

/// Binds catalog and store to each other, where they are not yet.
pub(super) async fn bind(repos: &Repos, store_url: &str) -> Result<Bound, ServeError> {
    let store = repos.store();
    let token = owned(store, TOKEN_KEY, Bytes::copy_from_slice(&repos.clock().random())).await?;
    let installation = installation(repos).await?;
    let owner = owned(store, OWNER, Bytes::from(installation.clone())).await?;
    if owner != installation.as_bytes() {
        return Err(ServeError::OtherCatalog { store: store.to_string() });
    }
    let url = Bytes::from(store_url.to_owned());
    for (key, value) in [(STORE, token.clone()), (STORE_URL, url)] {
        if repos.catalog().setting(key).await?.as_ref() != Some(&value) {
            set(repos, key, value).await?;
        }
    }
    Ok(Bound { token, installation })
}

async fn existing(store: &Store, key: &str) -> Result<Option<Bytes>, StoreError> {
    match store.get(key).await {
        Ok(found) => Ok(Some(found)),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The bytes of an object that the first to come writes.
async fn owned(store: &Store, key: &str, fresh: Bytes) -> Result<Bytes, StoreError> {
    match store.put_new(key, fresh.clone()).await {
        Ok(()) => Ok(fresh),
        Err(StoreError::AlreadyExists { .. }) => store.get(key).await,
        Err(error) => Err(error),
    }
}

/// The installation's id, drawn when the catalog is new.
async fn installation(repos: &Repos) -> Result<String, CatalogError> {
    if let Some(id) = repos.catalog().setting(INSTALLATION).await? {
        return Ok(String::from_utf8_lossy(&id).into_owned());
    }
    let id = hex::encode(repos.clock().random());
    set(repos, INSTALLATION, Bytes::from(id.clone())).await?;
    Ok(id)
}

async fn set(repos: &Repos, key: &str, value: Bytes) -> Result<(), CatalogError> {
    repos.catalog().apply(vec![Op::PutSetting { key: key.to_owned(), value }]).await
}
