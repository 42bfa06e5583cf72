//! From wasmtime's errors to faults, in words that help a plugin's author.

use wasmtime::{Trap, WasmBacktrace};

use super::component::one_line;
use super::hooks::Fault;
use super::limits::{
    MAX_FAREWELL, MAX_IDENTITY, MAX_SECRET, MAX_STACK, MAX_STEPS, MAX_TAG, Overrun,
};
use super::output::printable;
use super::state::GuestState;
use crate::contract::{Choice, Step, Target};

/// Longer messages are cut.
const MAX_MESSAGE: usize = 1 << 10;

/// The guest did what the sandbox does not allow. Ends it as a trap does.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Forbidden(pub(super) String);

impl Fault {
    /// The kind, as metrics and logs name it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Trap { .. } => "trap",
            Self::Deadline { .. } => "deadline",
            Self::Memory { .. } => "memory",
        }
    }

    /// The hook that was running.
    pub fn hook(&self) -> &'static str {
        match self {
            Self::Trap { hook, .. } | Self::Deadline { hook, .. } | Self::Memory { hook, .. } => {
                hook
            }
        }
    }
}

/// What the guest did, by the error that ended it and by what its limits remember.
pub(super) fn explain(
    hook: &'static str,
    error: &wasmtime::Error,
    state: &mut GuestState,
) -> Fault {
    if error.is::<Overrun>() {
        let limit = state.time.limit();
        return Fault::Deadline { hook, limit };
    }
    if let Some(limit) = state.memory.refused() {
        return Fault::Memory { hook, limit };
    }
    let last_words = state.output.last_words();
    let mut message = if let Some(Trap::StackOverflow) = error.downcast_ref::<Trap>() {
        format!(
            "call stack exhausted ({} KiB): endless recursion?",
            MAX_STACK >> 10
        )
    } else {
        words(&error.root_cause().to_string())
    };
    if !last_words.is_empty() {
        message = format!("{last_words} ({message})");
    } else if error.is::<Forbidden>() {
        // The innermost function would be one of the adapter's.
    } else if let Some(function) = innermost(error) {
        // A name from the module, which may hold anything.
        message = format!("{message}, in {}", printable(function));
    }
    message.truncate(message.floor_char_boundary(MAX_MESSAGE));
    Fault::Trap { hook, message }
}

/// What wasmtime says, where that means something to a plugin's author.
fn words(cause: &str) -> String {
    if cause.contains("fuel allocated for hostcalls") {
        return "handed too much data to the host in one call".to_owned();
    }
    one_line(cause)
}

/// The function that trapped, if the module still has its names.
fn innermost(error: &wasmtime::Error) -> Option<&str> {
    let trace = error.downcast_ref::<WasmBacktrace>()?;
    trace.frames().first()?.func_name()
}

/// Refuses a list of steps that nobody could have meant.
pub(super) fn check_steps(steps: &[Step]) -> Result<(), wasmtime::Error> {
    if steps.len() > MAX_STEPS {
        let count = steps.len();
        return Err(Forbidden(format!(
            "returned {count} steps, at most {MAX_STEPS} a call"
        ))
        .into());
    }
    for step in steps {
        match step {
            Step::Lease(target) => check_asked(target)?,
            Step::Retag(tag) => check_length("put on a tag", tag, MAX_TAG)?,
            Step::Deadline(Some(deadline)) => {
                let what = "set a deadline with a farewell";
                check_length(what, &deadline.farewell, MAX_FAREWELL)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The same for the steps in a choice.
pub(super) fn check_choice(choice: &Choice) -> Result<(), wasmtime::Error> {
    match choice {
        Choice::NeedMore => Ok(()),
        Choice::Lease(request) => {
            request.target.iter().try_for_each(check_asked)?;
            check_steps(&request.then)
        }
        Choice::Share(share) => {
            share.target.iter().try_for_each(check_asked)?;
            let count = share.requests.len();
            if count == 0 || count > MAX_STEPS {
                let what = format!("shared {count} requests, 1 to {MAX_STEPS} are allowed");
                return Err(Forbidden(what).into());
            }
            Ok(())
        }
        Choice::Answer(steps) => check_steps(steps),
    }
}

fn check_length(what: &str, bytes: &[u8], most: usize) -> Result<(), wasmtime::Error> {
    let length = bytes.len();
    if length > most {
        return Err(Forbidden(format!("{what} of {length} bytes, at most {most}")).into());
    }
    Ok(())
}

fn check_asked(target: &Target) -> Result<(), wasmtime::Error> {
    check_target(target).map_err(|why| Forbidden(format!("asked for a lease whose {why}")).into())
}

/// Refuses a target that is larger than the contract allows: pools keep them.
pub(super) fn check_target(target: &Target) -> Result<(), String> {
    for (what, length, most) in [
        ("identity", target.identity.len(), MAX_IDENTITY),
        ("secret", target.secret.len(), MAX_SECRET),
    ] {
        if length > most {
            return Err(format!(
                "{what} has {length} bytes, at most {most} are allowed"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::contract::{Deadline, LeaseRequest};

    fn target(identity: usize, secret: usize) -> Target {
        Target {
            group: None,
            endpoint: None,
            identity: "i".repeat(identity),
            secret: vec![0; secret],
            affinity: None,
            unpooled: false,
        }
    }

    /// Makes a step of its bytes.
    type Make = fn(Vec<u8>) -> Step;

    #[test]
    fn tags_and_farewells_above_the_contracts_sizes_are_refused_wherever_they_stand() {
        let deadline = |farewell| Step::Deadline(Some(Deadline { ms: 1, farewell }));
        let kinds: [(Make, &str); 2] = [
            (Step::Retag, "put on a tag of 65537 bytes, at most 65536"),
            (deadline, "with a farewell of 65537 bytes, at most 65536"),
        ];
        for (step, says) in kinds {
            let steps = |length| vec![Step::Forward(1), step(vec![0; length])];
            check_steps(&steps(64 << 10)).unwrap();
            let large = steps((64 << 10) + 1);
            let request = LeaseRequest {
                target: None,
                then: large.clone(),
            };
            for checked in [
                check_steps(&large),
                check_choice(&Choice::Answer(large)),
                check_choice(&Choice::Lease(request)),
            ] {
                let error = checked.unwrap_err();
                assert!(error.is::<Forbidden>());
                assert!(error.to_string().contains(says), "{error}");
            }
        }
    }

    #[test]
    fn targets_above_the_contracts_sizes_are_refused_wherever_they_stand() {
        check_steps(&[Step::Lease(target(1 << 10, 64 << 10))]).unwrap();
        for (large, says) in [
            (target(1025, 0), "identity has 1025 bytes, at most 1024"),
            (target(0, 65537), "secret has 65537 bytes, at most 65536"),
        ] {
            let steps = [Step::Forward(1), Step::Lease(large.clone())];
            let request = LeaseRequest {
                target: Some(large),
                then: Vec::new(),
            };
            for checked in [
                check_steps(&steps),
                check_choice(&Choice::Answer(steps.to_vec())),
                check_choice(&Choice::Lease(request)),
            ] {
                let error = checked.unwrap_err();
                assert!(error.is::<Forbidden>());
                assert!(error.to_string().contains(says), "{error}");
            }
        }
    }
}
