//! SCRAM-SHA-256 as a server: a client proves to us that it knows its password (RFC 5802 §5, protocol manual 55.3), and
//! with SCRAM-SHA-256-PLUS that nobody stands between us, by repeating the hash of our certificate (RFC 5929 §4).

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

use super::fault::AuthFault;
use super::keys::{self, ClientKey, KEY};
use super::random::{MockKey, Nonce};
use super::stored::{ScramSecret, mock_secret};
use super::{MECHANISM, MECHANISM_PLUS};

/// Longest message that a client may send, in bytes: PostgreSQL's own limit (`PG_MAX_SASL_MESSAGE_LENGTH`).
const MAX_MESSAGE: usize = 1024;

/// One exchange with one client: [`Self::first`], then [`Self::finish`]. After a fault it accepts nothing more.
#[derive(Debug)]
pub struct ScramServer {
    secret: ScramSecret,
    /// Whether the secret is a user's. For nobody's the exchange looks the same, and fails at its end.
    genuine: bool,
    /// The hash of our certificate, where the connection is encrypted.
    channel: Option<Arc<[u8]>>,
    state: State,
}

#[derive(Debug)]
enum State {
    AwaitFirst {
        nonce: Nonce,
    },
    AwaitFinal {
        /// `client-first-message-bare "," server-first-message`: how the signed text begins.
        so_far: String,
        /// Both nonces joined.
        nonce: String,
        /// What the client must repeat of its channel binding, in base64.
        binding: String,
    },
    Over,
}

impl ScramServer {
    #[must_use]
    pub fn new(secret: ScramSecret, nonce: Nonce) -> Self {
        Self { secret, genuine: true, channel: None, state: State::AwaitFirst { nonce } }
    }

    /// An exchange for a user who cannot log in, which the client can't tell from a wrong password.
    #[must_use]
    pub fn mock(user: &str, key: &MockKey, nonce: Nonce) -> Self {
        let secret = mock_secret(user, key);
        Self { secret, genuine: false, channel: None, state: State::AwaitFirst { nonce } }
    }

    /// The same exchange in a TLS connection whose server showed a certificate with this hash: the client may bind its
    /// proof to it, and must if it can.
    #[must_use]
    pub fn within(self, channel: Option<Arc<[u8]>>) -> Self {
        Self { channel, ..self }
    }

    /// What to offer the client, the best first.
    #[must_use]
    pub fn mechanisms(&self) -> &'static [&'static str] {
        if self.channel.is_some() { &[MECHANISM_PLUS, MECHANISM] } else { &[MECHANISM] }
    }

    /// Takes the mechanism and the client-first-message out of the SASLInitialResponse and returns the
    /// server-first-message. The user name within is ignored, as the startup packet's counts.
    ///
    /// # Errors
    /// What is wrong with the message.
    pub fn first(&mut self, mechanism: &[u8], client_first: &[u8]) -> Result<Vec<u8>, AuthFault> {
        let State::AwaitFirst { nonce } = std::mem::replace(&mut self.state, State::Over) else {
            return Err(AuthFault::OutOfOrder);
        };
        if !self.mechanisms().iter().any(|offered| offered.as_bytes() == mechanism) {
            return Err(AuthFault::Mechanism);
        }
        let message = text(client_first)?;
        let (gs2_header, bare) = split_gs2_header(message)?;
        let binding = self.binding(mechanism == MECHANISM_PLUS.as_bytes(), gs2_header)?;
        let client_nonce = client_nonce(bare)?;
        let nonce = format!("{client_nonce}{}", nonce.as_str());
        let server_first = format!("r={nonce},s={},i={}", STANDARD.encode(&self.secret.salt), self.secret.iterations);
        self.state =
            State::AwaitFinal { so_far: format!("{bare},{server_first}"), nonce, binding: STANDARD.encode(binding) };
        Ok(server_first.into_bytes())
    }

    /// What the client must repeat, given the beginning of its message. A client that says `n` binds no channels, one
    /// that says `y` could and believes that we can't.
    fn binding(&self, plus: bool, gs2_header: &str) -> Result<Vec<u8>, AuthFault> {
        let flag = gs2_header.split(',').next().unwrap_or_default();
        match (flag.strip_prefix("p="), &self.channel) {
            (Some("tls-server-end-point"), Some(hash)) if plus => Ok([gs2_header.as_bytes(), hash].concat()),
            (Some(_), Some(_)) if plus => Err(AuthFault::ChannelType),
            // Somebody has taken the better mechanism out of our offer.
            (None, Some(_)) if flag == "y" => Err(AuthFault::Downgraded),
            (None, _) if !plus => Ok(gs2_header.into()),
            _ => Err(AuthFault::ChannelBinding),
        }
    }

    /// Takes the client-final-message and returns the server-final-message for AuthenticationSASLFinal, and the key
    /// with which the same password logs in elsewhere.
    ///
    /// # Errors
    /// [`AuthFault::WrongPassword`] also for a mock exchange; otherwise what is wrong with the message.
    pub fn finish(&mut self, client_final: &[u8]) -> Result<(Vec<u8>, ClientKey), AuthFault> {
        let State::AwaitFinal { so_far, nonce, binding } = std::mem::replace(&mut self.state, State::Over) else {
            return Err(AuthFault::OutOfOrder);
        };
        let message = text(client_final)?;
        let (without_proof, proof) =
            message.rsplit_once(",p=").ok_or(AuthFault::Malformed("the final message has no proof"))?;
        let mut attributes = without_proof.split(',');
        let repeated = attributes.next().and_then(|attribute| attribute.strip_prefix("c="));
        if repeated.ok_or(AuthFault::Malformed("the final message has no channel binding"))? != binding {
            return Err(AuthFault::ChannelBinding);
        }
        let returned = attributes.next().and_then(|attribute| attribute.strip_prefix("r="));
        if returned.ok_or(AuthFault::Malformed("the final message has no nonce"))? != nonce {
            return Err(AuthFault::Nonce);
        }
        check_extensions(attributes)?;
        let proof: [u8; KEY] = STANDARD
            .decode(proof)
            .ok()
            .and_then(|proof| proof.try_into().ok())
            .ok_or(AuthFault::Malformed("the proof is not 32 bytes in base64"))?;

        let auth_message = format!("{so_far},{without_proof}");
        let signature = self.secret.stored_key.sign(auth_message.as_bytes());
        let client_key = ClientKey(keys::xor(proof, signature));
        let server_signature = self.secret.server_key.sign(auth_message.as_bytes());
        let fits: bool = client_key.stored().0.ct_eq(&self.secret.stored_key.0).into();
        if !(fits & self.genuine) {
            return Err(AuthFault::WrongPassword);
        }
        Ok((format!("v={}", STANDARD.encode(server_signature)).into_bytes(), client_key))
    }
}

fn text(message: &[u8]) -> Result<&str, AuthFault> {
    if message.len() > MAX_MESSAGE {
        return Err(AuthFault::Malformed("it is too long"));
    }
    if message.contains(&0) {
        return Err(AuthFault::Malformed("it holds a zero byte"));
    }
    std::str::from_utf8(message).map_err(|_| AuthFault::Malformed("it is not UTF-8"))
}

/// Splits `n,,`, `y,,` or `p=…,,` from what follows.
fn split_gs2_header(message: &str) -> Result<(&str, &str), AuthFault> {
    let broken = AuthFault::Malformed("the first message has no GS2 header");
    let (flag, rest) = message.split_once(',').ok_or_else(|| broken.clone())?;
    match flag {
        "n" | "y" => {}
        binding if binding.starts_with("p=") => {}
        _ => return Err(broken),
    }
    let (identity, bare) = rest.split_once(',').ok_or_else(|| broken.clone())?;
    match identity {
        "" => {}
        identity if identity.starts_with("a=") => return Err(AuthFault::AuthorizationIdentity),
        _ => return Err(broken),
    }
    // The flag, the comma after it, and the comma after the empty identity.
    message.split_at_checked(flag.len() + 2).filter(|(_, rest)| *rest == bare).ok_or(broken)
}

/// The nonce of `n=<user>,r=<nonce>[,extensions]`.
fn client_nonce(bare: &str) -> Result<&str, AuthFault> {
    let mut attributes = bare.split(',');
    match attributes.next() {
        Some(name) if name.starts_with("n=") => {}
        Some(extension) if extension.starts_with("m=") => {
            return Err(AuthFault::Malformed("it needs an extension that is not supported"));
        }
        _ => return Err(AuthFault::Malformed("the first message has no user name")),
    }
    let nonce = attributes
        .next()
        .and_then(|attribute| attribute.strip_prefix("r="))
        .ok_or(AuthFault::Malformed("the first message has no nonce"))?;
    if nonce.is_empty() || !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(AuthFault::Malformed("the nonce is empty or not printable"));
    }
    check_extensions(attributes)?;
    Ok(nonce)
}

/// Extensions are `<letter>=<value>`, and ignored (RFC 5802 §5.1).
fn check_extensions<'m>(mut attributes: impl Iterator<Item = &'m str>) -> Result<(), AuthFault> {
    let is_attribute = |text: &str| {
        let mut bytes = text.bytes();
        bytes.next().is_some_and(|name| name.is_ascii_alphabetic()) && bytes.next() == Some(b'=')
    };
    if attributes.all(is_attribute) { Ok(()) } else { Err(AuthFault::Malformed("an extension is malformed")) }
}
