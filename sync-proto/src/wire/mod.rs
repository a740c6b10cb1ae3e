//! Bytes on the wire. `codec` reads and writes the simple parts, `hello`, `item`, `sketched`, `piece`, `entry` and `healing` the messages, each with its
//! byte table above the code; `message` is all of them; `frame` is what the transport carries.
//! `docs/protocol.md` is the same for people.

pub(crate) mod codec;
pub(crate) mod entry;
pub(crate) mod frame;
pub(crate) mod healing;
pub(crate) mod hello;
pub(crate) mod item;
pub(crate) mod message;
pub(crate) mod piece;
pub(crate) mod sketched;

#[cfg(test)]
mod tests;
