//! Answers of ours, in place of the server's.

use serde_json::json;

/// What an error is called that is none of the protocol's own.
const SERVER_ERROR: i32 = -32000;

/// The answer to the request with this id, as it was written: an error that says why there is no other.
pub fn error(id: &[u8], message: &str) -> String {
    let error = json!({ "code": SERVER_ERROR, "message": message });
    format!(r#"{{"jsonrpc":"2.0","id":{},"error":{error}}}"#, String::from_utf8_lossy(id))
}
