//! One file for each verb: an argument struct whose docs are the help, then a short run that calls the library.

pub mod completions;
pub mod container;
pub mod create;
pub mod doctor;
pub mod exec;
mod fetch;
pub mod fsd;
pub mod image;
pub mod info;
pub mod inspect;
pub mod kernel;
pub mod kill;
mod launch;
pub mod logs;
pub mod man;
pub mod monitor;
pub mod pause;
pub mod ps;
pub mod rm;
pub mod run;
mod sandbox;
pub mod start;
pub mod stop;
pub mod tools;
pub mod version;
pub mod volume;
pub mod wait;
