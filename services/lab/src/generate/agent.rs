//! User agents as the usual tools write them.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::names::{mix, pick, stream};
use super::world::Role;

const LINUX: &[&str] =
    &["5.10.223-212.873.amzn2", "6.1.109-118.189.amzn2023", "6.8.0-45-generic", "5.15.0-122-generic"];

/// The AWS command line, versions 1 and 2. Few releases are in use at a time, so that agents are shared.
pub fn cli(rng: &mut ChaCha8Rng) -> String {
    let release = *pick(rng, &["11.21", "13.5", "15.30", "15.58", "17.20", "22.4"]);
    match rng.random_range(0..4) {
        0 => format!(
            "aws-cli/2.{release} md/awscrt#0.21.2 ua/2.0 os/macos#23.6.0 md/arch#arm64 lang/python#3.11.9 \
             md/pyimpl#CPython cfg/retry-mode#standard md/installer#source md/prompt#off"
        ),
        1 => format!(
            "aws-cli/2.{release} md/awscrt#0.20.11 ua/2.0 os/linux#{} md/arch#x86_64 lang/python#3.11.8 \
             md/pyimpl#CPython cfg/retry-mode#standard md/installer#exe md/distrib#ubuntu.22 md/prompt#off",
            pick(rng, LINUX)
        ),
        2 => format!("aws-cli/2.{release} Python/3.11.6 Windows/10 exe/AMD64 prompt/off"),
        _ => format!(
            "aws-cli/1.33.{} Python/3.9.16 Linux/{} botocore/1.34.131",
            pick(rng, &[2, 13, 21]),
            pick(rng, LINUX)
        ),
    }
}

/// Scripts in Python.
pub fn boto(rng: &mut ChaCha8Rng) -> String {
    let (release, python) = *pick(
        rng,
        &[
            ("26.90", "3.9.16"),
            ("26.142", "3.10.12"),
            ("28.57", "3.11.4"),
            ("34.84", "3.11.9"),
            ("34.131", "3.12.3"),
            ("35.36", "3.12.3"),
        ],
    );
    let system = pick(rng, LINUX);
    if rng.random_bool(0.4) {
        return format!("Boto3/1.{release} Python/{python} Linux/{system} Botocore/1.{release}");
    }
    format!(
        "Boto3/1.{release} md/Botocore#1.{release} ua/2.0 os/linux#{system} md/arch#x86_64 lang/python#{python} \
         md/pyimpl#CPython cfg/retry-mode#legacy Botocore/1.{release}"
    )
}

/// Infrastructure as code.
pub fn terraform(rng: &mut ChaCha8Rng) -> String {
    let (core, provider, sdk) = *pick(
        rng,
        &[
            ("5.7", "5.31", "1.24"),
            ("6.6", "5.46", "1.26"),
            ("7.5", "5.54", "1.27"),
            ("8.5", "5.62", "1.30"),
            ("9.8", "5.70", "1.30"),
        ],
    );
    format!(
        "APN/1.0 HashiCorp/1.0 Terraform/1.{core} (+https://www.terraform.io) terraform-provider-aws/{provider}.0 \
         (+https://registry.terraform.io/providers/hashicorp/aws) aws-sdk-go-v2/{sdk}.0 os/linux lang/go#1.22.5 \
         md/GOOS#linux md/GOARCH#amd64"
    )
}

/// Programs in Java.
pub fn java(rng: &mut ChaCha8Rng) -> String {
    format!(
        "aws-sdk-java/2.{} Linux/{} OpenJDK_64-Bit_Server_VM/17.0.12+7-LTS Java/17.0.12 kotlin/1.9.24 vendor/Amazon.com_Inc. \
         io/sync http/Apache cfg/retry-mode/legacy",
        pick(rng, &["17.290", "20.56", "21.46", "25.27", "26.31", "28.16"]),
        pick(rng, LINUX),
    )
}

/// Programs in Go.
pub fn go(rng: &mut ChaCha8Rng) -> String {
    let (sdk, go) = *pick(
        rng,
        &[("21.0", "20.10"), ("24.1", "21.6"), ("26.1", "21.9"), ("27.2", "22.2"), ("30.3", "22.5"), ("31.0", "23.1")],
    );
    format!("aws-sdk-go-v2/1.{sdk} os/linux lang/go#1.{go} md/GOOS#linux md/GOARCH#amd64 api/s3#1.{}.0", &sdk[..2])
}

/// Programs in JavaScript.
pub fn javascript(rng: &mut ChaCha8Rng) -> String {
    format!(
        "aws-sdk-js/3.{}.0 ua/2.0 os/linux#{} lang/js md/nodejs#{} md/crt-avail",
        pick(rng, &[398, 454, 556, 637]),
        pick(rng, LINUX),
        pick(rng, &["18.20.3", "20.15.1"]),
    )
}

/// Browsers at the console.
pub fn browser(rng: &mut ChaCha8Rng) -> String {
    let chrome = rng.random_range(126..131);
    match rng.random_range(0..5) {
        0 => format!(
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{chrome}.0.0.0 Safari/537.36"
        ),
        1 => format!(
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{chrome}.0.0.0 Safari/537.36"
        ),
        2 => format!(
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{chrome}.0.0.0 \
             Safari/537.36 Edg/{chrome}.0.0.0"
        ),
        3 => format!("Mozilla/5.0 (X11; Linux x86_64; rv:{chrome}.0) Gecko/20100101 Firefox/{chrome}.0"),
        _ => format!(
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.{} Safari/605.1.15",
            rng.random_range(4..7)
        ),
    }
}

/// Any tool that a person or a program of the organisation may use: the same stock for everybody.
pub fn any(rng: &mut ChaCha8Rng) -> String {
    match rng.random_range(0..20) {
        0..7 => cli(rng),
        7..12 => boto(rng),
        12..14 => terraform(rng),
        14..16 => java(rng),
        16..18 => go(rng),
        18 => javascript(rng),
        _ => "aws-sdk-rust/1.3.3 os/linux lang/rust/1.79.0".to_owned(),
    }
}

/// The program that runs with a role: always the same for the role.
pub fn of_role(role: &Role) -> String {
    let seed = role.id.bytes().fold(11, |sum, byte| mix(sum ^ u64::from(byte)));
    let rng = &mut stream(seed, &[1]);
    match seed % 10 {
        0..3 => java(rng),
        3..6 => boto(rng),
        6..8 => go(rng),
        8 => javascript(rng),
        _ => cli(rng),
    }
}
