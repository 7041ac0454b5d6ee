//! Metrics as text, in version 0.0.4 of the format of Prometheus.

use std::fmt::Write as _;

/// What the values of a metric do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// They only grow.
    Counter,
    /// They come and go.
    Gauge,
    /// They are counts of sizes.
    Histogram,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A text that metrics are added to, family by family.
#[derive(Debug, Default)]
pub struct Exposition(String);

impl Exposition {
    /// Begins the metrics called `name`.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) -> &mut Self {
        self.put(format_args!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.name()))
    }

    /// A value of the metric `name`.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) -> &mut Self {
        self.put(format_args!("{name}"));
        for (at, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            self.put(format_args!("{}{label}=\"{text}\"", if at == 0 { '{' } else { ',' }));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        self.put(format_args!("{close} {value}\n"))
    }

    /// A family with a single value.
    pub fn single(&mut self, name: &str, kind: Kind, help: &str, value: f64) -> &mut Self {
        self.family(name, kind, help).sample(name, &[], value)
    }

    /// The text.
    #[must_use]
    pub fn into_text(self) -> String {
        self.0
    }

    fn put(&mut self, what: std::fmt::Arguments<'_>) -> &mut Self {
        // A string takes everything.
        let _ = self.0.write_fmt(what);
        self
    }
}
