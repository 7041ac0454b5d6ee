//! Bars that show how far a transfer is, on terminals only.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const BAR: &str = "{msg} {bar:30} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";
const COUNTER: &str = "{msg} {spinner} {binary_bytes} {binary_bytes_per_sec} {elapsed}";

/// A bar for `total` bytes; a counter when the total is not known. Draws to
/// standard error, and only when `visible`.
#[must_use]
pub fn bytes_bar(verb: &'static str, total: Option<u64>, visible: bool) -> ProgressBar {
    let target = match visible {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    };
    let bar = ProgressBar::with_draw_target(total, target);
    let template = if total.is_some() { BAR } else { COUNTER };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style).with_message(verb),
        Err(_) => bar.with_message(verb),
    }
}
