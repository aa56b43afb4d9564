//! Workers as written: `1`, or `{ core: 1, poll: busy }`.

use super::Poll;
use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// A worker: its core, and what it does when idle if not what `poll` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(untagged, title = "a core such as 1, or { core: 1, poll: busy }", example = 1)]
pub enum Worker {
    /// `1`
    Core(usize),
    /// `{ core: 1, poll: busy }`
    Own(OwnWorker),
}

/// A worker with a policy of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnWorker {
    /// Its core.
    #[schemars(example = 1)]
    pub core: usize,
    /// What it does when idle.
    pub poll: Poll,
}

impl<'de> Deserialize<'de> for Worker {
    /// By hand: serde's untagged enums forget where a mistake was.
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Worker;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a core such as 1, or { core: 1, poll: busy }")
            }

            fn visit_u64<E: serde::de::Error>(self, core: u64) -> Result<Worker, E> {
                usize::try_from(core)
                    .map(Worker::Core)
                    .map_err(|_| E::custom(format_args!("there is no core {core}; write its number, such as 1")))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Worker, A::Error> {
                OwnWorker::deserialize(MapAccessDeserializer::new(map)).map(Worker::Own)
            }
        }
        source.deserialize_any(Either)
    }
}
