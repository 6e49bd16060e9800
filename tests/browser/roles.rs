//! A server with tokens: who may see and who may change.

use super::*;
use crate::tiny_model::Tiny;

/// Makes a token by the command, and adds its lines to the settings.
fn new_token(role: &str, settings: &mut String) -> String {
    let made = run(&["token", "new", "--role", role, "--name", &format!("test-{role}")]);
    assert!(made.status.success(), "{}", errors(&made));
    settings.push_str(&errors(&made));
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

#[test]
fn tokens_are_asked_for_and_roles_kept() {
    let folder = tempfile::tempdir().unwrap();
    let model = Tiny::new("tiny", &["person", "car"]).write(folder.path());
    let mut settings = format!(
        "[[model]]\nname = \"tiny\"\nsource = {model:?}\n\n[[camera]]\nid = \"ball\"\n\
         url = \"test://ball?width=320&height=240&fps=10\"\n"
    );
    let (read, operate) = (new_token("read", &mut settings), new_token("operate", &mut settings));
    let mut server = serve(folder.path(), &settings);
    let script = Script::new("roles", server.http).with("READ", &read).with("OPERATE", &operate);
    script.run(|word, _| panic!("nobody knows {word}"));
    server.keep_log();
    assert!(!server.log.contains(&read) && !server.log.contains(&operate), "no token is in the log");
}
