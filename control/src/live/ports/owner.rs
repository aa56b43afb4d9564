//! Whose a name is that is taken: another lab's, a dead one's, or somebody else's. Nobody is told to delete what is not ours.

use super::PortError;
use crate::kernel::netns;
use crate::live::journal::{self, Owner, Resource};
use crate::net::Netns;
use std::path::Path;

/// A node's name is that of a namespace already.
pub(in crate::live) fn node_taken(name: &str) -> PortError {
    let number = netns::inode(&netns::path(name)).ok();
    let is_it = |thing: &Resource| matches!(thing, Resource::Netns { name: its, number: made } if its == name && number == Some(*made));
    let owner = journal::owner(Path::new(journal::DIRECTORY), is_it).map_or_else(
        || format!("and no lab of pollux made it; rename the node, or join it with `netns: {name}` in place of `node: {name}`"),
        |owner| of_lab(&owner, "rename the node"),
    );
    PortError::NodeTaken { name: name.to_owned(), owner }
}

/// An interface has the name of one that is to be made.
pub(super) fn of_interface(ifname: &str, place: &Netns) -> String {
    let is_it = |thing: &Resource| match thing {
        Resource::Tap { place: its, name } => its == place && name == ifname,
        Resource::Veth { name, .. } => *place == Netns::Host && name == ifname,
        _ => false,
    };
    match (journal::owner(Path::new(journal::DIRECTORY), is_it), place) {
        (Some(owner), _) => of_lab(&owner, "choose another `ifname`"),
        (None, Netns::Host) => {
            "and it is not this lab's; add `node: NAME` if the port belongs in a node, or choose another `ifname`"
                .to_owned()
        }
        (None, _) => "and it is not this lab's; choose another `ifname`".to_owned(),
    }
}

fn of_lab(owner: &Owner, else_do: &str) -> String {
    let Owner { switch, alive } = owner;
    let state = if *alive { "made by lab" } else { "left by the dead lab" };
    format!("{state} `{switch}`; `pollux lab down` with the file of `{switch}` removes it, or {else_do}")
}
