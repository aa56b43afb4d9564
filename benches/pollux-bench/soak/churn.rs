//! Ports that come and go.

use super::Lab;
use crate::failure::Result;

/// Most ports at a time.
const MOST: usize = 4;
/// Every kind that has an interface, on the host and in a node.
const SPECS: [&str; MOST] = [
    "{ kind: tap, domain: lan }",
    "{ kind: veth, node: plxb-t1, domain: lan }",
    "{ kind: tap, node: plxb-x2, queues: 2, domain: lan }",
    "{ kind: veth, node: plxb-x1, domain: lan }",
];

/// Adds until there are [`MOST`], then removes until there are none, and again.
#[derive(Debug, Default)]
pub struct Churn {
    present: usize,
    shrinking: bool,
    /// Ports added so far.
    pub added: u32,
    /// Ports removed so far.
    pub removed: u32,
}

impl Churn {
    /// One port more or less. A step that fails is not repeated.
    pub fn step(&mut self, lab: &Lab<'_>) -> Result<()> {
        if self.present == MOST {
            self.shrinking = true;
        } else if self.present == 0 {
            self.shrinking = false;
        }
        if self.shrinking { self.remove(lab) } else { self.add(lab) }
    }

    /// Whether none of the added ports is there.
    pub fn at_rest(&self) -> bool {
        self.present == 0
    }

    /// Removes what is left.
    pub fn empty(&mut self, lab: &Lab<'_>) -> Result<()> {
        while self.present > 0 {
            self.remove(lab)?;
        }
        Ok(())
    }

    fn add(&mut self, lab: &Lab<'_>) -> Result<()> {
        let (name, spec) = (format!("churn{}", self.present), SPECS[self.present]);
        self.present += 1;
        self.added += 1;
        lab.order(&["port", "add", &name, "--spec", spec])
    }

    fn remove(&mut self, lab: &Lab<'_>) -> Result<()> {
        self.present -= 1;
        self.removed += 1;
        lab.order(&["port", "del", &format!("churn{}", self.present)])
    }
}
