//! What ties a connection to its client, as far as the commands sent so far tell.
//!
//! Pure bookkeeping over command classes: whether a lease must go on, whether replies can still
//! be counted, and what must become of the connection at its end. In doubt, it says close.

use leaseway_sdk::Disposition;

use crate::commands::Class;

/// What is known of the state that one lease has left on its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pin {
    /// Between `MULTI` and `EXEC` or `DISCARD`.
    multi: bool,
    /// Between `WATCH` and whatever ends it.
    watch: bool,
    /// The last command was `ASKING`.
    asking: bool,
    /// One of these has been true in this lease: an error reply may mean that what should have
    /// ended it was refused.
    was_held: bool,
    /// Until the session ends.
    for_good: bool,
    /// Replies cannot be counted.
    streaming: bool,
    /// The client has been told the connection's id. With that, whoever has it can turn the pushes
    /// of another connection here.
    id_is_known: bool,
    /// What must become of the connection, at least.
    fate: Fate,
}

/// Dispositions, from the best to the worst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    #[default]
    Keep,
    Reset,
    Close,
}

impl Pin {
    /// A lease for the whole session, whatever is sent: `pooling = "session"`.
    pub(super) fn for_session() -> Self {
        Self {
            for_good: true,
            fate: Fate::Reset,
            ..Self::default()
        }
    }

    /// Takes note of a command that is forwarded. `bare`: it has no arguments; a command that
    /// should have none and has some ends nothing, since the server refuses it.
    #[inline]
    pub(super) fn see(&mut self, class: Class, bare: bool) {
        if class != Class::Asking {
            self.asking = false;
        }
        match class {
            Class::Read | Class::Write | Class::Block | Class::Unknown => return,
            Class::Id => self.id_is_known = true,
            Class::Multi => self.multi = true,
            Class::Watch => self.watch = true,
            Class::Asking => self.asking = true,
            // Without `MULTI` the server refuses them, and goes on watching.
            Class::Exec | Class::Discard if self.multi && bare => {
                self.multi = false;
                self.watch = false;
            }
            Class::Unwatch if bare && !self.multi => self.watch = false,
            Class::Exec | Class::Discard | Class::Unwatch => {}
            Class::Pin | Class::Select => self.stay(Fate::Reset),
            // A server without `RESET` cannot take these back.
            Class::Taint | Class::Auth | Class::Hello => self.stay(Fate::Close),
            // Part of a transaction, or the session would have answered.
            Class::SetInfo | Class::Maintenance => self.spoil(),
            // The session answers the others itself; if one should come here, nothing is known.
            Class::Stream | Class::Reset | Class::Quit | Class::Web => self.stream(),
        }
        self.was_held |= self.multi || self.watch || self.asking;
    }

    /// Takes note that from here on nobody knows what passes.
    pub(super) fn stream(&mut self) {
        self.streaming = true;
        self.stay(Fate::Close);
    }

    /// Takes note that nobody else may have the connection, although its client need not keep it.
    pub(super) fn spoil(&mut self) {
        self.fate = Fate::Close;
    }

    fn stay(&mut self, fate: Fate) {
        self.for_good = true;
        self.fate = self.fate.max(fate);
    }

    /// Whether the lease must go on although all replies are in.
    #[inline]
    pub(super) fn is_held(self) -> bool {
        self.for_good || self.multi || self.watch || self.asking
    }

    /// Whether replies cannot be counted.
    #[inline]
    pub(super) fn is_streaming(self) -> bool {
        self.streaming
    }

    /// Whether the server only takes note of commands now, and replies to all with `EXEC`.
    pub(super) fn is_queueing(self) -> bool {
        self.multi
    }

    /// Whether commands that follow mean something else once the connection is gone: within
    /// `MULTI` they would be carried out one by one.
    pub(super) fn is_transaction(self) -> bool {
        self.multi || self.watch
    }

    /// What may become of the connection now that all replies are in, `errors` among them or
    /// not.
    pub(super) fn disposition(self, errors: bool) -> Disposition {
        if self.id_is_known && (self.for_good || self.was_held) {
            return Disposition::Close;
        }
        let doubt = self.multi || self.watch || self.asking || (self.was_held && errors);
        match self.fate.max(if doubt { Fate::Reset } else { Fate::Keep }) {
            Fate::Keep => Disposition::Keep,
            Fate::Reset => Disposition::Reset,
            Fate::Close => Disposition::Close,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(classes: &[Class]) -> Pin {
        let mut pin = Pin::default();
        for class in classes {
            pin.see(*class, true);
        }
        pin
    }

    #[test]
    fn what_a_transaction_begins_its_end_ends() {
        use Class::*;
        for (classes, held) in [
            (&[Read, Write][..], false),
            (&[Multi], true),
            (&[Multi, Write, Exec], false),
            (&[Multi, Discard], false),
            (&[Watch, Read], true),
            (&[Watch, Unwatch], false),
            (&[Watch, Multi, Exec], false),
            (&[Watch, Exec], true),
            (&[Watch, Multi, Unwatch], true),
            (&[Asking], true),
            (&[Asking, Write], false),
            (&[Asking, Multi], true),
        ] {
            let pin = after(classes);
            assert_eq!(pin.is_held(), held, "{classes:?}");
            let kept = pin.disposition(false) == Disposition::Keep;
            assert_eq!(kept, !held, "{classes:?}");
        }
    }

    #[test]
    fn an_end_with_arguments_is_none() {
        for class in [Class::Exec, Class::Discard] {
            let mut pin = after(&[Class::Multi]);
            pin.see(class, false);
            assert!(pin.is_held());
        }
        let mut pin = after(&[Class::Watch]);
        pin.see(Class::Unwatch, false);
        assert!(pin.is_held());
    }

    #[test]
    fn an_error_after_a_transaction_is_doubt() {
        let pin = after(&[Class::Multi, Class::Discard]);
        assert_eq!(pin.disposition(false), Disposition::Keep);
        assert_eq!(pin.disposition(true), Disposition::Reset);
        assert_eq!(after(&[Class::Write]).disposition(true), Disposition::Keep);
    }

    #[test]
    fn state_that_stays_pins_for_good_and_the_worst_fate_wins() {
        use Class::*;
        assert_eq!(after(&[Pin]).disposition(false), Disposition::Reset);
        assert_eq!(after(&[Taint, Pin]).disposition(false), Disposition::Close);
        assert_eq!(after(&[Pin, Stream]).disposition(false), Disposition::Close);
        assert_eq!(after(&[Pin, Id]).disposition(false), Disposition::Close);
        assert_eq!(
            after(&[Id, Multi, Exec]).disposition(false),
            Disposition::Close
        );
        assert_eq!(after(&[Id, Read]).disposition(false), Disposition::Keep);
        assert!(after(&[Stream, Multi, Exec]).is_streaming());
        for class in [Pin, Taint, Stream, Select, Auth, Hello] {
            assert!(after(&[class, Read, Multi, Exec]).is_held(), "{class:?}");
        }
    }
}
