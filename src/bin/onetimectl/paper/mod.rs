//! What is handed to a person: QR codes and sheets, and how their files are made.

pub(crate) mod file;
pub(crate) mod handout;
pub(crate) mod markup;
pub(crate) mod qr;
pub(crate) mod recovery;
mod screen;
