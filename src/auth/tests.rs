//! The guard and its settings.

use super::*;

const READ: &str = "centerx_read";
const OPERATE: &str = "centerx_operate";

fn token(name: &str, role: Role, text: &str) -> TokenConfig {
    TokenConfig { name: name.into(), role, sha256: Digest::of(text.as_bytes()) }
}

fn config() -> Config {
    let tokens = vec![token("grafana", Role::Read, READ), token("ops", Role::Operate, OPERATE)];
    Config { mode: Mode::Tokens, tokens }
}

fn ask(guard: &Guard, sent: &[&str], needs: Role) -> Result<(), Denied> {
    let mut headers = HeaderMap::new();
    for value in sent {
        headers.append(AUTHORIZATION, value.parse().unwrap());
    }
    let outcome = guard.admit(&mut headers, Some(needs), None);
    assert!(headers.is_empty(), "nothing behind the guard sees the token");
    outcome
}

#[test]
fn a_role_allows_what_it_says() {
    let guard = Guard::new(config(), &Registry::new()).unwrap();
    let (read, operate) = (format!("Bearer {READ}"), format!("bearer  {OPERATE} "));
    assert_eq!(ask(&guard, &[&read], Role::Read), Ok(()));
    assert_eq!(ask(&guard, &[&operate], Role::Read), Ok(()));
    assert_eq!(ask(&guard, &[&operate], Role::Operate), Ok(()));
    let denied = ask(&guard, &[&read], Role::Operate).unwrap_err();
    let text = denied.to_string();
    assert!(text.contains("needs the role operate") && text.contains("\"grafana\" has read"), "{text}");
    assert!(!text.contains(READ), "{text}");
}

#[test]
fn whatever_is_no_token_is_refused_for_its_reason_and_counted() {
    let registry = Registry::new();
    let guard = Guard::new(config(), &registry).unwrap();
    let good = format!("Bearer {READ}");
    for (sent, reason) in [
        (&[][..], "missing"),
        (&["Bearer"], "malformed"),
        (&["Bearer "], "malformed"),
        (&["Basic Z3JhZmFuYQ=="], "malformed"),
        (&[READ], "malformed"),
        (&["Bearer a b"], "malformed"),
        (&[&good, &good], "malformed"),
        (&["Bearer centerx_rea"], "unknown"),
        (&["Bearer centerx_readd"], "unknown"),
        (&["Bearer CENTERX_READ"], "unknown"),
    ] {
        assert_eq!(ask(&guard, sent, Role::Read).unwrap_err().reason(), reason, "{sent:?}");
    }
    // The digest itself, as a thief of the settings has it, is no token.
    let stolen = format!("Bearer {}", Digest::of(OPERATE.as_bytes()));
    assert_eq!(ask(&guard, &[&stolen], Role::Read), Err(Denied::Unknown));
    let counted: f64 = registry.gather()[0].get_metric().iter().map(|m| m.get_counter().get_value()).sum();
    assert_eq!(counted, 11.0);
}

#[test]
fn a_token_that_is_taken_back_is_not_known_any_more() {
    let guard = Guard::new(config(), &Registry::new()).unwrap();
    let (read, operate) = (format!("Bearer {READ}"), format!("Bearer {OPERATE}"));
    let clone = guard.clone();
    let tokens = config().tokens.split_off(1);
    guard.replace(Config { tokens, ..config() });
    assert_eq!(ask(&clone, &[&read], Role::Read), Err(Denied::Unknown));
    assert_eq!(ask(&clone, &[&operate], Role::Read), Ok(()));
}

#[test]
fn without_tokens_everybody_is_let_in() {
    let guard = Guard::new(Config::default(), &Registry::new()).unwrap();
    assert!(guard.is_open());
    assert_eq!(ask(&guard, &[], Role::Operate), Ok(()));
    assert_eq!(ask(&guard, &["Bearer whatever"], Role::Operate), Ok(()));
}

#[test]
fn without_tokens_only_loopback_is_listened_on() {
    let at = |text: &str| [("[grpc] listen", text.parse().unwrap())];
    let off = Config { mode: Mode::Off, ..Config::default() };
    for local in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        Config::default().validate(&at(local)).unwrap();
    }
    for open in ["0.0.0.0:1", "[::]:1", "10.0.0.5:1", "[::ffff:10.0.0.5]:1"] {
        let text = Config::default().validate(&at(open)).unwrap_err();
        assert!(text.contains("[grpc] listen") && text.contains("centerx token new"), "{text}");
        config().validate(&at(open)).unwrap();
        off.validate(&at(open)).unwrap();
    }
}

#[test]
fn tokens_that_cannot_be_told_apart_and_contradictions_are_refused() {
    let refused =
        |mode, tokens: &[TokenConfig]| Config { mode, tokens: tokens.to_vec() }.validate(&[]).unwrap_err();
    let a = token("a", Role::Read, "x");
    assert!(refused(Mode::Tokens, &[a.clone(), token("a", Role::Read, "y")]).contains("one name"));
    assert!(refused(Mode::Tokens, &[a.clone(), token("b", Role::Operate, "x")]).contains("one sha256"));
    assert!(refused(Mode::Off, &[a]).contains("\"off\""));
    assert!(refused(Mode::Tokens, &[token("a b", Role::Read, "x")]).contains("letters"));
}
