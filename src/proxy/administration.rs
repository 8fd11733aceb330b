//! Commands that concern other connections: others make way before, and hear of it afterwards.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::active::Active;
use super::serve::Serve;
use crate::backend::Command;
use crate::session::Wait;
use crate::sql::{self, Name, Pattern};

/// Others are making way for the frame that waits.
pub(super) type MakingWay = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Serve {
    /// Asks others to make way for the frame that waits for it, and goes on once they have. Whether anything happened.
    pub(super) fn make_way(&mut self, active: &mut Active, cx: &mut Context<'_>) -> bool {
        if !matches!(active.held, Some((Wait::Way, _))) {
            return false;
        }
        let making = active.making_way.get_or_insert_with(|| self.ask_for_way());
        if making.as_mut().poll(cx) == Poll::Pending {
            return false;
        }
        active.making_way = None;
        active.held = None;
        self.session.way_is_made();
        true
    }

    fn ask_for_way(&self) -> MakingWay {
        let administration = Arc::clone(&self.route.administration);
        let (here, worker) = (self.route.target.endpoint(), self.worker().index);
        let commands = self.session.wants_way_for().map(|pattern| commands(&pattern, &here.dbname)).unwrap_or_default();
        Box::pin(async move {
            for command in commands {
                Box::pin(administration.before(&command, &here, Some(worker))).await;
            }
        })
    }

    /// A transaction has ended: tells others what it may have changed for them.
    pub(super) fn tell_others(&mut self, now: Instant) {
        let (administered, done) = self.session.take_administered();
        if administered.is_empty() {
            return;
        }
        let here = self.route.target.endpoint();
        for pattern in administered {
            for command in commands(&pattern, &here.dbname) {
                // What was done may have been rolled back: what was needlessly retired is opened again.
                self.route.administration.after(&command, &here, done, now);
            }
        }
    }
}

/// What others must hear of, of a text that is run in the database `here`.
fn commands(pattern: &Pattern, here: &str) -> Vec<Command> {
    pattern.traits.commands.iter().filter_map(|done| command(done, here)).collect()
}

fn command(command: &sql::Command, here: &str) -> Option<Command> {
    let named = |name: &Name| name.to_string();
    Some(match command {
        sql::Command::CreateDatabase { template } => {
            Command::CreateDatabase { template: template.as_ref().map_or_else(|| "template1".to_owned(), named) }
        }
        sql::Command::DropDatabase(database) => Command::DropDatabase { database: named(database) },
        sql::Command::MoveDatabase(database) | sql::Command::RenameDatabase(database) => {
            Command::MoveDatabase { database: named(database) }
        }
        sql::Command::AlterDatabaseSet(database) => Command::SetDatabase { database: named(database) },
        sql::Command::AlterRole(role) => {
            Command::AlterRole { role: Some(named(role)).filter(|role| !role.is_empty()), database: None }
        }
        sql::Command::ChangeTypes => Command::ChangeTypes { database: here.to_owned() },
        sql::Command::ChangeColumns(relations) => {
            Command::ChangeColumns { database: here.to_owned(), relations: relations.iter().map(named).collect() }
        }
        sql::Command::DropRole(roles) => Command::DropRoles { roles: roles.iter().map(named).collect() },
        _ => return None,
    })
}
