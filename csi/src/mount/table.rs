//! `/proc/self/mountinfo`, as `proc_pid_mountinfo(5)` describes it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use super::Mounted;

#[cfg(test)]
mod tests;

/// What a table says; lines of another form tell of no mount.
pub(super) fn parse(table: &[u8]) -> Vec<Mounted> {
    table.split(|byte| *byte == b'\n').filter_map(line).collect()
}

fn line(line: &[u8]) -> Option<Mounted> {
    let mut fields = line.split(|byte| *byte == b' ');
    let device = fields.by_ref().nth(2)?;
    let (_, minor) = std::str::from_utf8(device).ok()?.split_once(':')?;
    let target = fields.by_ref().nth(1)?;
    let options = fields.next()?;
    // Optional fields end with a hyphen; then come type, source, options.
    let fs_type = fields.by_ref().skip_while(|field| *field != b"-").nth(1)?;
    let super_options = fields.nth(1)?;
    let is_ro = |options: &[u8]| options.split(|byte| *byte == b',').any(|one| one == b"ro");
    Some(Mounted {
        target: OsString::from_vec(unescape(target)).into(),
        fs_type: String::from_utf8_lossy(fs_type).into_owned(),
        minor: minor.parse().ok()?,
        read_only: is_ro(options) || is_ro(super_options),
    })
}

/// Blanks, line ends and backslashes stand there as a backslash and three
/// octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, behind)) = rest.split_first() {
        match (first, octal(behind)) {
            (b'\\', Some(byte)) => {
                plain.push(byte);
                rest = &behind[3..];
            }
            _ => {
                plain.push(*first);
                rest = behind;
            }
        }
    }
    plain
}

fn octal(digits: &[u8]) -> Option<u8> {
    let digits = digits.get(..3).filter(|three| three.iter().all(u8::is_ascii_digit))?;
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}
