//! Calls as command lines that a person can paste.

use std::fmt::Write as _;

use serde_json::Value;

use crate::call::{CAPTURED, Call, SUPPLIED, When};

/// The call for the AWS command line interface: `aws iam update-access-key --access-key-id ... --status Inactive`.
///
/// Only printable ASCII comes out. Every name is one shell word whatever it holds (bash and zsh), no name can pass
/// for an option, and none makes the interface read a file or an address. What is not known yet is a shell variable,
/// `"$vpc_id"`, which holds text, or JSON where the parameter is a list or a structure. A call that is only made where
/// something is known asks the shell for it first.
pub fn cli_text(call: &Call) -> String {
    let mut line = match &call.when {
        None => String::new(),
        Some(When::Known(name)) => format!("[ -n \"${name}\" ] && "),
        Some(When::Unknown(name)) => format!("[ -z \"${name}\" ] && "),
        Some(When::Is(name, value)) => format!("[ \"${name}\" = {} ] && ", word(value)),
    };
    let _ = write!(line, "aws {} {}", cli_service(call.service), kebab(call.operation));
    let no_parameters = serde_json::Map::new();
    let parameters = call.parameters.as_object().unwrap_or(&no_parameters);
    if parameters.values().any(is_read_as_address) {
        line.push_str(" --cli-input-json ");
        line.push_str(&json_word(&call.parameters));
    } else {
        for (name, value) in parameters {
            push_parameter(&mut line, &kebab(name), value);
        }
    }
    if let Some(region) = &call.region {
        push_parameter(&mut line, "region", &Value::String(region.clone()));
    }
    line
}

fn cli_service(service: &str) -> &str {
    match service {
        "s3" => "s3api",
        "config" => "configservice",
        same => same,
    }
}

/// `ListMFADevices` as `list-mfa-devices`: the interface spells operations and parameters so.
fn kebab(name: &str) -> String {
    let bytes = name.as_bytes();
    let mut text = String::with_capacity(name.len() + 8);
    for (at, byte) in bytes.iter().enumerate() {
        let after_small = at > 0 && !bytes[at - 1].is_ascii_uppercase();
        let before_small = at > 0 && bytes.get(at + 1).is_some_and(u8::is_ascii_lowercase);
        if byte.is_ascii_uppercase() && (after_small || before_small) {
            text.push('-');
        }
        text.push(char::from(byte.to_ascii_lowercase()));
    }
    text
}

fn push_parameter(line: &mut String, name: &str, value: &Value) {
    match value {
        Value::Null => {}
        Value::Bool(true) => line.push_str(&format!(" --{name}")),
        Value::Bool(false) => line.push_str(&format!(" --no-{name}")),
        Value::Number(number) => line.push_str(&format!(" --{name} {number}")),
        // A value that begins like an option is taken for one, unless it is joined to its own.
        Value::String(text) if text.starts_with('-') => line.push_str(&format!(" --{name}={}", word(text))),
        Value::String(text) => line.push_str(&format!(" --{name} {}", word(text))),
        Value::Array(items) if !items.is_empty() && items.iter().all(is_plain_item) => {
            line.push_str(&format!(" --{name}"));
            for item in items {
                line.push(' ');
                line.push_str(&variable(item).unwrap_or_else(|| word(item.as_str().unwrap_or_default())));
            }
        }
        value => match variable(value) {
            Some(variable) => line.push_str(&format!(" --{name} {variable}")),
            None => line.push_str(&format!(" --{name} {}", json_word(value))),
        },
    }
}

/// Whether an item can stand by itself in a list; others are written as JSON.
fn is_plain_item(item: &Value) -> bool {
    variable(item).is_some() || item.as_str().is_some_and(|text| is_plain(text) && !text.contains(','))
}

/// The interface replaces a parameter that begins so by what it finds there.
fn is_read_as_address(value: &Value) -> bool {
    match value {
        Value::String(text) => ["file://", "fileb://", "http://", "https://"]
            .iter()
            .any(|scheme| text.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme))),
        Value::Array(items) => items.iter().any(is_read_as_address),
        _ => false,
    }
}

/// `"$vpc_id"` for a value that is captured or supplied.
fn variable(value: &Value) -> Option<String> {
    let object = value.as_object().filter(|object| object.len() == 1)?;
    let name = object.get(CAPTURED).or_else(|| object.get(SUPPLIED))?.as_str()?;
    let is_name = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    is_name.then(|| format!("\"${name}\""))
}

fn is_plain(text: &str) -> bool {
    text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_./:@,-".contains(&byte))
}

/// One shell word that stands for exactly `text`.
fn word(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return format!("'{}'", text.replace('\'', r"'\''"));
    }
    let mut quoted = String::from("$'");
    for byte in text.bytes() {
        match byte {
            b'\'' => quoted.push_str(r"\'"),
            b'\\' => quoted.push_str(r"\\"),
            b' '..=b'~' => quoted.push(char::from(byte)),
            // A shell ends the word here, which would leave another name: put U+FFFD, which no name holds.
            0 => quoted.push_str(r"\xef\xbf\xbd"),
            // Writing to a string does not fail.
            other => {
                let _ = write!(quoted, r"\x{other:02x}");
            }
        }
    }
    quoted.push('\'');
    quoted
}

/// JSON as one shell word, with variables where values are not known yet.
fn json_word(value: &Value) -> String {
    let mut pieces = String::new();
    let mut text = String::new();
    write_json(value, &mut text, &mut pieces);
    pieces.push_str(&word(&text));
    pieces
}

/// Appends JSON to `text`; at a variable what was written so far moves to `pieces` as a quoted word.
fn write_json(value: &Value, text: &mut String, pieces: &mut String) {
    if let Some(variable) = variable(value) {
        text.push('"');
        pieces.push_str(&word(text));
        pieces.push_str(&variable);
        text.clear();
        text.push('"');
        return;
    }
    match value {
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                text.push_str(if at > 0 { "," } else { "" });
                write_json(item, text, pieces);
            }
            text.push(']');
        }
        Value::Object(members) => {
            text.push('{');
            for (at, (name, member)) in members.iter().enumerate() {
                text.push_str(if at > 0 { "," } else { "" });
                text.push_str(&Value::String(name.clone()).to_string());
                text.push(':');
                write_json(member, text, pieces);
            }
            text.push('}');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}
