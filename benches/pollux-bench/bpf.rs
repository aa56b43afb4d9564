//! Small XDP programs, compiled when they are needed and attached by `ip`.

use crate::failure::Result;
use crate::process::{ip, run};
use crate::world::World;

/// Compiles `source`; the path of the object. `defines` are passed to the compiler unchanged (`-DNAME=VALUE`).
pub fn compile(world: &World, name: &str, source: &str, defines: &[&str]) -> Result<String> {
    let source = world.write(&format!("{name}.bpf.c"), source)?;
    let object = world.directory.join(format!("{name}.o")).display().to_string();
    run(&[&["clang", "-O2", "-target", "bpf"], defines, &["-c", &source, "-o", &object]].concat())?;
    Ok(object)
}

/// Attaches an object to an interface; `at` is what `ip` needs to find it (`-n NETNS` or nothing).
pub fn attach(at: &str, dev: &str, how: &str, object: &str) -> Result<()> {
    ip(&format!("{at} link set dev {dev} {how} obj {object} sec xdp")).map(drop)
}
