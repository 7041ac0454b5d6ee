use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

use super::{register, socket_path};
use crate::proto::registration as pb;
use crate::proto::registration::registration_client::RegistrationClient;

/// Calls as kubelet does.
async fn kubelet(path: &Path) -> RegistrationClient<Channel> {
    let endpoint = Endpoint::try_from(format!("unix://{}", path.display())).unwrap();
    loop {
        match endpoint.connect().await {
            Ok(channel) => return RegistrationClient::new(channel),
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

/// What tells a socket from one that was put there later.
fn made(path: &Path) -> Option<(u64, i64, i64)> {
    let found = std::fs::symlink_metadata(path).ok()?;
    Some((found.ino(), found.ctime(), found.ctime_nsec()))
}

#[tokio::test]
async fn kubelet_hears_who_the_driver_is_and_asks_again_after_it_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let path = socket_path(scratch.path());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let until = async { drop(stopped.await) };
    let endpoint = "/plugins/csi.sock".to_owned();
    let registering =
        tokio::spawn(register(path.clone(), endpoint, Duration::from_millis(1), until));
    let mut client = kubelet(&path).await;
    let info = client.get_info(pb::InfoRequest {}).await.unwrap().into_inner();
    assert_eq!((&*info.r#type, &*info.name), ("CSIPlugin", "csi.pfs.internal"));
    assert_eq!(
        (&*info.endpoint, &info.supported_versions[..]),
        ("/plugins/csi.sock", &["1.0.0".to_owned()][..])
    );

    let first = made(&path);
    let status =
        |plugin_registered| pb::RegistrationStatus { plugin_registered, error: String::new() };
    client.notify_registration_status(status(true)).await.unwrap();
    assert_eq!(made(&path), first);
    // The server that answers ends with it: an answer may not arrive.
    drop(client.notify_registration_status(status(false)).await);
    while made(&path).is_none_or(|now| Some(now) == first) {
        tokio::task::yield_now().await;
    }
    kubelet(&path).await.get_info(pb::InfoRequest {}).await.unwrap();
    stop.send(()).unwrap();
    registering.await.unwrap().unwrap();
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
}
