//! The caretaker of listeners without a plugin: nothing to say, nothing to ask.

use std::time::Duration;

use std::sync::Arc;

use tokio::net::TcpStream;

use super::caretaker::{Caretaker, Conversation, Greeting, Trouble};
use crate::contract::Target;

/// Opens plain connections, and knows no way to reset or probe them.
#[derive(Debug)]
pub struct Plain {
    name: Arc<str>,
    target: Arc<Target>,
}

impl Plain {
    /// The one there is.
    pub fn new() -> Self {
        let target = Target {
            group: None,
            endpoint: None,
            identity: String::new(),
            secret: Vec::new(),
            affinity: None,
            unpooled: false,
        };
        Self {
            name: "-".into(),
            target: Arc::new(target),
        }
    }
}

impl Default for Plain {
    fn default() -> Self {
        Self::new()
    }
}

impl Caretaker for Plain {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn default_target(&self) -> &Arc<Target> {
        &self.target
    }

    fn has_connect(&self) -> bool {
        false
    }

    fn has_reset(&self) -> bool {
        false
    }

    fn has_probe(&self) -> bool {
        false
    }

    fn connect<'a>(&'a self, stream: TcpStream, _: &'a Target) -> Conversation<'a, Greeting> {
        let nothing = Greeting {
            tag: Vec::new(),
            heard: false,
        };
        Box::pin(async { Ok((stream, nothing)) })
    }

    fn reset<'a>(&'a self, _: TcpStream, _: &'a Target) -> Conversation<'a, ()> {
        let why = "there is no plugin to reset it".to_owned();
        Box::pin(async { Err(Trouble::Refused(why)) })
    }

    fn probe<'a>(&'a self, stream: TcpStream, _: &'a Target, _: Duration) -> Conversation<'a, ()> {
        Box::pin(async { Ok((stream, ())) })
    }
}
