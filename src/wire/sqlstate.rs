//! SQLSTATEs that pgweir raises or looks for (manual: "PostgreSQL Error Codes").

pub const ADMIN_SHUTDOWN: &str = "57P01";
pub const CANNOT_CONNECT_NOW: &str = "57P03";
pub const CRASH_SHUTDOWN: &str = "57P02";
pub const CONNECTION_FAILURE: &str = "08006";
pub const DUPLICATE_PREPARED_STATEMENT: &str = "42P05";
pub const FEATURE_NOT_SUPPORTED: &str = "0A000";
pub const IDLE_IN_TRANSACTION_TIMEOUT: &str = "25P03";
pub const IN_FAILED_SQL_TRANSACTION: &str = "25P02";
pub const INVALID_AUTHORIZATION: &str = "28000";
/// How all begin that say of a login that it failed.
pub const INVALID_AUTHORIZATION_CLASS: &[u8] = b"28";
pub const INVALID_CATALOG_NAME: &str = "3D000";
pub const INVALID_PASSWORD: &str = "28P01";
pub const INVALID_STATEMENT_NAME: &str = "26000";
pub const LOCK_NOT_AVAILABLE: &str = "55P03";
pub const NAME_TOO_LONG: &str = "42622";
pub const OBJECT_NOT_IN_PREREQUISITE_STATE: &str = "55000";
pub const PROGRAM_LIMIT_EXCEEDED: &str = "54000";
pub const PROTOCOL_VIOLATION: &str = "08P01";
pub const QUERY_CANCELED: &str = "57014";
pub const TOO_MANY_CONNECTIONS: &str = "53300";
pub const TRANSACTION_TIMEOUT: &str = "25P04";
