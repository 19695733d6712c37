//! Compiles the kernels into the program when the feature `embed-cubins` asks for it; otherwise embeds nothing.

#![allow(clippy::expect_used, clippy::panic, reason = "a build script fails by panicking")]

#[cfg(feature = "embed-cubins")]
#[path = "src/compile/nvrtc.rs"]
#[allow(dead_code, unreachable_pub, reason = "the crate uses the rest")]
mod nvrtc;

use std::fmt::Write;
use std::path::PathBuf;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=cuda");
    println!("cargo::rerun-if-env-changed=HANOK_CUDA_ARCHITECTURES");
    println!("cargo::rerun-if-env-changed=HANOK_NVRTC");
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let mut text = String::from(
        "/// Family, architecture and machine code.\npub(super) static CUBINS: &[(&str, &str, &[u8])] = &[\n",
    );
    for (family, architecture, image) in cubins() {
        let file = folder.join(format!("{family}-{architecture}.cubin"));
        fs::write(&file, image).expect("OUT_DIR can be written");
        let path = file.display();
        writeln!(text, "    ({family:?}, {architecture:?}, include_bytes!({:?})),", path.to_string())
            .expect("a string can be written");
    }
    text.push_str("];\n");
    fs::write(folder.join("embedded.rs"), text).expect("OUT_DIR can be written");
}

#[cfg(not(feature = "embed-cubins"))]
fn cubins() -> Vec<(String, String, Vec<u8>)> {
    Vec::new()
}

#[cfg(feature = "embed-cubins")]
fn cubins() -> Vec<(String, String, Vec<u8>)> {
    let architectures = env::var("HANOK_CUDA_ARCHITECTURES")
        .expect("the feature `embed-cubins` wants HANOK_CUDA_ARCHITECTURES, such as `sm_90,sm_100`");
    let given: Vec<PathBuf> = env::var_os("HANOK_NVRTC").map(PathBuf::from).into_iter().collect();
    let candidates = if given.is_empty() { nvrtc::nvrtc_candidates(&[]) } else { given };
    let library = nvrtc::Nvrtc::open(&candidates)
        .unwrap_or_else(|error| panic!("the feature `embed-cubins` wants NVRTC, named by HANOK_NVRTC: {error}"));
    let mut sources: Vec<PathBuf> = fs::read_dir("cuda")
        .expect("the sources are in `cuda`")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "cu"))
        .collect();
    sources.sort();
    let prelude = fs::read_to_string("cuda/prelude.cuh").expect("every family starts with the prelude");
    let mut all = Vec::new();
    for architecture in architectures.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        for path in &sources {
            let family = path.file_stem().expect("a source has a name").to_string_lossy().into_owned();
            let source = format!("{prelude}{}", fs::read_to_string(path).expect("a source can be read"));
            let compiled = library
                .compile(&family, &source, nvrtc::Target::Cubin(architecture))
                .unwrap_or_else(|error| panic!("`{family}` for `{architecture}`: {error}"));
            all.push((family, architecture.to_owned(), compiled.image));
        }
    }
    all
}
