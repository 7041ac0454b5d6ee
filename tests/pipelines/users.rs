//! Programs that run as another user than the server.

use super::*;
use crate::machine;

#[tokio::test(flavor = "multi_thread")]
async fn another_user_may_change_its_inputs_and_has_a_home() {
    let test = "another_user_may_change_its_inputs_and_has_a_home";
    if !machine::is_root(test) {
        return;
    }
    for copied in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::with(dir.path(), copied).await;
        server.create_repo("in").await;
        server.put("in", &[("d/x", Some("x")), ("d/y", Some("y")), ("z", Some("z"))]).await;
        let script = "set -e; cd /pfs/in; chmod +x d/x; echo more >> d/x; rm d/y; mv z d/z
            touch d/new top; mkdir -p e/f; cp -r . /pfs/out; echo $HOME $(id -u) > /pfs/out/who
            umask > /pfs/out/umask";
        let mut other = spec("p", "in", "/", script);
        other["transform"]["user"] = "4711:4712".into();
        other["datum_tries"] = "1".into();
        server.create(other).await;
        let job = server.job("p", 1).await;
        assert_eq!(job.state, JobState::Success, "copied {copied}: {}", job.reason);
        let output = server.output(&job).await;
        let files = ["/d/new", "/d/x", "/d/z", "/top", "/umask", "/who"];
        let found: Vec<_> =
            paths(&output).into_iter().filter(|path| !path.ends_with('/')).collect();
        assert_eq!(found, files);
        assert_eq!((output["/who"].as_str(), output["/d/x"].as_str()), ("/ 4711\n", "xmore\n"));
        assert_eq!(output["/umask"].trim().trim_start_matches('0'), "22");
        // Links are read as that user would: not at all.
        let mut curious = spec("q", "in", "/", "ln -s /etc/shadow /pfs/out/s");
        curious["transform"]["user"] = "4711:4712".into();
        server.create(curious).await;
        let job = server.job("q", 1).await;
        assert_eq!(server.output(&job).await["/s"], "/etc/shadow");
    }
}
