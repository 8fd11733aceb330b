//! Makes steps from random numbers: a few features for each program, so that they meet each other often.

use super::features::{FEATURES, Feature, REPORTS_OF_ROLES, ROLE_CHANGING, Support};
use super::program::{Cast, Deed, Message, Step};
use super::rng::Rng;
use super::run::View;
use super::statements::{Sql, deed, idle_process, probe, read};

/// What a program may contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only what pgweir carries from backend to backend.
    Carried,
    /// Also what makes a session keep its backend.
    Pinned,
    /// The same on fewer backends than there are sessions.
    Freed,
    /// Also what is not done yet.
    Everything,
}

impl Kind {
    fn has(self, support: Support) -> bool {
        match self {
            Self::Carried => support == Support::Carried,
            Self::Pinned => !support.is_missing(),
            Self::Freed => !support.is_missing() && support != Support::Kept,
            Self::Everything => true,
        }
    }
}

/// What sessions say at startup.
const STARTUPS: &[&[(&str, &str)]] = &[
    &[],
    &[],
    &[("application_name", "first"), ("TimeZone", "America/New_York")],
    &[("options", "-c work_mem=2MB -c statement_timeout=9min"), ("DateStyle", "SQL, DMY")],
    &[("search_path", "s_one, public"), ("extra_float_digits", "3")],
    &[("standard_conforming_strings", "off"), ("client_min_messages", "warning")],
];

#[derive(Debug)]
pub struct Generator {
    rng: Rng,
    features: Vec<Feature>,
    /// The session after the one that acts has a transaction, so a backend of its own through pgweir, too.
    next_has_backend: bool,
    /// The session that acts.
    acting: usize,
    /// Sessions whose open transaction may begin to listen. Whether they hear what others notify meanwhile depends on
    /// what they listen to already, and through pgweir they never do.
    begin_to_listen: Vec<usize>,
    /// Asked on behalf of the last step by another session.
    to_probe: Option<(usize, Feature)>,
    left: usize,
}

/// Who takes part in the program of this seed.
pub fn cast(seed: u64, kind: Kind, backends: Option<usize>) -> Cast {
    let mut rng = Rng::new(seed ^ 0xca57);
    let more = if rng.chance(20) { 7 } else { 3 };
    let count = 2 + rng.below(more);
    let plain = rng.chance(50);
    let startups = (0..count).map(|_| if plain { Vec::new() } else { rng.pick(STARTUPS).to_vec() }).collect();
    let has = |one: &Feature| features(seed, kind).contains(one);
    let discards = has(&Feature::DiscardAll) && ROLE_CHANGING.iter().any(has) && !kind.has(REPORTS_OF_ROLES);
    let user = if rng.chance(50) && !discards { "postgres" } else { "differ_user" };
    let (frees, asks_drawn) = (kind == Kind::Freed, has(&Feature::CurrentValues));
    Cast { user, startups, backends: backends.unwrap_or(count + 1), frees, asks_drawn }
}

/// What the program of this seed is about.
fn features(seed: u64, kind: Kind) -> Vec<Feature> {
    let mut rng = Rng::new(seed ^ 0xfea7);
    let only = std::env::var_os("PGWEIR_DIFFERENTIAL_FEATURES").map(|only| only.to_string_lossy().into_owned());
    let asked = |feature: &Feature| match &only {
        Some(only) => only.split(',').any(|name| format!("{feature:?}") == name),
        None => true,
    };
    let known = FEATURES.iter().filter(|(feature, support)| kind.has(*support) && asked(feature));
    let all: Vec<Feature> = known.map(|(feature, _)| *feature).collect();
    if all.is_empty() {
        return all;
    }
    let wanted = 2 + rng.below(4);
    let mut features: Vec<Feature> = (0..wanted).map(|_| *rng.pick(&all)).collect();
    // What belongs together is only worth something together.
    let pairs = [
        (Feature::Listen, Feature::Notify),
        (Feature::MixedPrepare, Feature::Named),
        (Feature::CurrentValues, Feature::Draws),
    ];
    for (one, other) in pairs {
        if features.contains(&one) && !features.contains(&other) {
            features.push(other);
        }
    }
    features
}

impl Generator {
    pub fn new(seed: u64, kind: Kind, steps: usize) -> Self {
        Self {
            rng: Rng::new(seed),
            features: features(seed, kind),
            next_has_backend: false,
            acting: 0,
            begin_to_listen: Vec::new(),
            to_probe: None,
            left: steps,
        }
    }

    /// The next step, or nothing when there were enough.
    pub fn next(&mut self, view: &View) -> Option<Step> {
        self.left = self.left.checked_sub(1).filter(|_| !self.features.is_empty())?;
        let able: Vec<usize> = (0..view.status.len()).filter(|session| view.may_act(*session)).collect();
        if able.is_empty() {
            return None;
        }
        let mut session = *self.rng.pick(&able);
        self.begin_to_listen.retain(|session| view.has_transaction(*session));
        self.see(session, view);
        if let Some((after, feature)) = self.to_probe.take()
            && self.rng.chance(60)
        {
            if session == after && self.rng.chance(70) {
                session = *self.rng.pick(&able);
                self.see(session, view);
            }
            let mut question = probe(feature, &mut self.rng);
            if matches!(feature, Feature::Listen | Feature::Notify | Feature::Senders) && view.status[session] != b'I' {
                // In a block pg_listening_channels() does not know what a shared backend listens to.
                question = "select 1".into();
            }
            let said = self.said(vec![question]);
            return Some(Step { session, deed: Deed::Say(said) });
        }
        let feature = *self.rng.pick(&self.features);
        self.to_probe = Some((session, feature));
        let deed = self.deed(feature, view.status[session]);
        Some(Step { session, deed })
    }

    /// `session` is about to act.
    fn see(&mut self, session: usize, view: &View) {
        self.acting = session;
        self.next_has_backend = view.has_transaction(view.next(session));
    }

    /// A statement of this feature that both sides can answer alike.
    fn statement(&mut self, feature: Feature) -> Sql {
        match feature {
            Feature::Pids if !self.next_has_backend => idle_process(&mut self.rng),
            Feature::Notify | Feature::Senders if self.begin_to_listen.iter().any(|other| *other != self.acting) => {
                read(&mut self.rng)
            }
            Feature::Listen => {
                self.begin_to_listen.push(self.acting);
                deed(feature, &mut self.rng)
            }
            _ => deed(feature, &mut self.rng),
        }
    }

    fn deed(&mut self, feature: Feature, status: u8) -> Deed {
        if self.rng.chance(2) {
            return Deed::Reconnect;
        }
        // A failed transaction, or one that has gone on for some steps, is ended.
        let ends = match status {
            b'E' => 50,
            b'T' => 20,
            _ => 0,
        };
        if self.rng.chance(ends) {
            let end = *self.rng.pick(&["commit", "commit", "rollback", "end", "abort"]);
            return Deed::Say(self.said(vec![end.into()]));
        }
        if status == b'I' && self.rng.chance(18) {
            let begin = *self.rng.pick(&["begin", "BEGIN", "start transaction", "begin; savepoint s1"]);
            return Deed::Say(self.said(vec![begin.into()]));
        }
        match feature {
            Feature::Named => Deed::Say(self.named(status)),
            Feature::Portals => Deed::Say(self.portals()),
            _ => {
                let first = self.statement(feature);
                let mut statements = vec![first];
                while self.rng.chance(18) {
                    statements.push(self.another());
                }
                Deed::Say(self.said(statements))
            }
        }
    }

    fn another(&mut self) -> Sql {
        match self.rng.below(8) {
            0 => "select 1 / 0".into(),
            1 => "commit".into(),
            2 => "begin".into(),
            3 => "rollback".into(),
            4 => read(&mut self.rng),
            _ => {
                let feature = *self.rng.pick(&self.features);
                self.statement(feature)
            }
        }
    }

    /// Statements as one Query, as a Query each, or by the extended protocol.
    fn said(&mut self, statements: Vec<Sql>) -> Vec<Message> {
        let has_values = statements.iter().any(|statement| !statement.values.is_empty());
        let way = self.rng.below(10);
        // Beside another statement's function a name in a column may come from there, which keeps the backend.
        let apart =
            statements.len() > 1 && statements.iter().any(|statement| statement.text.contains("set_config(s, v"));
        if !has_values && way < 6 && !apart {
            return vec![Message::Query(statements.into_iter().map(|statement| statement.text).collect())];
        }
        if !has_values && (way == 6 || apart) {
            return statements.into_iter().map(|statement| Message::Query(vec![statement.text])).collect();
        }
        let mut messages = Vec::new();
        for statement in statements {
            let name = if self.rng.chance(15) { "n9".to_owned() } else { String::new() };
            if !name.is_empty() {
                messages.push(Message::CloseStatement(name.clone()));
            }
            messages.push(Message::Parse { name: name.clone(), sql: statement.text });
            if self.rng.chance(20) {
                messages.push(Message::DescribeStatement(name.clone()));
            }
            messages.push(Message::Bind { portal: String::new(), statement: name, values: statement.values });
            if self.rng.chance(40) {
                messages.push(Message::DescribePortal(String::new()));
            }
            messages.push(Message::Execute { portal: String::new(), limit: 0 });
            if self.rng.chance(30) {
                messages.push(Message::Sync);
            }
        }
        if messages.last() != Some(&Message::Sync) {
            messages.push(Message::Sync);
        }
        messages
    }

    /// Messages about named statements, each of which may be there or not. In a failed transaction a backend can't be
    /// given one that it lacks to describe it.
    fn named(&mut self, status: u8) -> Vec<Message> {
        let mut messages = Vec::new();
        let mut count = 1 + self.rng.below(3);
        while count > 0 {
            count -= 1;
            let name = (*self.rng.pick(&["n1", "n2", "n3"])).to_owned();
            match self.rng.below(8) {
                0 => messages.push(Message::CloseStatement(name)),
                1 if status != b'E' => messages.push(Message::DescribeStatement(name)),
                1 => {}
                2 => messages.push(Message::Sync),
                3 | 4 => {
                    let feature = *self.rng.pick(&self.features);
                    let sql = if self.rng.chance(50) { read(&mut self.rng) } else { self.statement(feature) };
                    if self.rng.chance(50) {
                        messages.push(Message::CloseStatement(name.clone()));
                    }
                    messages.push(Message::Parse { name: name.clone(), sql: sql.text });
                    messages.push(Message::Bind { portal: String::new(), statement: name, values: sql.values });
                    messages.push(Message::Execute { portal: String::new(), limit: 0 });
                }
                way => {
                    let values = if way == 5 { vec![Some("2".to_owned())] } else { Vec::new() };
                    messages.push(Message::Bind { portal: String::new(), statement: name, values });
                    messages.push(Message::DescribePortal(String::new()));
                    messages.push(Message::Execute { portal: String::new(), limit: 0 });
                }
            }
        }
        messages.push(Message::Sync);
        messages
    }

    /// A portal that is read in parts, now and then across Syncs.
    fn portals(&mut self) -> Vec<Message> {
        let portal = (*self.rng.pick(&["", "q1"])).to_owned();
        let mut messages = Vec::new();
        if self.rng.chance(75) {
            let sql = "select n, t from shared order by n".to_owned();
            messages.push(Message::Parse { name: String::new(), sql });
            messages.push(Message::Bind { portal: portal.clone(), statement: String::new(), values: Vec::new() });
        }
        for _ in 0..1 + self.rng.below(3) {
            messages.push(Message::Execute { portal: portal.clone(), limit: 2 });
        }
        if self.rng.chance(30) {
            messages.push(Message::ClosePortal(portal));
        }
        messages.push(Message::Sync);
        messages
    }
}
