//! What is handed to a person: QR codes and sheets.

pub(crate) mod handout;
pub(crate) mod qr;
