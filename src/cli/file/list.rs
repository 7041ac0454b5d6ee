//! `list file`.

use crate::cli::prelude::*;

/// List the files of a directory
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs list file images@master
  pfs list file images@master^:/2024 --raw")]
pub struct Args {
    /// The directory; the root when there is no path
    #[arg(value_name = "REPO@REF[:PATH]")]
    dir: String,
    #[command(flatten)]
    format: Format,
}

impl Args {
    /// Prints a line per file and directory.
    pub async fn run(self, cx: &Context) -> Outcome {
        let file = Some(cx.file(&self.dir)?);
        let request = pfs::ListFileRequest { file, ..Default::default() };
        let stream = cx.client().await?.pfs().list_file(request).await?.into_inner();
        cx.print_all(&self.format, columns(cx), stream, |info| row(cx, info)).await
    }
}

/// The columns of a list of files.
pub fn columns(cx: &Context) -> &'static [&'static str] {
    match cx.era {
        Era::Dash => &["NAME", "TYPE", "SIZE"],
        Era::Native => &["SIZE", "NAME"],
    }
}

/// One file in a list.
pub fn row(cx: &Context, info: &pfs::FileInfo) -> Vec<Cell> {
    let size = size(unsigned(info.size_bytes));
    match cx.era {
        Era::Dash => vec![name(cx, info).into(), kind(info).into(), size.into()],
        Era::Native => vec![size.into(), name(cx, info).into()],
    }
}

/// The path, with a leading slash since 1.8.
pub fn name(cx: &Context, info: &pfs::FileInfo) -> String {
    let path = info.file.as_ref().map_or("", |file| file.path.as_str());
    let bare = path.trim_start_matches('/');
    match cx.era {
        Era::Dash => bare.trim_end_matches('/').to_owned(),
        Era::Native => format!("/{bare}"),
    }
}

/// `file` or `dir`.
pub fn kind(info: &pfs::FileInfo) -> &'static str {
    match pfs::FileType::try_from(info.file_type) {
        Ok(pfs::FileType::Dir) => "dir",
        Ok(pfs::FileType::File | pfs::FileType::Reserved) | Err(_) => "file",
    }
}
