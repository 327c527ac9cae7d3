//! The configuration: one TOML file, the environment over it, generated defaults under it.
//!
//! A value is taken from the last of these that names its key: the defaults ([`sections`]), the file (`--config`,
//! `FANFARE_CONFIG`, or `fanfare.toml` where the process starts), the variables that other systems of the house use
//! already ([`variables`]), and `FANFARE__SECTION__KEY`. All of them meet in a [`tree::Tree`] that remembers where each
//! value came from, so that an error, and `fanfare config`, can say it. Only then are the typed sections read from it.
//!
//! Nothing here reads the environment or the working directory by itself: [`Sources`] brings them.

mod accounts;
mod defaults;
mod error;
mod file;
mod rules;
pub mod sections;
mod show;
pub mod tree;
mod typed;
mod variables;

use std::path::PathBuf;

pub use accounts::{AccountConfig, TenantConfig, default_limits};
pub use defaults::default_file;
pub use error::{ConfigError, ConfigErrors};
pub use sections::Config;
pub use show::{Shown, shown};
use tree::Tree;

/// What a configuration is read from.
#[derive(Debug, Default)]
pub struct Sources {
    /// Named by `--config`; it must exist.
    pub file: Option<PathBuf>,
    /// The environment.
    pub variables: Vec<(String, String)>,
    /// Where `fanfare.toml` is looked for when no file is named.
    pub folder: PathBuf,
}

/// A configuration, and where each of its values came from.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    pub tree: Tree,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
}

/// Reads, merges and checks. All that is wrong is told at once.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigErrors> {
    let mut tree = Tree::default();
    let named = sources
        .file
        .clone()
        .or_else(|| sources.variables.iter().find(|(name, _)| name == "FANFARE_CONFIG").map(|(_, path)| path.into()));
    let usual = sources.folder.join("fanfare.toml");
    let file = named.or_else(|| usual.exists().then_some(usual));
    if let Some(path) = &file {
        file::read(path, &mut tree)?;
    }
    variables::merge(&sources.variables, &mut tree)?;
    let config = typed::config(&tree)?;
    rules::check(&config, &tree)?;
    Ok(Loaded { config, tree, file })
}
