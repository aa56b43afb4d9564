//! iperf3 between two namespaces. Nothing is pinned: the scheduler places client and server as it does for users.

use crate::failure::{During, Failure, Result, fail};
use crate::process::{Job, within};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

const LISTENING: Duration = Duration::from_secs(5);
/// Beyond its run time; a connection over which nothing passes takes that long to give up.
const GRACE: Duration = Duration::from_secs(15);

/// What iperf3 says if no connection comes about within its patience.
pub const NO_CONNECTION: &str = "unable to connect";

/// A client and its server.
#[derive(Clone, Copy, Debug)]
pub struct Flow<'a> {
    /// Namespace of the client.
    pub from: &'a str,
    /// Namespace of the server.
    pub to: &'a str,
    /// IP address of the server.
    pub address: &'a str,
    /// Port of the server.
    pub port: u16,
    /// How long.
    pub seconds: u32,
}

/// What it measured.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Bits per second that arrived, in thousand millions.
    pub gbits: f64,
    /// Segments sent again.
    pub retransmits: f64,
}

impl Flow<'_> {
    /// TCP with so many streams.
    pub fn tcp(&self, directory: &Path, streams: u32) -> Result<Outcome> {
        let end = self.run(directory, &["-P", &streams.to_string()])?;
        let bits = end["sum_received"]["bits_per_second"].as_f64();
        let bits = bits.ok_or_else(|| Failure("iperf3 said nothing of bits per second".into()))?;
        Ok(Outcome { gbits: bits / 1e9, retransmits: end["sum_sent"]["retransmits"].as_f64().unwrap_or(0.0) })
    }

    /// UDP at a rate iperf3 understands (`100M`).
    pub fn udp(&self, directory: &Path, rate: &str) -> Result<()> {
        self.run(directory, &["-u", "-b", rate]).map(drop)
    }

    fn run(&self, directory: &Path, more: &[&str]) -> Result<Value> {
        let (port, seconds) = (self.port.to_string(), self.seconds.to_string());
        let server = within(self.to, &["iperf3", "-s", "-1", "--forceflush", "-p", &port]);
        let mut server = Job::start(directory, &format!("iperf3 server {port}"), &server)?;
        server.wait_for_words("listening", LISTENING)?;
        let client = ["iperf3", "-c", self.address, "-J", "-t", &seconds, "-p", &port, "--connect-timeout", "3000"];
        let client = [&client[..], more].concat();
        let mut client = Job::start(directory, &format!("iperf3 client {port}"), &within(self.from, &client))?;
        let done = client.finish(Duration::from_secs(self.seconds.into()) + GRACE);
        let text = done.map_err(|failure| Failure(reason(&client.said()).unwrap_or(failure.0)))?;
        if let Some(reason) = reason(&text) {
            // it may say so and still end well
            return fail(reason);
        }
        let answer: Value = serde_json::from_str(&text).during("the answer of iperf3")?;
        Ok(answer["end"].clone())
    }
}

/// What iperf3 puts into its JSON when it fails.
fn reason(said: &str) -> Option<String> {
    let answer: Value = serde_json::from_str(said).ok()?;
    Some(format!("iperf3: {}", answer["error"].as_str()?))
}
