use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;
use crate::config::Secret;

const RFC_CLIENT_FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const RFC_SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const RFC_CLIENT_FINAL: &str =
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const RFC_SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

/// Secrets that PostgreSQL 15 made, with the passwords they were made from. The second is changed by SASLprep, the
/// third holds a prohibited character and is taken as it is, the fourth has a space that is not ASCII's.
const FROM_POSTGRESQL: [(&str, &str); 4] = [
    (
        "correct horse",
        "SCRAM-SHA-256$4096:9/3fRqUrU04Z35k11n2iSQ==$GVp52uwB8CWCD4eeJX+8fGF3M6JtZ8HAxbSdoIEE3Tg=:9uqjzc6mDzuxuiblhGb5y/b+nRHc3rR9WlsKRusoAJw=",
    ),
    (
        "\u{aa}\u{2168} pass\u{ad}",
        "SCRAM-SHA-256$4096:eY91I/Th4efqh0Of1+CLBA==$un9rQySkZ/lvXiXiWxQbH5VP+cwYHqtqytqRzmc9KtU=:w4lHkczJKKGdqkYrMGTttkIEuBS6dev6dGpmQqUE6IA=",
    ),
    (
        "tab\there\u{e9}",
        "SCRAM-SHA-256$4096:fFZYuYnHEuVKRLEZ4RK+3A==$HxkFe+ghmmUiXiT1qsVnFMG8TxZbdfiyohS5IcnbU/I=:pcj+34+q8s9mPw7JJNzh09SQxHhCbHYTNCT5YagWuF4=",
    ),
    (
        "a\u{a0}b",
        "SCRAM-SHA-256$4096:Ak/laRvf+W1cFNXS0veDfQ==$hE1ke+IGiMiwzNBtaUTBECe3JZpMKPBFAZrCsXlI84M=:7mZ4SYzhnT41ZmAQBfERs2ugN52UoZQVOPfBMwRmJmo=",
    ),
];
const MD5_OF_BOB: &str = "md5e56586342e82bfc415eff843d7a4b8fa";

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

/// Few iterations, as most tests need no strength.
fn weak(password: &str) -> ScramSecret {
    ScramSecret::from_password(password, b"salt of sixteen.", 3)
}

fn client(password: &str) -> ScramClient {
    ScramClient::new(ScramKeys::Password(secret(password)), Nonce::random().unwrap())
}

fn server(secret: ScramSecret) -> ScramServer {
    ScramServer::new(secret, Nonce::random().unwrap())
}

/// Runs a whole exchange; the server's verdict and, if it let the client in, the client's of the server.
fn exchange(
    client: &mut ScramClient,
    server: &mut ScramServer,
) -> Result<(ClientKey, Result<(), AuthFault>), AuthFault> {
    let server_first = server.first(MECHANISM.as_bytes(), &client.first())?;
    let (server_final, key) = server.finish(&client.respond(&server_first)?)?;
    Ok((key, client.verify(&server_final)))
}

#[test]
fn the_example_of_rfc_7677_passes() {
    let secret =
        ScramSecret::from_password("pencil", b"\x5b\x6d\x99\x68\x9d\x12\x35\x8e\xec\xa0\x4b\x14\x12\x36\xfa\x81", 4096);
    let mut server = ScramServer::new(secret, Nonce::known("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"));
    assert_eq!(server.first(MECHANISM.as_bytes(), RFC_CLIENT_FIRST).unwrap(), RFC_SERVER_FIRST.as_bytes());
    let (server_final, _) = server.finish(RFC_CLIENT_FINAL.as_bytes()).unwrap();
    assert_eq!(server_final, RFC_SERVER_FINAL.as_bytes());
}

#[test]
fn secrets_that_postgresql_stored_are_read_written_and_recognise_their_password() {
    for (password, text) in FROM_POSTGRESQL {
        let secret = ScramSecret::parse(text).unwrap();
        assert_eq!(secret.reveal(), text);
        assert!(secret.recognise(password.as_bytes()).is_some(), "{password:?}");
        assert!(secret.recognise(b"another").is_none());
        assert_eq!(ScramSecret::from_password(password, &secret.salt, secret.iterations), secret);
        exchange(&mut client(password), &mut server(secret)).unwrap().1.unwrap();
    }
}

#[test]
fn an_md5_hash_that_postgresql_stored_recognises_its_password() {
    let hash = Md5Hash::parse(MD5_OF_BOB).unwrap();
    assert_eq!(hash, Md5Hash::of("bob", b"correct horse"));
    assert_eq!(hash.reveal(), MD5_OF_BOB);
    let salt = [1, 2, 3, 255];
    let answer = md5_password("bob", "correct horse", salt);
    assert_eq!(answer, hash.answer(salt));
    assert_eq!(answer.len(), 35);
    for stored in [Stored::Md5(hash), Stored::Plain(secret("correct horse"))] {
        assert!(verify_md5(Some(&stored), "bob", salt, answer.as_bytes()));
        assert!(!verify_md5(Some(&stored), "bob", [0; 4], answer.as_bytes()));
        assert!(!verify_md5(Some(&stored), "bob", salt, &answer.as_bytes()[..34]));
        assert!(!verify_md5(Some(&stored), "bob", salt, b""));
    }
}

#[test]
fn md5_never_matches_nothing_nor_a_scram_secret() {
    let salt = [9; 4];
    let of_nothing = md5_password("bob", "", salt);
    assert!(!verify_md5(None, "bob", salt, of_nothing.as_bytes()));
    assert!(!verify_md5(Some(&Stored::Scram(weak(""))), "bob", salt, of_nothing.as_bytes()));
}

#[test]
fn what_is_not_exactly_a_stored_form_is_a_password() {
    let good = FROM_POSTGRESQL[0].1;
    assert!(matches!(Stored::parse(&secret(good)), Stored::Scram(_)));
    assert!(matches!(Stored::parse(&secret(MD5_OF_BOB)), Stored::Md5(_)));
    for text in [
        "",
        "md5",
        "md5E56586342e82bfc415eff843d7a4b8fa",
        "md5e56586342e82bfc415eff843d7a4b8fa0",
        "SCRAM-SHA-256$",
        "SCRAM-SHA-256$0:9/3fRqUrU04Z35k11n2iSQ==$GVp52uwB8CWCD4eeJX+8fGF3M6JtZ8HAxbSdoIEE3Tg=:9uqjzc6mDzuxuiblhGb5y/b+nRHc3rR9WlsKRusoAJw=",
        &good[..good.len() - 4],
        &good.replace("$GVp5", "$"),
        &good.replace("4096", "many"),
    ] {
        assert_eq!(Stored::parse(&secret(text)), Stored::Plain(secret(text)), "{text}");
    }
}

#[test]
fn both_machines_agree_and_the_client_key_passes_through() {
    let secret = weak("pässword");
    let (key, genuine) = exchange(&mut client("pässword"), &mut server(secret.clone())).unwrap();
    assert_eq!(genuine, Ok(()));

    let keys = ScramKeys::pass_through(key.clone(), &secret);
    let mut through = ScramClient::new(keys.clone(), Nonce::random().unwrap());
    let (again, genuine) = exchange(&mut through, &mut server(secret)).unwrap();
    assert_eq!(genuine, Ok(()));
    assert_eq!(again, key);

    let elsewhere = ScramSecret::from_password("pässword", b"another salt", 3);
    let mut through = ScramClient::new(keys, Nonce::random().unwrap());
    assert_eq!(exchange(&mut through, &mut server(elsewhere)).unwrap_err(), AuthFault::SecretDiffers);
}

#[test]
fn a_wrong_password_fails_at_the_end() {
    assert_eq!(exchange(&mut client("wrong"), &mut server(weak("right"))).unwrap_err(), AuthFault::WrongPassword);
}

#[test]
fn an_unknown_user_gets_the_same_salt_each_time_and_fails_as_a_wrong_password_does() {
    let key = MockKey::random().unwrap();
    let salt_of = |name: &str, key: &MockKey| mock_secret(name, key).salt;
    assert_eq!(salt_of("nobody", &key), salt_of("nobody", &key));
    assert_ne!(salt_of("nobody", &key), salt_of("noone", &key));
    assert_ne!(salt_of("nobody", &key), salt_of("nobody", &MockKey::random().unwrap()));
    assert_eq!(salt_of("nobody", &key).len(), 16);

    let mut mock = Credential::scram_server(None, "nobody", &key, Nonce::random().unwrap());
    assert_eq!(exchange(&mut client("any"), &mut mock).unwrap_err(), AuthFault::WrongPassword);
}

#[test]
fn a_server_that_does_not_know_the_secret_is_not_believed() {
    let mut impostor = weak("right");
    impostor.server_key = weak("other").server_key;
    let (_, genuine) = exchange(&mut client("right"), &mut server(impostor)).unwrap();
    assert_eq!(genuine, Err(AuthFault::ServerNotGenuine));

    let mut client = client("right");
    client.respond(&server(weak("right")).first(MECHANISM.as_bytes(), &client.first()).unwrap()).unwrap();
    assert_eq!(client.verify(b"e=invalid-proof"), Err(AuthFault::Refused("invalid-proof".to_owned())));
}

#[test]
fn a_tampered_nonce_is_refused_by_either_side() {
    let (mut one, mut other) = (client("right"), server(weak("right")));
    let server_first = other.first(MECHANISM.as_bytes(), &one.first()).unwrap();
    let mut foreign = server_first.clone();
    foreign[2] ^= 1;
    let answer = one.respond(&server_first).unwrap();
    assert_eq!(client("right").respond(&server_first), Err(AuthFault::Nonce));
    assert_eq!(client("right").respond(&foreign), Err(AuthFault::Nonce));

    let tampered = String::from_utf8(answer).unwrap().replacen(",r=", ",r=x", 1);
    assert_eq!(other.finish(tampered.as_bytes()).unwrap_err(), AuthFault::Nonce);
}

#[test]
fn a_server_that_only_repeats_the_clients_nonce_is_refused() {
    let mut client = ScramClient::new(ScramKeys::Password(secret("right")), Nonce::known("abc"));
    assert_eq!(client.respond(b"r=abc,s=AAAA,i=1"), Err(AuthFault::Nonce));
}

#[test]
fn iterations_are_bounded() {
    let respond = |message: &str| {
        ScramClient::new(ScramKeys::Password(secret("right")), Nonce::known("abc")).respond(message.as_bytes())
    };
    assert_eq!(respond("r=abcd,s=AAAA,i=4294967295"), Err(AuthFault::TooManyIterations(4_294_967_295)));
    assert!(matches!(respond("r=abcd,s=AAAA,i=0"), Err(AuthFault::Malformed(_))));
    assert!(matches!(respond("r=abcd,s=AAAA,i=-1"), Err(AuthFault::Malformed(_))));
    assert!(respond("r=abcd,s=AAAA,i=1").is_ok());
    assert!(respond("r=abcd,s=AAAA,i=1,x=extension").is_ok());
}

#[test]
fn channel_binding_is_refused_unless_it_is_declined() {
    let first = |message: &str| server(weak("right")).first(MECHANISM.as_bytes(), message.as_bytes());
    assert!(first("n,,n=,r=abc").is_ok());
    assert!(first("y,,n=ignored,r=abc,x=extension").is_ok());
    assert_eq!(first("p=tls-server-end-point,,n=,r=abc"), Err(AuthFault::ChannelBinding));
    assert_eq!(first("n,a=other,n=,r=abc"), Err(AuthFault::AuthorizationIdentity));

    // A meddler who turned the client's `y` into `n` is found out by what the client repeats.
    let mut meddled = server(weak("right"));
    let server_first = String::from_utf8(meddled.first(MECHANISM.as_bytes(), b"n,,n=,r=abc").unwrap()).unwrap();
    let nonce = &server_first[2..server_first.find(',').unwrap()];
    let answer = format!("c=eSws,r={nonce},p=AAAA");
    assert_eq!(meddled.finish(answer.as_bytes()).unwrap_err(), AuthFault::ChannelBinding);
}

#[test]
fn what_a_client_binds_must_be_the_connection_it_is_in() {
    let plus = |message: &str| {
        let mut bound = server(weak("right")).within(Some(Arc::from(*b"hash of our certificate")));
        assert_eq!(bound.mechanisms(), [MECHANISM_PLUS, MECHANISM]);
        let answer = bound.first(MECHANISM_PLUS.as_bytes(), message.as_bytes());
        (bound, answer)
    };
    let finish = |binding: &[u8]| {
        let (mut bound, answer) = plus("p=tls-server-end-point,,n=,r=abc");
        let server_first = String::from_utf8(answer.unwrap()).unwrap();
        let nonce = &server_first[2..server_first.find(',').unwrap()];
        let proof = STANDARD.encode([0; 32]);
        let answer = format!("c={},r={nonce},p={proof}", STANDARD.encode(binding));
        bound.finish(answer.as_bytes()).unwrap_err()
    };
    assert_eq!(finish(b"p=tls-server-end-point,,hash of our certificate"), AuthFault::WrongPassword);
    assert_eq!(finish(b"p=tls-server-end-point,,hash of another's"), AuthFault::ChannelBinding);
    assert_eq!(finish(b"p=tls-server-end-point,,"), AuthFault::ChannelBinding);
    assert_eq!(plus("p=tls-unique,,n=,r=abc").1, Err(AuthFault::ChannelType));
    assert_eq!(plus("n,,n=,r=abc").1, Err(AuthFault::ChannelBinding));

    // Without the better mechanism: fine for who can't, suspicious for who could.
    let plain =
        |message: &[u8]| server(weak("right")).within(Some(Arc::from(*b"hash"))).first(MECHANISM.as_bytes(), message);
    assert!(plain(b"n,,n=,r=abc").is_ok());
    assert_eq!(plain(b"y,,n=,r=abc"), Err(AuthFault::Downgraded));
    assert_eq!(plain(b"p=tls-server-end-point,,n=,r=abc"), Err(AuthFault::ChannelBinding));
    let unbound = server(weak("right")).first(MECHANISM_PLUS.as_bytes(), b"p=tls-server-end-point,,n=,r=abc");
    assert_eq!(unbound, Err(AuthFault::Mechanism));
}

#[test]
fn messages_out_of_order_or_out_of_form_are_refused() {
    assert_eq!(server(weak("right")).finish(b"c=biws,r=abc,p=AAAA").unwrap_err(), AuthFault::OutOfOrder);
    assert_eq!(client("right").verify(b"v=AAAA"), Err(AuthFault::OutOfOrder));
    let mut twice = server(weak("right"));
    twice.first(MECHANISM.as_bytes(), b"n,,n=,r=abc").unwrap();
    assert_eq!(twice.first(MECHANISM.as_bytes(), b"n,,n=,r=abc"), Err(AuthFault::OutOfOrder));
    assert_eq!(twice.finish(b"").unwrap_err(), AuthFault::OutOfOrder);
    for message in
        ["", "n", "n,", "n,,", "n,,n=", "n,,n=,r=", "n,,m=x,n=,r=abc", "z,,n=,r=a", "n,,n=,r=a b", "n,,n=,r=a,1=x"]
    {
        let fault = server(weak("right")).first(MECHANISM.as_bytes(), message.as_bytes()).unwrap_err();
        assert!(fault.is_protocol_violation(), "{message}: {fault}");
    }
    let long = format!("n,,n=,r={}", "a".repeat(2000));
    assert!(matches!(server(weak("right")).first(MECHANISM.as_bytes(), long.as_bytes()), Err(AuthFault::Malformed(_))));
    assert!(matches!(server(weak("right")).first(MECHANISM.as_bytes(), b"n,,n=\0,r=a"), Err(AuthFault::Malformed(_))));
}

#[test]
fn a_clear_password_is_compared_with_each_stored_form() {
    for stored in [
        Stored::Plain(secret("correct horse")),
        Stored::parse(&secret(FROM_POSTGRESQL[0].1)),
        Stored::parse(&secret(MD5_OF_BOB)),
    ] {
        assert!(verify_password(Some(&stored), "bob", b"correct horse"));
        assert!(!verify_password(Some(&stored), "bob", b"correct hors"));
        assert!(!verify_password(Some(&stored), "bob", b""));
    }
    assert!(!verify_password(None, "bob", b""));
}

#[test]
fn nothing_secret_is_shown_by_debug() {
    let shown = [
        format!("{:?}", Stored::Plain(secret("hunter2"))),
        format!("{:?}", Stored::Scram(weak("hunter2"))),
        format!("{:?}", Stored::parse(&secret(MD5_OF_BOB))),
        format!("{:?}", ScramKeys::Password(secret("hunter2"))),
        format!("{:?}", BackendLogin::Password(secret("hunter2"))),
        format!("{:?}", server(weak("hunter2"))),
        format!("{:?}", client("hunter2")),
        format!("{:?}", weak("hunter2").recognise(b"hunter2").unwrap()),
        format!("{:?}", MockKey::random().unwrap()),
    ]
    .join("\n");
    let keys = weak("hunter2").reveal();
    let salt = keys.split([':', '$']).nth(2).unwrap();
    for hidden in ["hunter2", "e5658634", salt, ", 1", "[1"] {
        assert!(!shown.contains(hidden), "{hidden} in {shown}");
    }
}

proptest! {
    #[test]
    fn garbage_never_panics_the_server(first in any::<Vec<u8>>(), last in any::<Vec<u8>>()) {
        let _ = server(weak("right")).first(MECHANISM.as_bytes(), &first);
        let mut server = server(weak("right"));
        server.first(MECHANISM.as_bytes(), b"n,,n=,r=abc").unwrap();
        prop_assert!(server.finish(&last).is_err());
    }

    #[test]
    fn nearly_right_messages_never_panic_the_server(first in "[nyp](=[a-z]{0,3})?,(a=x)?,(m=x,)?n=[^,]{0,4},r=[ -~]{0,9}(,.{0,5})?", last in "c=[a-zA-Z=]{0,5},r=.{0,9},p=[a-zA-Z=]{0,50}") {
        let mut server = server(weak("right"));
        let _ = server.first(MECHANISM.as_bytes(), first.as_bytes());
        prop_assert!(server.finish(last.as_bytes()).is_err());
    }

    #[test]
    fn garbage_never_panics_the_client(first in any::<Vec<u8>>(), last in any::<Vec<u8>>()) {
        let mut client = ScramClient::new(ScramKeys::Password(secret("right")), Nonce::known("abc"));
        prop_assert!(client.respond(&first).is_err());
        let mut client = ScramClient::new(ScramKeys::Password(secret("right")), Nonce::known("abc"));
        client.respond(b"r=abcd,s=AAAA,i=1").unwrap();
        prop_assert!(client.verify(&last).is_err());
    }

    #[test]
    fn nearly_right_messages_never_panic_the_client(first in "r=abc.{0,5},s=[a-zA-Z=]{0,9},i=[0-9]{1,3}.{0,3}", last in "[ve]=[a-zA-Z=]{0,50}(,.{0,5})?") {
        let mut client = ScramClient::new(ScramKeys::Password(secret("right")), Nonce::known("abc"));
        let _ = client.respond(first.as_bytes());
        prop_assert!(client.verify(last.as_bytes()).is_err());
    }

    #[test]
    fn any_text_is_read_as_some_stored_form(text in "(md5|SCRAM-SHA-256\\$)?[0-9a-f:$=]{0,60}", password in any::<Vec<u8>>()) {
        let stored = Stored::parse(&secret(&text));
        if !matches!(stored, Stored::Scram(_)) {
            let _ = verify_password(Some(&stored), "bob", &password);
        }
    }

    #[test]
    fn any_password_logs_in_with_itself(password in any::<String>()) {
        let (_, genuine) = exchange(&mut client(&password), &mut server(weak(&password))).unwrap();
        prop_assert_eq!(genuine, Ok(()));
    }
}

mod of_configuration {
    use super::*;
    use crate::config::{AuthMethod, User};

    fn user(name: &str, password: Option<&str>) -> User {
        User {
            name: name.to_owned(),
            password: password.map(secret),
            auth: None,
            backend_user: None,
            backend_password: None,
            pool: crate::config::PoolOverride::default(),
        }
    }

    fn credentials(method: AuthMethod, users: &[User]) -> Credentials {
        Credentials::from_users(users, method, None).unwrap()
    }

    #[test]
    fn a_star_is_for_names_that_no_entry_names() {
        let known = credentials(AuthMethod::ScramSha256, &[user("*", Some("any")), user("bob", Some("his"))]);
        let login_of = |name: &str| known.lookup(name).unwrap().backend.login;
        assert_eq!(login_of("bob"), BackendLogin::Password(secret("his")));
        assert_eq!(login_of("eve"), BackendLogin::Password(secret("any")));
        assert_eq!(credentials(AuthMethod::Trust, &[user("bob", None)]).lookup("eve"), None);
    }

    #[test]
    fn without_users_only_trust_and_cert_let_anyone_in() {
        for method in [AuthMethod::Trust, AuthMethod::Cert] {
            let anyone = credentials(method, &[]).lookup("anyone").unwrap();
            assert_eq!((anyone.method, anyone.backend.login), (method, BackendLogin::None));
        }
        for method in [AuthMethod::Md5, AuthMethod::Password, AuthMethod::ScramSha256] {
            assert_eq!(credentials(method, &[]).lookup("anyone"), None);
        }
    }

    #[test]
    fn a_plain_password_gets_its_secret_once_where_the_method_uses_one() {
        let with = |method| credentials(method, &[user("bob", Some("his"))]);
        let known = with(AuthMethod::ScramSha256);
        let secret = known.lookup("bob").unwrap().scram.unwrap();
        assert_eq!((secret.iterations, secret.salt.len()), (4096, 16));
        assert_eq!(known.lookup("bob").unwrap().scram.unwrap(), secret);
        assert!(with(AuthMethod::Password).lookup("bob").unwrap().scram.is_some());
        assert!(with(AuthMethod::Md5).lookup("bob").unwrap().scram.is_none());
        assert!(with(AuthMethod::Trust).lookup("bob").unwrap().scram.is_none());
    }

    #[test]
    fn who_keeps_a_password_keeps_the_secret_that_was_derived_from_it() {
        let before = credentials(AuthMethod::ScramSha256, &[user("bob", Some("his")), user("*", Some("any"))]);
        let users = [user("bob", Some("his")), user("*", Some("other"))];
        let now = Credentials::from_users(&users, AuthMethod::ScramSha256, Some(&before)).unwrap();
        let scram = |known: &Credentials, name| known.lookup(name).unwrap().scram.unwrap();
        assert_eq!(scram(&now, "bob"), scram(&before, "bob"));
        assert!(scram(&now, "eve") != scram(&before, "eve"));
        assert!(scram(&now, "eve").recognise(b"other").is_some());
    }

    #[test]
    fn md5_becomes_scram_where_a_scram_secret_is_stored_and_the_key_passes_through() {
        let known = credentials(AuthMethod::Md5, &[user("alice", Some(FROM_POSTGRESQL[0].1))]);
        let alice = known.lookup("alice").unwrap();
        assert_eq!(alice.method, AuthMethod::ScramSha256);
        assert_eq!(alice.backend.login, BackendLogin::ScramPassThrough);
    }

    #[test]
    fn scram_with_an_md5_hash_fails_as_a_wrong_password_does() {
        let known = credentials(AuthMethod::ScramSha256, &[user("bob", Some(MD5_OF_BOB))]);
        let bob = known.lookup("bob").unwrap();
        assert_eq!((bob.method, &bob.scram), (AuthMethod::ScramSha256, &None));
        assert!(matches!(bob.backend.login, BackendLogin::Md5Hash(_)));
        let key = MockKey::random().unwrap();
        let mut server = Credential::scram_server(Some(&bob), "bob", &key, Nonce::random().unwrap());
        assert_eq!(exchange(&mut client("correct horse"), &mut server).unwrap_err(), AuthFault::WrongPassword);
    }

    #[test]
    fn a_users_own_method_and_backend_login_come_first() {
        let mut bob = user("bob", Some(FROM_POSTGRESQL[0].1));
        bob.auth = Some(AuthMethod::Password);
        bob.backend_user = Some("robert".to_owned());
        bob.backend_password = Some(secret("plain"));
        let bob = credentials(AuthMethod::Md5, &[bob]).lookup("bob").unwrap();
        assert_eq!(bob.method, AuthMethod::Password);
        assert_eq!(bob.backend.user.as_deref(), Some("robert"));
        assert_eq!(bob.backend.login, BackendLogin::Password(secret("plain")));
    }

    #[test]
    fn a_scram_secret_is_passed_through_only_where_the_clients_login_reveals_its_key() {
        let [(_, one), (_, other), ..] = FROM_POSTGRESQL;
        let login = |method, password: Option<&str>, backend: Option<&str>| {
            let mut bob = user("bob", password);
            bob.backend_password = backend.map(secret);
            credentials(method, &[bob]).lookup("bob").unwrap().backend.login
        };
        assert_eq!(login(AuthMethod::ScramSha256, Some(one), None), BackendLogin::ScramPassThrough);
        assert_eq!(login(AuthMethod::Password, Some(one), Some(one)), BackendLogin::ScramPassThrough);
        assert_eq!(login(AuthMethod::ScramSha256, Some(one), Some(other)), BackendLogin::None);
        assert_eq!(login(AuthMethod::Trust, None, Some(one)), BackendLogin::None);
    }

    #[test]
    fn a_clear_password_is_judged_for_known_and_unknown_users() {
        let key = MockKey::random().unwrap();
        let known = credentials(
            AuthMethod::Password,
            &[user("bob", Some(MD5_OF_BOB)), user("alice", Some(FROM_POSTGRESQL[0].1)), user("eve", Some("hers"))],
        );
        let judge = |name: &str, password: &str| {
            Credential::verify_password(known.lookup(name).as_ref(), name, password.as_bytes(), &key)
        };
        assert_eq!(judge("bob", "correct horse"), Ok(None));
        assert!(matches!(judge("alice", "correct horse"), Ok(Some(_))));
        assert!(matches!(judge("eve", "hers"), Ok(Some(_))));
        for name in ["bob", "alice", "eve", "nobody"] {
            assert_eq!(judge(name, "wrong"), Err(AuthFault::WrongPassword));
        }
    }
}
