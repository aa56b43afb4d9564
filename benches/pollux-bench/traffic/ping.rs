//! Round trips, one by one.

use crate::failure::{Failure, Result, fail};
use crate::process::{run, within};
use crate::rig::IP_B;
use crate::world::A;

/// Times in microseconds of `n` round trips from station A to station B, one every 2 ms.
pub fn every_2_ms(n: u32) -> Result<Vec<f64>> {
    let (count, patience) = (n.to_string(), (n / 100 + 5).to_string());
    let text = run(&within(A, &["ping", "-n", "-i", "0.002", "-c", &count, "-w", &patience, IP_B]))?;
    let times = times(&text);
    // one straggler at the end is no loss, more are
    if times.len() + 1 < usize::try_from(n).unwrap_or(usize::MAX) {
        return fail(format!("{} of {n} pings were answered", times.len()));
    }
    Ok(times)
}

/// Time in microseconds of one round trip.
pub fn once() -> Result<f64> {
    let text = run(&within(A, &["ping", "-n", "-c", "1", "-W", "2", IP_B]))?;
    times(&text).first().copied().ok_or_else(|| Failure("the ping was not answered".into()))
}

fn times(text: &str) -> Vec<f64> {
    let time = |line: &str| line.split_once("time=")?.1.split_whitespace().next()?.parse::<f64>().ok();
    text.lines().filter_map(time).map(|milliseconds| milliseconds * 1e3).collect()
}

#[cfg(test)]
mod tests {
    use super::times;

    #[test]
    fn times_are_read_from_the_lines_of_ping() {
        let text = "PING 10.0.0.1\n64 bytes from 10.0.0.1: icmp_seq=1 ttl=64 time=0.125 ms\n\n1 packets transmitted\n";
        assert_eq!(times(text), [125.0]);
    }
}
