//! Commands that concern more connections than their own: those that need a database alone, and those after which
//! connections are not what they were.

use std::sync::Arc;

use super::{Session, Verdict, Wait};
use crate::sql::{Command, Pattern, Weighed};

/// Whether others have made way for the command that waits.
#[derive(Debug, Default)]
pub(super) enum Way {
    Made,
    #[default]
    Unasked,
    Wanted(Arc<Pattern>),
}

impl Session {
    /// Whether a text must wait until others have made way for it.
    pub(super) fn must_make_way(&mut self, weighed: &Weighed) -> Option<Verdict> {
        let Weighed::Known(pattern) = weighed else { return None };
        if !pattern.traits.commands.iter().any(needs_alone) {
            return None;
        }
        let turn = self.turn.get_or_insert_default();
        if matches!(turn.head.way, Way::Made) {
            turn.head.way = Way::Unasked;
            return None;
        }
        turn.head.way = Way::Wanted(Arc::clone(pattern));
        Some(Verdict::Hold(Wait::Way))
    }

    /// The commands of the text that waits for others to make way.
    #[must_use]
    pub fn wants_way_for(&self) -> Option<Arc<Pattern>> {
        match &self.turn.as_ref()?.head.way {
            Way::Wanted(pattern) => Some(Arc::clone(pattern)),
            Way::Made | Way::Unasked => None,
        }
    }

    /// They have: the frame that waits can be judged again.
    pub fn way_is_made(&mut self) {
        self.turn.get_or_insert_default().head.way = Way::Made;
    }

    /// Notes a text with commands that others must hear of.
    pub(super) fn note_administration(&mut self, pattern: &Arc<Pattern>) {
        if pattern.traits.commands.iter().any(|command| needs_alone(command) || outdates(command)) {
            self.turn.get_or_insert_default().administered.push(Arc::clone(pattern));
        }
    }

    /// The texts with such commands that were sent in the transaction that has ended, and whether any of the commands
    /// was done; a ROLLBACK is not looked at.
    #[must_use]
    pub fn take_administered(&mut self) -> (Vec<Arc<Pattern>>, bool) {
        let Some(turn) = &mut self.turn else { return (Vec::new(), false) };
        (std::mem::take(&mut turn.administered), std::mem::take(&mut turn.has_administered))
    }
}

/// Whether a CommandComplete answers a command that others must hear of.
pub(super) fn is_administration(tag: &[u8]) -> bool {
    let kinds: [&[u8]; 3] = [b"ALTER ", b"CREATE DATABASE", b"DROP "];
    kinds.iter().any(|kind| tag.starts_with(kind))
}

fn needs_alone(command: &Command) -> bool {
    matches!(
        command,
        Command::CreateDatabase { .. }
            | Command::DropDatabase(_)
            | Command::MoveDatabase(_)
            | Command::RenameDatabase(_)
    )
}

/// Whether backends of others are not what a new connection would be, once the command is done.
fn outdates(command: &Command) -> bool {
    matches!(
        command,
        Command::AlterDatabaseSet(_)
            | Command::AlterRole(_)
            | Command::ChangeColumns(_)
            | Command::ChangeTypes
            | Command::DropRole(_)
    )
}
