//! Where the symbolic links of a program lead, as far as that is below `/pfs`.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use super::directory::Directory;
use super::input::{Fault, Reader, Seen};

/// Symbolic links followed on the way to one file before they count as a loop.
const LINKS_MAX: usize = 40;

/// Which directory under `/pfs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Area {
    Out,
    /// The input with this index.
    Input(usize),
}

/// A path under `/pfs` that no symbolic link is part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub area: Area,
    pub path: PathBuf,
}

impl Place {
    pub fn join(&self, name: &OsStr) -> Self {
        Self { area: self.area, path: self.path.join(name) }
    }

    /// Whether `other` is this place or below it.
    pub fn holds(&self, other: &Self) -> bool {
        self.area == other.area && other.path.starts_with(&self.path)
    }
}

/// Where a link leads.
pub(super) enum Led {
    To(Place, Seen),
    /// Out of what the datum has under `/pfs`.
    Away,
    Nowhere,
    Around,
}

/// What is under `/pfs`.
pub(super) struct Pfs<'a> {
    pub out: Directory,
    pub inputs: Vec<Reader<'a>>,
}

impl Pfs<'_> {
    pub async fn seen(&self, place: &Place) -> Result<Seen, Fault> {
        match place.area {
            Area::Out => Ok(self.out.look(&place.path)?.map_or(Seen::Nothing, Seen::Own)),
            Area::Input(index) => self.inputs[index].seen(&place.path).await,
        }
    }

    /// The directory of this machine that a place's own files are in.
    pub fn own(&self, area: Area) -> &Directory {
        match area {
            Area::Out => &self.out,
            Area::Input(index) => self.inputs[index].own(),
        }
    }

    fn area(&self, name: &OsStr) -> Option<Area> {
        if name == "out" {
            return Some(Area::Out);
        }
        let found = self.inputs.iter().position(|reader| name == reader.input.name.as_str());
        found.map(Area::Input)
    }

    fn parent_of(&self, link: &Place) -> Vec<OsString> {
        let name = match link.area {
            Area::Out => "out",
            Area::Input(index) => &self.inputs[index].input.name,
        };
        let above = ["pfs", name].map(OsString::from).into_iter();
        let parent = link.path.parent().unwrap_or(Path::new(""));
        above.chain(parent.iter().map(OsString::from)).collect()
    }

    /// Follows the link at `link` to what it stands for.
    pub async fn follow(&self, link: &Place, target: &OsStr) -> Result<Led, Fault> {
        // The way so far, without links, and the steps still to take.
        let mut at = self.parent_of(link);
        let mut steps: VecDeque<OsString> = VecDeque::new();
        let mut seen = None;
        let mut links = 0;
        lay(&mut at, &mut steps, target);
        while let Some(step) = steps.pop_front() {
            seen = None;
            if step == ".." {
                at.pop();
                continue;
            }
            at.push(step);
            let place = match self.place(&at) {
                Some(Ok(place)) => place,
                Some(Err(led)) => return Ok(led),
                None => continue,
            };
            let found = self.seen(&place).await?;
            if let Some(target) = found.target() {
                links += 1;
                if links > LINKS_MAX {
                    return Ok(Led::Around);
                }
                at.pop();
                lay(&mut at, &mut steps, &target);
            } else if matches!(found, Seen::Nothing) || !steps.is_empty() && !found.is_dir() {
                return Ok(Led::Nowhere);
            } else {
                seen = Some(found);
            }
        }
        match (self.place(&at), seen) {
            (Some(Ok(place)), Some(seen)) => Ok(Led::To(place, seen)),
            (Some(Ok(place)), None) => {
                let seen = self.seen(&place).await?;
                Ok(Led::To(place, seen))
            }
            (Some(Err(led)), _) => Ok(led),
            (None, _) => Ok(Led::Away),
        }
    }

    /// The place that a path is, or where else it is; nothing for `/` and
    /// `/pfs` themselves.
    fn place(&self, at: &[OsString]) -> Option<Result<Place, Led>> {
        match at {
            [pfs, ..] if pfs != "pfs" => Some(Err(Led::Away)),
            [] | [_] => None,
            [_, area, rest @ ..] => Some(match self.area(area) {
                Some(area) => Ok(Place { area, path: rest.iter().collect() }),
                None => Err(Led::Nowhere),
            }),
        }
    }
}

/// Puts the way to `target` before the other steps.
fn lay(at: &mut Vec<OsString>, steps: &mut VecDeque<OsString>, target: &OsStr) {
    let target = Path::new(target);
    if target.is_absolute() {
        at.clear();
    }
    for component in target.components().rev() {
        match component {
            Component::Normal(name) => steps.push_front(name.to_owned()),
            Component::ParentDir => steps.push_front("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
}
