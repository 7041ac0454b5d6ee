//! `inspect datum`.

use std::io;

use super::super::job;
use super::super::pipeline::inspect::seconds;
use crate::cli::prelude::*;

/// Show one datum of a job
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  pfs inspect datum train@7f0f3c3a5ae14b0c9b4bd38a2d4b2f11 1c2d3e"
)]
pub struct Args {
    /// The job, or the id of a job set
    #[arg(value_name = "PIPELINE@ID|ID")]
    job: String,
    /// The datum
    #[arg(value_name = "DATUM")]
    datum: String,
    #[command(flatten)]
    format: Format,
}

impl Args {
    /// Prints the datum, from the job of the set that has it.
    pub async fn run(self, cx: &Context) -> Outcome {
        let mut missing = Failure::new(format!("datum {} not found", self.datum));
        for job in job::keys(cx, &self.job).await? {
            let datum = Some(pps::Datum { job: Some(job), id: self.datum.clone() });
            let request = pps::InspectDatumRequest { datum };
            match cx.client().await?.pps().inspect_datum(request).await {
                Ok(info) => {
                    let info = info.into_inner();
                    return cx.print_one(&self.format, &info, |fields| text(cx, &info, fields));
                }
                Err(status) if status.code() == Code::NotFound => missing = status.into(),
                Err(status) => return Err(status.into()),
            }
        }
        Err(missing)
    }
}

fn text(cx: &Context, info: &pps::DatumInfo, mut fields: Fields<'_>) -> io::Result<()> {
    let datum = info.datum.clone().unwrap_or_default();
    let job = datum.job.unwrap_or_default();
    let stats = info.stats.unwrap_or_default();
    let job_name = match cx.era {
        Era::Dash => job.id.clone(),
        Era::Native => show::job(&job),
    };
    fields
        .line("ID", &datum.id)?
        .line("Job ID", &job_name)?
        .some("Image ID", Some(info.image_id.clone()))?
        .state("State", show::datum_state(info.state))?
        .line("Data Downloaded", &size(unsigned(stats.download_bytes)))?
        .line("Data Uploaded", &size(unsigned(stats.upload_bytes)))?
        .line("Download Time", &seconds(&stats.download_time.unwrap_or_default()))?
        .line("Process Time", &seconds(&stats.process_time.unwrap_or_default()))?
        .line("Upload Time", &seconds(&stats.upload_time.unwrap_or_default()))?;
    if let Some(state) = &info.pfs_state {
        fields.block("PFS State", &file(state))?;
    }
    let inputs: Vec<_> = info.data.iter().filter_map(|info| info.file.as_ref()).map(file).collect();
    fields.block("Inputs", &inputs.join("\n"))?;
    Ok(())
}

fn file(file: &pfs::File) -> String {
    let commit = file.commit.clone().unwrap_or_default();
    let repo = show::repo(&commit.repo.unwrap_or_default());
    format!("  {repo} {} {}", commit.id, file.path)
}
