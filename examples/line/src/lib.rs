//! A complete plugin, for a small protocol of lines: a server greets, and answers each line with one
//! line. A client has a connection only while it waits for replies, so few serve many.
use leaseway_sdk::{Side::*, frame::*, *};

const MAX_LINE: usize = 4096;
/// The plugin; there is nothing to configure.
pub struct Line;

/// One client: whether it has been greeted, and how many of its lines have no reply yet.
#[derive(Default)]
pub struct Session {
    greeted: bool,
    waiting: usize,
}
impl Plugin for Line {
    type Config = NoConfig;
    type Session = Session;
    const SPEAKS_FIRST: Side = Upstream;
    fn configure(_: NoConfig) -> Result<Self, String> {
        Ok(Self)
    }
    fn session(&self, _: &SessionInfo) -> Session {
        Session::default()
    }
}
impl ChooseUpstream for Session {
    fn choose_upstream(&mut self, bytes: &[u8]) -> Choice {
        match line(bytes, MAX_LINE) {
            Parsed::Complete { value, .. } if value == b"QUIT" => Choice::refuse("BYE\r\n", "QUIT"),
            Parsed::Incomplete { .. } if self.greeted => Choice::NeedMore,
            Parsed::Invalid(why) => Choice::refuse(format!("ERR {why}\r\n"), why),
            _ => Choice::lease(Target::default()),
        }
    }
}
impl OnLeased for Session {
    fn on_leased(&mut self, lease: &Leased) -> Steps {
        if std::mem::replace(&mut self.greeted, true) {
            return Steps::new();
        }
        let hello = [&lease.tag, &b"\r\n"[..]].concat();
        Steps::new().send(Client, hello).release(Disposition::Keep)
    }
}
impl OnData for Session {
    fn on_data(&mut self, origin: Side, mut data: &[u8]) -> Steps {
        let mut steps = Steps::new();
        while let Parsed::Complete { value, len } = line(data, MAX_LINE) {
            match origin {
                Client if value == b"QUIT" => break, // until all replies are through
                Client => self.waiting += 1,
                Upstream if self.waiting == 0 => return steps.close("an unasked reply"),
                Upstream => self.waiting -= 1,
            }
            steps = steps.forward(len as u64);
            if self.waiting == 0 {
                return steps.release(Disposition::Keep);
            }
            data = &data[len..];
        }
        steps
    }
}
impl OnEof for Session {
    fn on_eof(&mut self, _: Side) -> Steps {
        Steps::new() // what is under way goes on; without a lease the session ends by itself
    }
}
impl Connect for Line {
    fn connect(&self, c: &mut Connection<'_>, _: &Target) -> Result<Vec<u8>, String> {
        c.read_line(MAX_LINE)
    }
}
impl Probe for Line {
    fn probe(&self, c: &mut Connection<'_>, _: &Target, _idle_ms: u64) -> Result<(), String> {
        c.ask(b"PING\r\n", b"PONG\r\n")
    }
}
export!(Line);
