//! A Parse and its Sync while no backend is free.
//!
//! A program that prepares by a call that blocks, while other connections of the same thread hold the backends, would
//! wait for itself: `pgbench -M prepared` with more clients than backends does. Nothing is asked of PostgreSQL by the
//! Parse of a text that it has parsed before, so it is answered at once. Should its tables be gone since, the error
//! comes with what uses it.

use super::from_client::opens_block;
use super::{Hold, Outgoing, Session};
use crate::prepared::{Named, Names};
use crate::wire::Header;
use crate::wire::build;
use crate::wire::scan::HEADER;
use crate::wire::tag::client;
use crate::wire::view::{Parse, Transaction};

impl Session {
    /// Answers what the client has sent, where that is one Parse with its Sync and needs no backend. Returns how many
    /// bytes that was.
    pub fn parse_unleased(&mut self, unread: &[u8], limit: usize, out: &mut Outgoing) -> Option<usize> {
        let header = Header::read(unread, limit).ok().flatten().filter(|header| header.tag == client::PARSE)?;
        let (body, rest) = unread.get(HEADER..)?.split_at_checked(header.body)?;
        let parse = Parse::read(body).ok().filter(|_| rest == build::SYNC)?;
        let named = self.known_to_parse(&parse)?;
        self.names.set(Names::key(parse.name), Some(named));
        out.before.extend_from_slice(&build::PARSE_COMPLETE);
        out.before.extend_from_slice(&build::ready_for_query(Transaction::Idle));
        self.turn = None;
        Some(unread.len())
    }

    /// The statement that others have prepared with the same text, if this Parse asks for nothing else.
    fn known_to_parse(&self, parse: &Parse<'_>) -> Option<Named> {
        let name = Names::key(parse.name);
        let is_new = !name.is_empty() && self.names.get(name).is_none() && !self.state.has_prepared(name);
        let room = self.names.room_for(parse.text, &self.rules.allowance).is_ok();
        let refused = self.rules.hold == Hold::Statement && opens_block(parse.text);
        let warned_of = !self.lexing().conforming && parse.text.contains(&b'\\');
        let fresh = self.turn.as_ref().is_none_or(|turn| turn.is_settled() && !turn.open_batch);
        if !(is_new && room && fresh) || refused || warned_of || self.state.may_have_temporary() {
            return None;
        }
        let statement = self.rules.registry.known(parse.text, parse.types, self.plan_key())?;
        let by_name = self.may_go_by_own_name(&statement);
        if by_name
            || statement.mentions
            || statement.warns()
            || !statement.is_vouched()
            || self.mended_text(statement.weighed(), parse.text).is_some()
        {
            return None;
        }
        let number = statement.next_parse();
        let description = statement.description();
        Some(Named::presumed(statement, number, description))
    }
}
