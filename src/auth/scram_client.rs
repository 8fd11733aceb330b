//! SCRAM-SHA-256 as a client: we prove to PostgreSQL that we know a password, or hold the keys that follow from it.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

use super::fault::AuthFault;
use super::keys::{self, ClientKey, ServerKey};
use super::random::Nonce;
use super::stored::ScramSecret;
use crate::config::Secret;

/// Most iterations that a server may ask for. They run on the thread that serves sessions, at some tenths of a
/// microsecond each; PostgreSQL asks for 4096 unless `scram_iterations` says otherwise, and 600,000 is what cautious
/// people set.
pub const MAX_ITERATIONS: u32 = 2_000_000;

/// `n,,` in base64: no channel binding, no authorization identity.
const BINDING: &str = "biws";

/// What we log in with.
#[derive(Clone, PartialEq, Eq)]
pub enum ScramKeys {
    Password(Secret),
    /// Keys that a client's own login revealed: they fit a server whose secret has this salt and iteration count.
    Keys {
        client_key: ClientKey,
        server_key: ServerKey,
        salt: Vec<u8>,
        iterations: u32,
    },
}

impl ScramKeys {
    /// Passes a client's proof on: `client_key` came out of a login against `secret`, which must be the one that
    /// PostgreSQL stores too.
    #[must_use]
    pub fn pass_through(client_key: ClientKey, secret: &ScramSecret) -> Self {
        Self::Keys {
            client_key,
            server_key: secret.server_key.clone(),
            salt: secret.salt.clone(),
            iterations: secret.iterations,
        }
    }

    fn for_server(&self, server_salt: &[u8], server_iterations: u32) -> Result<(ClientKey, ServerKey), AuthFault> {
        match self {
            Self::Password(password) => Ok(keys::derive(password.reveal().as_bytes(), server_salt, server_iterations)),
            Self::Keys { client_key, server_key, salt, iterations } => {
                if server_salt != salt || server_iterations != *iterations {
                    return Err(AuthFault::SecretDiffers);
                }
                Ok((client_key.clone(), server_key.clone()))
            }
        }
    }
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password(…)",
            Self::Keys { .. } => "Keys(…)",
        })
    }
}

/// One exchange with one server: [`Self::first`], [`Self::respond`], [`Self::verify`]. After a fault it accepts
/// nothing more.
#[derive(Debug)]
pub struct ScramClient {
    keys: ScramKeys,
    nonce: Nonce,
    state: State,
}

#[derive(Debug)]
enum State {
    AwaitServerFirst,
    AwaitServerFinal { signature: ServerSignature },
    Over,
}

/// What a genuine server will answer.
struct ServerSignature([u8; keys::KEY]);

impl fmt::Debug for ServerSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerSignature(…)")
    }
}

impl ScramClient {
    #[must_use]
    pub fn new(keys: ScramKeys, nonce: Nonce) -> Self {
        Self { keys, nonce, state: State::AwaitServerFirst }
    }

    /// The client-first-message for the SASLInitialResponse. The user name is empty, as libpq's is: the startup
    /// packet's counts.
    #[must_use]
    pub fn first(&self) -> Vec<u8> {
        format!("n,,{}", self.first_bare()).into_bytes()
    }

    fn first_bare(&self) -> String {
        format!("n=,r={}", self.nonce.as_str())
    }

    /// Takes the server-first-message (AuthenticationSASLContinue) and returns the client-final-message. With a
    /// password it costs the iterations that the server asks for.
    ///
    /// # Errors
    /// What is wrong with the message, [`AuthFault::TooManyIterations`], or [`AuthFault::SecretDiffers`] when keys
    /// are passed through that cannot fit.
    pub fn respond(&mut self, server_first: &[u8]) -> Result<Vec<u8>, AuthFault> {
        let State::AwaitServerFirst = std::mem::replace(&mut self.state, State::Over) else {
            return Err(AuthFault::OutOfOrder);
        };
        let message = text(server_first)?;
        let challenge = Challenge::parse(message)?;
        let ours = self.nonce.as_str();
        if challenge.nonce.strip_prefix(ours).is_none_or(str::is_empty) {
            return Err(AuthFault::Nonce);
        }
        let (client_key, server_key) = self.keys.for_server(&challenge.salt, challenge.iterations)?;
        let without_proof = format!("c={BINDING},r={}", challenge.nonce);
        let auth_message = format!("{},{message},{without_proof}", self.first_bare());
        let proof = keys::xor(client_key.0, client_key.stored().sign(auth_message.as_bytes()));
        let signature = ServerSignature(server_key.sign(auth_message.as_bytes()));
        self.state = State::AwaitServerFinal { signature };
        Ok(format!("{without_proof},p={}", STANDARD.encode(proof)).into_bytes())
    }

    /// Takes the server-final-message (AuthenticationSASLFinal): whether the server knows the secret as well.
    ///
    /// # Errors
    /// [`AuthFault::ServerNotGenuine`], [`AuthFault::Refused`] with the server's own word, or what is wrong with the
    /// message.
    pub fn verify(&mut self, server_final: &[u8]) -> Result<(), AuthFault> {
        let State::AwaitServerFinal { signature } = std::mem::replace(&mut self.state, State::Over) else {
            return Err(AuthFault::OutOfOrder);
        };
        let message = text(server_final)?;
        if let Some(reason) = message.strip_prefix("e=") {
            return Err(AuthFault::Refused(reason.chars().take(200).collect()));
        }
        let value = message
            .strip_prefix("v=")
            .and_then(|rest| rest.split(',').next())
            .and_then(|value| STANDARD.decode(value).ok())
            .ok_or(AuthFault::Malformed("the server's final message has no signature"))?;
        let genuine: bool = value.ct_eq(&signature.0).into();
        if genuine { Ok(()) } else { Err(AuthFault::ServerNotGenuine) }
    }
}

/// `r=<nonce>,s=<salt>,i=<iterations>[,extensions]`
struct Challenge<'m> {
    nonce: &'m str,
    salt: Vec<u8>,
    iterations: u32,
}

impl<'m> Challenge<'m> {
    fn parse(message: &'m str) -> Result<Self, AuthFault> {
        let mut attributes = message.split(',');
        let mut next = |name: &str, fault: &'static str| {
            attributes.next().and_then(|attribute| attribute.strip_prefix(name)).ok_or(AuthFault::Malformed(fault))
        };
        let nonce = next("r=", "the server's first message has no nonce")?;
        let salt = next("s=", "the server's first message has no salt")?;
        let iterations = next("i=", "the server's first message has no iteration count")?;
        let salt = STANDARD.decode(salt).map_err(|_| AuthFault::Malformed("the salt is not base64"))?;
        let iterations: u64 =
            iterations.parse().map_err(|_| AuthFault::Malformed("the iteration count is not a number"))?;
        match u32::try_from(iterations) {
            Ok(0) => Err(AuthFault::Malformed("the iteration count is zero")),
            Ok(iterations) if iterations <= MAX_ITERATIONS => Ok(Self { nonce, salt, iterations }),
            _ => Err(AuthFault::TooManyIterations(iterations)),
        }
    }
}

fn text(message: &[u8]) -> Result<&str, AuthFault> {
    std::str::from_utf8(message).map_err(|_| AuthFault::Malformed("it is not UTF-8"))
}
