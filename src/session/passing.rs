//! A Query that is too long to be held streams past. All that is seen of it are the names of settings that it gives
//! values to: nobody could ask for these afterwards without knowing them.

use super::Session;
use crate::sql::names_given;
use crate::wire::Frame;
use crate::wire::view::query_text;

/// Bytes of what has passed that are looked at again with what follows: SET LOCAL, and a name of several parts.
const OVERLAP: usize = 256;

impl Session {
    /// The beginning of a Query has been judged. Of one that is here whole nothing will pass.
    pub(super) fn begin_passing(&mut self, frame: &Frame<'_>) {
        if !frame.is_whole() {
            let passed = end_of(query_text(frame.body)).into();
            self.turn.get_or_insert_default().passing = Some(passed);
        }
    }

    /// The next bytes pass of a frame that has been judged by its beginning.
    pub fn passes(&mut self, piece: &[u8]) {
        let Some(passed) = self.turn.as_mut().and_then(|turn| turn.passing.as_mut()) else { return };
        passed.extend_from_slice(piece);
        self.state.note_custom(names_given(passed));
        *passed = end_of(passed).into();
    }
}

fn end_of(passed: &[u8]) -> &[u8] {
    passed.get(passed.len().saturating_sub(OVERLAP)..).unwrap_or_default()
}
