//! What goes wrong in a login.

use thiserror::Error;

/// Why a login failed. None of them holds a secret; those about a client are for the log, as the client is told one
/// text for all of its failures (28P01) and the particulars only of a broken protocol (08P01).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AuthFault {
    #[error("malformed SCRAM message: {0}")]
    Malformed(&'static str),
    #[error("SCRAM message came out of order")]
    OutOfOrder,
    #[error("client selected an invalid SASL authentication mechanism")]
    Mechanism,
    #[error("SCRAM channel binding and mechanism do not go together, or what is bound is not this connection")]
    ChannelBinding,
    #[error("unsupported SCRAM channel-binding type")]
    ChannelType,
    #[error("the client supports SCRAM channel binding but thinks the server does not")]
    Downgraded,
    #[error("the client asks for an authorization identity, which is not supported")]
    AuthorizationIdentity,
    #[error("the SCRAM nonce is not the one of this exchange")]
    Nonce,
    #[error("password does not match")]
    WrongPassword,
    #[error("the server wants {0} SCRAM iterations; at most {max} are done", max = super::MAX_ITERATIONS)]
    TooManyIterations(u64),
    #[error("the server's SCRAM secret for this user has another salt or iteration count than the one configured")]
    SecretDiffers,
    #[error("the server refused: {0}")]
    Refused(String),
    #[error("the server could not prove that it knows the password")]
    ServerNotGenuine,
    #[error("the system gives no random bytes")]
    NoRandomness,
}

impl AuthFault {
    /// Whether the other side broke the protocol (08P01), rather than failed to prove who it is (28P01).
    #[must_use]
    pub fn is_protocol_violation(&self) -> bool {
        matches!(
            self,
            Self::Malformed(_)
                | Self::OutOfOrder
                | Self::Mechanism
                | Self::ChannelBinding
                | Self::ChannelType
                | Self::Downgraded
                | Self::AuthorizationIdentity
                | Self::Nonce
        )
    }
}
