//! macvlan devices on the interface `host`, whose other end is `wire`.

use crate::script::{HOST, Port, Scenario, address, colons};

/// Lines of `ip`.
pub fn links(scenario: &Scenario) -> Vec<String> {
    let mut lines = vec![
        format!("link add name host address {} type veth peer name wire", colons(HOST)),
        "link set dev wire up".to_owned(),
        "link set dev host up".to_owned(),
    ];
    for port in &scenario.ports {
        lines.extend(device(port, &scenario.ports));
    }
    lines
}

fn device(port: &Port, all: &[Port]) -> Vec<String> {
    let Port { name, options, mac } = port;
    let flags = options.iter().filter(|option| ["nodst", "nopromisc"].contains(&option.as_str()));
    let mode = [options[0].clone()].into_iter().chain(flags.cloned()).collect::<Vec<_>>().join(" ");
    let address_of_its_own = if port.has("passthru") { String::new() } else { format!("address {}", colons(*mac)) };
    let mut lines = vec![format!("link add link host name {name} {address_of_its_own} type macvlan mode {mode}")];
    let sources = options.iter().skip_while(|option| *option != "of").skip(1);
    for source in sources {
        lines.push(format!("link set dev {name} type macvlan macaddr add {}", colons(address(source, all))));
    }
    if !port.has("nogroups") {
        // a packet socket joins no group: without this the port would hear broadcast only
        lines.push(format!("link set dev {name} allmulticast on"));
    }
    if port.has("promisc") {
        lines.push(format!("link set dev {name} promisc on"));
    }
    if !port.has("down") {
        lines.push(format!("link set dev {name} up"));
    }
    lines
}
