//! What is known of each user: how a client proves to be that user, and how we log in to PostgreSQL for it.

use std::collections::HashMap;

use super::fault::AuthFault;
use super::keys::{ClientKey, DEFAULT_ITERATIONS};
use super::md5::Md5Hash;
use super::random::{MockKey, Nonce, random};
use super::scram_server::ScramServer;
use super::stored::{ScramSecret, Stored, mock_secret, verify_password};
use crate::config::{AuthMethod, Config, PoolOverride, Secret, User};

/// Bytes of a salt that is drawn here, as PostgreSQL's (`SCRAM_DEFAULT_SALT_LEN`).
const SALT: usize = 16;

/// Where credentials come from.
pub trait CredentialSource: Send + Sync {
    /// What is known of `user`; `None` for one who may not log in, who must then fail as a wrong password does:
    /// through [`Credential::scram_server`], [`Credential::verify_password`] or `verify_md5` with nothing.
    fn lookup(&self, user: &str) -> Option<Credential>;
}

/// What is known of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// What the password is compared with; `None` where none is asked for.
    pub stored: Option<Stored>,
    /// The secret for SCRAM, derived once from a plain password; `None` when the method does not use it, or when
    /// only an md5 hash is stored, with which SCRAM always fails.
    pub scram: Option<ScramSecret>,
    /// How the client proves itself. As in PostgreSQL, `md5` becomes `scram-sha-256` where a SCRAM secret is stored.
    pub method: AuthMethod,
    pub backend: BackendCredential,
}

/// Who we log in to PostgreSQL as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendCredential {
    /// `None` is the client's own name.
    pub user: Option<String>,
    pub login: BackendLogin,
}

/// What we log in to PostgreSQL with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendLogin {
    /// Serves every method.
    Password(Secret),
    /// Serves `md5` only.
    Md5Hash(Md5Hash),
    /// The key that the client's own login revealed; serves SCRAM against the same secret only.
    ScramPassThrough,
    /// Nothing is known: PostgreSQL must ask for nothing.
    None,
}

impl Credential {
    /// A SCRAM exchange with a client that calls itself `user`. Nothing known, or nothing that SCRAM can use, begins
    /// a mock exchange, which fails at its end and not before.
    #[must_use]
    pub fn scram_server(known: Option<&Self>, user: &str, mock: &MockKey, nonce: Nonce) -> ScramServer {
        match known.and_then(|known| known.scram.clone()) {
            Some(secret) => ScramServer::new(secret, nonce),
            None => ScramServer::mock(user, mock, nonce),
        }
    }

    /// Judges a password that a client sent in clear text, at the cost of one SCRAM derivation whether the user is
    /// known or not. Returns the key for [`BackendLogin::ScramPassThrough`] where a SCRAM secret is at hand.
    ///
    /// # Errors
    /// [`AuthFault::WrongPassword`].
    pub fn verify_password(
        known: Option<&Self>,
        user: &str,
        password: &[u8],
        mock: &MockKey,
    ) -> Result<Option<ClientKey>, AuthFault> {
        if let Some(secret) = known.and_then(|known| known.scram.as_ref()) {
            return secret.recognise(password).map(Some).ok_or(AuthFault::WrongPassword);
        }
        let mocked = mock_secret(user, mock).recognise(password).is_some();
        let fits = verify_password(known.and_then(|known| known.stored.as_ref()), user, password);
        if fits & !mocked { Ok(None) } else { Err(AuthFault::WrongPassword) }
    }
}

/// The users that the configuration lists.
#[derive(Debug)]
pub struct Credentials {
    by_name: HashMap<String, Credential>,
    /// For any name that is not listed.
    other: Option<Credential>,
    /// Those who have no entry of their own, and may enter the console.
    console: HashMap<String, Credential>,
}

impl Credentials {
    /// Reads `[[users]]` with the method of `[listen]` where a user has none. With no users at all, `trust` and `cert`
    /// let anyone in, and PostgreSQL must ask for no password; any other method lets nobody in.
    ///
    /// Derives a SCRAM secret for each plain password that needs one, which takes a millisecond or so each, unless the
    /// user had the same password `before`.
    ///
    /// # Errors
    /// [`AuthFault::NoRandomness`] when no salt can be drawn.
    pub fn from_config(config: &Config, before: Option<&Self>) -> Result<Self, AuthFault> {
        let mut credentials = Self::from_users(&config.users, config.listen.auth, before)?;
        let admin = &config.admin;
        let Some(password) = admin.password.as_ref().filter(|_| admin.console) else { return Ok(credentials) };
        for name in admin.everybody().filter(|name| !config.users.iter().any(|user| user.name == *name)) {
            let user = User {
                name: name.to_owned(),
                password: Some(password.clone()),
                auth: None,
                backend_user: None,
                backend_password: None,
                pool: PoolOverride::default(),
            };
            let known = before.and_then(|before| before.console.get(name));
            credentials.console.insert(name.to_owned(), credential(&user, config.listen.auth, known)?);
        }
        Ok(credentials)
    }

    /// What is known of `user` at the door of the console; as [`CredentialSource::lookup`] otherwise.
    #[must_use]
    pub fn lookup_for_console(&self, user: &str) -> Option<Credential> {
        self.console.get(user).cloned().or_else(|| self.lookup(user))
    }

    pub(super) fn from_users(
        users: &[User],
        default_method: AuthMethod,
        before: Option<&Self>,
    ) -> Result<Self, AuthFault> {
        let mut by_name = HashMap::with_capacity(users.len());
        let mut other = None;
        for user in users {
            let is_any = user.name == "*";
            let known =
                before.and_then(|before| if is_any { before.other.as_ref() } else { before.by_name.get(&user.name) });
            let credential = credential(user, default_method, known)?;
            if is_any {
                other.get_or_insert(credential);
            } else {
                by_name.entry(user.name.clone()).or_insert(credential);
            }
        }
        if users.is_empty() && matches!(default_method, AuthMethod::Trust | AuthMethod::Cert) {
            let backend = BackendCredential { user: None, login: BackendLogin::None };
            other = Some(Credential { stored: None, scram: None, method: default_method, backend });
        }
        Ok(Self { by_name, other, console: HashMap::new() })
    }
}

impl CredentialSource for Credentials {
    fn lookup(&self, user: &str) -> Option<Credential> {
        self.by_name.get(user).or(self.other.as_ref()).cloned()
    }
}

/// What is known of a user now; `before` is what was.
fn credential(user: &User, default_method: AuthMethod, before: Option<&Credential>) -> Result<Credential, AuthFault> {
    let stored = user.password.as_ref().map(Stored::parse);
    let method = match (user.auth.unwrap_or(default_method), &stored) {
        (AuthMethod::Md5, Some(Stored::Scram(_))) => AuthMethod::ScramSha256,
        (method, _) => method,
    };
    let derived = before.filter(|before| before.stored == stored).and_then(|before| before.scram.clone());
    let scram = match (&stored, method) {
        (Some(Stored::Scram(secret)), _) => Some(secret.clone()),
        (Some(Stored::Plain(_)), AuthMethod::ScramSha256 | AuthMethod::Password) if derived.is_some() => derived,
        (Some(Stored::Plain(password)), AuthMethod::ScramSha256 | AuthMethod::Password) => {
            Some(ScramSecret::from_password(password.reveal(), &random::<SALT>()?, DEFAULT_ITERATIONS))
        }
        _ => None,
    };
    let login = backend_login(user, stored.as_ref(), method);
    Ok(Credential { stored, scram, method, backend: BackendCredential { user: user.backend_user.clone(), login } })
}

fn backend_login(user: &User, stored: Option<&Stored>, method: AuthMethod) -> BackendLogin {
    let known = user.backend_password.as_ref().map(Stored::parse).or_else(|| stored.cloned());
    match known {
        Some(Stored::Plain(password)) => BackendLogin::Password(password),
        Some(Stored::Md5(hash)) => BackendLogin::Md5Hash(hash),
        // The client's key is learnt only by a login against that very secret.
        Some(known @ Stored::Scram(_))
            if stored == Some(&known) && matches!(method, AuthMethod::ScramSha256 | AuthMethod::Password) =>
        {
            BackendLogin::ScramPassThrough
        }
        Some(Stored::Scram(_)) | None => BackendLogin::None,
    }
}
