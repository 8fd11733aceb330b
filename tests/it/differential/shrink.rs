//! Makes a program that shows a difference smaller, as long as it shows the same one.

use super::program::{Deed, Message, Step};

/// Runs that a search may cost.
const TRIES: usize = 150;

/// Tries `still_fails` with ever fewer steps and messages; returns the smallest program for which it said yes.
pub async fn shrink(mut steps: Vec<Step>, mut still_fails: impl AsyncFnMut(&[Step]) -> bool) -> Vec<Step> {
    let mut tries = 0;
    let mut size = steps.len() / 2;
    while size > 0 && tries < TRIES {
        // From behind: what comes last is most often the point, and what is before it the noise.
        let mut end = steps.len().saturating_sub(1);
        let mut smaller = false;
        while end > 0 && tries < TRIES {
            let start = end.saturating_sub(size);
            let mut fewer = steps.clone();
            fewer.drain(start..end);
            tries += 1;
            if still_fails(&fewer).await {
                steps = fewer;
                smaller = true;
            }
            end = start;
        }
        if !smaller || size > 1 {
            size /= 2;
        }
    }
    let mut at = 0;
    while at < simplified_count(&steps) && tries < TRIES * 2 {
        let fewer = simplified(&steps, at);
        if fewer == steps {
            at += 1;
            continue;
        }
        tries += 1;
        if still_fails(&fewer).await {
            steps = fewer;
        } else {
            at += 1;
        }
    }
    steps
}

/// Parts that can be left out of steps: statements of a Query, messages of a batch.
fn parts(step: &Step) -> usize {
    let Deed::Say(messages) = &step.deed else { return 0 };
    messages
        .iter()
        .map(|message| match message {
            Message::Query(statements) => statements.len(),
            _ => 1,
        })
        .sum()
}

fn simplified_count(steps: &[Step]) -> usize {
    steps.iter().map(parts).sum()
}

/// The same steps without part number `at`.
fn simplified(steps: &[Step], mut at: usize) -> Vec<Step> {
    let mut steps = steps.to_vec();
    for step in &mut steps {
        let count = parts(step);
        if at >= count {
            at -= count;
            continue;
        }
        let Deed::Say(messages) = &mut step.deed else { continue };
        drop_part(messages, at);
        break;
    }
    steps.retain(|step| step.deed == Deed::Reconnect || step.answers() > 0);
    steps
}

fn drop_part(messages: &mut Vec<Message>, mut at: usize) {
    for index in 0..messages.len() {
        match &mut messages[index] {
            Message::Query(statements) if at < statements.len() => {
                statements.remove(at);
                if statements.is_empty() {
                    messages.remove(index);
                }
                break;
            }
            Message::Query(statements) => at -= statements.len(),
            _ if at == 0 => {
                messages.remove(index);
                break;
            }
            _ => at -= 1,
        }
    }
    // A batch that nothing ends would never be answered.
    if messages.last().is_some_and(|last| !last.is_answered_by_ready()) {
        messages.push(Message::Sync);
    }
}
