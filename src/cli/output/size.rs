//! Sizes in binary units.

const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// A number of bytes with four significant digits and a binary unit.
#[must_use]
pub fn size(bytes: u64) -> String {
    // Four digits are shown, so the precision of f64 is ample.
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{}{}", significant(value), UNITS[unit])
}

/// `value` (below 1024.5) with four significant digits, without trailing
/// zeros after the point.
fn significant(value: f64) -> String {
    let decimals = match value {
        v if v < 10.0 => 3,
        v if v < 100.0 => 2,
        v if v < 1000.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A number of bytes as typed: `1024`, `20GiB`, `512M`, `1.5k`.
///
/// Letters without `i` mean binary units too, as in `64M` of pipeline specs.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let value: f64 = number.parse().map_err(|_| format!("{text:?} is not a size"))?;
    let power = match unit.trim().to_ascii_lowercase().trim_end_matches("ib").trim_end_matches('b')
    {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return Err(format!("{unit:?} is not a unit of size; use B, KiB, MiB, GiB or TiB")),
    };
    // Saturates; nobody has so many bytes.
    Ok((value * 1024_f64.powi(power)) as u64)
}

/// The least memory caches and buffers can do with, in bytes.
const MEMORY_LEAST: u64 = 32 << 20;

/// Reads how much memory caches and buffers may use.
pub fn parse_memory(text: &str) -> Result<u64, String> {
    match parse_size(text)? {
        bytes if bytes < MEMORY_LEAST => Err(format!("{text} is too little; use 32MiB or more")),
        bytes => Ok(bytes),
    }
}
