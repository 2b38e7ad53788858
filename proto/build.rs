//! Generates the wire types and services; protox reads the files, so no protoc is needed.

#[expect(clippy::disallowed_methods, reason = "a build script is told where to write by the environment alone")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["trailwarden/v1/activity.proto", "trailwarden/v1/alert.proto", "trailwarden/v1/services.proto"];
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["."])?;
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure().bytes(".trailwarden.v1.IngestRequest").compile_fds(descriptors)?;
    Ok(())
}
