//! Compiles the programs in `bpf/` and generates their skeletons. Needs clang.

use libbpf_cargo::SkeletonBuilder;
use std::env;
use std::path::{Path, PathBuf};

fn main() {
    ["arrive", "calls", "live"].into_iter().for_each(compile);
}

fn compile(name: &str) {
    let source = format!("bpf/{name}.bpf.c");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join(format!("{name}.skel.rs"));
    let flags = ["-Wall".to_owned(), "-Werror".to_owned()].into_iter().chain(multiarch_include());
    if let Err(error) = SkeletonBuilder::new().source(&source).clang_args(flags).build_and_generate(&out) {
        panic!("{source} does not compile: {error:#}\nremedy: install clang and the kernel headers (make deps)");
    }
    println!("cargo:rerun-if-changed={source}");
}

/// Debian keeps `asm/types.h` in a folder per architecture, where `clang -target bpf` does not look.
fn multiarch_include() -> Option<String> {
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH");
    let folder = format!("/usr/include/{arch}-linux-gnu");
    Path::new(&folder).is_dir().then(|| format!("-I{folder}"))
}
