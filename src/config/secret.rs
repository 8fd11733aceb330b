//! What a `password` holds: plain text, or a secret as PostgreSQL stores it in `pg_authid.rolpassword`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The form of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SecretForm {
    /// Begins like a stored secret but is none; PostgreSQL would take it for a plain password.
    Broken,
    /// `md5` and 32 hexadecimal digits.
    Md5,
    Plain,
    /// `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, RFC 5803.
    Scram,
}

const SCRAM: &str = "SCRAM-SHA-256$";

pub(super) fn form_of(secret: &str) -> SecretForm {
    let begins = |prefix: &str| secret.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix));
    if begins(SCRAM) {
        return if is_scram(secret) { SecretForm::Scram } else { SecretForm::Broken };
    }
    match secret.strip_prefix("md5") {
        Some(digits) if digits.len() == 32 => {
            let hex = digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            if hex { SecretForm::Md5 } else { SecretForm::Broken }
        }
        _ => SecretForm::Plain,
    }
}

fn is_scram(secret: &str) -> bool {
    let Some((factors, keys)) = secret.strip_prefix(SCRAM).and_then(|rest| rest.split_once('$')) else { return false };
    let (Some((iterations, salt)), Some((stored, server))) = (factors.split_once(':'), keys.split_once(':')) else {
        return false;
    };
    let bytes = |text: &str| STANDARD.decode(text).map_or(0, |bytes| bytes.len());
    iterations.parse::<u32>().is_ok_and(|n| n > 0) && bytes(salt) > 0 && bytes(stored) == 32 && bytes(server) == 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_secrets_are_told_from_plain_and_broken_ones() {
        let key = STANDARD.encode([7; 32]);
        let scram = format!("SCRAM-SHA-256$4096:c2FsdA==${key}:{key}");
        assert_eq!(form_of(&scram), SecretForm::Scram);
        assert_eq!(form_of(&scram[..scram.len() - 4]), SecretForm::Broken);
        assert_eq!(form_of(&scram.to_lowercase()), SecretForm::Broken);
        assert_eq!(form_of("SCRAM-SHA-256$"), SecretForm::Broken);
        assert_eq!(form_of("md5900150983cd24fb0d6963f7d28e17f72"), SecretForm::Md5);
        assert_eq!(form_of("md5900150983CD24FB0D6963F7D28E17F72"), SecretForm::Broken);
        assert_eq!(form_of("md5 is old"), SecretForm::Plain);
        assert_eq!(form_of("öäü"), SecretForm::Plain);
        assert_eq!(form_of(""), SecretForm::Plain);
    }
}
