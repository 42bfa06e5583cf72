//! From the guest's memory to the contract's types: the canonical ABI, read by hand.
//!
//! Sans-I/O, over the memory as a slice of bytes that may hold anything: whatever does not fit is an
//! error, and what is copied out of it is counted against a budget. Offsets and sizes are those that the
//! canonical ABI gives the types of `leaseway.wit`; tests have a plugin send every value, directly and as a component
//! (`tests/values.rs`). Source: the component model's `CanonicalABI.md`, "Alignment", "Element Size", "Loading".

use crate::contract::{
    Choice, Deadline, Disposition, LeaseRequest, Request, Share, Side, Span, Step, Target,
};
use crate::plugin::fault::Forbidden;

type Result<T> = std::result::Result<T, Forbidden>;

const TARGET_SIZE: u32 = 64;
const STEP_SIZE: u32 = 72;
const REQUEST_SIZE: u32 = 12;
const SPAN_SIZE: u32 = 16;

/// An option of what is aligned to eight bytes, from where it begins to its value.
const WIDE: u32 = 8;
/// The same of what is aligned to four.
const NARROW: u32 = 4;

/// Reads values out of a guest's memory.
pub(super) struct Reader<'a> {
    memory: &'a [u8],
    /// How many more bytes may be copied out of it.
    budget: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(memory: &'a [u8], budget: usize) -> Self {
        Self { memory, budget }
    }

    /// These bytes, where they stand.
    pub(super) fn slice(&self, at: u32, length: u32) -> Result<&'a [u8]> {
        let start = at as usize;
        let end = start.checked_add(length as usize);
        end.and_then(|end| self.memory.get(start..end))
            .ok_or_else(|| malformed("what lies outside of its memory"))
    }

    fn array<const N: usize>(&self, at: u32) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.slice(at, N as u32)?);
        Ok(bytes)
    }

    fn byte(&self, at: u32) -> Result<u8> {
        self.array::<1>(at).map(|[byte]| byte)
    }

    fn flag(&self, at: u32) -> Result<bool> {
        self.byte(at).map(|byte| byte != 0)
    }

    pub(super) fn word(&self, at: u32) -> Result<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    fn long(&self, at: u32) -> Result<u64> {
        self.array(at).map(u64::from_le_bytes)
    }

    fn pay(&mut self, bytes: usize) -> Result<()> {
        match self.budget.checked_sub(bytes) {
            Some(left) => {
                self.budget = left;
                Ok(())
            }
            None => Err(too_much()),
        }
    }

    /// The bytes of a list, whose pointer and length stand there.
    fn bytes(&mut self, at: u32) -> Result<Vec<u8>> {
        let bytes = self.slice(self.word(at)?, self.word(field(at, 4)?)?)?;
        self.pay(bytes.len())?;
        Ok(bytes.to_vec())
    }

    fn text(&mut self, at: u32) -> Result<String> {
        String::from_utf8(self.bytes(at)?).map_err(|_| malformed("a text that is not UTF-8"))
    }

    /// A list of values, whose pointer and length stand there. What they take up here is counted, if that is more
    /// than they do there.
    fn list<T>(
        &mut self,
        at: u32,
        size: u32,
        each: impl Fn(&mut Self, u32) -> Result<T>,
    ) -> Result<Vec<T>> {
        let (start, count) = (self.word(at)?, self.word(field(at, 4)?)?);
        let length = count.checked_mul(size).ok_or_else(too_much)?;
        let here = (count as usize).checked_mul(size_of::<T>());
        self.pay(here.ok_or_else(too_much)?.max(length as usize))?;
        self.slice(start, length)?;
        let mut list = Vec::with_capacity(count as usize);
        for n in 0..count {
            list.push(each(self, start + n * size)?);
        }
        Ok(list)
    }

    fn option<T>(
        &mut self,
        at: u32,
        value: u32,
        some: impl FnOnce(&mut Self, u32) -> Result<T>,
    ) -> Result<Option<T>> {
        match self.byte(at)? {
            0 => Ok(None),
            1 => some(self, field(at, value)?).map(Some),
            other => Err(no_case("option", other)),
        }
    }

    fn side(&self, at: u32) -> Result<Side> {
        match self.byte(at)? {
            0 => Ok(Side::Client),
            1 => Ok(Side::Upstream),
            other => Err(no_case("side", other)),
        }
    }

    fn target(&mut self, at: u32) -> Result<Target> {
        Ok(Target {
            group: self.option(at, NARROW, Self::text)?,
            endpoint: self.option(field(at, 12)?, NARROW, Self::text)?,
            identity: self.text(field(at, 24)?)?,
            secret: self.bytes(field(at, 32)?)?,
            affinity: self.option(field(at, 40)?, WIDE, |this, at| this.long(at))?,
            unpooled: self.flag(field(at, 56)?)?,
        })
    }

    fn deadline(&mut self, at: u32) -> Result<Deadline> {
        Ok(Deadline {
            ms: self.long(at)?,
            farewell: self.bytes(field(at, 8)?)?,
        })
    }

    fn step(&mut self, at: u32) -> Result<Step> {
        let value = field(at, WIDE)?;
        Ok(match self.byte(at)? {
            0 => Step::Forward(self.long(value)?),
            1 => Step::ForwardIdempotent(self.long(value)?),
            2 => Step::ForwardRest,
            3 => Step::Discard(self.long(value)?),
            4 => Step::Send((self.side(value)?, self.bytes(field(value, 4)?)?)),
            5 => Step::Lease(self.target(value)?),
            6 => Step::Release(disposition(self.byte(value)?.into())?),
            7 => Step::Retag(self.bytes(value)?),
            8 => Step::Deadline(self.option(value, WIDE, Self::deadline)?),
            9 => Step::Close(self.option(value, NARROW, Self::text)?),
            other => return Err(no_case("step", other)),
        })
    }

    fn steps(&mut self, at: u32) -> Result<Vec<Step>> {
        self.list(at, STEP_SIZE, Self::step)
    }

    fn request(&self, at: u32) -> Result<Request> {
        Ok(Request {
            length: self.word(at)?,
            replies: self.word(field(at, 4)?)?,
            idempotent: self.flag(field(at, 8)?)?,
        })
    }

    fn span(&self, at: u32) -> Result<Span> {
        Ok(Span {
            length: self.long(at)?,
            ends: self.flag(field(at, 8)?)?,
        })
    }
}

/// What a call may answer that needs more than one number, read from where that says.
pub(super) trait Lift: Sized {
    fn lift(reader: &mut Reader<'_>, at: u32) -> Result<Self>;
}

impl Lift for Vec<u8> {
    fn lift(reader: &mut Reader<'_>, at: u32) -> Result<Self> {
        reader.bytes(at)
    }
}

impl Lift for Vec<Step> {
    fn lift(reader: &mut Reader<'_>, at: u32) -> Result<Self> {
        reader.steps(at)
    }
}

impl Lift for Choice {
    fn lift(reader: &mut Reader<'_>, at: u32) -> Result<Self> {
        let value = field(at, WIDE)?;
        // Behind the target, where there is one.
        let list = field(value, WIDE + TARGET_SIZE)?;
        Ok(match reader.byte(at)? {
            0 => Self::NeedMore,
            1 => Self::Lease(LeaseRequest {
                target: reader.option(value, WIDE, Reader::target)?,
                then: reader.steps(list)?,
            }),
            2 => Self::Share(Share {
                target: reader.option(value, WIDE, Reader::target)?,
                requests: reader.list(list, REQUEST_SIZE, |this, at| this.request(at))?,
            }),
            3 => Self::Answer(reader.steps(value)?),
            other => return Err(no_case("choice", other)),
        })
    }
}

/// What `measure` answers.
impl Lift for std::result::Result<Vec<Span>, String> {
    fn lift(reader: &mut Reader<'_>, at: u32) -> Result<Self> {
        let value = field(at, NARROW)?;
        match reader.byte(at)? {
            0 => reader
                .list(value, SPAN_SIZE, |this, at| this.span(at))
                .map(Ok),
            1 => reader.text(value).map(Err),
            other => Err(no_case("result", other)),
        }
    }
}

/// What `configure` answers, without the settings: those are known by then.
impl Lift for std::result::Result<(), String> {
    fn lift(reader: &mut Reader<'_>, at: u32) -> Result<Self> {
        match reader.byte(at)? {
            0 => Ok(Ok(())),
            1 => reader.text(field(at, WIDE)?).map(Err),
            other => Err(no_case("result", other)),
        }
    }
}

/// A disposition, which stands in no memory where it is all that a call returns.
pub(super) fn disposition(case: u32) -> Result<Disposition> {
    match case {
        0 => Ok(Disposition::Keep),
        1 => Ok(Disposition::Reset),
        2 => Ok(Disposition::Close),
        other => Err(no_case("disposition", other)),
    }
}

/// Where a field is, so far from where its record begins.
fn field(at: u32, offset: u32) -> Result<u32> {
    at.checked_add(offset)
        .ok_or_else(|| malformed("what lies outside of its memory"))
}

fn malformed(what: &str) -> Forbidden {
    Forbidden(format!("handed the host {what}"))
}

pub(super) fn no_case(of: &str, case: impl Into<u64>) -> Forbidden {
    malformed(&format!("case {} of a {of}", case.into()))
}

fn too_much() -> Forbidden {
    Forbidden("handed too much data to the host in one call".to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Measured = std::result::Result<Vec<Span>, String>;
    type Configured = std::result::Result<(), String>;

    proptest! {
        /// No memory whatever makes it panic, or copy more than it may.
        #[test]
        fn any_memory_is_read_or_refused(
            memory in prop::collection::vec(prop_oneof![0..12_u8, any::<u8>()], 0..400),
            at in 0..400_u32,
            budget in 0..4096_usize,
        ) {
            let reader = || Reader::new(&memory, budget);
            if let Ok(steps) = Vec::<Step>::lift(&mut reader(), at) {
                prop_assert!(steps.len() * size_of::<Step>() <= budget);
            }
            let _ = Choice::lift(&mut reader(), at);
            if let Ok(Ok(spans)) = Measured::lift(&mut reader(), at) {
                prop_assert!(spans.len() * SPAN_SIZE as usize <= budget);
            }
            if let Ok(Err(text)) = Configured::lift(&mut reader(), at) {
                prop_assert!(text.len() <= budget.min(memory.len()));
            }
            if let Ok(bytes) = Vec::<u8>::lift(&mut reader(), at) {
                prop_assert!(bytes.len() <= budget.min(memory.len()));
            }
        }
    }

    /// A step is twice as large here as in a guest's memory.
    #[test]
    fn what_a_list_takes_up_here_is_counted() {
        const COUNT: u32 = 100;
        let mut memory = vec![0; (8 + COUNT * STEP_SIZE) as usize];
        memory[..4].copy_from_slice(&8_u32.to_le_bytes());
        memory[4..8].copy_from_slice(&COUNT.to_le_bytes());
        let lift = |budget| Vec::<Step>::lift(&mut Reader::new(&memory, budget), 0);
        let here = COUNT as usize * size_of::<Step>();
        assert!(here > memory.len());
        assert_eq!(lift(here).unwrap().len(), COUNT as usize);
        assert_eq!(
            lift(here - 1).unwrap_err().to_string(),
            too_much().to_string()
        );
    }

    #[test]
    fn what_lies_at_the_end_of_all_addresses_is_refused() {
        let memory = [0xff; 64];
        for at in [u32::MAX, u32::MAX - 3, u32::MAX - 71, 60] {
            let reader = || Reader::new(&memory, 1 << 20);
            assert!(Vec::<Step>::lift(&mut reader(), at).is_err());
            assert!(Choice::lift(&mut reader(), at).is_err());
            assert!(Vec::<u8>::lift(&mut reader(), at).is_err());
            assert!(Measured::lift(&mut reader(), at).is_err());
        }
    }
}
