//! Compiles `bpf/arrive.bpf.c` and generates its skeleton. Needs clang.

use libbpf_cargo::SkeletonBuilder;
use std::env;
use std::path::{Path, PathBuf};

const SOURCE: &str = "bpf/arrive.bpf.c";

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("arrive.skel.rs");
    let flags = ["-Wall".to_owned(), "-Werror".to_owned()].into_iter().chain(multiarch_include());
    if let Err(error) = SkeletonBuilder::new().source(SOURCE).clang_args(flags).build_and_generate(&out) {
        panic!("{SOURCE} does not compile: {error:#}\nremedy: install clang and the kernel headers (make deps)");
    }
    println!("cargo:rerun-if-changed={SOURCE}");
}

/// Debian keeps `asm/types.h` in a folder per architecture, where `clang -target bpf` does not look.
fn multiarch_include() -> Option<String> {
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH");
    let folder = format!("/usr/include/{arch}-linux-gnu");
    Path::new(&folder).is_dir().then(|| format!("-I{folder}"))
}
