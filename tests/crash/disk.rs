//! Disks that take nothing more.
//!
//! A disk of its own needs a mount, which a user may make in a namespace of its own, where the system lets it. A
//! limit on the size of files is everybody's.

use std::process::Command;

use super::*;

/// Runs the rest in namespaces where it may mount.
const IN_NAMESPACE: [&str; 4] = ["unshare", "--map-root-user", "--mount", "sh"];

/// Whether namespaces are allowed here; says so if not.
fn may_mount() -> bool {
    let tried = Command::new(IN_NAMESPACE[0])
        .args(&IN_NAMESPACE[1..])
        .args(["-c", "mount -t tmpfs none /mnt"])
        .output();
    let may = tried.as_ref().is_ok_and(|output| output.status.success());
    if !may {
        println!("SKIPPED the road over a mount, which is not allowed here: {tried:?}");
    }
    may
}

/// `sh -c SCRIPT`, with the data directory as `$1`, that becomes the server.
fn shell<'a>(script: &'a str, data: &'a Path) -> [&'a str; 5] {
    ["sh", "-c", script, "sh", data.to_str().unwrap()]
}

async fn nothing_can_be_changed(client: &mut Cameras, cure: &str) {
    let refusals = [
        add(client, camera("more", &"ä".repeat(200))).await.unwrap_err(),
        rename(client, "kept", &"ä".repeat(200)).await.unwrap_err(),
    ];
    for refusal in refusals {
        assert_eq!(refusal.code(), Code::Internal, "{refusal:?}");
        for told in ["nothing was changed", "cameras.json", cure] {
            assert!(refusal.message().contains(told), "{told} in {refusal:?}");
        }
    }
    assert_eq!(list(client).await, [("kept".to_owned(), String::new())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_may_not_grow_is_told_and_changes_work_again_once_it_may() {
    let (models, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let arguments = ["--model", &quick_model(models.path())];
    // 512 bytes hold one camera.
    let wrapper = shell("shift; trap '' XFSZ; exec prlimit --fsize=512:unlimited \"$@\"", data.path());
    let server = ServerProcess::start_wrapped(&wrapper, data.path(), &arguments, &[]);
    let mut client = cameras_of(&server).await;
    add(&mut client, camera("kept", "")).await.unwrap();
    nothing_can_be_changed(&mut client, "ulimit -f").await;
    assert!(!data.path().join("cameras.json.tmp").exists(), "half a file is in the way");
    let pid = server.pid().to_string();
    let raised = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited:"]).status().unwrap();
    assert!(raised.success());
    add(&mut client, camera("more", &"ä".repeat(200))).await.unwrap();
    server.signal("KILL");
    drop(server);
    let server = ServerProcess::start(data.path(), &arguments);
    assert_eq!(ids(&mut cameras_of(&server).await).await, ["kept", "more"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_changes_work_again_once_there_is_room() {
    if !may_mount() {
        return;
    }
    let (models, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let arguments = ["--model", &quick_model(models.path())];
    let script = "mount -t tmpfs -o size=64k none \"$1\" && shift && exec \"$@\"";
    let wrapper = [&IN_NAMESPACE[..], &shell(script, data.path())[1..]].concat();
    let server = ServerProcess::start_wrapped(&wrapper, data.path(), &arguments, &[]);
    // What the server sees there.
    let disk = Path::new("/proc")
        .join(server.pid().to_string())
        .join("root")
        .join(&data.path().to_str().unwrap()[1..]);
    let mut client = cameras_of(&server).await;
    add(&mut client, camera("kept", "")).await.unwrap();
    assert!(server.get("/readyz").contains("bytes left: free some space"), "{}", server.get("/readyz"));
    fs::write(disk.join("ballast"), vec![1; 1 << 20]).unwrap_err();
    nothing_can_be_changed(&mut client, "has 0 bytes left: free some space").await;
    assert!(!disk.join("cameras.json.tmp").exists(), "half a file is in the way");
    wait_for_metric(&server, "centerx_data_dir_free_bytes", |free| free == 0.0);
    wait_for_metric(&server, "centerx_data_dir_size_bytes", |size| size == 65536.0);
    fs::remove_file(disk.join("ballast")).unwrap();
    add(&mut client, camera("more", "")).await.unwrap();
    assert!(fs::read_to_string(disk.join("cameras.json")).unwrap().contains("more"));
    println!("a full disk: ran on a tmpfs of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_disk_serves_what_is_on_it_and_refuses_changes() {
    let (models, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let arguments = ["--model", &quick_model(models.path())];
    {
        let server = ServerProcess::start(data.path(), &arguments);
        add(&mut cameras_of(&server).await, camera("kept", "")).await.unwrap();
    }
    let torn =
        fs::read_to_string(data.path().join("cameras.json")).unwrap().replacen("[", "[{\"id\": 7},", 1);
    fs::write(data.path().join("cameras.json"), &torn).unwrap();
    let script = "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && shift && exec \"$@\"";
    let mounted = [&IN_NAMESPACE[..], &shell(script, data.path())[1..]].concat();
    let (wrapper, cure): (&[&str], _) =
        if may_mount() { (&mounted, "read-only") } else { (&[], "allow it to this user") };
    allow(data.path(), 0o555);
    // Permissions do not bind root.
    if wrapper.is_empty() && fs::write(data.path().join("probe"), "").is_ok() {
        println!("SKIPPED: this is root, and may not mount");
        return;
    }
    let server = ServerProcess::start_wrapped(wrapper, data.path(), &arguments, &[]);
    let mut client = cameras_of(&server).await;
    nothing_can_be_changed(&mut client, cure).await;
    assert!(server.log.contains("left as it is"), "{}", server.log);
    drop(server);
    assert_eq!(fs::read_to_string(data.path().join("cameras.json")).unwrap(), torn);
    allow(data.path(), 0o755);
    let server = ServerProcess::start(data.path(), &arguments);
    assert_eq!(ids(&mut cameras_of(&server).await).await, ["kept"]);
    assert_eq!(fs::read_to_string(data.path().join("cameras.json.unread-1")).unwrap(), torn);
    println!("a read-only disk: ran by {wrapper:?}");
}

fn allow(folder: &Path, mode: u32) {
    fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
}
