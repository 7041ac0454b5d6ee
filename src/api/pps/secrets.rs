//! Secrets, given as Kubernetes objects.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use tonic::Status;

use super::Pps;
use crate::api::convert::{not_found, time};
use crate::api::proto::pps_v2 as pb;
use crate::api::status::{Result, catalog, invalid, missing};
use crate::catalog::{CatalogError, Op, SecretRow};

/// The part of a Secret object that matters here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    kind: String,
    metadata: Metadata,
    #[serde(default)]
    r#type: Option<String>,
    #[serde(default)]
    data: Option<BTreeMap<String, String>>,
    #[serde(default)]
    string_data: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

impl Pps {
    pub(super) async fn create_secret(&self, request: pb::CreateSecretRequest) -> Result<()> {
        let object: Object = serde_yaml_ng::from_slice(&request.file)
            .map_err(|error| invalid(format!("this is no Kubernetes secret: {error}")))?;
        if object.kind != "Secret" {
            return Err(invalid(format!("expected kind Secret, found {:?}", object.kind)));
        }
        let name = valid_name(&object.metadata.name)?;
        if self.secret(&name).await.is_ok() {
            return Err(Status::already_exists(format!("secret {name:?} already exists")));
        }
        let row = SecretRow {
            name,
            kind: object.r#type.clone().unwrap_or_else(|| "Opaque".to_owned()),
            values: values(object)?,
            created: self.services.repos.clock().now(),
        };
        self.write(Op::PutSecret(row)).await
    }

    pub(super) async fn inspect_secret(
        &self,
        request: pb::InspectSecretRequest,
    ) -> Result<pb::SecretInfo> {
        Ok(info(&self.secret(&named(request.secret)?).await?))
    }

    pub(super) async fn list_secret(&self, (): ()) -> Result<pb::SecretInfos> {
        let rows = self.services.repos.catalog().secrets().await.map_err(|e| catalog(&e))?;
        Ok(pb::SecretInfos { secret_info: rows.iter().map(info).collect() })
    }

    pub(super) async fn delete_secret(&self, request: pb::DeleteSecretRequest) -> Result<()> {
        let name = named(request.secret)?;
        self.secret(&name).await?;
        self.write(Op::DeleteSecret(name)).await
    }

    async fn secret(&self, name: &str) -> Result<SecretRow> {
        let row = self.services.repos.catalog().secret(name).await.map_err(|e| catalog(&e))?;
        row.ok_or_else(|| not_found(format!("secret {name:?}")))
    }

    async fn write(&self, op: Op) -> Result<()> {
        let applied: Result<(), CatalogError> = self.services.repos.catalog().apply(vec![op]).await;
        applied.map_err(|error| catalog(&error))
    }
}

fn named(secret: Option<pb::Secret>) -> Result<String> {
    secret.map(|secret| secret.name).ok_or_else(|| missing("secret"))
}

/// Kubernetes' rule for the names of secrets.
fn valid_name(name: &str) -> Result<String> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    match !name.is_empty() && name.len() <= 253 && name.bytes().all(allowed) {
        true => Ok(name.to_owned()),
        false => Err(invalid(format!(
            "secret name {name:?} is invalid: only lower-case letters, digits, '-' and '.' are allowed"
        ))),
    }
}

/// Kubernetes' rule for the keys of secrets, which become names of files.
fn valid_key(key: String) -> Result<String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let named = !key.is_empty() && key.len() <= 253 && key != "." && key != "..";
    match named && key.bytes().all(allowed) {
        true => Ok(key),
        false => Err(invalid(format!(
            "key {key:?} of the secret is invalid: only letters, digits, '-', '_' and '.' are allowed"
        ))),
    }
}

fn values(object: Object) -> Result<BTreeMap<String, Bytes>> {
    let mut values = BTreeMap::new();
    for (key, text) in object.data.unwrap_or_default() {
        let key = valid_key(key)?;
        let value = STANDARD.decode(text.trim()).map_err(|error| {
            invalid(format!("the value of {key:?} is no base64: {error}; use stringData for text"))
        })?;
        values.insert(key, Bytes::from(value));
    }
    for (key, text) in object.string_data.unwrap_or_default() {
        values.insert(valid_key(key)?, Bytes::from(text));
    }
    Ok(values)
}

fn info(row: &SecretRow) -> pb::SecretInfo {
    pb::SecretInfo {
        secret: Some(pb::Secret { name: row.name.clone() }),
        r#type: row.kind.clone(),
        creation_timestamp: Some(time(row.created)),
    }
}
