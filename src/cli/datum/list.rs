//! `list datum`.

use super::super::job;
use super::super::pipeline::create::read;
use super::super::show::datum_state;
use crate::cli::output::span;
use crate::cli::prelude::*;
use crate::model::ProjectName;
use crate::pipeline::spec::KeyStyle;

/// List the datums of a job, or those a spec would make
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs list datum train@7f0f3c3a5ae14b0c9b4bd38a2d4b2f11
  pfs list datum -f train.json")]
pub struct Args {
    /// The job, or the id of a job set
    #[arg(value_name = "PIPELINE@ID|ID", required_unless_present = "file")]
    job: Option<String>,
    /// Show the datums that this spec would make now
    #[arg(short, long, value_name = "SPEC", conflicts_with = "job")]
    file: Option<String>,
    /// Which page to show, from 0
    #[arg(long, value_name = "N", requires = "page_size")]
    page: Option<usize>,
    /// How many datums make a page
    #[arg(long, alias = "pageSize", value_name = "N")]
    page_size: Option<usize>,
    #[command(flatten)]
    format: Format,
}

impl Args {
    /// Prints a line per datum.
    pub async fn run(self, cx: &Context) -> Outcome {
        let columns: &[&str] = match cx.era {
            Era::Dash => &["ID", "STATUS", "TIME"],
            Era::Native => &["ID", "FILES", "STATUS", "TIME"],
        };
        let mut printer = cx.printer(&self.format, columns);
        let size = self.page_size.unwrap_or(usize::MAX);
        let mut page = Page { skip: self.page.unwrap_or(0).saturating_mul(size), left: size };
        for request in self.requests(cx).await? {
            let mut stream = cx.client().await?.pps().list_datum(request).await?.into_inner();
            while let Some(info) = stream.message().await? {
                if page.shows() {
                    printer.entity(&info, || row(cx, &info))?;
                }
            }
        }
        printer.finish()
    }

    async fn requests(&self, cx: &Context) -> Outcome<Vec<pps::ListDatumRequest>> {
        let mut requests = Vec::new();
        if let Some(file) = &self.file {
            for parsed in read(cx, file).await? {
                // The server takes a project that is left out for the default one.
                let own = ProjectName::default_project();
                let json = parsed.spec.input.to_json(KeyStyle::Snake, &own);
                let input = api::json::from_json(&json)
                    .map_err(|error| Failure::new(format!("{file}: {error}")))?;
                let input = Some(input);
                requests.push(pps::ListDatumRequest { input, ..Default::default() });
            }
        }
        if let Some(job) = &self.job {
            for job in job::keys(cx, job).await? {
                requests.push(pps::ListDatumRequest { job: Some(job), ..Default::default() });
            }
        }
        Ok(requests)
    }
}

struct Page {
    skip: usize,
    left: usize,
}

impl Page {
    fn shows(&mut self) -> bool {
        match (self.skip, self.left) {
            (1.., _) => {
                self.skip -= 1;
                false
            }
            (0, 0) => false,
            (0, 1..) => {
                self.left -= 1;
                true
            }
        }
    }
}

fn row(cx: &Context, info: &pps::DatumInfo) -> Vec<Cell> {
    let id = info.datum.as_ref().map_or("", |datum| datum.id.as_str());
    let id = if id.is_empty() { "-" } else { id };
    let mut cells = vec![id.into()];
    if cx.era == Era::Native {
        cells.push(files(info).into());
    }
    cells.push(Cell::state(datum_state(info.state)));
    cells.push(info.stats.as_ref().map_or("-".to_owned(), time).into());
    cells
}

/// The files of a datum, the first few of them.
fn files(info: &pps::DatumInfo) -> String {
    const SHOWN: usize = 4;
    let name = |info: &pfs::FileInfo| {
        let file = info.file.clone().unwrap_or_default();
        format!("{}:{}", show::commit(&file.commit.unwrap_or_default()), file.path)
    };
    let mut names: Vec<_> = info.data.iter().take(SHOWN).map(name).collect();
    if info.data.len() > SHOWN {
        names.push("...".to_owned());
    }
    names.join(", ")
}

/// The time of all steps together.
pub fn time(stats: &pps::ProcessStats) -> String {
    let steps = [&stats.download_time, &stats.process_time, &stats.upload_time];
    let nanos: i128 = steps
        .into_iter()
        .flatten()
        .map(|step| i128::from(step.seconds) * 1_000_000_000 + i128::from(step.nanos))
        .sum();
    match u64::try_from(nanos / 1_000_000_000) {
        Ok(seconds) => span(seconds),
        Err(_) => "-".to_owned(),
    }
}
