//! A backend that misbehaves on demand, for tests.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use super::{Backend, ByteRange, ObjectInfo, PutKind, StoreError, Upload};

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Reading an object or part of one.
    Get,
    /// Writing an object.
    Put,
    /// Asking for a size.
    Head,
    /// Removing an object.
    Delete,
}

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails and has no effect.
    Fail,
    /// It takes effect and then answers with a failure.
    FailAfter,
    /// It has no effect and never answers.
    Stall,
    /// The disk is full.
    NoSpace,
    /// What is read lacks its second half.
    Truncate,
    /// What is read has one bit flipped in the middle.
    Corrupt,
}

struct Plan {
    operation: Operation,
    /// How many requests of the kind go well first.
    skip: u64,
    /// How many after those go wrong.
    count: u64,
    fault: Fault,
}

/// Passes requests on to another backend, except those planned to go wrong.
pub struct FaultStore {
    inner: Arc<dyn Backend>,
    plans: Mutex<Vec<Plan>>,
}

impl FaultStore {
    /// A backend that behaves like `inner` until told otherwise.
    #[must_use]
    pub fn new(inner: Arc<dyn Backend>) -> Arc<Self> {
        Arc::new(Self { inner, plans: Mutex::default() })
    }

    /// Lets `skip` requests of a kind go well from now on and the `count` after
    /// them go wrong. Plans for one kind add up; the first that applies wins.
    pub fn plan(&self, operation: Operation, skip: u64, count: u64, fault: Fault) {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        plans.push(Plan { operation, skip, count, fault });
    }

    /// Forgets every plan.
    pub fn heal(&self) {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn next(&self, operation: Operation) -> Option<Fault> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let mut hit = None;
        for plan in plans.iter_mut().filter(|plan| plan.operation == operation) {
            match (plan.skip, plan.count) {
                (0, 0) => {}
                (0, _) if hit.is_none() => {
                    plan.count -= 1;
                    hit = Some(plan.fault);
                }
                (0, _) => {}
                _ => plan.skip -= 1,
            }
        }
        hit
    }

    fn failure(&self, key: &str) -> StoreError {
        StoreError::Unavailable {
            store: self.inner.to_string(),
            key: key.to_owned(),
            reason: "planned failure".to_owned(),
        }
    }

    /// What a fault that comes before the request answers, if it is one.
    async fn before(&self, key: &str, fault: Option<Fault>) -> Result<(), StoreError> {
        match fault {
            Some(Fault::Fail) => Err(self.failure(key)),
            Some(Fault::NoSpace) => {
                Err(StoreError::NoSpace { store: self.inner.to_string(), key: key.to_owned() })
            }
            Some(Fault::Stall) => std::future::pending().await,
            Some(Fault::FailAfter | Fault::Truncate | Fault::Corrupt) | None => Ok(()),
        }
    }

    /// What a fault that comes after the request makes of its answer.
    fn after<T>(&self, key: &str, fault: Option<Fault>, value: T) -> Result<T, StoreError> {
        match fault {
            Some(Fault::FailAfter) => Err(self.failure(key)),
            _ => Ok(value),
        }
    }
}

#[async_trait]
impl Backend for FaultStore {
    async fn put(&self, key: &str, parts: &[Bytes], kind: PutKind) -> Result<(), StoreError> {
        let fault = self.next(Operation::Put);
        self.before(key, fault).await?;
        self.inner.put(key, parts, kind).await?;
        self.after(key, fault, ())
    }

    async fn upload(&self, key: &str) -> Result<Box<dyn Upload>, StoreError> {
        let fault = self.next(Operation::Put);
        self.before(key, fault).await?;
        let upload = self.inner.upload(key).await?;
        self.after(key, fault, upload)
    }

    async fn get(&self, key: &str, range: ByteRange) -> Result<Bytes, StoreError> {
        let fault = self.next(Operation::Get);
        self.before(key, fault).await?;
        let bytes = self.inner.get(key, range).await?;
        let bytes = match fault {
            Some(Fault::Truncate) => bytes.slice(..bytes.len() / 2),
            Some(Fault::Corrupt) => flip(&bytes),
            _ => bytes,
        };
        self.after(key, fault, bytes)
    }

    async fn head(&self, key: &str) -> Result<u64, StoreError> {
        let fault = self.next(Operation::Head);
        self.before(key, fault).await?;
        let size = self.inner.head(key).await?;
        self.after(key, fault, size)
    }

    fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectInfo, StoreError>> {
        self.inner.list(prefix)
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let fault = self.next(Operation::Delete);
        self.before(key, fault).await?;
        self.inner.delete(key).await?;
        self.after(key, fault, ())
    }
}

fn flip(bytes: &Bytes) -> Bytes {
    let mut copy = bytes.to_vec();
    let middle = copy.len() / 2;
    if let Some(byte) = copy.get_mut(middle) {
        *byte ^= 1;
    }
    copy.into()
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl fmt::Debug for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultStore({:?})", self.inner)
    }
}
