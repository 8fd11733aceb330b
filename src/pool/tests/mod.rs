//! The pure parts against naive models, the whole against a scripted manager, two threads against each other.

mod affinity;
mod budget;
mod cancellation;
mod fake;
mod keeping;
mod life;
mod pins;
mod queue;
mod slots;
mod stress;
mod vacating;
